"""Thinning meets the wanted number, keeps its distance and leaves no hole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.points.thinning import thin


@pytest.mark.parametrize("dimension", [2, 3])
def test_number_distance_and_cover(dimension: int, device: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6000, dimension))
    points /= np.linalg.norm(points, axis=1)[:, None]
    spacing = np.median(cKDTree(points).query(points, k=3)[0][:, 1:].mean(axis=1))
    rows, radius = thin(points, 600, spacing, np.random.default_rng(1), device)
    assert abs(len(rows) - 600) <= 30
    kept = cKDTree(points[rows])
    # Positions are compared in float32.
    assert kept.query(points[rows], k=2)[0][:, 1].min() >= radius * (1 - 1e-5)
    assert kept.query(points)[0].max() <= radius * (1 + 1e-5)
    again, _ = thin(points, 600, spacing, np.random.default_rng(1), device)
    np.testing.assert_array_equal(rows, again)


def test_fewer_points_than_wanted_are_all_kept(device: str) -> None:
    rows, _ = thin(np.random.default_rng(0).uniform(size=(50, 3)), 80, 0.1, np.random.default_rng(1), device)
    np.testing.assert_array_equal(rows, np.arange(50))
