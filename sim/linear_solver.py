"""Solve A dx = b for the 3x3 block matrix of a Newton step: sparse LU on the CPU, preconditioned CG anywhere.

The block pattern of a model does not change, so what depends on it alone is done once: for LU the
fill-reducing order of the vertices. From one Newton step to the next the values change little: the LU of an
earlier matrix is a preconditioner for the next ones, until it is too old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, csc_matrix, identity
from scipy.sparse.linalg import SuperLU, splu

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient

Floats = NDArray[np.float64]

SMALL, LARGE = 3000, 50000
"""Up to so many vertices "auto" factors on the CPU, whatever the fill; above so many it does not count it."""
FILL_LIMIT = 16.0
"""Above so many entries of L for each one of A "auto" takes CG on the CPU too: a solve with L and U then
costs more than the iterations that it saves. A solid cube is above from some 70,000 tets, others later."""
_SOLVE_RATE = 0.3
"""Multiplications a second of a solve over those of a factorisation, measured: 0.23 to 0.45."""


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
