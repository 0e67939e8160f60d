"""Advance a body in time, or to rest under a load.

    symplectic Euler  v = v_0 + dt a(x_0),   x = x_0 + dt v                        order 1, explicit
    implicit Euler    x = x_0 + dt v,        v = v_0 + dt a                        order 1
    BDF2              x = 4/3 x_0 - 1/3 x_-1 + 2/3 dt v,   v likewise with a       order 2
    trapezoidal       x = x_0 + dt/2 (v_0 + v),   v = v_0 + dt/2 (a_0 + a)         order 2
                      (Newmark with beta = 1/4, gamma = 1/2)

with a = -M^-1 grad E(x, v) at the end of the step. The implicit ones have one form, with a predictor
(x_p, v_p) that depends on the past alone and a length h (dt, 2/3 dt, dt/2):

    v = (x - x_p) / h,   a = (v - v_p) / h,   x = argmin E(x) + sum m / (2 h^2) |x - x_p - h v_p|^2

so that one solver serves all, and damping and friction, functions of v, are functions of x.

Implicit Euler and BDF2 damp what vibrates faster than 1/dt, implicit Euler without ever adding energy (up to
the residual); in free fall from rest it gives exactly v = -g t and x - x_0 = -g t (t + dt) / 2. The
trapezoidal rule keeps the energy of a linear body exactly and damps nothing: stiff contact rings in it.
Symplectic Euler is stable below 2 / (largest angular frequency) and its energy oscillates without drift.

Source: Hairer, Wanner 1996, Solving Ordinary Differential Equations II, sections IV.8, V.1; Hughes 2000, The
Finite Element Method, section 9.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.energy import Energy, Inertia
from sim.errors import SimulationDiverged
from sim.model import SoftBodyModel, State
from sim.modes import stable_time_step
from sim.solver import Newton, NewtonConfig, SolveResult

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictor:
    """Coefficients of an implicit step.

    x_p = now x_0 + before x_-1 + velocity v_0,   v_p = now v_0 + before v_-1 + acceleration a_0
    """

    length: float
    """h [s]."""
    now: float = 1.0
    before: float = 0.0
    velocity: float = 0.0
    """[s]."""
    acceleration: float = 0.0
    """[s]."""


def accelerations_of(
    model: SoftBodyModel, energies: Sequence[Energy], state: State, free: Floats, dt: float
) -> Floats:
    """Return -M^-1 grad E of potential energies, damping and friction [m/s^2], zero where fixed, (n, 3)."""
    x = model.to_device(state.positions)
    begin_step(energies, x, model.to_device(state.positions - dt * state.velocities), dt)
    gradient = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    for energy in energies:
        energy.gradient(x, gradient)
    return -free * gradient.numpy() / model.masses[:, None]


def begin_step(energies: Sequence[Energy], start: wp.array, anchor: wp.array, length: float) -> None:
    """Tell the energies that depend on the velocity (x - anchor) / length where a step begins."""
    for energy in energies:
        prepare = getattr(energy, "begin_step", None)
        if prepare is not None:
            prepare(start, anchor, length)


class SymplecticEuler:
    """Explicit steps of one model; also called semi-implicit Euler.

    Args:
        energies: Potential energies; damping is taken at the velocities before the step.
        dt: Time step [s]; 0.9 of the stable one of the body at rest if None.
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
    """

    order: ClassVar[int] = 1

    def __init__(
        self,
        model: SoftBodyModel,
        energies: Sequence[Energy],
        dt: float | None = None,
        *,
        free: Floats | None = None,
    ) -> None:
        self.model = model
        self.energies = list(energies)
        self.free = np.ones((model.vertex_count, 3)) if free is None else np.asarray(free, dtype=np.float64)
        self.dt = 0.9 * stable_time_step(model, self.free) if dt is None else dt

    def step(self, state: State, *, number: int = 0) -> State:
        """Return the state one step later.

        Raises:
            SimulationDiverged: It is not finite; carries `state` as the last good one.
        """
        a = accelerations_of(self.model, self.energies, state, self.free, self.dt)
        velocities = state.velocities + self.dt * a
        positions = state.positions + self.dt * velocities
        if not np.isfinite(positions).all():
            raise SimulationDiverged(
                f"step {number}: positions are not finite; dt {self.dt:.3g} s, stable at rest below "
                f"{stable_time_step(self.model, self.free):.3g} s",
                step=number,
                term="explicit step",
                positions=state.positions,
                velocities=state.velocities,
            )
        return State(positions, velocities, state.time + self.dt)


class ImplicitEuler:
    """Implicit Euler steps of one model under given energies; the base of the other implicit ones.

    Args:
        energies: Potential energies; inertia is added here.
        dt: Time step [s]; may be changed between steps of a one-step method.
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
    """

    order: ClassVar[int] = 1

    def __init__(
        self,
        model: SoftBodyModel,
        energies: Sequence[Energy],
        dt: float,
        config: NewtonConfig | None = None,
        *,
        free: Floats | None = None,
    ) -> None:
        self.model = model
        self.dt = dt
        self.potential = list(energies)
        self.inertia = Inertia(model, dt)
        self.newton = Newton(model, [*energies, self.inertia], config, free=free)

    def predictor(self, state: State) -> Predictor:
        """Return the coefficients of the step that begins at `state`."""
        return Predictor(self.dt)

    def begin(self, state: State) -> State:
        """Return `state` with all that a step needs."""
        return state

    def step(
        self, state: State, *, guess: Floats | None = None, number: int = 0, tolerance: float | None = None
    ) -> tuple[State, SolveResult]:
        """Return the state one step later.

        Args:
            guess: Positions to start Newton from [m], shape (n, 3); where the vertices are now if None.
                Energies with a step bound (contact) must be finite there.
            number: Step number that an error carries.

        Raises:
            SimulationDiverged: The step was not solved; carries `state` as the last good one.
        """
        state = self.begin(state)
        p = self.predictor(state)
        anchor, velocities = predict(p, state)
        self.inertia.dt = p.length
        self.inertia.target.assign(anchor + p.length * velocities)
        model = self.model
        begin_step(self.potential, model.to_device(state.positions), model.to_device(anchor), p.length)
        try:
            positions, result = self.newton.solve(
                state.positions if guess is None else guess, step=number, tolerance=tolerance
            )
        except SimulationDiverged as error:
            error.positions, error.velocities = state.positions, state.velocities
            raise
        v = (positions - anchor) / p.length
        return self._after(state, positions, v, (v - velocities) / p.length), result

    def _after(self, state: State, positions: Floats, velocities: Floats, accelerations: Floats) -> State:
        return State(positions, velocities, state.time + self.dt)


def predict(p: Predictor, state: State) -> tuple[Floats, Floats]:
    """Return the positions x_p [m] and velocities v_p [m/s] that a step starts from, (n, 3) each."""
    x, v = p.now * state.positions, p.now * state.velocities
    if p.before:
        assert state.earlier is not None  # a predictor asks for it only where it is
        x, v = x + p.before * state.earlier.positions, v + p.before * state.earlier.velocities
    if p.velocity:
        x = x + p.velocity * state.velocities
    if p.acceleration:
        assert state.accelerations is not None
        v = v + p.acceleration * state.accelerations
    return x, v


class BackwardDifference(ImplicitEuler):
    """BDF2: second order, and damps fast vibrations; the first step is one of implicit Euler.

    `dt` must stay the same from step to step.
    """

    order: ClassVar[int] = 2

    def predictor(self, state: State) -> Predictor:
        if state.earlier is None:
            return Predictor(self.dt)
        return Predictor(2.0 / 3.0 * self.dt, now=4.0 / 3.0, before=-1.0 / 3.0)

    def _after(self, state: State, positions: Floats, velocities: Floats, accelerations: Floats) -> State:
        earlier = State(state.positions, state.velocities, state.time)
        return State(positions, velocities, state.time + self.dt, earlier=earlier)


class Trapezoidal(ImplicitEuler):
    """The trapezoidal rule, Newmark's with beta = 1/4 and gamma = 1/2: second order, damps nothing."""

    order: ClassVar[int] = 2

    def predictor(self, state: State) -> Predictor:
        half = self.dt / 2.0
        return Predictor(half, velocity=half, acceleration=half)

    def begin(self, state: State) -> State:
        if state.accelerations is not None:
            return state
        a = accelerations_of(self.model, self.potential, state, self.newton.free, self.dt)
        return State(state.positions, state.velocities, state.time, a)

    def _after(self, state: State, positions: Floats, velocities: Floats, accelerations: Floats) -> State:
        return State(positions, velocities, state.time + self.dt, accelerations)


