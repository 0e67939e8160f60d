"""Rayleigh damping against the closed form of one damped mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.damping import MassDamping, StiffnessDamping, rayleigh_coefficients, rayleigh_damping
from sim.energy import Elastic
from sim.integrator import IMPLICIT_INTEGRATORS
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.modes import lowest_modes, rest_stiffness
from sim.quadratic import refine_degree
from sim.solver import NewtonConfig


@pytest.mark.parametrize("part", ["mass", "stiffness", "both"])
def test_mode_decays_like_the_damped_oscillator(part: str, box: Callable, device: str) -> None:
    # q'' + 2 zeta w q' + w^2 q = 0, q(0) = q_0, q'(0) = 0, with 2 zeta w = alpha + beta w^2:
    #   q = q_0 exp(-zeta w t) (cos(w_d t) + zeta w / w_d sin(w_d t)),   w_d = w sqrt(1 - zeta^2)
    points, tets = box((3, 1, 1), (3.0, 1.0, 1.0))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e5, 0.3), device=device)
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    modes = lowest_modes(model, 1, free=free)
    w, shape = 2.0 * np.pi * modes.frequencies[0], modes.shapes[0]
    zeta = 0.1
    alpha = {"mass": 2 * zeta * w, "stiffness": 0.0, "both": zeta * w}[part]
    beta = {"mass": 0.0, "stiffness": 2 * zeta / w, "both": zeta / w}[part]
    steps, duration = 200, 2.0 * 2.0 * np.pi / w
    energies = [Elastic(model), *rayleigh_damping(model, alpha, beta)]
    integrator = IMPLICIT_INTEGRATORS["trapezoidal"](
        model, energies, duration / steps, NewtonConfig(tolerance=1e-10), free=free
    )
    state = State(points + 0.01 * shape, np.zeros_like(points))
    found = []
    for _ in range(steps):
        state, _ = integrator.step(state)
        found.append(((state.positions - points) * shape * model.masses[:, None]).sum())
    t = np.linspace(0.0, duration, steps + 1)[1:]
    wd = w * np.sqrt(1.0 - zeta**2)
    exact = 0.01 * np.exp(-zeta * w * t) * (np.cos(wd * t) + zeta * w / wd * np.sin(wd * t))
    # Phase error of the trapezoidal rule: (w dt)^2 / 12 * w t = 0.0003 * 12.6 = 0.4 % of the amplitude.
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.005 * 0.01)


def test_coefficients_give_the_wanted_shares() -> None:
    alpha, beta = rayleigh_coefficients((2.0, 0.05), (30.0, 0.02))
    for frequency, share in ((2.0, 0.05), (30.0, 0.02)):
        w = 2.0 * np.pi * frequency
        assert alpha / (2.0 * w) + beta * w / 2.0 == pytest.approx(share)


def test_stiffness_damping_leaves_free_fall_alone(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5))
    terms = [Elastic(model), StiffnessDamping(model, 0.1)]
    integrator = IMPLICIT_INTEGRATORS["bdf2"](model, terms, 0.01, NewtonConfig(tolerance=1e-10))
    state = State(points, np.tile([1.0, 2.0, 3.0], (len(points), 1)))
    for _ in range(5):
        state, _ = integrator.step(state)
    np.testing.assert_allclose(state.positions, points + 0.05 * np.array([1.0, 2.0, 3.0]), atol=1e-8)


@pytest.mark.parametrize("kind", [MassDamping, StiffnessDamping])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_coefficient_must_be_positive(kind: type, value: float, box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    with pytest.raises(ValueError, match="positive"):
        kind(model, value)


@pytest.mark.parametrize("element", [lambda model: model, refine_degree])
def test_stiffness_damping_is_the_stiffness_at_rest(element: Callable, box: Callable, device: str) -> None:
    points, tets = box((2, 1, 1), jitter=0.2)
    model = element(SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device))
    damping = StiffnessDamping(model, 0.1)
    rng = np.random.default_rng(0)
    anchor = model.rest_positions + 0.1 * rng.normal(size=model.rest_positions.shape)
    x = model.to_device(model.rest_positions)
    damping.begin_step(x, model.to_device(anchor), 0.01)
    found = wp.zeros_like(x)
    damping.gradient(x, found)
    expected = 10.0 * (rest_stiffness(model) @ (model.rest_positions - anchor).ravel()).reshape(-1, 3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("element", [lambda model: model, refine_degree])
def test_stiffness_damping_opposes_strain_and_not_rotation(
    element: Callable, box: Callable, rotation: np.ndarray, device: str
) -> None:
    points, tets = box((2, 1, 1), jitter=0.2)
    model = element(SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device))
    damping = StiffnessDamping(model, 0.1)
    rng = np.random.default_rng(0)
    crushed = model.rest_positions @ rotation.T + 0.5 * rng.normal(size=model.rest_positions.shape)
    turning = np.cross([1.0, 2.0, 3.0], crushed) + np.array([4.0, 5.0, 6.0])
    damping.begin_step(model.to_device(crushed), model.to_device(crushed), 0.01)
    powers = [
        damping.value(model.to_device(crushed + 0.01 * way))
        for way in (turning, rng.normal(size=crushed.shape))
    ]
    assert 0.0 <= abs(powers[0]) <= 1e-12 * powers[1]
