"""Tessellation, adjacency, circumcentres and relaxation."""

from __future__ import annotations

import numpy as np

from pipeline.tetmesh.delaunay import circumcenters, relax_interior, tessellate, tet_neighbors, tet_volumes
from tests.pipeline.tetmesh.small_surfaces import ball


def test_tets_fill_the_hull_of_the_guards_once_and_no_sphere_holds_a_point():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (60, 3))
    tets = tessellate(points, rng)
    low, high = points.min(axis=0) - 0.6, points.max(axis=0) + 0.6
    guards = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    cloud = np.concatenate([points, guards])
    volume = tet_volumes(cloud, tets)
    assert (volume > -1e-6).all()  # the corners of the guards' box are cospherical
    np.testing.assert_allclose(volume.sum(), np.prod(high - low), rtol=1e-4)  # the copy is displaced by 1e-6
    inner = tets[(tets < len(points)).all(axis=1)]
    center, good = circumcenters(points, inner)
    radius = np.linalg.norm(points[inner[:, 0]] - center, axis=1)
    distance = np.linalg.norm(center[:, None] - points[None], axis=2)
    assert (distance[good] >= radius[good, None] * (1 - 1e-4)).all()


def test_cospherical_points_of_a_regular_grid_leave_no_gap():
    grid = np.stack(np.meshgrid(*[np.arange(5) * 0.1] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    tets = tessellate(grid, np.random.default_rng(0))
    inner = tets[(tets < len(grid)).all(axis=1)]
    neighbors = tet_neighbors(tets)
    assert (neighbors >= -1).all()
    inside = np.abs(grid[inner].mean(axis=1) - 0.2).max(axis=1) < 0.2
    np.testing.assert_allclose(tet_volumes(grid, inner[inside]).sum(), 0.4**3, rtol=1e-3)


def test_neighbors_share_three_vertices_and_know_each_other():
    tets = tessellate(np.random.default_rng(1).uniform(-0.5, 0.5, (40, 3)), np.random.default_rng(0))
    neighbors = tet_neighbors(tets)
    for t, k in np.argwhere(neighbors >= 0)[::7]:
        other = neighbors[t, k]
        assert set(np.delete(tets[t], k)) <= set(tets[other])
        assert t in neighbors[other]
    # Only the faces of the guards' box have nobody behind them: 12 triangles.
    assert (neighbors < 0).sum() == 12


def test_circumcenter_of_a_corner_tet_and_of_a_flat_one():
    points = np.concatenate([np.zeros((1, 3)), np.eye(3), [[0.3, 0.3, 0.0]]])
    center, good = circumcenters(points, np.array([[0, 1, 2, 3], [0, 1, 2, 4]]))
    np.testing.assert_allclose(center[0], 0.5)
    assert good.tolist() == [True, False]
    assert np.isfinite(center).all()


def test_relaxation_moves_interior_points_alone_and_evens_them_out():
    mesh = ball(levels=2)
    rng = np.random.default_rng(2)
    inner = rng.normal(size=(40, 3))
    inner *= 0.7 * rng.random((40, 1)) / np.linalg.norm(inner, axis=1, keepdims=True)
    points = np.concatenate([mesh.points, inner])
    count = len(mesh.points)

    moved = relax_interior(points, count, lambda p: np.ones(len(p)), 8, rng)
    np.testing.assert_array_equal(moved[:count], mesh.points)
    assert np.linalg.norm(moved[count:], axis=1).max() < 1.0

    def nearest(p):
        gap = np.linalg.norm(p[count:, None] - p[None], axis=2)
        return np.sort(gap, axis=1)[:, 1].min()

    assert nearest(moved) > 2 * nearest(points)
