"""Outliers are found, and nothing else is: not where the density jumps, at borders, or under noise."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.metrics.surface import surface_summary
from pipeline.points.outliers import find_outliers
from pipeline.stages.reconstruct import ReconstructConfig, reconstruct
from pipeline.types import PointCloud


def sphere(count: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_strewn_points_are_found_and_samples_are_kept(share: float, device: str) -> None:
    samples = sphere(20000)
    strewn = np.random.default_rng(1).uniform(-1.5, 1.5, size=(int(share * len(samples)), 3))
    found = find_outliers(np.concatenate([samples, strewn]), device)
    spacing = np.sqrt(4 * np.pi / len(samples))
    far = np.abs(np.linalg.norm(strewn, axis=1) - 1) > 5 * spacing
    assert not found[: len(samples)].any()
    assert found[len(samples) :][far].mean() > 0.99


def test_two_densities_borders_and_noise_have_no_outliers(device: str) -> None:
    rng = np.random.default_rng(2)
    # Nine times as dense on one half: spacings differ by a factor of 3.
    dense, sparse = rng.uniform(0, 1, size=(9000, 2)), rng.uniform([1, 0], [2, 1], size=(1000, 2))
    flat = np.concatenate([dense, sparse])
    points = np.column_stack([flat, np.zeros(len(flat))])
    assert not find_outliers(points, device).any()
    assert find_outliers(sphere(20000) + rng.normal(0, 0.01, (20000, 3)), device).mean() < 2e-3


def test_a_cloud_with_too_many_outliers_is_left_as_it_is(device: str) -> None:
    rng = np.random.default_rng(3)
    cloud = np.concatenate([sphere(20000), rng.uniform(-1.5, 1.5, size=(4000, 3))])
    assert not find_outliers(cloud, device).any()


def test_a_sphere_among_outliers_is_closed_and_they_are_counted() -> None:
    strewn = np.random.default_rng(4).uniform(-1.5, 1.5, size=(100, 3))
    context = RunContext()
    cloud = PointCloud(np.concatenate([sphere(10000), strewn]))
    mesh = reconstruct(cloud, ReconstructConfig(max_faces=2000), context=context)
    s = surface_summary(mesh)
    assert s["watertight"]
    assert s["components"] == 1
    assert s["volume"] == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert context.counts["dropped_outliers"] > 80
