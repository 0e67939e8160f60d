"""Solve A dx = b for the 3x3 block matrix of a Newton step: sparse LU on the CPU, preconditioned CG anywhere.

The block pattern of a model does not change, so what depends on it alone is done once: for LU the
fill-reducing order of the vertices. From one Newton step to the next the values change little: the LU of an
earlier matrix is a preconditioner for the next ones, until it is too old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, csc_matrix
from scipy.sparse.linalg import SuperLU

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient
from sim.elimination import Elimination, factor_as_ordered

Floats = NDArray[np.float64]
Solve = Callable[[Floats], Floats]

SMALL, LARGE = 3000, 50000
"""Up to so many vertices "auto" factors on the CPU, whatever the fill; above so many it does not count it."""
FILL_LIMIT = 12.0
"""Above so many entries of L for each one of A "auto" takes CG on the CPU too: a solve with L and U then
costs more than the iterations that it saves. A solid cube is above from some 45,000 tets, others later."""
_AS_DIRECT = 1e-12
"""Residual, over the right-hand side, of a solve with the factor of its own matrix, in float32 too."""


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

    The LU is one of float32, of half the memory and time, as long as that is exact enough.

    Source: Knoll & Keyes 2004, Jacobian-free Newton-Krylov methods, section 3.2, for lagged preconditioners;
    Carson & Higham 2018, Accelerating the solution of linear systems by iterative refinement in three
    precisions, for those of low precision.
    """

    def __init__(self, matrix: BlockMatrix, elimination: Elimination | None = None) -> None:
        super().__init__(matrix, elimination)
        self._earlier: Solve | None = None
        self._solves, self._steps = 0, 0
        self._is_single_enough = True

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
        if self._is_single_enough and is_definite:
            x, more = self._begin_single(right, min(tolerance, _AS_DIRECT))
            steps += more
            if x is not None:
                self._write(x, out)
                return steps
        factor = self._factor(is_definite)
        self._write(factor.solve(right), out)
        self._earlier, self._solves, self._steps = factor.solve, 1, 0
        return steps

    def _begin_single(self, b: Floats, tolerance: float) -> tuple[Floats | None, int]:
        """Factor in float32 and iterate; return the solution, None if that was no use, and the iterations."""
        x, steps = None, 0
        solve = factor_in_single(self._permuted)
        if solve is not None:
            x, steps = self._iterate(solve, b, tolerance, is_definite=True)
        # Half of a factorisation is what float32 saves.
        self._is_single_enough = x is not None and 2 * steps <= self._cost
        self._earlier, self._solves, self._steps = solve if self._is_single_enough else None, 1, steps
        return x, steps

    def _iterate(
        self, solve: Solve, b: Floats, tolerance: float, is_definite: bool
    ) -> tuple[Floats | None, int]:
        """Return the solution, None if it took too long, and the iterations."""
        x, r = np.zeros_like(b), b.copy()
        z = solve(r)
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
            z = solve(r)
            last, rz = rz, _dot(r, z)
            p = z + rz / last * p
        return None, self._cost


def factor_in_single(matrix: csc_matrix) -> Solve | None:
    """Return about the inverse of a symmetric positive definite matrix, from a factor in float32.

    The diagonal is scaled to one first, which takes the units out.

    Returns:
        None where float32 does not tell the matrix from a singular one.
    """
    diagonal = matrix.diagonal()
    if not (np.isfinite(diagonal).all() and diagonal.min() > 0.0):
        return None
    scale = 1.0 / np.sqrt(diagonal)
    values = scale[matrix.indices] * matrix.data * np.repeat(scale, np.diff(matrix.indptr))
    single = csc_matrix((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    try:
        factor = factor_as_ordered(single)
    except ArithmeticError:
        return None

    def solve(r: Floats) -> Floats:
        scaled = scale * r
        size = float(np.abs(scaled).max())
        if not 0.0 < size < np.inf:
            return scaled
        return scale * (size * factor.solve((scaled / size).astype(np.float32)).astype(np.float64))

    return solve


def _dot(a: Floats, b: Floats) -> float:
    # Not by BLAS, whose threads cost more than they save at this size.
    return float(np.einsum("i,i->", a, b))


LINEAR_SOLVERS: dict[str, type] = {"direct": DirectSolver, "lagged": LaggedSolver, "cg": ConjugateGradient}
"""By the name that a config gives; "auto" chooses one for the device and the size."""


def make_linear_solver(name: str, matrix: BlockMatrix, preconditioner: str = "fsai") -> LinearSolver:
    """Return the solver of that name.

    Args:
        preconditioner: Of conjugate gradients, by its name in `PRECONDITIONERS`.

    Raises:
        ValueError: Unknown name, or one that takes no float32.
    """
    if matrix.precision.is_single:
        if name not in ("auto", "cg"):
            raise ValueError(f"linear solver: {name!r} takes no float32; known: auto, cg")
        return ConjugateGradient(matrix, preconditioner)
    if name == "auto":
        return _choose(matrix, preconditioner)
    if name not in LINEAR_SOLVERS:
        raise ValueError(f"linear solver: unknown name {name!r}; known: auto, {', '.join(LINEAR_SOLVERS)}")
    if name == "cg":
        return ConjugateGradient(matrix, preconditioner)
    return LINEAR_SOLVERS[name](matrix)


def _choose(matrix: BlockMatrix, preconditioner: str) -> LinearSolver:
    if wp.get_device(matrix.device).is_cpu and matrix.vertex_count <= LARGE:
        elimination = Elimination.of(matrix.offsets, matrix.columns)
        if matrix.vertex_count <= SMALL or elimination.fill <= FILL_LIMIT:
            return LaggedSolver(matrix, elimination)
    return ConjugateGradient(matrix, preconditioner)
