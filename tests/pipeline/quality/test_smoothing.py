"""Smoothing: it descends, it harms nobody, and every kind of vertex keeps to its place."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.tet import signed_volumes
from pipeline.quality.energies import ENERGIES, EnergyParameters, quality_energy
from pipeline.quality.mesh_state import CORNER, CURVE, INTERIOR, SURFACE, make_state
from pipeline.quality.smoothing import smooth
from tests.pipeline.quality.small_tets import ball, grid, sphere_surface


@pytest.mark.parametrize("energy", list(ENERGIES))
def test_no_tet_gets_worse_than_the_worst_around_it(energy, device):
    mesh = ball()
    state = make_state(mesh.points, mesh.tets, device=device)
    state.set_parameters(EnergyParameters(energy=energy))
    for _ in range(6):
        before, worst = state.value.sum(), state.value.max()
        corner_worst = np.zeros(len(state.points))
        np.maximum.at(corner_worst, state.tets.ravel(), np.repeat(state.value, 4))
        assert smooth(state) > 0
        limit = corner_worst[state.tets].max(axis=1)
        # 1e-12: the kernel compares the very numbers it stores.
        assert (state.value <= limit * (1 + 1e-12)).all()
        assert state.value.max() <= worst
        assert (signed_volumes(state.points, state.tets) > 0).all()
    assert state.value.sum() < before


def test_sweeps_converge_to_a_stationary_point():
    mesh = grid(4, jitter=0.2)
    state = make_state(mesh.points, mesh.tets)
    inner = state.kind == INTERIOR

    def slope():
        gradient = quality_energy(state.points, state.tets, parameters=state.parameters)[1]
        return np.linalg.norm(gradient[inner], axis=1).max()

    start = slope()
    for _ in range(200):
        smooth(state, move_surface=False)
    # Shortened steps converge linearly; line searches stop at a relative decrease of 1e-6 per star.
    assert slope() < 1e-2 * start


def test_vertices_of_a_cube_know_what_they_are():
    n = 3
    mesh = grid(n)
    state = make_state(mesh.points, mesh.tets)
    # On how many of the three pairs of cube faces a vertex lies: inside, face, edge, corner.
    sides = ((mesh.points == 0) | (mesh.points == 1)).sum(axis=1)
    np.testing.assert_array_equal(state.kind, np.array([INTERIOR, SURFACE, CURVE, CORNER])[sides])


def test_surface_and_curve_vertices_slide_on_the_cube():
    mesh = grid(3, jitter=0.2)
    rng = np.random.default_rng(1)
    points = mesh.points.copy()
    sides = ((points == 0) | (points == 1)).sum(axis=1)
    shift = rng.uniform(-0.05, 0.05, size=points.shape)
    free = (points > 0) & (points < 1)
    points[free & (sides < 3)[:, None]] += shift[free & (sides < 3)[:, None]]
    state = make_state(points, mesh.tets)
    for _ in range(4):
        smooth(state)
    fixed = ~free
    # 1e-9: closest points are found in single precision, then evaluated in double.
    np.testing.assert_allclose(state.points[fixed], points[fixed], atol=1e-9)
    assert np.abs(state.points - points)[free].max() > 1e-3


def test_surface_vertices_keep_their_offset():
    surface = sphere_surface()
    mesh = ball()
    state = make_state(mesh.points, mesh.tets, surface=(surface.points, surface.faces), crease_angle=90)
    state.offset[:] = 0.01
    before = state.points.copy()
    for _ in range(3):
        smooth(state)
    moved = (state.points != before).any(axis=1) & (state.kind == SURFACE)
    assert moved.any()
    distance = state.reference.query.closest(state.points[moved]).distance
    # 2e-3: next to an edge of the triangles the closest face changes with the offset.
    np.testing.assert_allclose(distance, 0.01, atol=2e-3)


def test_only_active_vertices_move():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    active = np.zeros(len(mesh.points), dtype=bool)
    active[::3] = True
    smooth(state, active=active)
    np.testing.assert_array_equal(state.points[~active], mesh.points[~active])
    assert (state.points[active] != mesh.points[active]).any()


def test_surface_can_be_held():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    smooth(state, move_surface=False)
    held = state.kind != INTERIOR
    np.testing.assert_array_equal(state.points[held], mesh.points[held])
