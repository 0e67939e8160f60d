"""Connectivity of tets against the plain functions of `topology` and against Euler's formula."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.quality.connectivity import Connectivity, find_keys, ragged, stable_order
from pipeline.topology import boundary_faces, simplex_edges
from tests.pipeline.quality.small_tets import ball, grid


def test_edges_and_faces_are_those_of_the_mesh():
    mesh = ball()
    c = Connectivity(mesh.tets, len(mesh.points))
    edges, tet_edges, _ = simplex_edges(mesh.tets)
    np.testing.assert_array_equal(c.edges, edges)
    np.testing.assert_array_equal(c.tet_edges, tet_edges)
    faces, owners = boundary_faces(mesh.tets)
    np.testing.assert_array_equal(c.faces, faces)
    np.testing.assert_array_equal(c.face_tets, owners)


def test_boundary_of_a_ball_is_a_sphere():
    mesh = ball()
    c = Connectivity(mesh.tets, len(mesh.points))
    assert c.defects == 0
    # Euler: V - E + F = 2 on the sphere, V - E + F - T = 1 in the ball.
    assert c.on_boundary.sum() - c.boundary_edge.sum() + len(c.faces) == 2
    face_count = (4 * len(mesh.tets) + len(c.faces)) // 2
    assert len(np.unique(mesh.tets)) - len(c.edges) + face_count - len(mesh.tets) == 1


def test_stars_list_every_corner():
    mesh = grid(2)
    c = Connectivity(mesh.tets, len(mesh.points))
    owner, entry = c.ragged_star(np.arange(len(mesh.points)))
    np.testing.assert_array_equal(mesh.tets[entry // 4, entry % 4], owner)
    assert len(np.unique(entry)) == 4 * len(mesh.tets)


def test_faces_of_more_than_two_tets_are_defects():
    tets = np.array([[0, 1, 2, 3], [0, 2, 1, 4], [0, 1, 2, 5]], dtype=np.int32)
    assert Connectivity(tets, 6).defects > 0


def test_rows_are_found_whatever_the_order_and_missing_ones_are_negative():
    mesh = grid(2)
    c = Connectivity(mesh.tets, len(mesh.points))
    np.testing.assert_array_equal(c.edge_rows(c.edges[:, ::-1]), np.arange(len(c.edges)))
    assert c.edge_rows(np.array([[0, 0]]))[0] == -1
    np.testing.assert_array_equal(find_keys(np.zeros(0, dtype=np.int64), np.array([3])), [-1])


def test_ragged_rows_are_concatenated():
    owner, values = ragged(np.array([0, 2, 2, 5]), np.array([10, 11, 12, 13, 14]), np.array([2, 1, 0]))
    np.testing.assert_array_equal(owner, [0, 0, 0, 2, 2])
    np.testing.assert_array_equal(values, [12, 13, 14, 10, 11])


@pytest.mark.parametrize("bound", [1, 50, 2**16, 2**20, 2**40, 2**63 - 1])
def test_stable_order_is_that_of_numpy(bound):
    rng = np.random.default_rng(0)
    # Values drawn from few, so that equal keys occur at every width.
    keys = rng.integers(0, bound, 100)[rng.integers(0, 100, 5000)]
    np.testing.assert_array_equal(stable_order(keys), np.argsort(keys, kind="stable"))
    assert len(stable_order(keys[:0])) == 0
