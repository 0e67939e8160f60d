"""Samples, spread points and thinning."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.sampling import corner_normals, sample_faces, spread_points, thin_points
from tests.pipeline.tetmesh.small_surfaces import ball, box


def samples_of(mesh, count=8000):
    normals = corner_normals(mesh.points, mesh.faces, 40.0)
    return sample_faces(mesh.points, mesh.faces, normals, count, np.random.default_rng(0))


def test_samples_are_even_by_area():
    mesh = box([0, 0, 0], [3, 1, 1], 1)
    samples = samples_of(mesh)
    np.testing.assert_allclose(samples.area, 14.0)  # 2 (3 + 3 + 1)
    per_side = [np.isclose(samples.points[:, 0], 0).sum(), np.isclose(samples.points[:, 1], 0).sum()]
    # Equal steps of area: at most one sample too many or too few per triangle.
    np.testing.assert_allclose(per_side, [8000 / 14, 3 * 8000 / 14], atol=8)


def test_some_of_the_samples_are_even_too():
    samples = samples_of(box([0, 0, 0], [3, 1, 1], 1))
    for count in (700, 3000, 7999):
        some = samples.some(count)
        assert len(some) == count
        per_side = [np.isclose(some[:, 0], 0).sum(), np.isclose(some[:, 1], 0).sum()]
        # Equal steps through an even list: one more or less per triangle, two triangles per side, and the
        # list itself misses by as much.
        np.testing.assert_allclose(per_side, [count / 14, 3 * count / 14], atol=8)
    np.testing.assert_array_equal(samples.some(10**6), samples.points)


def test_one_long_radius_does_not_pair_up_everything():
    # 20,000 points on a segment, 1e-4 apart within 5 %, thinned to 3e-4; one of them has the radius 0.5.
    rng = np.random.default_rng(0)
    x = np.linspace(0, 2, 20_001) + 5e-6 * rng.uniform(-1, 1, 20_001)
    radius = np.full(len(x), 3e-4)
    radius[10_000] = 0.5
    tracemalloc.start()
    kept = thin_points(np.c_[x, np.zeros((len(x), 2))], radius, np.zeros(len(x)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs within 0.5 would be 9e7 rows of 16 bytes; within 3e-4 there are 6e4.
    assert peak < 1e8
    # First come, first kept: the smaller of two radii counts, so every third or fourth point stays.
    gap = np.diff(x[kept])
    assert gap.min() >= 3e-4
    assert gap.max() < 6e-4


def test_corner_normals_are_smooth_on_a_sphere_and_sharp_on_a_box():
    mesh = ball(levels=4)
    normals = corner_normals(mesh.points, mesh.faces, 40.0)
    # The normal of the unit sphere is the position; the average over a fan feels its asymmetry.
    np.testing.assert_allclose(normals, mesh.points[mesh.faces], atol=0.03)
    cube = box([0, 0, 0], [1, 1, 1], 1)
    flat = corner_normals(cube.points, cube.faces, 40.0)
    np.testing.assert_allclose(np.abs(flat).max(axis=2), 1.0)


def test_spread_points_have_the_spacing_asked_for():
    mesh = ball(levels=4)
    query = SurfaceQuery(mesh.points, mesh.faces)
    for spacing in (0.15, 0.3):
        points = spread_points(
            samples_of(mesh, 30000), lambda p, h=spacing: np.full(len(p), h), query, np.zeros((0, 3)), 30,
            np.random.default_rng(1),
        )  # fmt: skip
        np.testing.assert_allclose(query.closest(points).distance, 0.0, atol=1e-12)
        near = cKDTree(points).query(points, k=7)[0][:, 1:]
        # A hexagonal pattern has six neighbours at the spacing; Lloyd comes close to it on average.
        np.testing.assert_allclose(near.mean(), spacing, rtol=0.1)
        assert near.min() > 0.5 * spacing


def test_fixed_points_come_first_and_stay():
    mesh = ball(levels=3)
    fixed = mesh.points[:3]
    points = spread_points(
        samples_of(mesh), lambda p: np.full(len(p), 0.3), SurfaceQuery(mesh.points, mesh.faces), fixed, 10,
        np.random.default_rng(1),
    )  # fmt: skip
    np.testing.assert_array_equal(points[:3], fixed)
    assert cKDTree(fixed).query(points[3:])[0].min() > 0.15


def test_sheets_nearer_than_the_spacing_keep_their_points_apart():
    # Two sheets 0.05 apart, spacing 0.2: without the normals, sites would collapse between and serve both.
    mesh = box([0, 0, 0], [1, 1, 0.05], 3)
    points = spread_points(
        samples_of(mesh, 20000), lambda p: np.full(len(p), 0.2), SurfaceQuery(mesh.points, mesh.faces),
        np.zeros((0, 3)), 20, np.random.default_rng(1),
    )  # fmt: skip
    top, bottom = np.isclose(points[:, 2], 0.05).sum(), np.isclose(points[:, 2], 0.0).sum()
    expected = 1.0 / (0.866 * 0.2**2)
    assert 0.7 * expected < top < 1.6 * expected
    assert 0.7 * expected < bottom < 1.6 * expected


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_thinning_is_independent_and_maximal(count):
    rng = np.random.default_rng(count)
    points, priority = rng.random((count, 3)), rng.random(count)
    kept = thin_points(points, np.full(count, 0.15), priority)
    if count < 2:
        assert kept.all()
        return
    gap = np.linalg.norm(points[:, None] - points[None], axis=2) + 10 * np.eye(count)
    assert gap[np.ix_(kept, kept)].min() >= 0.15
    # Maximal: a dropped point has a kept one of higher priority within the radius.
    near = (gap < 0.15) & kept[None] & (priority[None] > priority[:, None])
    assert near.any(axis=1)[~kept].all()
