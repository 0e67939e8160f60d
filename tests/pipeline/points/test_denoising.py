"""Noise level from the data, and its removal."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.points.denoising import denoise, estimate_noise


def sphere(count: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None] + rng.normal(0, noise, (count, 3))


def cube(count: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    x[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    return x + rng.normal(0, noise, (count, 3))


@pytest.mark.parametrize("noise", [0.02, 0.04])
def test_the_noise_level_is_found(noise: float, device: str) -> None:
    found = estimate_noise(sphere(10000, noise), np.random.default_rng(0), device)
    assert found.is_large
    # Neighbourhoods chosen by distance cut the tails of the noise off: low by some percent.
    assert found.deviation == pytest.approx(noise, rel=0.12)
    # One sample per 4 pi / n of area; the noise thins the neighbourhoods.
    assert found.spacing == pytest.approx(np.sqrt(4 * np.pi / 10000), rel=0.1)


@pytest.mark.parametrize("shape", [sphere, cube])
def test_curvature_is_not_noise(shape) -> None:  # type: ignore[no-untyped-def]
    assert not estimate_noise(shape(6000, 0.0), np.random.default_rng(0)).is_large


def test_denoising_keeps_the_faces_of_a_cube_flat(device: str) -> None:
    noise, points = 0.03, cube(20000, 0.03)
    level = estimate_noise(points, np.random.default_rng(0), device)
    result, normals, _ = denoise(points, level, device)
    offset = np.abs(np.abs(result).max(axis=1) - 1)
    # The mean of |N(0, sigma)| is 0.8 sigma; a plane of k samples leaves sqrt(3 / k) of it.
    assert np.median(offset) < 0.25 * noise
    flat = (np.abs(result) > 0.85).sum(axis=1) == 1
    assert np.median(np.abs(normals[flat]).max(axis=1)) > 0.995


def test_curves_and_small_clouds_count_as_clean() -> None:
    rng = np.random.default_rng(0)
    assert not estimate_noise(rng.normal(size=(5000, 2)), rng).is_large
    assert not estimate_noise(rng.normal(size=(500, 3)), rng).is_large


def slab(count: int, thickness: float, noise: float = 0.0) -> np.ndarray:
    """Sample both faces of a plate of the unit square."""
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 1, (count, 3))
    x[:, 2] = thickness / 2 * rng.choice([-1.0, 1.0], count)
    return x + rng.normal(0, noise, (count, 3))


@pytest.mark.parametrize("thickness", [1.0, 1.5, 2.0, 3.0])
def test_two_sheets_are_not_noise(thickness: float) -> None:
    # In units of the root of the area per sample, 2 / n for both faces.
    points = slab(20000, thickness * np.sqrt(2 / 20000))
    assert not estimate_noise(points, np.random.default_rng(0)).is_large


def test_two_sheets_with_little_noise_are_not_one() -> None:
    spacing = np.sqrt(2 / 20000)
    assert not estimate_noise(slab(20000, 2 * spacing, 0.15 * spacing), np.random.default_rng(0)).is_large


@pytest.mark.parametrize("draw", [np.random.Generator.normal, np.random.Generator.uniform])
def test_one_noisy_sheet_is_not_two(draw) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(6)
    points = rng.uniform(0, 1, (20000, 3))
    points[:, 2] = draw(rng, -1, 1, 20000) if draw is np.random.Generator.uniform else draw(rng, size=20000)
    points[:, 2] *= 0.5 * np.sqrt(1 / 20000)
    assert estimate_noise(points, np.random.default_rng(0)).is_large
