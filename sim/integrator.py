"""Advance a body in time, or to rest under a load.

    implicit Euler   x = argmin E(x) + sum m / (2 dt^2) |x - x_0 - dt v_0|^2,   v = (x - x_0) / dt

First order, unconditionally stable; the energy never grows (up to the residual), vibrations faster than 1/dt
are damped. In free fall from rest it gives exactly v = -g t and x - x_0 = -g t (t + dt) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.energy import Energy, Inertia
from sim.errors import SimulationDiverged
from sim.model import SoftBodyModel, State
from sim.solver import Newton, NewtonConfig, SolveResult

Floats = NDArray[np.float64]


class ImplicitEuler:
    """Implicit Euler steps of one model under given energies.

    Args:
        energies: Potential energies; inertia is added here.
        dt: Time step [s]; may be changed between steps.
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
    """

    order = 1

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
        self.inertia = Inertia(model, dt)
        self.newton = Newton(model, [*energies, self.inertia], config, free=free)

    @property
    def dt(self) -> float:
        """[s]."""
        return self.inertia.dt

    @dt.setter
    def dt(self, value: float) -> None:
        self.inertia.dt = value

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
        self.inertia.target.assign(state.positions + self.dt * state.velocities)
        try:
            positions, result = self.newton.solve(
                state.positions if guess is None else guess, step=number, tolerance=tolerance
            )
        except SimulationDiverged as error:
            error.positions, error.velocities = state.positions, state.velocities
            raise
        return State(positions, (positions - state.positions) / self.dt, state.time + self.dt), result


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
