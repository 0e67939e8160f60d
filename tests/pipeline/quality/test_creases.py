"""Creases give way to tets, but only wrinkles do: sharp shapes, regions and good tets keep theirs."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.tet import dihedral_angles
from pipeline.quality.creases import free_creases
from pipeline.quality.mesh_state import CORNER, CURVE, SURFACE, make_state
from pipeline.stages.optimize import OptimizeConfig, optimize
from pipeline.types import TetMesh
from tests.pipeline.quality.small_tets import ball, grid


def jagged(seed=0):
    """Return a ball full of slivers with a third of its boundary edges named as creases."""
    mesh = ball(seed=seed)
    state = make_state(mesh.points, mesh.tets)
    edges = state.connectivity.edges[state.connectivity.boundary_edge]
    return TetMesh(mesh.points, mesh.tets, crease_edges=edges[::3])


def test_vertices_of_bad_tets_are_freed_and_others_are_not():
    mesh = jagged()
    state = make_state(mesh.points, mesh.tets, crease_edges=mesh.crease_edges)
    held = state.kind < SURFACE
    freed = free_creases(state, 10.0)
    assert freed > 0
    assert state.counts["freed_crease_vertices"] == freed
    now = held & (state.kind == SURFACE)
    assert now.sum() == freed
    bad = dihedral_angles(mesh.points, mesh.tets).min(axis=1) < 10
    near_bad = np.zeros(len(mesh.points), dtype=bool)
    near_bad[mesh.tets[bad].ravel()] = True
    assert not (now & ~near_bad).any()
    assert len(state.creases) > 0
    assert not now[state.creases].any()


def test_freed_creases_make_better_tets():
    # On the top of a cube three creases enclose a nearly flat triangle, and so are the tets below it.
    mesh = grid(4)
    corner = np.array([[0.25, 0.25, 1], [0.5, 0.25, 1], [0.5, 0.5, 1]])
    p, q, r = (int(np.flatnonzero((mesh.points == c).all(axis=1))[0]) for c in corner)
    points = mesh.points.copy()
    points[q] = [0.378, 0.372, 1]
    creases = np.concatenate([make_state(mesh.points, mesh.tets).creases, [[p, q], [q, r], [p, r]]])
    worst = []
    for angle in (0.0, 25.0):
        result = optimize(
            TetMesh(points, mesh.tets, crease_edges=creases), OptimizeConfig(crease_min_dihedral=angle)
        )
        worst.append(dihedral_angles(result.points, result.tets).min())
        np.testing.assert_allclose(result.volumes.sum(), 1.0, atol=1e-3)
    assert worst[0] < 25 < worst[1]


def test_a_sharp_edge_stays():
    # A wedge of 15 degrees: its tets are no better than that, and the edge is not to blame.
    end = np.array([[0.0, 0, 0], [1, 0, 0], [1, np.tan(np.radians(15)), 0]])
    points = np.concatenate([end, end + np.array([0, 0, 0.3])])
    tets = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]])
    turned = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]]) < 0
    tets[turned] = tets[turned][:, [0, 2, 1, 3]]
    state = make_state(points, tets, crease_edges=np.array([[0, 3]]))
    assert dihedral_angles(points, tets).min() < 16
    assert free_creases(state, 25.0) == 0
    assert (state.kind[[0, 3]] == CORNER).all()


def test_regions_keep_their_interface():
    mesh = jagged()
    labels = (mesh.points[mesh.tets].mean(axis=1)[:, 2] > 0).astype(np.int32)
    state = make_state(mesh.points, mesh.tets, labels, crease_edges=mesh.crease_edges)
    shared = np.intersect1d(mesh.tets[labels == 0], mesh.tets[labels == 1])
    assert free_creases(state, 35.0) > 0
    assert (state.kind[shared] == CORNER).all()


def test_a_good_mesh_keeps_its_creases():
    mesh = grid(3)
    state = make_state(mesh.points, mesh.tets)
    kind = state.kind.copy()
    # The tets of a Kuhn grid have 45 degrees.
    assert free_creases(state, 25.0) == 0
    np.testing.assert_array_equal(state.kind, kind)
    assert (kind == CURVE).any()
