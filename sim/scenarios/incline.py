"""Tilt the ground under a body until it slides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.energy import Gravity, GroundContact
from sim.friction import Friction
from sim.integrator import ImplicitEuler, Relaxation
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
    Balance,
    Floats,
    Obstacle,
    Record,
    ScenarioResult,
    Tally,
    check_positive,
    check_whole,
    frame_steps,
    silent,
)
from sim.solver import NewtonConfig


class _LeaningGravity(Gravity):
    """Gravity whose direction changes between steps."""

    def lean(self, model: SoftBodyModel, acceleration: Floats) -> None:
        self.acceleration = acceleration
        self.forces = model.load_masses[:, None] * acceleration
        self._loads.assign(self.forces)
        self._negative.assign(-self.forces)


@dataclass
class Incline:
    """A body that has come to rest on rough ground is tilted, step by step, past the angle of friction.

    The ground stays level and gravity leans. The value is the slope at which the foot of the body, the
    lowest tenth of its height, becomes, and stays, ten times as fast as friction lets it creep, half-way
    between two steps; the reference is the coefficient of friction. A body that is higher than its base is
    wide rolls over before it slides.
    """

    name: ClassVar[str] = "incline"
    value_name: ClassVar[str] = "slope at which it slides"
    unit: ClassVar[str] = ""

    friction: float = 0.5
    """Coefficient of friction."""
    slope: float = 1.5
    """Slope at the end, over the coefficient of friction."""
    gravity: float = 9.81
    """Acceleration [m/s^2]."""
    steps: int = 60
    """Time steps."""
    duration: float = 6.0
    """Time of the sweep, over sqrt(2 size / g), in which the body would fall its own size."""
    creep: float = 2e-4
    """Way that smoothed friction lets it creep in the whole sweep, over the size."""
    contact_distance: float = 2e-3
    """Distance at which the ground begins to push, over the size."""
    contact_pressure: float = 0.1
    """Scale of the contact barrier over Young's modulus."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "friction", "slope", "gravity", "duration", "creep")
        check_positive(self, "contact_distance", "contact_pressure")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        size, g = model.size, self.gravity
        d_hat = self.contact_distance * size
        contact = GroundContact(
            model, d_hat=d_hat, pressure=self.contact_pressure * model.material.youngs_modulus
        )
        elastic = elastic_of(model)
        tally = Tally(elastic)
        dt = self.duration * np.sqrt(2.0 * size / g) / self.steps
        start = model.rest_positions.copy()
        start[:, 2] += d_hat - start[:, 2].min()
        weight = model.mass * g
        level = _LeaningGravity(model, (0.0, 0.0, -g))
        settled, _, _ = Relaxation(model, [elastic, level, contact], dt, solver).settle(
            start, weight=weight, tolerance=1e-3
        )
        slip = self.creep * size / (dt * self.steps)
        rough = Friction(contact, self.friction, slip_speed=slip)
        euler = ImplicitEuler(model, [elastic, level, contact, rough], dt, solver)
        state = State(settled, np.zeros_like(settled))
        centre = model.masses @ settled / model.mass
        balance = Balance(model, [elastic, contact], settled)
        frames, keep = [settled], frame_steps(self.steps)
        names = ("time", "slope", "way", "speed", "height", "inversions", "smallest_volume_ratio")
        series: dict[str, list[float]] = {name: [] for name in names}
        for number in range(self.steps):
            slope = self.slope * self.friction * (number + 1) / self.steps
            angle = np.arctan(slope)
            level.lean(model, g * np.array([np.sin(angle), 0.0, -np.cos(angle)]))
            before = state.positions
            state, result = euler.step(state, number=number)
            ratios = tally.add(result, state.positions)
            rubbed = balance.gradient([rough], state.positions)
            balance.add(level.forces - rubbed, state.positions - before)
            way = float((model.masses @ state.positions / model.mass - centre)[0])
            # The foot tells sliding from leaning.
            foot = _foot_way(model, settled, state.positions)
            row = (
                state.time,
                slope,
                foot,
                float(model.masses @ state.velocities[:, 0]) / model.mass,
                float((model.masses @ state.positions / model.mass)[2]),
                (ratios <= 0).sum(),
                ratios.min(),
            )
            for values, value in zip(series.values(), row):
                values.append(float(value))
            if number + 1 in keep:
                frames.append(state.positions)
            record(number + 1, total=self.steps, iterations=result.iterations, way=way)
        speeds = np.diff([0.0, *series["way"]]) / dt
        # Rocking at the begin is no sliding: what counts is that it does not come to rest again.
        first = int(np.append(np.flatnonzero(speeds <= 10.0 * slip) + 1, 0).max())
        step = self.slope * self.friction / self.steps
        value = series["slope"][first] - 0.5 * step if first < self.steps else float("nan")
        results = {
            "value": value,
            "reference": self.friction,
            "way_over_size": series["way"][-1] / size,
            "smallest_volume_ratio": series["smallest_volume_ratio"][-1],
            "dt": dt,
            "energy_balance": balance.share(state),
            **tally.numbers(),
        }
        ground = Obstacle.slab("ground", frames, np.zeros(len(frames)), below=True)
        numbers = {k: float(v) for k, v in results.items()}
        return ScenarioResult(numbers, series, frames, tally.worst(), [ground])


def _foot_way(model: SoftBodyModel, settled: Floats, positions: Floats) -> float:
    """Return how far the lowest tenth of the body has moved down the slope on average [m]."""
    height = settled[:, 2] - settled[:, 2].min()
    foot = height <= 0.1 * height.max()
    return float((positions - settled)[foot, 0].mean())
