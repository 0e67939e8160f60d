"""Roll-outs that can be differentiated; `simulate(points, tets, Motion(...))` returns a `Trajectory`.

    step k    r(x_k; x_p, v_p, p) = 0,   v_k = (x_k - x_p) / h,   a_k = (v_k - v_p) / h

with the predictor x_p, v_p of `integrator.py`, linear in the states before. `backward` runs the chain in
reverse: one solve with the exact Hessian of each step, found again from the kept states. Memory is that of
the states alone, 48 to 72 bytes a vertex and step.

Source: as `sensitivity.py`; Geilinger et al. 2020, ADD, for the same of BDF steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.energy import Energy
from sim.integrator import ImplicitEuler, begin_step, predict
from sim.model import State
from sim.sensitivity import AdjointTerms, ParameterGradient

Floats = NDArray[np.float64]


@dataclass
class TrajectoryGradient(ParameterGradient):
    """Derivatives of a loss on a trajectory."""

    initial_positions: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """[L/m], shape (n, 3)."""
    initial_velocities: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """[L s/m], shape (n, 3)."""


@dataclass
class Trajectory:
    """States of a body at every step, the first included."""

    integrator: ImplicitEuler
    states: list[State]
    newton_iterations: int = 0

    @property
    def times(self) -> Floats:
        """[s], shape (k + 1,)."""
        return np.array([state.time for state in self.states])

    @property
    def positions(self) -> Floats:
        """[m], shape (k + 1, n, 3)."""
        return np.stack([state.positions for state in self.states])

    @property
    def velocities(self) -> Floats:
        """[m/s], shape (k + 1, n, 3)."""
        return np.stack([state.velocities for state in self.states])

    def backward(
        self, position_gradient: Floats, velocity_gradient: Floats | None = None
    ) -> TrajectoryGradient:
        """Differentiate a loss on positions and velocities by all that the trajectory depends on.

        Args:
            position_gradient: dL/d positions, shape (k + 1, n, 3).
            velocity_gradient: dL/d velocities, shape (k + 1, n, 3); zero if None.

        Raises:
            ValueError: Wrong shape.
            TypeError: An energy has no derivative by its parameters.
        """
        integrator, model = self.integrator, self.integrator.model
        shape = (len(self.states), model.vertex_count, 3)
        x_bar = np.array(position_gradient, dtype=np.float64)
        v_bar = np.zeros(shape) if velocity_gradient is None else np.array(velocity_gradient, np.float64)
        for name, given in (("position_gradient", x_bar), ("velocity_gradient", v_bar)):
            if given.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {given.shape}")
        a_bar = np.zeros(shape)
        terms = AdjointTerms(integrator.newton)
        lagged = [e for e in integrator.potential if hasattr(e, "begin_step")]
        for k in reversed(range(len(self.states) - 1)):
            state, after = self.states[k], self.states[k + 1]
            p = integrator.predictor(state)
            anchor, velocities = predict(p, state)
            h = p.length
            v_now = v_bar[k + 1] + a_bar[k + 1] / h
            x_now = x_bar[k + 1] + v_now / h
            anchor_bar, velocity_bar = -v_now / h, -a_bar[k + 1] / h
            integrator.inertia.dt = h
            integrator.inertia.target.assign(anchor + h * velocities)
            begin_step(integrator.potential, model.to_device(state.positions), model.to_device(anchor), h)
            terms.start[:] = 0.0
            z, held = terms.solve(after.positions, x_now)
            terms.add(after.positions, z, integrator.newton.energies)
            inertial = model.masses[:, None] * z / h**2
            # Damping and friction see x - x_p alone, so that their dr/dx_p is minus their Hessian.
            anchor_bar += inertial + terms.product(lagged, z)
            velocity_bar += inertial * h
            # A component that is held stays where it was.
            x_bar[k] += p.now * anchor_bar + held + terms.start
            v_bar[k] += p.now * velocity_bar + p.velocity * anchor_bar
            a_bar[k] += p.acceleration * velocity_bar
            if p.before:
                x_bar[k - 1] += p.before * anchor_bar
                v_bar[k - 1] += p.before * velocity_bar
        if a_bar[0].any():
            self._add_initial_acceleration(terms, lagged, x_bar, v_bar, a_bar)
        found = terms.gradient(np.zeros(shape[1:]))
        return TrajectoryGradient(**vars(found), initial_positions=x_bar[0], initial_velocities=v_bar[0])

    def _add_initial_acceleration(
        self, terms: AdjointTerms, lagged: list[Energy], x_bar: Floats, v_bar: Floats, a_bar: Floats
    ) -> None:
        # a_0 = -M^-1 grad E(x_0, v_0), see `accelerations_of`.
        integrator, model, state = self.integrator, self.integrator.model, self.states[0]
        assert state.accelerations is not None
        dt = integrator.dt
        z = integrator.newton.free * a_bar[0] / model.masses[:, None]
        anchor = model.to_device(state.positions - dt * state.velocities)
        begin_step(integrator.potential, model.to_device(state.positions), anchor, dt)
        terms.assemble(state.positions)
        terms.start[:] = 0.0
        terms.add(state.positions, z, integrator.potential)
        terms.masses -= (z * state.accelerations).sum(axis=1)
        anchor_bar = terms.product(lagged, z)
        x_bar[0] += anchor_bar + terms.start - terms.product(integrator.potential, z)
        v_bar[0] -= dt * anchor_bar


def roll_out(
    integrator: ImplicitEuler,
    state: State,
    steps: int,
    record: Callable[..., None] | None = None,
) -> Trajectory:
    """Take implicit steps and keep every state.

    Args:
        record: Called as record(step, total=..., iterations=...) after every step.

    Raises:
        SimulationDiverged: A step was not solved; carries the last good state.
    """
    states = [integrator.begin(state)]
    iterations = 0
    for number in range(steps):
        after, result = integrator.step(states[-1], number=number)
        states.append(after)
        iterations += result.iterations
        if record is not None:
            record(number + 1, total=steps, iterations=result.iterations)
    return Trajectory(integrator, states, iterations)
