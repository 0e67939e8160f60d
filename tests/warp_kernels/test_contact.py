"""The ground barrier: derivatives, range, step bound."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.contact import Plane, contact_energy, contact_gradient, contact_hessian, contact_step_bound

NORMAL = np.array([0.6, 0.0, 0.8])
D_HAT, PRESSURE, OFFSET = 0.01, 50.0, 0.3


def plane() -> Plane:
    p = Plane()
    p.normal, p.offset, p.d_hat, p.pressure = wp.vec3d(*NORMAL), OFFSET, D_HAT, PRESSURE
    return p


def points_at(distances: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    side = np.cross(NORMAL, rng.normal(size=(len(distances), 3)))
    return NORMAL * (OFFSET + distances)[:, None] + side


def evaluate(x: np.ndarray, areas: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(x)
    xs, a = wp.array(x, dtype=wp.vec3d, device=device), wp.array(areas, dtype=wp.float64, device=device)
    energy = wp.zeros(n, dtype=wp.float64, device=device)
    gradient, hessian = (wp.zeros(n, dtype=t, device=device) for t in (wp.vec3d, wp.mat33d))
    contact_energy(xs, a, plane(), energy)
    contact_gradient(xs, a, plane(), gradient)
    contact_hessian(xs, a, plane(), hessian)
    return energy.numpy(), gradient.numpy(), hessian.numpy()


def test_gradient_and_hessian_are_derivatives(device: str) -> None:
    distances = D_HAT * np.array([0.05, 0.3, 0.7, 0.95, 1.5])
    x, areas = points_at(distances), np.array([1.0, 2.0, 0.5, 3.0, 1.0])
    _, gradient, hessian = evaluate(x, areas, device)
    step = 1e-6 * D_HAT
    for axis in range(3):
        d = np.zeros(3)
        d[axis] = step
        above, below = evaluate(x + d, areas, device), evaluate(x - d, areas, device)
        # Truncation (h / d)^2 = 4e-10 at the nearest point; positions of size 1 round to 1e-8 D_HAT over h.
        np.testing.assert_allclose(
            (above[0] - below[0]) / (2 * step), gradient[:, axis], rtol=1e-6, atol=1e-5
        )
        np.testing.assert_allclose((above[1] - below[1]) / (2 * step), hessian[:, axis], rtol=1e-6, atol=1e-3)


def test_energy_is_zero_beyond_the_layer_and_infinite_behind_the_plane(device: str) -> None:
    energy, gradient, _ = evaluate(points_at(np.array([1.01 * D_HAT, 5.0, -1e-3])), np.ones(3), device)
    np.testing.assert_array_equal(energy[:2], 0.0)
    np.testing.assert_array_equal(gradient[:2], 0.0)
    assert energy[2] == np.inf


def test_vertex_without_area_is_not_seen(device: str) -> None:
    energy, gradient, hessian = evaluate(points_at(np.array([-1.0])), np.zeros(1), device)
    for values in (energy, gradient, hessian):
        assert not values.any()


def test_step_bound_is_the_first_touch(device: str) -> None:
    x = wp.array(points_at(np.array([0.5, 0.2, 1.0])), dtype=wp.vec3d, device=device)
    dx = wp.array(-NORMAL * np.array([[1.0], [0.8], [-3.0]]), dtype=wp.vec3d, device=device)
    bound = wp.array([np.inf], dtype=wp.float64, device=device)
    contact_step_bound(x, dx, wp.array(np.ones(3), dtype=wp.float64, device=device), plane(), bound)
    np.testing.assert_allclose(bound.numpy()[0], 0.25, rtol=1e-12)  # min(0.5 / 1, 0.2 / 0.8)
