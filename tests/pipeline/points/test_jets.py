"""The smooth surface behind few samples."""

from __future__ import annotations

import numpy as np

from pipeline.points.jets import SmoothSurface
from pipeline.points.sample_planes import estimate_planes


def sphere(count: int) -> np.ndarray:
    x = np.random.default_rng(3).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None]


def deviation(count: int, device: str) -> float:
    """Mean distance from the unit sphere of places that start 0.3 s^2 inside of it, s the spacing."""
    samples, target = sphere(count), np.random.default_rng(4).normal(size=(2000, 3))
    target /= np.linalg.norm(target, axis=1)[:, None]
    smooth = SmoothSurface(samples, estimate_planes(samples, device=device), device)
    blend = smooth.nearest_to(target * (1 - 0.3 * 4 * np.pi / count), target)
    assert blend.is_known.mean() > 0.95
    return float(np.abs(np.linalg.norm(blend.points[blend.is_known], axis=1) - 1).mean())


def test_the_blend_converges_faster_than_flat_faces_do(device: str) -> None:
    coarse, fine = deviation(1000, device), deviation(4000, device)
    # Half the spacing: a quarter for flat faces, an eighth and less for quadratic ones.
    assert fine < coarse / 6
    # Flat faces on the samples miss by about s^2 / 6 (s^2 = 4 pi / n is the area per sample).
    assert coarse < 0.05 * 4 * np.pi / 1000


def test_a_right_angle_stays_sharp(device: str) -> None:
    rng = np.random.default_rng(5)
    samples = rng.uniform(0, 1, (4000, 3))
    wall = np.arange(4000) < 2000
    samples[wall, 0] = 0
    samples[~wall, 2] = 0
    smooth = SmoothSurface(samples, estimate_planes(samples, device=device), device)
    # Places on the wall down to the crease, 0.2 spacings off it.
    places = np.column_stack([np.full(500, 0.004), rng.uniform(0.1, 0.9, 500), rng.uniform(0, 0.1, 500)])
    blend = smooth.nearest_to(places, np.tile([1.0, 0, 0], (500, 1)))
    assert blend.is_known.mean() > 0.9
    assert np.abs(blend.points[blend.is_known, 0]).mean() < 2e-4
