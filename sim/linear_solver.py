"""Solve A dx = b for the 3x3 block matrix of a Newton step: sparse LU on the CPU, preconditioned CG anywhere.

The block pattern of a model does not change, so everything that depends on it alone is done once: the map
from the blocks of the elements to the blocks of the matrix, and for LU the fill-reducing order of the
vertices. From one Newton step to the next the values change little: the LU of an earlier matrix is a
preconditioner for the next ones, until it is too old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import warp as wp
import warp.sparse as wps
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal
from scipy.sparse import bsr_matrix, csc_matrix, identity
from scipy.sparse.linalg import SuperLU, splu

from warp_kernels import conjugate_gradient

Floats = NDArray[np.float64]

SMALL, LARGE = 3000, 50000
"""Up to so many vertices "auto" factors on the CPU, whatever the fill; above so many it does not count it."""
FILL_LIMIT = 16.0
"""Above so many entries of L for each one of A "auto" takes CG on the CPU too: a solve with L and U then
costs more than the iterations that it saves. A solid cube is above from some 70,000 tets, others later."""
_SOLVE_RATE = 0.3
"""Multiplications a second of a solve over those of a factorisation, measured: 0.23 to 0.45."""


class BlockMatrix:
    """Symmetric matrix of 3x3 blocks on a device, refilled from element blocks of a fixed pattern.

    Args:
        vertex_count: Block rows n.
        rows: Block row of each element block, shape (k,).
        columns: Block column of each element block, shape (k,); every vertex has a diagonal block among them.
        free: 1 for a free component, 0 for one that the solve leaves at zero, shape (n, 3).
    """

    def __init__(
        self,
        vertex_count: int,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        free: NDArray[np.float64],
        device: str = "cpu",
    ) -> None:
        self.vertex_count = vertex_count
        self.device = device
        self.blocks = wp.zeros(len(rows), dtype=wp.mat33d, device=device)
        """Element blocks to be filled before `assemble`."""
        matrix: Any = wps.bsr_zeros(vertex_count, vertex_count, cast(Any, wp.mat33d), device=device)
        self.matrix = matrix
        self._map: Any = wps.bsr_set_from_triplets(
            matrix,
            wp.array(rows, dtype=wp.int32, device=device),
            wp.array(columns, dtype=wp.int32, device=device),
            self.blocks,
            prune_numerical_zeros=False,
            build_mapping=True,
        )
        self.block_count = matrix.nnz_sync()
        self.offsets = matrix.offsets.numpy()[: vertex_count + 1].copy()
        self.columns = matrix.columns.numpy()[: self.block_count].copy()
        self.rows = np.repeat(np.arange(vertex_count, dtype=np.int32), np.diff(self.offsets))
        diagonal = np.flatnonzero(self.rows == self.columns)
        if len(diagonal) != vertex_count:
            raise ValueError(
                f"{vertex_count - len(diagonal)} of {vertex_count} vertices have no diagonal block"
            )
        self._rows: wp.array = wp.array(self.rows, dtype=wp.int32, device=device)
        self.diagonal: wp.array = wp.array(diagonal, dtype=wp.int32, device=device)
        self.free: wp.array = wp.array(free, dtype=wp.vec3d, device=device)

    def assemble(self) -> None:
        """Sum `blocks` into the matrix and put the identity where a component is not free."""
        wps.bsr_set_from_mapped_values(self.matrix, self._map, self.blocks)
        conjugate_gradient.constrain(self._rows, self.matrix.columns, self.free, self.matrix.values)

    def multiply(self, x: wp.array, out: wp.array) -> None:
        """Write A x to `out`, vec3d of shape (n,)."""
        wps.bsr_mv(self.matrix, x, out, alpha=1.0, beta=0.0)

    def largest_diagonal(self) -> float:
        """Return the largest diagonal entry."""
        out = wp.zeros(1, dtype=wp.float64, device=self.device)
        conjugate_gradient.largest_diagonal(self.diagonal, self.matrix.values, out)
        return float(out.numpy()[0])

    def to_scipy(self) -> bsr_matrix:
        """Copy the matrix to the host as scipy BSR, shape (3 n, 3 n)."""
        values = self.matrix.values.numpy()[: self.block_count]
        size = 3 * self.vertex_count
        return bsr_matrix((values, self.columns, self.offsets), shape=(size, size))


class LinearSolver(Protocol):
    """Solves with one `BlockMatrix`, again and again."""

    def solve(self, b: wp.array, out: wp.array, tolerance: float, *, is_definite: bool = True) -> int:
        """Write the solution to `out`, vec3d of shape (n,); return the iterations (0 for a direct solver).

        Args:
            tolerance: Residual norm over the norm of `b`; a direct solver ignores it.
            is_definite: The matrix is known to be positive definite; otherwise negative curvature that is met
                is an error.

        Raises:
            ArithmeticError: The matrix is singular or not finite, or the iteration did not end.
        """


@dataclass(frozen=True)
class Elimination:
    """What a factorisation of a pattern will be."""

    order: NDArray[np.int64]
    """Of the scalar unknowns, such that it stays sparse, shape (3 n,)."""
    fill: float
    """Entries of L for each one of A."""
    solves: float
    """Solves that take the time of the factorisation."""

    @staticmethod
    def of(offsets: NDArray[np.int32], columns: NDArray[np.int32]) -> Elimination:
        """Order the vertices by minimum degree on the graph of blocks.

        This is a ninth of the work of ordering the scalar matrix, and less fill.

        Args:
            offsets: First block of each row, shape (n + 1,).
            columns: Column of each block.
        """
        n = len(offsets) - 1
        graph = csc_matrix((np.ones(len(columns)), columns, offsets), shape=(n, n))
        dominant = csc_matrix(graph + float(np.diff(offsets).max()) * identity(n, format="csc"))
        factor = factor_as_ordered(dominant, "MMD_AT_PLUS_A")
        order = np.argsort(factor.perm_c)
        count = 3.0 * np.diff(factor.L.indptr)
        return Elimination(
            (3 * order[:, None] + np.arange(3)).ravel(),
            float(count.sum()) / 3.0 / len(columns),
            # Column by column, of L and U: count^2 multiplications, and 2 count in each solve.
            _SOLVE_RATE * float((count**2).sum() / (2.0 * count.sum())),
        )


def factor_as_ordered(matrix: csc_matrix, order: Literal["NATURAL", "MMD_AT_PLUS_A"] = "NATURAL") -> SuperLU:
    """Factor a symmetric positive definite matrix without pivoting.

    Raises:
        ArithmeticError: The matrix is singular or not finite.
    """
    try:
        return splu(matrix, permc_spec=order, diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise ArithmeticError(f"the matrix cannot be factored: {error}") from error


class DirectSolver:
    """Sparse LU of symmetric positive definite matrices; the order is found once, each solve factors."""

    def __init__(self, matrix: BlockMatrix, elimination: Elimination | None = None) -> None:
        self.matrix = matrix
        elimination = elimination or Elimination.of(matrix.offsets, matrix.columns)
        self._order = elimination.order
        self._cost = int(np.ceil(elimination.solves))
        size = 3 * matrix.vertex_count
        position = np.arange(9 * matrix.block_count, dtype=np.float64).reshape(-1, 3, 3)
        scalar = bsr_matrix((position, matrix.columns, matrix.offsets), shape=(size, size)).tocsr()
        permuted = csc_matrix(scalar[self._order][:, self._order])
        permuted.sort_indices()
        self._source = permuted.data.astype(np.int64)
        self._permuted = permuted

    def solve(self, b: wp.array, out: wp.array, tolerance: float = 0.0, *, is_definite: bool = True) -> int:
        self._read()
        x = self._factor(is_definite).solve(b.numpy().reshape(-1)[self._order])
        self._write(x, out)
        return 0

    def _read(self) -> None:
        m = self.matrix
        self._permuted.data = m.matrix.values.numpy()[: m.block_count].reshape(-1)[self._source]

    def _factor(self, is_definite: bool) -> SuperLU:
        factor = factor_as_ordered(self._permuted)
        # Without pivoting the signs of the pivots are those of the eigenvalues (Sylvester).
        if not is_definite and factor.U.diagonal().min() <= 0.0:
            raise ArithmeticError("the matrix is not positive definite")
        return factor

    def _write(self, x: Floats, out: wp.array) -> None:
        if not np.isfinite(x).all():
            raise ArithmeticError("the matrix is singular")
        ordered = np.empty_like(x)
        ordered[self._order] = x
        out.assign(wp.array(ordered.reshape(-1, 3), dtype=wp.vec3d, device=out.device))


class LaggedSolver(DirectSolver):
    """CG with the LU of an earlier matrix as preconditioner; factors anew when that takes long.

    Source: Knoll & Keyes 2004, Jacobian-free Newton-Krylov methods, section 3.2, for lagged preconditioners.
    """

    def __init__(self, matrix: BlockMatrix, elimination: Elimination | None = None) -> None:
        super().__init__(matrix, elimination)
        self._earlier: SuperLU | None = None
        self._solves, self._steps = 0, 0

    def solve(self, b: wp.array, out: wp.array, tolerance: float = 1e-10, *, is_definite: bool = True) -> int:
        self._read()
        right = b.numpy().reshape(-1)[self._order]
        steps = 0
        if self._earlier is not None:
            x, steps = self._iterate(self._earlier, right, tolerance, is_definite)
            self._solves, self._steps = self._solves + 1, self._steps + steps
            # Past its best age: this solve cost more than the mean of all since the factorisation, itself
            # included.
            if steps * self._solves > self._cost + self._steps:
                self._earlier = None
            if x is not None:
                self._write(x, out)
                return steps
        factor = self._factor(is_definite)
        self._write(factor.solve(right), out)
        self._earlier, self._solves, self._steps = factor, 1, 0
        return steps

    def _iterate(
        self, factor: SuperLU, b: Floats, tolerance: float, is_definite: bool
    ) -> tuple[Floats | None, int]:
        """Return the solution, None if it took too long, and the iterations."""
        x, r = np.zeros_like(b), b.copy()
        z = factor.solve(r)
        p, rz = z, _dot(r, z)
        enough = tolerance**2 * _dot(b, b)
        for step in range(1, self._cost + 1):
            q = self._permuted @ p
            pq = _dot(p, q)
            if not (rz > 0.0 and pq > 0.0):
                if not r.any():
                    return x, step - 1
                if is_definite:
                    return None, step
                raise ArithmeticError("the matrix is not positive definite")
            x += rz / pq * p
            r -= rz / pq * q
            if _dot(r, r) <= enough:
                return x, step
            z = factor.solve(r)
            last, rz = rz, _dot(r, z)
            p = z + rz / last * p
        return None, self._cost


def _dot(a: Floats, b: Floats) -> float:
    # Not by BLAS, whose threads cost more than they save at this size.
    return float(np.einsum("i,i->", a, b))


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
    """CG with block-Jacobi preconditioner on the device of the matrix.

    Args:
        max_iterations: Bound of one solve.
        check_every: Steps between two looks at the residual (each waits for the device).
    """

    def __init__(self, matrix: BlockMatrix, *, max_iterations: int = 20000, check_every: int = 0) -> None:
        self.matrix = matrix
        self.max_iterations = max_iterations
        self.check_every = check_every or (1 if wp.get_device(matrix.device).is_cpu else 25)
        n, device = matrix.vertex_count, matrix.device
        self._inverse = wp.zeros(n, dtype=wp.mat33d, device=device)
        self._r, self._z, self._p, self._q = (wp.zeros(n, dtype=wp.vec3d, device=device) for _ in range(4))
        self._rz = wp.zeros(max_iterations + 1, dtype=wp.float64, device=device)
        self._pq = wp.zeros(max_iterations + 1, dtype=wp.float64, device=device)
        self._rr = wp.zeros(1, dtype=wp.float64, device=device)

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
        """
        out.zero_()
        wp.copy(self._r, b)
        conjugate_gradient.invert_blocks(self.matrix.diagonal, self.matrix.matrix.values, self._inverse)
        conjugate_gradient.precondition(self._inverse, self._r, self._z)
        wp.copy(self._p, self._z)
        self._rz.zero_()
        self._pq.zero_()
        wp.utils.array_inner(self._r, self._z, out=self._rz[0:1])
        start = self._residual()
        if start == 0.0:
            return ConjugateGradientResult(0, 0.0, np.nan, np.nan)
        residual, seen = 1.0, 0
        for step in range(self.max_iterations):
            self.matrix.multiply(self._p, self._q)
            wp.utils.array_inner(self._p, self._q, out=self._pq[step : step + 1])
            conjugate_gradient.descend(
                self._rz, self._pq, step, self._p, self._q, self._inverse, out, self._r, self._z
            )
            wp.utils.array_inner(self._r, self._z, out=self._rz[step + 1 : step + 2])
            conjugate_gradient.turn(self._rz, step, self._z, self._p)
            if (step + 1) % self.check_every and step + 1 < self.max_iterations:
                continue
            residual = self._residual() / start
            if not np.isfinite(residual):
                raise ArithmeticError(f"conjugate gradients: not finite after {step + 1} iterations")
            is_small = residual <= tolerance
            if not (is_small and is_definite) and self._has_negative_curvature(seen, step + 1):
                raise ArithmeticError("the matrix is not positive definite")
            if is_small:
                low, high = self._ritz_values(step + 1)
                return ConjugateGradientResult(step + 1, residual, low, high)
            seen = step + 1
        raise ArithmeticError(
            f"conjugate gradients: residual {residual:.1e} after {self.max_iterations} iterations, "
            f"wanted {tolerance:.1e}"
        )

    def _has_negative_curvature(self, start: int, end: int) -> bool:
        """Tell whether A or a diagonal block of it proved not to be positive definite in steps start..end."""
        rz, pq = self._rz[start:end].numpy(), self._pq[start:end].numpy()
        # Both are zero after a step that met the solution exactly.
        return bool(((rz < 0.0) | ((pq <= 0.0) & (rz != 0.0))).any())

    def _residual(self) -> float:
        wp.utils.array_inner(self._r, self._r, out=self._rr)
        return float(np.sqrt(self._rr.numpy()[0]))

    def _ritz_values(self, steps: int) -> tuple[float, float]:
        # The Lanczos matrix of the same Krylov space (Saad 2003, section 6.7.3).
        rz, pq = self._rz.numpy()[: steps + 1], self._pq.numpy()[:steps]
        usable = int(np.argmin(np.append((rz[:steps] > 0) & (pq > 0), False)))
        if usable < 1:
            return np.nan, np.nan
        alpha = rz[:usable] / pq[:usable]
        beta = rz[1:usable] / rz[: usable - 1]
        diagonal = 1.0 / alpha
        diagonal[1:] += beta / alpha[:-1]
        values = eigvalsh_tridiagonal(diagonal, np.sqrt(beta) / alpha[:-1])
        return float(values[0]), float(values[-1])


LINEAR_SOLVERS: dict[str, type] = {"direct": DirectSolver, "lagged": LaggedSolver, "cg": ConjugateGradient}
"""By the name that a config gives; "auto" chooses one for the device and the size."""


def make_linear_solver(name: str, matrix: BlockMatrix) -> LinearSolver:
    """Return the solver of that name.

    Raises:
        ValueError: Unknown name.
    """
    if name == "auto":
        return _choose(matrix)
    if name not in LINEAR_SOLVERS:
        raise ValueError(f"linear solver: unknown name {name!r}; known: auto, {', '.join(LINEAR_SOLVERS)}")
    return LINEAR_SOLVERS[name](matrix)


def _choose(matrix: BlockMatrix) -> LinearSolver:
    if wp.get_device(matrix.device).is_cpu and matrix.vertex_count <= LARGE:
        elimination = Elimination.of(matrix.offsets, matrix.columns)
        if matrix.vertex_count <= SMALL or elimination.fill <= FILL_LIMIT:
            return LaggedSolver(matrix, elimination)
    return ConjugateGradient(matrix)
