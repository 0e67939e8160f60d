"""Quadrics, vertex counts, and the relaxation that settles vertices on creases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dmesh.placement import PlacementConfig, Quadrics, relax_vertices, vertex_count
from pipeline.points.border_samples import BorderSamples
from pipeline.points.sample_planes import estimate_planes


def test_quadrics_sum_squared_plane_distances() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    points, group = rng.normal(size=(50, 3)), rng.integers(0, 4, 50)
    q = Quadrics.of_planes(normals, points, 0.7).sum_over(group, 4)
    x = rng.normal(size=3)
    for g in range(4):
        mine = group == g
        expected = 0.7 * (((x - points[mine]) * normals[mine]).sum(axis=1) ** 2).sum()
        got = x @ q.matrix[g] @ x - 2 * q.vector[g] @ x + q.constant[g]
        assert got == pytest.approx(expected, rel=1e-10)


def test_minimum_of_three_planes_is_their_common_point() -> None:
    corner = np.array([0.3, -0.2, 0.9])
    normals = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    q = Quadrics.of_planes(normals, np.tile(corner, (3, 1))).sum_over(np.zeros(3, dtype=int), 1)
    # Without a pull the minimum is exact; with weight w it is the mean, weighted 1 : w.
    np.testing.assert_allclose(q.minimize(np.zeros((1, 3)), np.zeros(1))[0], corner, atol=1e-12)
    np.testing.assert_allclose(q.minimize(np.zeros((1, 3)), np.ones(1))[0], corner / 2, atol=1e-12)


@pytest.mark.parametrize(
    ("samples", "faces", "expected"),
    [(50000, 20000, 12500), (5000, 20000, 1000), (10**6, 20000, 30000), (40, 9, 40)],
)
def test_vertex_count_follows_samples_and_faces(samples: int, faces: int, expected: int) -> None:
    assert vertex_count(samples, faces, 3, PlacementConfig()) == expected


def test_vertices_settle_on_the_creases_of_a_cube(
    cube_samples: Callable[..., np.ndarray], device: str
) -> None:
    samples = cube_samples(12000)
    start = samples[np.random.default_rng(1).choice(len(samples), 800, replace=False)]
    planes = estimate_planes(samples, device=device)
    x = relax_vertices(start, samples, planes, BorderSamples.none(3), PlacementConfig(), device)
    on_face = np.abs(np.abs(x).max(axis=1) - 0.5)
    assert np.quantile(on_face, 0.95) < 1e-3
    near_crease = (np.abs(x) > 0.5 - 0.4 * np.sqrt(6 / 800)).sum(axis=1) >= 2
    distance = np.sort(0.5 - np.abs(x), axis=1)[:, 1]
    # Of the vertices within 0.4 spacings of a crease, nearly all sit on it: within 3 % of a spacing.
    assert np.median(np.abs(distance[near_crease])) < 0.03 * np.sqrt(6 / 800)


@pytest.mark.parametrize(
    "field", [{"samples_per_vertex": 0.5}, {"plain_iterations": 99}, {"centroid_weight": 0.0}]
)
def test_settings_are_checked(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        PlacementConfig(**field)  # type: ignore[arg-type]
