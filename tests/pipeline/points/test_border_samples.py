"""Border samples of an open sheet are found with their conormals; a closed surface has none."""

from __future__ import annotations

import numpy as np

from pipeline.points.border_samples import find_border_samples
from pipeline.points.sample_planes import estimate_planes


def test_border_of_a_disc(device: str) -> None:
    rng = np.random.default_rng(0)
    radius, angle = np.sqrt(rng.uniform(size=8000)), rng.uniform(0, 2 * np.pi, 8000)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(8000)])
    border = find_border_samples(points, estimate_planes(points, device=device))
    found = np.linalg.norm(points[border.index], axis=1)
    spacing = np.sqrt(np.pi / 8000)
    # Nearly all of them within two spacings of the rim, none far inside, and all around it.
    assert np.quantile(found, 0.05) > 1 - 2 * spacing
    assert found.min() > 1 - 8 * spacing
    turn = np.sort(np.arctan2(*points[border.index][:, 1::-1].T))
    assert np.diff(turn, append=turn[0] + 2 * np.pi).max() < 12 * spacing
    outward = points[border.index] / found[:, None]
    # A conormal is the normal of a line fit over a few spacings of a rough rim.
    assert np.median((border.conormals * outward).sum(axis=1)) > 0.95


def test_a_sphere_and_a_curve_have_none(device: str) -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(8000, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    assert len(find_border_samples(points, estimate_planes(points, device=device)).index) == 0
    angle = rng.uniform(0, np.pi, 500)
    curve = np.column_stack([np.cos(angle), np.sin(angle)])
    assert len(find_border_samples(curve, estimate_planes(curve, device=device)).index) == 0
