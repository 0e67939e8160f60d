"""What a tetrahedral mesh refuses, and its volumes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from pipeline.errors import InvalidMeshError
from pipeline.types import TetMesh


def test_volumes_are_a_sixth_of_the_determinant_of_the_edges(make_box):
    mesh = make_box(3, seed=4)
    corner = mesh.points[mesh.tets]
    # V = det(p1 - p0, p2 - p0, p3 - p0) / 6; the tolerance is a few roundings.
    expected = np.linalg.det(corner[:, 1:] - corner[:, :1]) / 6.0
    np.testing.assert_allclose(mesh.volumes, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "order", [o for o in permutations(range(4)) if np.linalg.det(np.eye(4)[list(o)]) > 0]
)
def test_duplicates_are_found_in_any_order_of_their_corners(make_box, order):
    mesh = make_box(2)
    again = mesh.tets[7:8][:, list(order)]
    with pytest.raises(InvalidMeshError, match="1 duplicates") as caught:
        TetMesh(mesh.points, np.concatenate([mesh.tets, again]))
    assert caught.value.rows == (7,)


@pytest.mark.parametrize("pair", list(permutations(range(4), 2)))
def test_a_corner_that_is_there_twice_is_named(make_box, pair):
    mesh = make_box(2)
    tets = mesh.tets.copy()
    tets[5, pair[0]] = tets[5, pair[1]]
    with pytest.raises(InvalidMeshError, match="1 of 48 rows repeat a vertex") as caught:
        TetMesh(mesh.points, tets)
    assert caught.value.rows == (5,)


@pytest.mark.parametrize("index", [-1, 27])
def test_an_index_beyond_the_points_is_named(make_box, index):
    mesh = make_box(2)
    tets = mesh.tets.copy()
    tets[9, 2] = index
    with pytest.raises(InvalidMeshError, match=r"1 of 48 rows name a vertex outside 0\.\.26") as caught:
        TetMesh(mesh.points, tets)
    assert caught.value.rows == (9,)
