"""Inertia as an energy: derivatives and units."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.time_integration import (
    add_scaled,
    apply_mask,
    inertia_energy,
    inertia_gradient,
    inertia_hessian,
    load_energy,
)


def arrays(device: str) -> tuple:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 3))
    m = rng.uniform(1.0, 2.0, 5)
    to = lambda a, t: wp.array(a, dtype=t, device=device)  # noqa: E731
    return x, y, m, to(x, wp.vec3d), to(y, wp.vec3d), to(m, wp.float64)


def test_inertia_matches_its_formula(device: str) -> None:
    x, y, m, xs, ys, ms = arrays(device)
    dt = 0.1
    energy, gradient, hessian = (
        wp.zeros(5, dtype=t, device=device) for t in (wp.float64, wp.vec3d, wp.mat33d)
    )
    inertia_energy(xs, ys, ms, dt, energy)
    inertia_gradient(xs, ys, ms, dt, gradient)
    inertia_hessian(ms, dt, hessian)
    np.testing.assert_allclose(energy.numpy(), m / (2 * dt**2) * ((x - y) ** 2).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(gradient.numpy(), (m / dt**2)[:, None] * (x - y), rtol=1e-14)
    np.testing.assert_allclose(hessian.numpy(), (m / dt**2)[:, None, None] * np.eye(3), rtol=1e-14)


def test_load_energy_is_minus_work(device: str) -> None:
    x, y, _, xs, ys, _ = arrays(device)
    loads = wp.array(x + 1.0, dtype=wp.vec3d, device=device)
    energy = wp.zeros(5, dtype=wp.float64, device=device)
    load_energy(xs, ys, loads, energy)
    np.testing.assert_allclose(energy.numpy(), -((x + 1.0) * (x - y)).sum(axis=1), rtol=1e-13)


def test_sums_and_masks_work_in_place(device: str) -> None:
    x, y, _, xs, ys, _ = arrays(device)
    add_scaled(xs, -2.0, ys, xs)
    np.testing.assert_allclose(xs.numpy(), x - 2.0 * y, rtol=1e-15)
    free = np.array([[1.0, 0.0, 1.0]] * 5)
    apply_mask(wp.array(free, dtype=wp.vec3d, device=device), xs)
    np.testing.assert_allclose(xs.numpy(), free * (x - 2.0 * y), rtol=1e-15)
