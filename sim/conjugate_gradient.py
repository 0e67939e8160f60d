"""Own preconditioned conjugate gradients on a block matrix, replayed as a graph.

A look at the residual waits for the device, so steps come in chunks between two looks. The scalars of a chunk
stay on the device, in places that are the same for every chunk: its launches are captured once and replayed,
on CUDA and on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal

from sim.block_matrix import BlockMatrix
from sim.preconditioners import PRECONDITIONERS
from warp_kernels import conjugate_gradient, rounding

Floats = NDArray[np.float64]

CHUNK = 25
"""Steps between two looks at the residual on a GPU."""


@dataclass
class ConjugateGradientResult:
    """What a CG solve tells about its matrix."""

    iterations: int
    residual: float
    """|b - A x| / |b| by the recurrence."""
    smallest_eigenvalue: float
    """Ritz value of the preconditioned matrix, from above."""
    largest_eigenvalue: float
    """Ritz value of the preconditioned matrix, from below."""


class ConjugateGradient:
    """Preconditioned conjugate gradients on the device of the matrix.

    Args:
        preconditioner: Name in `PRECONDITIONERS`.
        max_iterations: Bound of one solve, to the next look at the residual.
        check_every: Steps between two looks at the residual; 1 on the CPU and `CHUNK` on a GPU if 0.
        is_captured: Replay these steps as a graph; otherwise launch each kernel anew.

    Raises:
        ValueError: Unknown preconditioner.
    """

    def __init__(
        self,
        matrix: BlockMatrix,
        preconditioner: str = "fsai",
        *,
        max_iterations: int = 20000,
        check_every: int = 0,
        is_captured: bool = True,
    ) -> None:
        if preconditioner not in PRECONDITIONERS:
            known = ", ".join(PRECONDITIONERS)
            raise ValueError(f"preconditioner: unknown name {preconditioner!r}; known: {known}")
        self.matrix = matrix
        self.preconditioner = PRECONDITIONERS[preconditioner](matrix)
        self.max_iterations = max_iterations
        n, device, precision = matrix.vertex_count, matrix.device, matrix.precision
        self._kernels = precision.kernels(conjugate_gradient)
        is_cpu = wp.get_device(device).is_cpu
        self.check_every = min(check_every or (1 if is_cpu else CHUNK), max_iterations)
        # The sums allocate on CUDA, which a capture allows in a memory pool only.
        self._is_captured = is_captured and (is_cpu or wp.is_mempool_enabled(device))
        self._is_loaded = False
        self._scale = 1.0
        self._graph: Any = None
        self._x, self._r, self._z, self._p, self._q = (
            wp.zeros(n, dtype=precision.vec3, device=device) for _ in range(5)
        )
        # (r, z) before each step of a chunk and after the last, (p, A p) of each, (r, r) after the last.
        self._rz = wp.zeros(self.check_every + 1, dtype=precision.scalar, device=device)
        self._pq = wp.zeros(self.check_every, dtype=precision.scalar, device=device)
        self._rr = wp.zeros(1, dtype=precision.scalar, device=device)

    def solve(self, b: wp.array, out: wp.array, tolerance: float = 1e-10, *, is_definite: bool = True) -> int:
        return self.run(b, out, tolerance, is_definite=is_definite).iterations

    def run(
        self, b: wp.array, out: wp.array, tolerance: float, *, is_definite: bool = True
    ) -> ConjugateGradientResult:
        """Solve and also return the extreme Ritz values of the preconditioned matrix.

        Args:
            is_definite: Negative curvature ends the solve at the next look at the residual; if this is set, a
                residual that is small enough there outweighs it (rounding).

        Raises:
            ArithmeticError: Not positive definite, not converged within `max_iterations`, or not finite.
            ValueError: The precision of the matrix does not reach the tolerance.
        """
        least = self.matrix.precision.least_residual
        if tolerance < least:
            raise ValueError(
                f"conjugate gradients: a residual of {tolerance:.1e} is out of reach of "
                f"{self.matrix.precision.name}, which ends at {least:.1e}; take float64"
            )
        out.zero_()
        self._x.zero_()
        start = float(np.sqrt(cast(float, wp.utils.array_inner(b, b))))
        if start == 0.0:
            return ConjugateGradientResult(0, 0.0, np.nan, np.nan)
        self._load(b, start)
        self.preconditioner.update()
        self.preconditioner.apply(self._r, self._z)
        wp.copy(self._p, self._z)
        chunk = self.check_every
        wp.utils.array_inner(self._r, self._z, out=self._rz[chunk : chunk + 1])
        rz, pq = [self._rz[chunk:].numpy().copy()], []
        residual, done = 1.0, 0
        while done < self.max_iterations:
            self._advance()
            done += chunk
            residual = float(np.sqrt(self._rr.numpy()[0])) / self._scale
            if not np.isfinite(residual):
                raise ArithmeticError(f"conjugate gradients: not finite after {done} iterations")
            products = self._rz.numpy().copy()
            pq.append(self._pq.numpy().copy())
            is_small = residual <= tolerance
            # Both are zero after a step that met the solution exactly.
            is_curved = ((products[:-1] < 0.0) | ((pq[-1] <= 0.0) & (products[:-1] != 0.0))).any()
            if is_curved and not (is_small and is_definite):
                raise ArithmeticError("the matrix is not positive definite")
            rz.append(products[1:])
            if is_small:
                self._store(start, out)
                low, high = _ritz_values(np.concatenate(rz), np.concatenate(pq))
                return ConjugateGradientResult(done, residual, low, high)
        raise ArithmeticError(
            f"conjugate gradients: residual {residual:.1e} after {done} iterations, wanted {tolerance:.1e}"
        )

    def _advance(self) -> None:
        """Do a chunk of steps: the first one launch by launch, which loads the kernels."""
        if self._is_captured and self._is_loaded:
            if self._graph is None:
                with wp.ScopedCapture(device=self.matrix.device, force_module_load=False) as capture:
                    self._steps()
                self._graph = capture.graph
            wp.capture_launch(self._graph)
        else:
            self._steps()
            self._is_loaded = True

    def _steps(self) -> None:
        rz, pq = self._rz, self._pq
        wp.copy(rz, rz, dest_offset=0, src_offset=self.check_every, count=1)
        for step in range(self.check_every):
            self.matrix.multiply(self._p, self._q)
            wp.utils.array_inner(self._p, self._q, out=pq[step : step + 1])
            self._kernels.descend(rz, pq, step, self._p, self._q, self._x, self._r)
            self.preconditioner.apply(self._r, self._z)
            wp.utils.array_inner(self._r, self._z, out=rz[step + 1 : step + 2])
            self._kernels.turn(rz, step, self._z, self._p)
        wp.utils.array_inner(self._r, self._r, out=self._rr)

    def _load(self, b: wp.array, norm: float) -> None:
        """Set the first residual to b; in float32 to b over its norm, which keeps clear of underflow."""
        if not self.matrix.precision.is_single:
            self._scale = norm
            wp.copy(self._r, b)
        else:
            self._scale = 1.0
            rounding.round_vectors(b, 1.0 / norm, self._r)

    def _store(self, norm: float, out: wp.array) -> None:
        if not self.matrix.precision.is_single:
            wp.copy(out, self._x)
        else:
            rounding.widen_vectors(self._x, norm, out)


def _ritz_values(rz: Floats, pq: Floats) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue of the Lanczos matrix of the same Krylov space.

    Source: Saad 2003, section 6.7.3.

    Args:
        rz: (r, z) before each step and after the last, shape (k + 1,).
        pq: (p, A p) of each step, shape (k,).
    """
    usable = int(np.argmin(np.append((rz[:-1] > 0) & (pq > 0), False)))
    if usable < 1:
        return np.nan, np.nan
    alpha = rz[:usable] / pq[:usable]
    beta = rz[1:usable] / rz[: usable - 1]
    diagonal = 1.0 / alpha
    diagonal[1:] += beta / alpha[:-1]
    values = eigvalsh_tridiagonal(diagonal, np.sqrt(beta) / alpha[:-1])
    return float(values[0]), float(values[-1])
