"""Implicit Euler: its own closed forms, and what it must not see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.solver import NewtonConfig

EXACT = NewtonConfig(tolerance=1e-11)


def test_free_fall_is_exact(box: Callable, device: str) -> None:
    # v_k = -g k dt,  x_k - x_0 = -g t (t + dt) / 2
    points, tets = box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
    dt, g = 0.01, np.array([0.0, 0.0, -9.81])
    euler = ImplicitEuler(model, [Elastic(model), Gravity(model, g)], dt, EXACT)
    state = State.at_rest(model)
    for _ in range(10):
        state, _ = euler.step(state)
    t = state.time
    assert t == pytest.approx(10 * dt, rel=1e-14)
    np.testing.assert_allclose(state.velocities, np.tile(g * t, (len(points), 1)), atol=1e-8)
    np.testing.assert_allclose(state.positions, points + g * t * (t + dt) / 2.0, atol=1e-10)


def roll_out(points: np.ndarray, tets: np.ndarray, R: np.ndarray, device: str) -> np.ndarray:
    """Drop a box onto a plane in a scene that is rotated by R; return the positions after the impact."""
    model = SoftBodyModel.from_arrays(points @ R.T, tets, Material(youngs_modulus=1.0e5), device=device)
    up = R @ np.array([0.0, 0.0, 1.0])
    energies = [
        Elastic(model),
        Gravity(model, -9.81 * up),
        GroundContact(model, d_hat=0.01, pressure=1.0e4, normal=up, offset=-0.05),
    ]
    euler = ImplicitEuler(model, energies, 0.01, EXACT)
    state = State.at_rest(model)
    for _ in range(20):
        state, _ = euler.step(state)
    return state.positions


def test_rotated_scene_gives_the_rotated_result(box: Callable, device: str, rotation: np.ndarray) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    points = points + np.array([0.0, 0.0, 0.0])
    straight = roll_out(points, tets, np.eye(3), device)
    turned = roll_out(points, tets, rotation, device)
    assert (straight[:, 2].min() - points[:, 2].min()) < -0.04  # it has landed
    np.testing.assert_allclose(turned, straight @ rotation.T, rtol=0, atol=1e-6)


def test_momentum_stays_and_energy_does_not_grow(box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4), device=device)
    elastic = Elastic(model)
    euler = ImplicitEuler(model, [elastic], 0.005, EXACT)
    velocities = np.random.default_rng(0).normal(size=points.shape)
    state = State(points * [1.2, 0.9, 1.0], velocities)
    momentum = model.masses @ velocities

    def energy(s: State) -> float:
        kinetic = 0.5 * model.masses @ (s.velocities**2).sum(axis=1)
        return float(kinetic + elastic.value(model.to_device(s.positions)))

    before = energy(state)
    for _ in range(20):
        state, _ = euler.step(state)
        after = energy(state)
        assert after <= before * (1.0 + 1e-10)
        before = after
    # The sum of the elastic forces vanishes up to the residual of each step.
    np.testing.assert_allclose(model.masses @ state.velocities, momentum, atol=1e-6 * np.abs(momentum).max())


def test_error_falls_with_the_first_order_of_the_step(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    start = State(points * [1.1, 1.0, 1.0], np.zeros_like(points))

    def end(steps: int) -> np.ndarray:
        euler = ImplicitEuler(model, [Elastic(model)], 0.02 / steps, EXACT)
        state = start
        for _ in range(steps):
            state, _ = euler.step(state)
        return state.positions

    # Differences of successive refinements fall by 2 for a first-order method.
    a, b, c = (end(steps) for steps in (20, 40, 80))
    order = np.log2(np.linalg.norm(a - b) / np.linalg.norm(b - c))
    assert 0.9 < order < 1.15
