"""Friction: derivatives, the threshold of an incline, sliding, creep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic, Gravity, GroundContact
from sim.friction import Friction
from sim.integrator import ImplicitEuler, Relaxation
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.solver import NewtonConfig

G = 9.81


@pytest.mark.parametrize("speed", [0.0, 0.3, 3.0], ids=["still", "below the slip speed", "above"])
def test_gradient_and_hessian_are_derivatives(speed: float, box: Callable, device: str) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = GroundContact(model, d_hat=2.0, pressure=3.0, normal=(0.2, 0.1, 1.0), offset=-0.5)
    friction = Friction(contact, 0.4, slip_speed=1.0)
    rng = np.random.default_rng(0)
    step = 0.1
    x = points + speed * step * rng.uniform(0.5, 1.0, points.shape)
    friction.begin_step(model.to_device(points), model.to_device(points), step)
    d, e = rng.normal(size=points.shape), 1e-6

    def gradient(at: np.ndarray) -> np.ndarray:
        out = wp.zeros(len(at), dtype=wp.vec3d, device=device)
        friction.gradient(model.to_device(at), out)
        return out.numpy()

    above, below = (friction.value(model.to_device(x + s * e * d)) for s in (1, -1))
    # Truncation e^2, rounding 1e-16 / e; f1' is continuous, f1'' is not.
    assert (gradient(x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-5, abs=1e-8)
    blocks = wp.zeros(len(x), dtype=wp.mat33d, device=device)
    friction.hessian(model.to_device(x), blocks)
    values = blocks.numpy().reshape(-1, 3, 3)
    numeric = (gradient(x + e * d) - gradient(x - e * d)) / (2 * e)
    # The Hessian has a kink where nothing slips: e |d| over the way of full friction, 0.1 m. Else rounding,
    # 1e-16 / e of the gradient.
    share = 1e-4 if speed == 0.0 else 1e-8
    np.testing.assert_allclose(np.einsum("pij,pj->pi", values, d), numeric, atol=share * np.abs(values).max())
    assert np.linalg.eigvalsh(values).min() >= -1e-12 * np.abs(values).max()


def slide(box: Callable, angle: float, mu: float, duration: float, steps: int) -> tuple[float, float]:
    """Return the speed of a block down an incline at the middle and at the end, from rest."""
    points, tets = box((2, 2, 1), (0.2, 0.2, 0.1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6, poissons_ratio=0.3))
    # The ground stays level, gravity leans: x points down the slope.
    down = G * np.array([np.sin(angle), 0.0, -np.cos(angle)])
    contact = GroundContact(model, d_hat=1e-3, pressure=1.0e5, offset=-1e-3)
    elastic, exact = Elastic(model), NewtonConfig(tolerance=1e-9)
    pressing = Gravity(model, down * [0.0, 0.0, 1.0])
    settled, _, _ = Relaxation(model, [elastic, pressing, contact], 0.01, exact).settle(
        points, weight=model.mass * G, tolerance=1e-8
    )
    energies = [elastic, Gravity(model, down), contact, Friction(contact, mu, slip_speed=1e-3)]
    euler = ImplicitEuler(model, energies, duration / steps, exact)
    state = State(settled, np.zeros_like(points))
    speeds = []
    for number in range(steps):
        state, _ = euler.step(state, number=number)
        speeds.append(float(model.masses @ state.velocities[:, 0]) / model.mass)
    return speeds[steps // 2 - 1], speeds[-1]


@pytest.mark.parametrize("mu", [0.2, 0.5])
def test_block_sticks_below_and_slides_above_the_friction_angle(mu: float, box: Callable) -> None:
    # tan(angle) < mu: at rest but for creep below the slip speed of 1 mm/s;
    # above: a = g (sin - mu cos). Start and end of the measurement lie behind the first shear of the block.
    angle = np.arctan(0.9 * mu)
    _, speed = slide(box, angle, mu, 0.4, 20)
    assert abs(speed) < 1e-3
    angle = np.arctan(1.5 * mu)
    middle, end = slide(box, angle, mu, 0.4, 20)
    expected = G * (np.sin(angle) - mu * np.cos(angle))
    assert (end - middle) / 0.2 == pytest.approx(expected, rel=0.02)


def test_creep_speed_is_that_of_the_smoothed_law(box: Callable) -> None:
    # 2 r - r^2 = tan(angle) / mu with r = speed / slip speed.
    mu = 0.5
    share = 0.6
    _, speed = slide(box, np.arctan(share * mu), mu, 0.4, 20)
    assert speed / 1e-3 == pytest.approx(1.0 - np.sqrt(1.0 - share), rel=0.02)


@pytest.mark.parametrize("wrong", [{"coefficient": -0.1}, {"coefficient": np.nan}, {"slip_speed": 0.0}])
def test_bad_settings_are_refused(wrong: dict, box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    contact = GroundContact(model, d_hat=0.1, pressure=1.0)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Friction(contact, **({"coefficient": 0.5} | wrong))
