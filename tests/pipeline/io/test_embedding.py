"""Every point gets the tet that contains it, and weights that give the point back."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.io.embedding import embed_points
from pipeline.types import TetMesh


def graded_mesh(seed: int) -> TetMesh:
    """A Delaunay mesh of points whose spacing varies by a factor of a hundred; flat tets left out."""
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    points = np.vstack([corners, rng.random((60, 3)), 0.01 * rng.random((60, 3))])
    tets = Delaunay(points).simplices.astype(np.int32)
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    volume = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6
    tets[volume < 0] = tets[volume < 0][:, [0, 2, 1, 3]]
    return TetMesh(points, tets[np.abs(volume) > 1e-13])


@pytest.mark.parametrize("seed", range(3))
def test_points_inside_lie_in_their_tet(seed):
    mesh = graded_mesh(seed)
    rng = np.random.default_rng(seed)
    home = rng.integers(len(mesh.tets), size=500)
    weights = rng.dirichlet(np.ones(4), size=500)
    queries = np.einsum("mk,mkd->md", weights, mesh.points[mesh.tets[home]])
    tet, found = embed_points(mesh.points, mesh.tets, queries)
    np.testing.assert_array_equal(tet, home)
    # The weights are computed with the inverse of the edges, whose condition a graded mesh makes large.
    np.testing.assert_allclose(found, weights, atol=1e-7)


def test_points_outside_are_extrapolated_as_little_as_possible():
    mesh = graded_mesh(0)
    queries = np.random.default_rng(1).uniform(-0.1, 1.1, size=(200, 3))
    tet, weights = embed_points(mesh.points, mesh.tets, queries)
    back = np.einsum("mk,mkd->md", weights, mesh.points[mesh.tets[tet]])
    np.testing.assert_allclose(back, queries, atol=1e-9)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-9)
    inside = ((queries > 0) & (queries < 1)).all(axis=1)
    assert (weights[inside].min(axis=1) > -1e-6).all()
    assert (weights[~inside].min(axis=1) < 0).all()


def test_one_tet_takes_all():
    points, tets = np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], dtype=np.int32)
    tet, weights = embed_points(points, tets, np.array([[0.1, 0.2, 0.3], [2.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(tet, [0, 0])
    np.testing.assert_allclose(weights, [[0.4, 0.1, 0.2, 0.3], [-1.0, 2.0, 0.0, 0.0]], atol=1e-15)


def test_no_tets_or_no_queries():
    points, tets = np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], dtype=np.int32)
    assert embed_points(points, tets, np.zeros((0, 3)))[1].shape == (0, 4)
    with pytest.raises(InputError, match="no tets"):
        embed_points(points, tets[:0], np.zeros((1, 3)))
