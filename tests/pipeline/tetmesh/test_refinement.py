"""Places where boundary and surface are far apart, and the points that are added there."""

from __future__ import annotations

import numpy as np

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.refinement import SEPARATION, SHARE, choose_new, far_places
from tests.pipeline.tetmesh.small_surfaces import box

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 0.4, 0], [0.4, 0.4, 0], [0.4, 1, 0], [0, 1, 0]], dtype=float)
"""Outline of an L, counter-clockwise; corner 3 is the concave one."""
TRIANGLES = np.array([[0, 1, 3], [1, 2, 3], [0, 3, 5], [3, 4, 5]])


class Constant:
    """A size field with one edge length."""

    def __init__(self, value):
        self.value = value

    def __call__(self, points):
        return np.full(len(points), self.value)


def angle_bracket(height=0.4):
    """Return points and outward faces of an L of constant thickness."""
    n = len(CORNERS)
    points = np.concatenate([CORNERS, CORNERS + np.array([0, 0, height])])
    side = [[k, (k + 1) % n, n + (k + 1) % n] for k in range(n)]
    side += [[k, n + (k + 1) % n, n + k] for k in range(n)]
    return points, np.concatenate([TRIANGLES[:, ::-1], TRIANGLES + n, side]).astype(np.int32)


def prism(a, b, c, n=6):
    """Return the three tets of a prism over a triangle of the outline."""
    return [[a, b, c, n + c], [a, b, n + c, n + b], [a, n + b, n + c, n + a]]


def bracket_tets(web):
    tets = np.concatenate([prism(*t) for t in TRIANGLES] + ([prism(3, 2, 4)] if web else []))
    return tets.astype(np.int32)


def samples_of(points, faces, count=4000):
    weight = np.random.default_rng(0).dirichlet([1, 1, 1], (len(faces), count // len(faces)))
    return np.einsum("fqk,fki->fqi", weight, points[faces]).reshape(-1, 3)


def test_a_filled_solid_is_near_its_surface(device):
    points, faces = angle_bracket()
    query = SurfaceQuery(points, faces, device)
    places, _ = far_places(
        points, bracket_tets(False), query, samples_of(points, faces), Constant(0.3), device
    )
    assert not len(places)


def test_a_web_over_a_concave_crease_is_found(device):
    points, faces = angle_bracket()
    query = SurfaceQuery(points, faces, device)
    places, excess = far_places(
        points, bracket_tets(True), query, samples_of(points, faces), Constant(0.3), device
    )
    # The web hides the two sides of the concave corner: x = 0.4 or y = 0.4 there, and nothing else is far.
    hidden = np.isclose(places[:, :2], 0.4, atol=1e-9).any(axis=1) & (places[:, :2] > 0.4 - 1e-9).all(axis=1)
    assert len(places) > 0
    assert hidden.all()
    assert (excess > 1).all()


def test_a_cut_tip_is_found(device):
    surface = box([0, 0, 0], [1, 1, 1], 2)
    corner = np.flatnonzero((surface.points == 1).all(axis=1))[0]
    tip = surface.points.copy()
    tip[corner] += 0.3
    query = SurfaceQuery(tip, surface.faces, device)
    middle = len(surface.points)
    points = np.concatenate([surface.points, [[0.5, 0.5, 0.5]]])
    tets = np.concatenate([surface.faces[:, ::-1], np.full((len(surface.faces), 1), middle)], axis=1)
    samples = samples_of(tip, surface.faces, 20_000)
    places, excess = far_places(points, tets.astype(np.int32), query, samples, Constant(0.25), device)
    assert np.linalg.norm(places[excess.argmax()] - tip[corner]) < 0.1


def test_new_points_keep_apart_and_snap_to_creases():
    rng = np.random.default_rng(0)
    places = rng.random((2000, 3)) * [1, 1, 0]
    existing = rng.random((400, 3)) * [1, 1, 0]
    curve = np.stack([np.linspace(0, 1, 1000), np.full(1000, 0.5), np.zeros(1000)], axis=1)
    excess = 1 + rng.random(2000)
    on_crease, others = choose_new(places, excess, existing[:20], curve, Constant(0.1))
    assert len(on_crease) + len(others) == max(1, int(SHARE * 20))
    on_crease, others = choose_new(places, excess, np.tile(existing, (100, 1)), curve, Constant(0.1))
    new = np.concatenate([on_crease, others])
    assert len(on_crease) > 0
    assert len(others) > 0
    np.testing.assert_allclose(on_crease[:, 1], 0.5)
    gap = np.linalg.norm(new[:, None] - np.concatenate([new, existing])[None], axis=2)
    gap[np.arange(len(new)), np.arange(len(new))] = 1.0
    assert gap.min() >= SEPARATION * 0.1


def test_nothing_far_adds_nothing():
    none = np.zeros((0, 3))
    on_crease, others = choose_new(none, np.zeros(0), np.eye(3), none, Constant(0.1))
    assert len(on_crease) == len(others) == 0
