"""Orders of convergence, energy behaviour and stability of all integrators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.energy import Elastic, Gravity
from sim.errors import SimulationDiverged
from sim.integrator import IMPLICIT_INTEGRATORS, SymplecticEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.modes import lowest_modes, stable_time_step
from sim.solver import NewtonConfig

EXACT = NewtonConfig(tolerance=1e-12)


def end_of(name: str, model: SoftBodyModel, start: State, duration: float, steps: int) -> np.ndarray:
    energies = [Elastic(model), Gravity(model)]
    state = start
    if name == "symplectic_euler":
        explicit = SymplecticEuler(model, energies, duration / steps)
        for _ in range(steps):
            state = explicit.step(state)
    else:
        implicit = IMPLICIT_INTEGRATORS[name](model, energies, duration / steps, EXACT)
        for _ in range(steps):
            state, _ = implicit.step(state)
    return np.concatenate([state.positions, duration * state.velocities])


@pytest.mark.parametrize(
    ("name", "order", "steps"),
    [("symplectic_euler", 1, 400), ("implicit_euler", 1, 40), ("bdf2", 2, 40), ("trapezoidal", 2, 40)],
)
def test_error_falls_with_the_order_of_the_integrator(
    name: str, order: int, steps: int, box: Callable, device: str
) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4), device=device)
    spin = np.cross([0.0, 0.0, 2.0], points - 0.5)
    start = State(points * [1.1, 1.0, 1.0], spin)
    # Differences of successive refinements fall by 2^order.
    a, b, c = (end_of(name, model, start, 0.02, steps * k) for k in (1, 2, 4))
    observed = np.log2(np.linalg.norm(a - b) / np.linalg.norm(b - c))
    assert order - 0.1 * order <= observed <= order + 0.3


def energy_of(model: SoftBodyModel, elastic: Elastic, state: State) -> float:
    kinetic = 0.5 * model.masses @ (state.velocities**2).sum(axis=1)
    return float(kinetic + elastic.value(model.to_device(state.positions)))


def test_trapezoidal_rule_keeps_the_energy_of_a_linear_body(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e4))
    elastic = Elastic(model)
    integrator = IMPLICIT_INTEGRATORS["trapezoidal"](model, [elastic], 0.01, EXACT)
    state = State(points * [1.2, 0.9, 1.0], np.random.default_rng(0).normal(size=points.shape))
    before = energy_of(model, elastic, state)
    for _ in range(50):
        state, _ = integrator.step(state)
    # Exact for a quadratic energy up to the residuals of 50 solves.
    assert energy_of(model, elastic, state) == pytest.approx(before, rel=1e-8)


@pytest.mark.parametrize("name", ["implicit_euler", "bdf2"])
def test_backward_differences_lose_energy(name: str, box: Callable) -> None:
    points, tets = box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e4))
    elastic = Elastic(model)
    integrator = IMPLICIT_INTEGRATORS[name](model, [elastic], 1.0, EXACT)
    state = State(points * [1.2, 0.9, 1.0], np.zeros_like(points))
    energies = [energy_of(model, elastic, state)]
    for _ in range(20):
        state, _ = integrator.step(state)
        energies.append(energy_of(model, elastic, state))
    # The slowest mode has w dt > 5 here: implicit Euler divides its amplitude by |1 + i w dt| a step, BDF2 by
    # at least half of that.
    assert energies[-1] < 1e-6 * energies[0]
    if name == "implicit_euler":
        assert (np.diff(energies) <= 1e-10 * energies[0]).all()


@pytest.mark.parametrize(("share", "is_stable"), [(0.99, True), (1.01, False)])
def test_stable_step_is_the_exact_limit(share: float, is_stable: bool, box: Callable) -> None:
    # 2 / w_max: just below, the energy stays within a factor; just above, it grows without bound.
    points, tets = box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e4))
    elastic = Elastic(model)
    integrator = SymplecticEuler(model, [elastic], share * stable_time_step(model))
    state = State(points, 1e-3 * np.random.default_rng(0).normal(size=points.shape))
    before = energy_of(model, elastic, state)
    for _ in range(400):
        state = integrator.step(state)
    # dt = 0.99 limit: the kept quadratic form bounds the energy within 1 / (1 - 0.99^2) = 50;
    # dt = 1.01 limit: the fastest mode grows by 1.15 a step, 1e48 in 400.
    assert (energy_of(model, elastic, state) < 100.0 * before) == is_stable


def test_symplectic_energy_does_not_drift(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    elastic = Elastic(model)
    integrator = SymplecticEuler(model, [elastic], 0.1 * stable_time_step(model))
    state = State(points * [1.05, 1.0, 1.0], np.zeros_like(points))
    energies = []
    for _ in range(4000):
        state = integrator.step(state)
        energies.append(energy_of(model, elastic, state))
    early, late = np.mean(energies[:1000]), np.mean(energies[-1000:])
    # The oscillation is of order w dt / 2 = 0.1; a drift would show in means over hundreds of periods.
    assert late == pytest.approx(early, rel=0.01)


def test_unstable_run_says_which_step_would_be_stable(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    integrator = SymplecticEuler(model, [Elastic(model)], 10.0)
    state = State(points * 1.1, np.zeros_like(points))

    def run() -> None:
        x = state
        for number in range(100):
            x = integrator.step(x, number=number)

    with np.errstate(all="ignore"), pytest.raises(SimulationDiverged, match="stable at rest below") as caught:
        run()
    assert caught.value.step > 0
    assert np.isfinite(caught.value.positions).all()


def test_default_step_is_below_the_stable_one(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    free = np.ones_like(points)
    free[points[:, 2] == 0.0] = 0.0
    integrator = SymplecticEuler(model, [Elastic(model)], free=free)
    assert integrator.dt == pytest.approx(0.9 * stable_time_step(model, free))
    highest = lowest_modes(model, int(free.sum()), free=free).frequencies[-1]
    assert stable_time_step(model, free) == pytest.approx(1.0 / (np.pi * highest), rel=1e-5)
