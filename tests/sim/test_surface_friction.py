"""Friction between surfaces: derivatives, opposite forces, a block on a rough plate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic, Gravity
from sim.friction import Friction
from sim.integrator import ImplicitEuler, Relaxation
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.self_contact import MeshContact, SelfContact
from sim.solver import NewtonConfig
from sim.surface_friction import SurfaceFriction

G = 9.81


@pytest.mark.parametrize("speed", [0.0, 0.3, 3.0], ids=["still", "below the slip speed", "above"])
def test_gradient_and_hessian_are_derivatives(speed: float, blocks: Callable, device: str) -> None:
    points, tets = blocks((2, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SelfContact(model, d_hat=0.4, pressure=2.0)
    friction = SurfaceFriction(contact, 0.4, slip_speed=1.0)
    rng = np.random.default_rng(0)
    step = 0.1
    x = points + speed * step * rng.uniform(-1.0, 1.0, points.shape)
    friction.begin_step(model.to_device(points), model.to_device(points), step)
    d, e = rng.normal(size=points.shape), 1e-6

    def gradient(at: np.ndarray) -> np.ndarray:
        out = wp.zeros(len(at), dtype=wp.vec3d, device=device)
        friction.gradient(model.to_device(at), out)
        return out.numpy().copy()

    above, below = (friction.value(model.to_device(x + s * e * d)) for s in (1, -1))
    # Truncation e^2, rounding 1e-16 / e; f1' is continuous, f1'' is not.
    assert (gradient(x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-5, abs=1e-8)
    assert friction.find_pattern(model.to_device(x))
    assert not friction.find_pattern(model.to_device(x))
    rows, columns = friction.pattern()
    values = wp.zeros(len(rows), dtype=wp.mat33d, device=device)
    friction.hessian(model.to_device(x), values)
    found = np.zeros_like(x)
    np.add.at(found, rows, np.einsum("kij,kj->ki", values.numpy().reshape(-1, 3, 3), d[columns]))
    numeric = (gradient(x + e * d) - gradient(x - e * d)) / (2 * e)
    # The Hessian has a kink where nothing slips: e |d| over the way of full friction, 0.1 m. Else rounding,
    # 1e-16 / e of the gradient.
    share = 1e-4 if speed == 0.0 else 1e-8
    np.testing.assert_allclose(found, numeric, atol=share * np.abs(numeric).max())
    # What one body feels the other feels the other way; a common motion is not felt.
    np.testing.assert_allclose(gradient(x).sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(gradient(x + np.array([5.0, 0.0, 3.0])), gradient(x), atol=1e-10)
    assert np.abs(gradient(x)).max() > 0.0 or speed == 0.0


@pytest.mark.parametrize("mu", [0.2, 0.5])
def test_block_sticks_below_and_slides_above_the_friction_angle_of_a_plate(mu: float, box: Callable) -> None:
    # tan(angle) < mu: creep below the slip speed of 1 mm/s; above: a = g (sin - mu cos).
    points, tets = box((2, 2, 1), (0.2, 0.2, 0.1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6, poissons_ratio=0.3))
    plate = np.array([[-9.0, -9.0, -1e-3], [9.0, -9.0, -1e-3], [0.0, 20.0, -1e-3]])
    exact = NewtonConfig(tolerance=1e-9)
    for factor in (0.9, 1.5):
        angle = np.arctan(factor * mu)
        # The plate stays level, gravity leans.
        down = G * np.array([np.sin(angle), 0.0, -np.cos(angle)])
        contact = MeshContact(model, plate, [[0, 1, 2]], d_hat=1e-3, pressure=1.0e5)
        pressing = Gravity(model, down * [0.0, 0.0, 1.0])
        settled, _, _ = Relaxation(model, [Elastic(model), pressing, contact], 0.01, exact).settle(
            points, weight=model.mass * G, tolerance=1e-8
        )
        energies = [Elastic(model), Gravity(model, down), contact, SurfaceFriction(contact, mu)]
        euler = ImplicitEuler(model, energies, 0.02, exact)
        state, speeds = State(settled, np.zeros_like(points)), []
        for number in range(20):
            state, _ = euler.step(state, number=number)
            speeds.append(float(model.masses @ state.velocities[:, 0]) / model.mass)
        if factor < 1.0:
            assert abs(speeds[-1]) < 1e-3
        else:
            expected = G * (np.sin(angle) - mu * np.cos(angle))
            assert (speeds[-1] - speeds[9]) / 0.2 == pytest.approx(expected, rel=0.02)


def test_friction_of_vertices_refuses_surfaces(blocks: Callable) -> None:
    model = SoftBodyModel.from_arrays(*blocks())
    contact = SelfContact(model, d_hat=0.1, pressure=1.0)
    with pytest.raises(TypeError, match="SurfaceFriction"):
        Friction(contact, 0.3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="coefficient"):
        SurfaceFriction(contact, -0.1)
