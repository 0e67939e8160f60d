"""The reference surface and its curves: projection, deviation, samples, sharp edges."""

from __future__ import annotations

import numpy as np

from pipeline.quality.connectivity import Connectivity
from pipeline.quality.reference import Curves, ReferenceSurface, sharp_edges
from tests.pipeline.quality.small_tets import grid


def test_curve_projection_equals_the_search_over_all_segments():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    edges = np.stack([np.arange(39), np.arange(1, 40)], axis=1)
    queries = rng.normal(size=(200, 3))
    place, tangent = Curves(points, edges).project(queries)
    a, d = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
    u = np.clip(((queries[:, None] - a) * d).sum(axis=2) / (d * d).sum(axis=1), 0, 1)
    distance = np.linalg.norm(a + u[:, :, None] * d - queries[:, None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(place - queries, axis=1), distance.min(axis=1), rtol=1e-12)
    # At a joint either tangent is right: compare inside segments.
    best = distance.argmin(axis=1)
    inside = np.flatnonzero((u[np.arange(200), best] > 0) & (u[np.arange(200), best] < 1))
    along = d[best] / np.linalg.norm(d[best], axis=1)[:, None]
    np.testing.assert_allclose(tangent[inside], along[inside], atol=1e-12)


def test_no_curves_leave_points_alone():
    points = np.eye(3)
    place, _ = Curves(points, np.zeros((0, 2), dtype=np.int32)).project(points)
    np.testing.assert_array_equal(place, points)


def test_cube_has_twelve_sharp_edges():
    n = 3
    mesh = grid(n)
    faces = Connectivity(mesh.tets, len(mesh.points)).faces
    edges = sharp_edges(mesh.points, faces, 40.0)
    assert len(edges) == 12 * n
    sides = ((mesh.points[edges] == 0) | (mesh.points[edges] == 1)).sum(axis=2)
    assert (sides >= 2).all()
    assert len(sharp_edges(mesh.points, faces, 95.0)) == 0


def test_deviation_of_a_lifted_triangle_is_its_height():
    mesh = grid(2)
    faces = Connectivity(mesh.tets, len(mesh.points)).faces
    reference = ReferenceSurface(mesh.points, faces)
    top = faces[(mesh.points[faces][:, :, 2] == 1).all(axis=1)]
    # 1e-6: the nearest triangle is searched in single precision.
    np.testing.assert_allclose(reference.face_deviation(mesh.points[top]), 0, atol=1e-6)
    lifted = mesh.points[top] + [0, 0, 0.1]
    np.testing.assert_allclose(reference.face_deviation(lifted), 0.1, atol=1e-6)


def test_deviation_of_a_long_edge_across_a_ridge_is_that_of_the_valleys():
    # A strip along y with the profile of a W: height 0 at both ends and in the middle, -0.2 at the quarters.
    x, z = np.linspace(0, 1, 5), np.array([0, -0.2, 0, -0.2, 0])
    points = np.concatenate([np.stack([x, np.full(5, y), z], axis=1) for y in (-1.0, 1.0)])
    k = np.arange(4)
    faces = np.concatenate([np.stack([k, k + 1, k + 6], 1), np.stack([k, k + 6, k + 5], 1)])
    reference = ReferenceSurface(points, faces.astype(np.int32))
    corners = np.array([[[0, 0, 0], [1, 0, 0], [1, 1e-3, 0]]], dtype=np.float64)
    # The valleys rise by 0.2 over 0.25: at a quarter both walls are 0.2 cos(atan(0.8)) away.
    depth = 0.2 / np.sqrt(1 + 0.8**2)
    # 1e-6: the nearest triangle is searched in single precision.
    np.testing.assert_allclose(reference.face_deviation(corners), depth, atol=1e-6)
    # The centroid, at two thirds, is the farthest of the middles.
    np.testing.assert_allclose(reference.face_deviation(corners, short=2.0), depth * 2 / 3, atol=1e-3)


def test_samples_are_even_and_on_the_surface():
    mesh = grid(2)
    faces = Connectivity(mesh.tets, len(mesh.points)).faces
    samples = ReferenceSurface(mesh.points, faces).samples(6000, np.random.default_rng(0))
    # Six sides of equal area: a side misses its share by less than one sample per face.
    for axis in range(3):
        for side in (0.0, 1.0):
            assert abs((np.abs(samples[:, axis] - side) < 1e-12).sum() - 1000) <= 8
