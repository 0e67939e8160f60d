"""Fidelity: the pull is the derivative of the distances, and following it brings the faces to the surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.quality.fidelity import MESH_SAMPLES, MESH_WEIGHTS, Fidelity, keep_offsets
from pipeline.quality.mesh_state import SURFACE, make_state
from pipeline.quality.smoothing import smooth
from pipeline.surface_query import SurfaceQuery
from tests.pipeline.quality.small_tets import ball, grid, sphere_surface


def _ball_in_sphere():
    surface = sphere_surface(3000)
    mesh = ball(surface_count=150, inner_count=80)
    state = make_state(
        mesh.points,
        mesh.tets,
        surface=(surface.points, surface.faces),
        crease_edges=np.zeros((0, 2), dtype=np.int32),
    )
    return state, Fidelity(state.reference, len(state.connectivity.faces), np.random.default_rng(0))


def _energy(state, fidelity, points, scale, frozen):
    """Quadratic part of the fidelity energy with the weights of `frozen`, evaluated with true distances."""
    faces = state.connectivity.faces
    theirs = SurfaceQuery(points, faces).closest(fidelity.samples).distance
    mine = np.einsum("sc,fcd->fsd", MESH_SAMPLES, points[faces]).reshape(-1, 3)
    mine = state.reference.query.closest(mine).distance
    return (frozen * (np.concatenate([theirs, mine]) / scale) ** 2).sum()


def test_pull_is_the_derivative_of_the_squared_distances():
    state, fidelity = _ball_in_sphere()
    faces, scale = state.connectivity.faces, 0.05
    pull = fidelity.fit(state, scale, 1.0).pull(state.points)
    theirs = SurfaceQuery(state.points, faces).closest(fidelity.samples).distance
    mine = np.einsum("sc,fcd->fsd", MESH_SAMPLES, state.points[faces]).reshape(-1, 3)
    u = (np.concatenate([theirs, state.reference.query.closest(mine).distance]) / scale) ** 2
    share = np.concatenate(
        [
            np.full(len(theirs), 2 * len(faces) / len(theirs)),
            np.tile(2 * MESH_WEIGHTS, len(faces)),
        ]
    )
    frozen = share * np.minimum(1 + 0.1 * u, 10.0)
    step = 1e-5
    for p in np.flatnonzero(state.kind == SURFACE)[:4]:
        for axis in range(3):
            moved = [state.points.copy() for _ in range(2)]
            moved[0][p, axis] += step
            moved[1][p, axis] -= step
            high, low = (_energy(state, fidelity, m, scale, frozen) for m in moved)
            expected = (high - low) / (2 * step)
            # 2 %: some samples cross from one triangle to the next within the step.
            limit = 0.02 * np.abs(2 * pull.slope[p]).max() + 1e-3
            assert abs(2 * pull.slope[p, axis] - expected) <= limit


def test_fit_brings_faces_to_the_sphere():
    state, fidelity = _ball_in_sphere()
    first = None
    for _ in range(15):
        fit = fidelity.fit(state, 0.01, 1.0)
        first = first or fit.deviation
        smooth(state, 0.0, fit.pull(state.points), floor=1e3)
    last = fidelity.fit(state, 0.01, 1.0).deviation
    # Chords of a sphere err to one side, spread evenly from nought to the largest error: the best offset
    # halves the mean at least.
    assert last.mean < 0.6 * first.mean
    keep_offsets(state)
    assert (state.offset[state.kind == SURFACE] > 0).mean() > 0.9


def test_gaps_belong_to_the_faces():
    state, fidelity = _ball_in_sphere()
    fit = fidelity.fit(state, 0.01, 1.0)
    assert fit.gaps.shape == (len(state.connectivity.faces),)
    np.testing.assert_allclose(fit.gaps.max(), fit.deviation.largest)


def test_pull_follows_the_vertices():
    """Between two searches the pull is that of distances to planes, exact to first order in the moves."""
    state, fidelity = _ball_in_sphere()
    fit = fidelity.fit(state, 0.05, 1.0)
    held = fit.pull(state.points)
    moved = state.points + 1e-4 * np.random.default_rng(1).normal(size=state.points.shape)
    again = fidelity.fit(replace(state, points=moved), 0.05, 1.0).pull(moved)
    error = np.abs(fit.pull(moved).slope - again.slope)[state.kind == SURFACE]
    change = np.abs(held.slope - again.slope)[state.kind == SURFACE]
    # The weights are held too, and some samples meet another triangle: most of the change, not all.
    assert change.max() > 0
    assert np.linalg.norm(error) < 0.3 * np.linalg.norm(change)


def test_mesh_on_its_own_boundary_is_not_pulled():
    mesh = grid(3)
    state = make_state(mesh.points, mesh.tets)
    fidelity = Fidelity(state.reference, len(state.connectivity.faces), np.random.default_rng(0))
    fit = fidelity.fit(state, 1e-3, 1.0)
    pull, deviation = fit.pull(state.points), fit.deviation
    # 1e-6: closest points are found in single precision.
    assert deviation.largest < 1e-6
    np.testing.assert_allclose(pull.slope, 0, atol=1e-1)
    smooth(state, 0.0, pull)
    held = state.kind == SURFACE
    np.testing.assert_allclose(state.points[held], mesh.points[held], atol=2e-2)
