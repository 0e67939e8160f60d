"""Neighbours across lines of samples."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.points.even_neighbors import even_subset, neighbors_among
from pipeline.points.sample_planes import estimate_planes

GAP = 0.02


def scanned_cylinder(ratio: float) -> np.ndarray:
    """A cylinder of radius 0.3 and height 0.6 in rings `GAP` apart, samples `GAP / ratio` apart on them."""
    rng = np.random.default_rng(1)
    rings = np.arange(0, 0.6, GAP)
    count = int(2 * np.pi * 0.3 * ratio / GAP)
    angle = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.6, (len(rings), count))) / count
    z = np.broadcast_to(rings[:, None], angle.shape)
    return np.stack([0.3 * np.cos(angle), 0.3 * np.sin(angle), z], axis=2).reshape(-1, 3)


def random_cylinder(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    angle, z = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 0.6, count)
    return np.stack([0.3 * np.cos(angle), 0.3 * np.sin(angle), z], axis=1)


@pytest.mark.parametrize("ratio", [4.0, 5.0, 8.0])
def test_the_spacing_is_that_of_lines_not_of_the_samples_on_them(ratio: float, device: str) -> None:
    points = scanned_cylinder(ratio)
    planes = estimate_planes(points, device=device)
    assert planes.even_count is not None
    # All samples: 1 / ratio of a gap apart, the 6 nearest 2 / ratio on average.
    assert planes.even_count < 0.6 * len(points)
    assert 0.6 * GAP < planes.typical_spacing < 1.5 * GAP
    radial = points * [1, 1, 0] / 0.3
    inner = np.abs(points[:, 2] - 0.3) < 0.2
    assert np.quantile(np.abs(np.einsum("ij,ij->i", planes.normals, radial))[inner], 0.01) > 0.97


def test_random_samples_are_all_neighbours(device: str) -> None:
    points = random_cylinder(4000)
    assert even_subset(points, 0.005, 80, device) is None
    assert estimate_planes(points, device=device).even_count == 4000


def test_a_sample_is_not_its_own_neighbour(device: str) -> None:
    points = random_cylinder(500)
    rows = np.arange(0, 500, 3)
    table, distance = neighbors_among(points, rows, 6, device)
    assert table.shape == distance.shape == (500, 6)
    assert not (table == np.arange(500)[:, None]).any()
    assert np.isin(table, rows).all()
    every = np.linalg.norm(points[:, None] - points[rows], axis=2)
    every[rows, np.arange(len(rows))] = np.inf
    np.testing.assert_allclose(distance, np.sort(every, axis=1)[:, :6], atol=1e-7)
