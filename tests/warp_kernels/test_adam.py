"""One and two Adam steps against the formula in numpy, the bound, and the range of real values."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels import adam


@pytest.mark.parametrize("d", [2, 3])
def test_steps_follow_the_formula_and_the_bound(d: int, device: str) -> None:
    rng = np.random.default_rng(0)
    n, rate, bound, epsilon = 50, 0.05, 0.04, 1e-9
    vector = wp.vec2d if d == 2 else wp.vec3d
    start, scale = rng.normal(size=(n, d)), rng.uniform(0.5, 2.0, n)
    gradients = rng.normal(size=(3, n, d)) * 10.0 ** rng.uniform(-4, 4, size=(1, n, 1))
    gradients[:, 0] = 0.0
    points = wp.array(start, dtype=vector, device=device)
    lengths = wp.array(scale, dtype=wp.float64, device=device)
    first, second = wp.zeros_like(points), wp.zeros_like(lengths)
    x, m, v = start.copy(), np.zeros((n, d)), np.zeros(n)
    for t, g in enumerate(gradients, start=1):
        step = adam.adam_step(t, rate, bound, epsilon)
        adam.move_points(step, lengths, wp.array(g, dtype=vector, device=device), first, second, points)
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * (g * g).sum(axis=1)
        size = np.sqrt(v / (1 - 0.99**t)) + epsilon
        delta = -rate * scale[:, None] * m / (1 - 0.9**t) / size[:, None]
        length = np.linalg.norm(delta, axis=1)
        delta *= np.minimum(1.0, bound * scale / np.maximum(length, 1e-300))[:, None]
        x = x + delta
        np.testing.assert_allclose(points.numpy(), x, rtol=1e-12)
    np.testing.assert_array_equal(points.numpy()[0], start[0])

    moved = wp.zeros(1, dtype=wp.float64, device=device)
    adam.largest_displacement(points, wp.array(start, dtype=vector, device=device), lengths, moved)
    wanted = (np.linalg.norm(x - start, axis=1) / scale).max()
    assert moved.numpy()[0] == pytest.approx(wanted, rel=1e-9)
    assert wanted <= 3 * bound * (1 + 1e-12)


def test_real_values_stay_in_their_range(device: str) -> None:
    real = wp.array([0.0, 0.5, 1.0, 0.99], dtype=wp.float64, device=device)
    gradient = wp.array([1.0, 1.0, -1.0, -1e-3], dtype=wp.float64, device=device)
    first, second = wp.zeros_like(real), wp.zeros_like(real)
    adam.move_real_values(adam.adam_step(1, 0.02, 1.0, 1e-12), gradient, first, second, real)
    # The first step has the length of the rate, whatever the gradient.
    np.testing.assert_allclose(real.numpy(), [0.0, 0.48, 1.0, 1.0], atol=1e-9)
