"""Hollow meshes get vertices inside, meshes with an interior of their own are left alone."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from pipeline.metrics.tet import signed_volumes
from pipeline.quality.connectivity import Connectivity
from pipeline.quality.interior import fill_hollow, wanted_lengths
from pipeline.quality.mesh_state import INTERIOR, make_state
from pipeline.quality.operations import NAMES, Limits
from pipeline.types import TetMesh
from tests.pipeline.quality.small_tets import fibonacci, grid, positive


def hollow():
    """Return a Delaunay mesh of an ellipsoid whose vertices are all on its surface."""
    points = fibonacci(400) * [1.0, 0.8, 0.6]
    return TetMesh(points, positive(points, Delaunay(points).simplices))


LIMITS = Limits(tolerance=2e-3, operations=NAMES)


def test_wanted_length_grows_inwards():
    mesh = grid(4)
    c = Connectivity(mesh.tets, len(mesh.points))
    wanted = wanted_lengths(mesh.points, c)
    middle = np.argmin(np.linalg.norm(mesh.points - 0.5, axis=1))
    # The middle is two axis-parallel edges of 1/4 from the sides; a side has edges of 1/4 and diagonals.
    side = np.argmin(np.linalg.norm(mesh.points - [0.5, 0.5, 0.0], axis=1))
    assert 0.25 < wanted[side] < 0.25 * np.sqrt(2)
    assert wanted[c.on_boundary].min() + 0.5 * 0.5 <= wanted[middle] <= wanted[side] + 0.5 * 0.5


def test_hollow_mesh_is_filled():
    mesh = hollow()
    state = make_state(mesh.points, mesh.tets, crease_angle=120)
    volume, worst = signed_volumes(state.points, state.tets).sum(), state.value.max()
    filled = fill_hollow(state, LIMITS)
    state.compact()
    assert filled == state.counts["interior_splits"] > 50
    assert (state.kind == INTERIOR).sum() > 50
    assert state.value.max() <= worst
    assert state.connectivity.defects == 0
    new = signed_volumes(state.points, state.tets)
    assert (new > 0).all()
    # Surface vertices slide and flip on an ellipsoid of 400 vertices: 2 % of its volume is one edge's sag.
    np.testing.assert_allclose(new.sum(), volume, rtol=0.02)


def test_mesh_with_an_interior_is_left_alone():
    mesh = grid(4)
    state = make_state(mesh.points, mesh.tets)
    assert fill_hollow(state, LIMITS) == 0
    assert len(state.tets) == len(mesh.tets)


def test_regions_are_not_mixed():
    mesh = hollow()
    labels = (mesh.points[mesh.tets].mean(axis=1)[:, 2] > 0).astype(np.int32)
    state = make_state(mesh.points, mesh.tets, labels, crease_angle=120)
    before = [signed_volumes(state.points, state.tets[state.labels == k]).sum() for k in (0, 1)]
    fill_hollow(state, LIMITS)
    after = [signed_volumes(state.points, state.tets[state.labels == k]).sum() for k in (0, 1)]
    np.testing.assert_allclose(after, before, rtol=0.02)
