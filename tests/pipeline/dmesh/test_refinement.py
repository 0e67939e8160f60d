"""Least-squares fit on decided faces, safe moves, flips and collapse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dmesh.coarsening import CoarseningConfig, CollapsingMesh, sample_quadrics
from pipeline.dmesh.refinement import closest_on_faces, refine_positions, safe_move, snap_border
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.border_samples import BorderSamples
from pipeline.points.sample_planes import estimate_planes
from pipeline.types import SurfaceMesh


def test_a_displaced_sphere_comes_back(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(15000)
    planes = estimate_planes(samples, device=device)
    x = points * (1 + 0.03 * np.sin(5 * points[:, :1]))
    before = closest_on_faces(x, faces, samples, device).distance.mean()
    step = None
    for _ in range(2):
        step = refine_positions(
            x,
            faces,
            samples,
            planes,
            BorderSamples.none(3),
            damping=0.05,
            normal_damping=0.005,
            largest_step=0.5,
            device=device,
        )
        x = step.points
    after = closest_on_faces(x, faces, samples, device).distance.mean()
    # What is left is the sagitta of the triangles, L^2 / 16 for vertices on the sphere, less for free ones.
    edge = np.linalg.norm(points[faces[0, 0]] - points[faces[0, 1]])
    assert before > 0.01
    assert after < edge**2 / 16


@pytest.mark.parametrize("dimension", [2, 3])
def test_closest_points_equal_brute_force(dimension: int, icosphere: Callable, device: str) -> None:
    rng = np.random.default_rng(0)
    if dimension == 3:
        points, faces = icosphere(1)
    else:
        turn = np.arange(60) * np.pi / 30
        points = np.column_stack([np.cos(turn), np.sin(turn)]) * (1 + 0.1 * np.cos(5 * turn[:, None]))
        faces = np.stack([np.arange(60), (np.arange(60) + 1) % 60], axis=1).astype(np.int32)
    samples = points[rng.integers(0, len(points), 100)] + 0.1 * rng.normal(size=(100, dimension))
    got = closest_on_faces(points, faces, samples, device)
    weights = rng.dirichlet(np.ones(dimension), 300)
    dense = np.einsum("wk,fkx->fwx", weights, points[faces]).reshape(-1, dimension)
    brute = np.linalg.norm(samples[:, None] - dense, axis=2).min(axis=1)
    again = np.einsum("mk,mkx->mx", got.barycentric, points[faces[got.face]])
    np.testing.assert_allclose(again, got.point, atol=1e-12)
    # Never farther than the nearest of many points of the faces, and no nearer than their spacing allows.
    assert (got.distance <= brute + 1e-9).all()
    assert (brute - got.distance).max() < 0.1


def test_safe_move_prevents_folds_and_intersections(icosphere: Callable, device: str) -> None:
    points, faces = icosphere(2)
    move = np.zeros_like(points)
    move[7] = -2.5 * points[7]
    move[20] = 0.01 * points[20]
    moved = safe_move(points, move, faces, device)
    assert not self_intersecting_faces(moved, faces, device=device).any()
    assert np.linalg.norm(moved[7] - points[7]) < 1
    np.testing.assert_allclose(moved[20], points[20] + move[20], atol=1e-15)


def test_border_moves_out_to_its_samples(device: str) -> None:
    rng = np.random.default_rng(0)
    samples = np.column_stack([rng.uniform(size=(20000, 2)), np.zeros(20000)])
    side = np.linspace(0.01, 0.99, 20)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    points = np.column_stack([grid, np.zeros(400)])
    a = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 21], 1), np.stack([a, a + 21, a + 20], 1)]).astype(
        np.int32
    )
    moved = snap_border(points, faces, samples, estimate_planes(samples, device=device), device)
    low = moved[1:19]
    # The border of the samples is at 0; the estimate is good to a fraction of their spacing of 0.007.
    np.testing.assert_allclose(low[:, 1], 0.0, atol=3e-3)
    np.testing.assert_allclose(moved[21 : 20 * 19 - 1 : 20], points[21 : 20 * 19 - 1 : 20], atol=1e-15)


def test_collapse_keeps_a_sphere_closed(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    config = CoarseningConfig()
    quadrics, weight = sample_quadrics(points, faces, samples, estimate_planes(samples), config, device)
    assert weight.sum() > 20000
    mesh = CollapsingMesh(points, faces, quadrics, weight, device)
    mesh.collapse(300, config)
    x, f = mesh.compact()
    s = surface_summary(SurfaceMesh(x, f))
    assert 298 <= s["faces"] <= 300
    assert (s["watertight"], s["oriented"], s["euler_characteristic"]) == (True, True, 2)
    assert not self_intersecting_faces(x, f, device=device).any()
    # The error of n equal triangles on a sphere is of the order of their sagitta, 4 pi / (n sqrt(3)) / 4.
    assert closest_on_faces(x, f, samples, device).distance.mean() < np.pi / (300 * np.sqrt(3)) * 2


def test_collapse_stops_at_the_error(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    config = CoarseningConfig()
    quadrics, weight = sample_quadrics(points, faces, samples, estimate_planes(samples), config, device)
    left = []
    for limit in (0.003, 0.01):
        mesh = CollapsingMesh(points, faces, quadrics, weight, device)
        mesh.collapse(4, config, largest_error=limit)
        left.append(len(mesh.faces))
    assert 1280 > left[0] > 2 * left[1] > 8