IMPLICIT_INTEGRATORS: dict[str, type[ImplicitEuler]] = {
    "implicit_euler": ImplicitEuler,
    "bdf2": BackwardDifference,
    "trapezoidal": Trapezoidal,
}
"""Implicit integrators by name; tests of order and gradients run over them."""


class Relaxation(ImplicitEuler):
    """Steps without memory of velocity, of growing length: they end in a stable equilibrium.

    Each is a minimisation anchored to the last positions by inertia, so that a body that may slide or roll
    freely still has a well-posed step.
    """

    def settle(
        self, positions: Floats, *, weight: float, tolerance: float, max_steps: int = 60, growth: float = 2.0
    ) -> tuple[Floats, float, int]:
        """Relax until the inertia forces add up to less than `tolerance` times the weight [N].

        Returns:
            Positions [m], the remaining share, and the steps taken.
        """
        rest = np.zeros_like(positions)
        share = np.inf
        for number in range(max_steps):
            state, _ = self.step(State(positions, rest), number=number)
            acceleration = (state.positions - positions) / self.dt**2
            share = float((self.model.masses * np.linalg.norm(acceleration, axis=1)).sum() / weight)
            positions = state.positions
            if share <= tolerance:
                return positions, share, number + 1
            self.dt *= growth
        return positions, share, max_steps
