"""Orders of elimination against what a factorisation with them takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from sim.block_matrix import BlockMatrix
from sim.elimination import Elimination, factor_as_ordered, nested_dissection
from sim.energy import Elastic
from sim.model import SoftBodyModel


def matrix_of(box: Callable, cells: tuple[int, int, int]) -> BlockMatrix:
    """Return the stiffness at rest plus one of a box whose vertices are numbered at random."""
    points, tets = box(cells, (1.0, 1.0, 1.0))
    shuffled = np.random.default_rng(0).permutation(len(points)).astype(np.int32)
    model = SoftBodyModel.from_arrays(points[np.argsort(shuffled)], shuffled[tets])
    elastic = Elastic(model)
    matrix = BlockMatrix(model.vertex_count, *elastic.pattern(), np.ones((model.vertex_count, 3)))
    elastic.hessian(model.to_device(model.rest_positions), matrix.blocks)
    matrix.assemble()
    return matrix


def graph_of(matrix: BlockMatrix) -> csr_matrix:
    n = matrix.vertex_count
    return csr_matrix((np.ones(matrix.block_count), matrix.columns, matrix.offsets), shape=(n, n))


@pytest.mark.parametrize("cells", [(4, 3, 2), (14, 14, 14)])
def test_fill_and_work_are_those_of_the_factor(box: Callable, cells: tuple[int, int, int]) -> None:
    matrix = matrix_of(box, cells)
    elimination = Elimination.of(matrix.offsets, matrix.columns)
    order = elimination.order
    scalar = csc_matrix(matrix.to_scipy().tocsr()[order][:, order])
    scalar.setdiag(scalar.diagonal() + 1e3 * np.abs(scalar).max())
    scalar.data = np.where(scalar.data == 0.0, 1e-30, scalar.data)
    L = factor_as_ordered(scalar).L
    blocks = np.abs(L).tocoo()
    pairs = np.unique(np.stack([blocks.row // 3, blocks.col // 3]), axis=1)
    # SuperLU pads its supernodes, and counts a triangle of each diagonal block.
    assert elimination.fill == pytest.approx(pairs.shape[1] / matrix.block_count, rel=0.1)
    count = np.diff(L.indptr)
    assert elimination.work == pytest.approx((count**2).sum() / 3.0, rel=0.2)


def test_order_takes_each_vertex_once(box: Callable) -> None:
    order = nested_dissection(graph_of(matrix_of(box, (8, 8, 8))))
    assert np.array_equal(np.sort(order), np.arange(9**3))


def test_parts_that_nothing_joins_are_ordered_too() -> None:
    # Two rings of 150 vertices and 20 vertices alone.
    n, ring = 320, np.arange(150)
    a = np.concatenate([ring, ring + 150])
    b = np.concatenate([np.roll(ring, 1), np.roll(ring, 1) + 150])
    index = np.concatenate([a, b, np.arange(n)]), np.concatenate([b, a, np.arange(n)])
    order = nested_dissection(csr_matrix((np.ones(len(index[0])), index), shape=(n, n)))
    assert np.array_equal(np.sort(order), np.arange(n))


def test_dissection_of_a_cube_is_less_work_than_minimum_degree(box: Callable) -> None:
    # George: n^2 for a cube by nested dissection, and no order is better than that.
    matrix = matrix_of(box, (20, 20, 20))
    graph = csc_matrix(graph_of(matrix) + 30.0 * csr_matrix(np.eye(matrix.vertex_count)))
    factor = factor_as_ordered(graph, "MMD_AT_PLUS_A")
    by_degree = (3.0 * np.diff(factor.L.indptr)).astype(np.float64)
    assert Elimination.of(matrix.offsets, matrix.columns).work < 0.7 * (by_degree**2).sum()
