"""Moves that would take boundary faces too far from the surface are held back."""

from __future__ import annotations

import numpy as np

from pipeline.quality.mesh_state import make_state
from pipeline.quality.reach import Reach
from pipeline.quality.smoothing import smooth
from tests.pipeline.quality.small_tets import ball, sphere_surface


def _state():
    mesh, surface = ball(), sphere_surface()
    return make_state(mesh.points, mesh.tets, surface=(surface.points, surface.faces))


def test_faces_of_a_vertex_lifted_off_the_surface_are_found():
    state = _state()
    reach = Reach(state, 0.1)
    vertex = state.connectivity.faces[0, 0]
    moved = np.zeros(len(state.points), dtype=bool)
    moved[vertex] = True
    for lift, is_far in ((1.05, False), (1.5, True)):
        points = state.points.copy()
        points[vertex] *= lift
        found = reach.beyond(points, moved)
        assert found[vertex] == is_far
        around = np.unique(state.connectivity.faces[(state.connectivity.faces == vertex).any(axis=1)])
        assert not found[np.setdiff1d(np.arange(len(points)), around)].any()


def test_smoothing_takes_no_face_farther_than_it_may_go():
    free, held = _state(), _state()
    limit = 1e-3
    start = Reach(held, limit)
    for _ in range(6):
        smooth(free)
        assert smooth(held, reach=start) > 0
    # Faces may be as far as they were, or as the limit; without it some go farther: the test can fail.
    # 1e-6: the nearest triangle is searched in single precision.
    allowed = np.maximum(start.gaps, limit) + 1e-6
    assert (Reach(held, limit).gaps <= allowed).all()
    assert (Reach(free, limit).gaps > allowed).any()
