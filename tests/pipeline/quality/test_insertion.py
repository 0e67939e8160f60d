"""Vertex insertion: separate trials, undone without a trace where they do not gain."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.tet import signed_volumes
from pipeline.quality.energies import quality_energy
from pipeline.quality.insertion import insert_vertices, split_far_faces
from pipeline.quality.mesh_state import CURVE, INTERIOR, make_state
from pipeline.quality.smoothing import smooth
from tests.pipeline.quality.small_tets import ball, grid, sphere_surface


def test_insertion_lowers_the_energy_of_a_bad_mesh():
    mesh = ball(inner_count=40, seed=3)
    state = make_state(mesh.points, mesh.tets, crease_angle=120)
    for _ in range(5):
        smooth(state)
    total, worst, tets = state.value.sum(), state.value.max(), len(state.tets)
    inserted = insert_vertices(state, threshold=2.0)
    assert inserted > 0
    assert state.counts["insertions"] == inserted
    assert len(state.tets) > tets
    assert state.value.sum() < total
    assert state.value.max() <= worst
    state.compact()
    assert (signed_volumes(state.points, state.tets) > 0).all()
    assert state.connectivity.defects == 0
    np.testing.assert_allclose(state.value, quality_energy(state.points, state.tets)[0], rtol=1e-12)


def test_failed_trials_leave_no_trace():
    mesh = grid(3)
    state = make_state(mesh.points, mesh.tets)
    before = {tuple(sorted(t)) for t in mesh.tets.tolist()}
    # Tets of a Kuhn grid have energies near 1: nothing is gained by cutting them, though all are offered.
    inserted = insert_vertices(state, threshold=0.0, batches=2)
    state.compact()
    assert inserted == 0
    assert {tuple(sorted(t)) for t in state.tets.tolist()} == before
    np.testing.assert_array_equal(state.points, mesh.points)


def test_far_faces_are_split_and_come_closer():
    surface, mesh = sphere_surface(), ball(surface_count=60, inner_count=30)
    state = make_state(
        mesh.points,
        mesh.tets,
        surface=(surface.points, surface.faces),
        crease_edges=np.zeros((0, 2), dtype=np.int32),
    )
    faces = state.connectivity.faces
    gaps = state.reference.face_deviation(state.points[faces])
    split = split_far_faces(state, gaps, tolerance=float(np.median(gaps)), budget=20, cap=1e5, slack=1e5)
    assert 0 < split <= 20
    assert state.connectivity.defects == 0
    assert len(state.connectivity.faces) > len(faces)
    after = state.reference.face_deviation(state.points[state.connectivity.faces])
    assert after.mean() < gaps.mean()


def test_no_budget_splits_nothing():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    assert split_far_faces(state, np.ones(len(state.connectivity.faces)), 0.5, 0, 1e5) == 0


def test_split_crease_edges_stay_creases():
    mesh = grid(2)
    state = make_state(mesh.points, mesh.tets)
    total = len(state.creases)
    faces = state.connectivity.faces
    gaps = np.ones(len(faces))
    split_far_faces(state, gaps, 0.5, 1000, cap=1e5, slack=1e5)
    on_curve = (state.kind == CURVE).sum()
    assert (state.connectivity.edge_rows(state.creases) >= 0).all()
    # A cube has 12 edges: closed chains of n pieces between 8 corners have n - 12 vertices inside them.
    assert len(state.creases) == on_curve + 12
    assert len(state.creases) >= total
    assert (state.kind[len(mesh.points) :] < INTERIOR).all()
