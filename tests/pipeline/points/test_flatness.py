"""Points that fill a volume are told from samples of a surface or curve, noisy ones too."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.points.flatness import ROUND, require_surface, roundness

RNG = np.random.default_rng(0)


def sphere(count: int, noise: float = 0.0) -> np.ndarray:
    x = RNG.normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None] + RNG.normal(0, 1, (count, 3)) * noise


def circle(count: int, noise: float = 0.0) -> np.ndarray:
    angle = RNG.uniform(0, 2 * np.pi, count)
    return np.column_stack([np.cos(angle), np.sin(angle)]) + RNG.normal(0, 1, (count, 2)) * noise


@pytest.mark.parametrize("points", [sphere(300), sphere(8000, 0.03), circle(300), circle(8000, 0.02)])
def test_surfaces_and_curves_are_accepted(points: np.ndarray, device: str) -> None:
    require_surface(points, np.random.default_rng(0), device)
    assert roundness(points, np.random.default_rng(0), device) < 0.75 * ROUND


@pytest.mark.parametrize(
    "points",
    [
        RNG.uniform(size=(200, 3)),
        RNG.uniform(size=(5000, 3)),
        RNG.normal(size=(5000, 3)),
        sphere(5000, 0.3),
        RNG.uniform(size=(5000, 2)),
    ],
)
def test_volumes_are_refused(points: np.ndarray, device: str) -> None:
    with pytest.raises(StageError, match=r"do not lie on a surface.*noise"):
        require_surface(points, np.random.default_rng(0), device)


def test_too_few_points_to_tell_are_accepted(device: str) -> None:
    assert roundness(RNG.uniform(size=(40, 3)), np.random.default_rng(0), device) == 0
