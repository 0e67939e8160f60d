"""The order in which a factorisation takes the vertices of a symmetric block matrix, so that it stays sparse.

Minimum degree is the best of simple orders for slender and small bodies; in thick ones the fill of nested
dissection grows more slowly. A body whose factor is large tries both.

Source: George, Liu 1981, Computer Solution of Large Sparse Positive Definite Systems, chapters 5 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, identity
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import SuperLU, splu

Order = NDArray[np.int64]

_DISSECTED = 8.0
"""Entries of L for each one of A above which nested dissection is tried; below, it was the worse."""
_LEAF = 100
"""Parts of up to so many vertices are not divided further."""
_SWEEPS = 3
"""Searches for a vertex at the end of a part."""
_SMALLEST_PART = 0.3
"""Least share of a part on either side of what divides it, where a level allows it."""
_SOLVE_RATE = 0.3
"""Multiplications a second of a solve over those of a factorisation, measured: 0.23 to 0.45."""


@dataclass(frozen=True)
class Elimination:
    """What a factorisation of a pattern will be."""

    order: Order
    """Of the scalar unknowns, such that it stays sparse, shape (3 n,)."""
    fill: float
    """Entries of L for each one of A."""
    work: float
    """Multiplications of the factorisation."""
    solves: float
    """Solves that take the time of the factorisation."""

    @staticmethod
    def of(offsets: NDArray[np.int32], columns: NDArray[np.int32]) -> Elimination:
        """Order the vertices on the graph of blocks.

        This is a ninth of the work of ordering the scalar matrix, and less fill.

        Args:
            offsets: First block of each row, shape (n + 1,).
            columns: Column of each block.
        """
        n = len(offsets) - 1
        graph = csr_matrix((np.ones(len(columns)), columns, offsets), shape=(n, n))
        factor = factor_as_ordered(_dominant(graph), "MMD_AT_PLUS_A")
        found = Elimination._with(graph, np.argsort(factor.perm_c), factor)
        if found.fill <= _DISSECTED:
            return found
        order = nested_dissection(graph)
        factor = factor_as_ordered(csc_matrix(_dominant(graph)[order][:, order]))
        other = Elimination._with(graph, order, factor)
        return other if other.work < found.work else found

    @staticmethod
    def _with(graph: csr_matrix, order: Order, factor: SuperLU) -> Elimination:
        count = 3.0 * np.diff(factor.L.indptr)
        return Elimination(
            (3 * order[:, None] + np.arange(3)).ravel(),
            float(count.sum()) / 3.0 / graph.nnz,
            float((count**2).sum()),
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


def nested_dissection(graph: csr_matrix) -> Order:
    """Return the vertices of a symmetric graph with loops, each part before what divides it, shape (n,).

    What divides a part is a level of the distance from a vertex at its end: the smallest of those that leave
    enough on both sides.
    """
    return _dissect(graph, np.arange(graph.shape[0]))


def _dissect(graph: csr_matrix, vertices: Order) -> Order:
    part = graph[vertices][:, vertices]
    if len(vertices) <= _LEAF:
        return vertices[_minimum_degree(part)]
    level = _levels(part)
    if not np.isfinite(level).all():
        reached = np.isfinite(level)
        return np.concatenate([_dissect(graph, vertices[reached]), _dissect(graph, vertices[~reached])])
    level = level.astype(np.int64)
    sizes = np.bincount(level)
    if len(sizes) < 3:
        return vertices[_minimum_degree(part)]
    inner = np.arange(1, len(sizes) - 1)
    smaller = np.minimum(np.cumsum(sizes) - sizes, len(vertices) - np.cumsum(sizes))[inner]
    fair = inner[smaller >= min(_SMALLEST_PART * len(vertices), smaller.max())]
    middle = fair[np.argmin(sizes[fair])]
    # Those of the level without a neighbour beyond it divide nothing.
    beyond = part @ (level == middle + 1).astype(np.float64) > 0.0
    is_wall = (level == middle) & beyond
    before, after = (level <= middle) & ~is_wall, level > middle
    parts = (_dissect(graph, vertices[before]), _dissect(graph, vertices[after]), vertices[is_wall])
    return np.concatenate(parts)


def _minimum_degree(part: csr_matrix) -> Order:
    return np.argsort(factor_as_ordered(_dominant(part), "MMD_AT_PLUS_A").perm_c)


def _levels(part: csr_matrix) -> NDArray[np.float64]:
    """Return the distance in edges from a vertex at the end of a graph, infinite where nothing leads."""
    start = 0
    for _ in range(_SWEEPS):
        level = np.asarray(dijkstra(part, directed=False, indices=[start], unweighted=True))[0]
        start = int(np.argmax(np.where(np.isfinite(level), level, -1.0)))
    return level


def _dominant(graph: csr_matrix) -> csc_matrix:
    """Return a positive definite matrix with the pattern of a graph."""
    largest = float(np.diff(graph.indptr).max())
    return csc_matrix(graph + largest * identity(graph.shape[0], format="csr"))
