"""The loop on small clouds: it lowers the loss, respects its bound, repeats and resumes exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.dmesh.optimization import OptimizationConfig, OptimizedPoints, optimize_points
from pipeline.errors import InputError
from pipeline.points.neighbors import nearest_neighbors


class Interrupted(Exception):
    pass


class KeepingContext(RunContext):
    """Keeps the last checkpoint, and may stop after the first one."""

    def __init__(self, stop: bool = False, **values: Any) -> None:
        super().__init__(**values)
        self.kept: tuple[int, dict[str, np.ndarray]] | None = None
        self.stop = stop

    def checkpoint(self, step: int, **arrays: np.ndarray) -> None:
        self.kept = (step, {name: np.array(a) for name, a in arrays.items()})

    def restore(self) -> tuple[int, dict[str, np.ndarray]] | None:
        return self.kept

    def record(self, step: int, **values: Any) -> None:
        if self.stop and self.kept is not None:
            raise Interrupted


def circle_or_sphere(d: int, n: int, m: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(d)
    direction = rng.normal(size=(m, d))
    targets = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return targets[:n] * (1 + noise * rng.normal(size=(n, 1))), targets


def same(a: OptimizedPoints, b: OptimizedPoints) -> None:
    for name in ("points", "real_values", "faces", "probabilities"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.history == b.history


@pytest.mark.parametrize("d", [2, 3])
def test_noisy_points_move_onto_the_shape(d: int, device: str) -> None:
    points, targets = circle_or_sphere(d, 60 if d == 2 else 300, 3000, 0.03)
    config = OptimizationConfig(iterations=100)
    result = optimize_points(
        points, None, targets, config, normals=targets, context=RunContext(device=device)
    )
    losses = [entry["loss"] for entry in result.history]
    assert losses[-1] < 0.5 * losses[0]
    before = np.abs(np.linalg.norm(points, axis=1) - 1).mean()
    after = np.abs(np.linalg.norm(result.points, axis=1) - 1).mean()
    assert after < 0.5 * before
    assert ((result.probabilities >= 0.5) & (result.probabilities <= 1)).all()
    assert (np.diff(result.faces, axis=1) > 0).all()


@pytest.mark.parametrize("d", [2, 3])
def test_no_step_is_longer_than_the_bound(d: int, device: str) -> None:
    points, targets = circle_or_sphere(d, 80, 1000, 0.1)
    config = OptimizationConfig(iterations=1)
    result = optimize_points(points, None, targets, config, context=RunContext(device=device))
    spacing = nearest_neighbors(points, 2 * d)[1].mean(axis=1)
    moved = np.linalg.norm(result.points - points, axis=1)
    assert moved.max() > 0
    assert (moved <= config.step_bound * config.softness * spacing * (1 + 1e-12)).all()


@pytest.mark.parametrize("d", [2, 3])
def test_the_same_run_gives_the_same_result(d: int) -> None:
    # On CUDA sums of atomics differ in the last bits; this holds on the CPU.
    points, targets = circle_or_sphere(d, 80, 1000, 0.03)
    config = OptimizationConfig(iterations=15, batch=300)
    same(*(optimize_points(points, None, targets, config) for _ in range(2)))


@pytest.mark.parametrize("d", [2, 3])
def test_an_interrupted_run_ends_as_the_whole_one(d: int) -> None:
    points, targets = circle_or_sphere(d, 80, 1000, 0.03)
    config = OptimizationConfig(iterations=35, batch=300, checkpoint_every=10, record_every=5)
    whole = optimize_points(points, None, targets, config)
    context = KeepingContext(stop=True)
    with pytest.raises(Interrupted):
        optimize_points(points, None, targets, config, context=context)
    assert context.kept is not None
    assert context.kept[0] == 10
    context.stop = False
    same(optimize_points(points, None, targets, config, context=context), whole)
    assert context.kept[0] == 30


@pytest.mark.parametrize("d", [2, 3])
def test_the_unit_of_length_does_not_matter(d: int) -> None:
    points, targets = circle_or_sphere(d, 80, 1000, 0.03)
    # Few steps: the order of sums differs, and Adam makes steps of full length from small gradients.
    config = OptimizationConfig(iterations=4)
    one = optimize_points(points, None, targets, config)
    # A power of two scales every length exactly.
    large = optimize_points(1024.0 * points, None, 1024.0 * targets, config)
    np.testing.assert_allclose(large.points / 1024.0, one.points, rtol=1e-9)
    np.testing.assert_allclose(large.real_values, one.real_values, atol=1e-9)
    np.testing.assert_array_equal(large.faces, one.faces)


def test_points_without_targets_near_lose_their_real_value(device: str) -> None:
    points, targets = circle_or_sphere(2, 60, 2000, 0.0)
    # A small square away from the circle: its edges cost, no target needs them.
    square = 0.1 * np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    config = OptimizationConfig(iterations=80, real_rate=0.05)
    result = optimize_points(np.r_[points, square], None, targets, config, context=RunContext(device=device))
    assert (result.real_values[-4:] < 0.1).sum() >= 3
    assert np.median(result.real_values[:-4]) > 0.9


def test_switches_hold_positions_or_real_values() -> None:
    points, targets = circle_or_sphere(2, 60, 500, 0.03)
    fixed = optimize_points(points, None, targets, OptimizationConfig(iterations=10, move_points=False))
    np.testing.assert_array_equal(fixed.points, points)
    real = np.random.default_rng(0).random(60)
    held = optimize_points(points, real, targets, OptimizationConfig(iterations=10, move_real_values=False))
    np.testing.assert_array_equal(held.real_values, real)


def test_duplicates_and_outliers_do_no_harm() -> None:
    points, targets = circle_or_sphere(3, 80, 500, 0.03)
    points = np.r_[points, points[:20], [[50.0, 0, 0]], np.linspace([2, 0, 0], [3, 0, 0], 10)]
    result = optimize_points(points, None, targets, OptimizationConfig(iterations=10))
    assert np.isfinite(result.points).all()
    assert np.isfinite(result.probabilities).all()


def test_points_without_a_face_stay_and_give_none(device: str) -> None:
    line = np.c_[np.linspace(0, 1, 20), np.zeros((20, 2))]
    result = optimize_points(
        line, None, line, OptimizationConfig(iterations=3), context=RunContext(device=device)
    )
    assert result.faces.shape == (0, 3)
    np.testing.assert_array_equal(result.points, line)


def test_bad_arguments_are_refused() -> None:
    points, targets = circle_or_sphere(3, 20, 50, 0.0)
    with pytest.raises(InputError, match="targets"):
        optimize_points(points, None, targets[:, :2])
    with pytest.raises(InputError, match="real_values"):
        optimize_points(points, np.full(20, 1.5), targets)
    with pytest.raises(InputError, match="points: expected more"):
        optimize_points(points[:3], None, targets)
    with pytest.raises(InputError, match="normals"):
        optimize_points(points, None, targets, normals=targets[:5])


@pytest.mark.parametrize(
    "values", [{"iterations": -1}, {"slack": 0.01}, {"threshold": 2.0}, {"softness": 0.0}]
)
def test_bad_config_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        OptimizationConfig(**values)
