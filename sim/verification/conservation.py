"""Conservation: what a free body keeps, and what each scheme takes.

    linear momentum    kept by every scheme, to the residual of the solves: 1e-9 of m v
    angular momentum   kept exactly by symplectic Euler; a rigid body that turns by the angle f_k in step k of
                       implicit Euler has L_k = I sin(f_k) / dt, tan f_1 = w dt,
                       2 sin f_k = sin(f_k + f_k-1), for its inertia forces point to the axis: the measured
                       loss after 20 steps within 1e-4 of that; the trapezoidal rule's loss is at most 1e-3
    energy             never grows with implicit Euler; kept by the trapezoidal rule for a linear body: 1e-8;
                       no drift with symplectic Euler: means over 1,000 steps 3,000 steps apart within 1 %
    free fall          implicit Euler: z = -g t (t + dt) / 2 exactly: 1e-10

Source: Hairer, Lubich, Wanner 2006, Geometric Numerical Integration, chapters IV and IX.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from sim.energy import Elastic, Energy, Gravity
from sim.integrator import IMPLICIT_INTEGRATORS, ImplicitEuler, SymplecticEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.modes import stable_time_step
from sim.verification.bodies import EXACT, Floats, kuhn_box
from sim.verification.study import Row, Study, at_most, near

G = 9.81
SPIN = 5.0
AXIS = np.ones(3) / np.sqrt(3.0)
"""Threefold axis of a box of Kuhn tets, so a principal axis of its inertia."""


def _energy(model: SoftBodyModel, elastic: Elastic, state: State) -> float:
    kinetic = 0.5 * model.masses @ (state.velocities**2).sum(axis=1)
    return float(kinetic + elastic.value(model.to_device(state.positions)))


def _angular(model: SoftBodyModel, state: State) -> float:
    x = state.positions - model.masses @ state.positions / model.mass
    return float((model.masses[:, None] * np.cross(x, state.velocities)).sum(axis=0) @ AXIS)


def _run(
    name: str, model: SoftBodyModel, energies: list[Energy], dt: float, state: State, steps: int
) -> list[State]:
    states = [state]
    if name == "symplectic_euler":
        explicit = SymplecticEuler(model, energies, dt)
        for _ in range(steps):
            states.append(explicit.step(states[-1]))
        return states
    implicit = IMPLICIT_INTEGRATORS[name](model, energies, dt, EXACT)
    states = [implicit.begin(state)]
    for _ in range(steps):
        states.append(implicit.step(states[-1])[0])
    return states


def euler_spin(turn: float, steps: int) -> float:
    """Return L_n / L_0 of a rigid body after steps of implicit Euler, `turn` = w dt."""
    angle = float(np.arctan(turn))
    for _ in range(steps - 1):
        before = angle
        angle = float(brentq(lambda f: 2.0 * np.sin(f) - np.sin(f + before), 0.5 * before, before))  # noqa: B023
    return float(np.sin(angle)) / turn


def rows() -> list[Row]:
    """Spin, swing and fall."""
    found = []
    points, tets = kuhn_box((2, 2, 2))
    stiff = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e10, poissons_ratio=0.3))
    centre = stiff.masses @ points / stiff.mass
    drift_speed = np.array([0.3, 0.2, 0.1])
    spun: Floats = np.cross(SPIN * AXIS, points - centre) + drift_speed
    dt, steps = 0.01, 20
    losses = {}
    for name in ("implicit_euler", "bdf2", "trapezoidal", "symplectic_euler"):
        step = 0.5 * stable_time_step(stiff) if name == "symplectic_euler" else dt
        states = _run(name, stiff, [Elastic(stiff)], step, State(points, spun), steps)
        momentum = stiff.masses @ states[-1].velocities / stiff.mass
        drift = np.abs(momentum - drift_speed).max() / 0.3
        found.append(at_most(f"{name}: change of linear momentum", drift, 1e-9))
        before, after = _angular(stiff, states[0]), _angular(stiff, states[-1])
        losses[name] = 1.0 - after / before
        if name == "implicit_euler":
            exact = 1.0 - euler_spin(SPIN * dt, steps)
            found.append(near(f"{name}: loss of angular momentum, w dt = 0.05", losses[name], exact, 1e-4))
            energies = [_energy(stiff, Elastic(stiff), state) for state in states]
            found.append(
                at_most(f"{name}: growth of energy in a step", np.diff(energies).max() / energies[0], 1e-10)
            )
    found.append(
        at_most("symplectic_euler: loss of angular momentum", abs(losses["symplectic_euler"]), 1e-12)
    )
    found.append(at_most("trapezoidal: loss of angular momentum", abs(losses["trapezoidal"]), 1e-3))
    linear = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e4))
    start = State(points * [1.2, 0.9, 1.0], np.random.default_rng(0).normal(size=points.shape))
    ends = _run("trapezoidal", linear, [Elastic(linear)], 0.01, start, 50)
    values = [_energy(linear, Elastic(linear), state) for state in (ends[0], ends[-1])]
    found.append(near("trapezoidal, linear body: energy after 50 steps", values[1], values[0], 1e-8))
    small = SoftBodyModel.from_arrays(*kuhn_box((1, 1, 1)), Material(youngs_modulus=1.0e4))
    state, elastic, series = (
        State(small.rest_positions * [1.05, 1.0, 1.0], np.zeros((8, 3))),
        Elastic(small),
        [],
    )
    explicit = SymplecticEuler(small, [elastic], 0.1 * stable_time_step(small))
    for _ in range(4000):
        state = explicit.step(state)
        series.append(_energy(small, elastic, state))
    late, early = float(np.mean(series[-1000:])), float(np.mean(series[:1000]))
    found.append(near("symplectic_euler: mean energy, late over early", late / early, 1.0, 0.01))
    euler = ImplicitEuler(stiff, [Elastic(stiff), Gravity(stiff, (0.0, 0.0, -G))], dt, EXACT)
    state = State.at_rest(stiff)
    for _ in range(steps):
        state, _ = euler.step(state)
    fallen = float((state.positions - points)[:, 2].mean())
    t = steps * dt
    found.append(near("implicit_euler: free fall [m]", fallen, -G * t * (t + dt) / 2.0, 1e-10))
    return found


STUDY = Study(17, "Conservation", rows)
