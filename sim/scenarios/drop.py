"""Let a body fall on frictionless ground and come to rest there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler, Relaxation
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
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


@dataclass
class Drop:
    """Fall of a body from rest onto a frictionless plane, and its rest there.

    The value is the force of the ground at rest over the weight, which is one.
    """

    name: ClassVar[str] = "drop"
    value_name: ClassVar[str] = "force of the ground over weight"
    unit: ClassVar[str] = ""

    height: float = 0.05
    """Free height under the body at the start, over its size."""
    gravity: float = 9.81
    """Acceleration [m/s^2]."""
    steps: int = 40
    """Time steps from the first touch on."""
    duration: float = 1.0
    """Time from the first touch on, over sqrt(2 size / g), in which the body would fall its own size."""
    contact_distance: float = 2e-3
    """Distance at which the ground begins to push, over the size."""
    contact_pressure: float = 0.1
    """Scale of the contact barrier over Young's modulus."""
    settle_tolerance: float = 1e-4
    """The body is at rest when weight and reaction differ by less than this share."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "height", "gravity", "duration", "contact_distance", "contact_pressure")
        check_positive(self, "settle_tolerance")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        size, g = model.size, self.gravity
        d_hat = self.contact_distance * size
        contact = GroundContact(
            model, d_hat=d_hat, pressure=self.contact_pressure * model.material.youngs_modulus
        )
        elastic, gravity = elastic_of(model), Gravity(model, (0.0, 0.0, -g))
        dt = self.duration * np.sqrt(2.0 * size / g) / self.steps
        euler = ImplicitEuler(model, [elastic, gravity, contact], dt, solver)

        start = model.rest_positions.copy()
        centre = (start.min(axis=0) + start.max(axis=0)) / 2.0
        start -= (centre[0], centre[1], start[:, 2].min() - d_hat - self.height * size)
        # Steps of free fall until the body is about to touch, exact by the formula of implicit Euler.
        state = State(start, np.zeros_like(start))
        fall = int(np.floor(np.sqrt(0.25 + 2.0 * self.height * size / (g * dt**2)) - 0.5))
        total_steps = fall + self.steps
        scale = model.mass * g * max(size * self.height, d_hat)
        keep = frame_steps(total_steps)
        history = _History(model, contact, elastic, gravity)
        frames = [start]
        history.add(state)
        tally = Tally(elastic)
        for number in range(total_steps):
            guess = None
            if number < fall:
                guess = state.positions + dt * state.velocities - np.array([0.0, 0.0, g * dt**2])
            state, result = euler.step(state, guess=guess, number=number)
            tally.add(result, state.positions)
            history.add(state)
            if number + 1 in keep:
                frames.append(state.positions)
            record(number + 1, total=total_steps, iterations=result.iterations, gap=history.series["gap"][-1])

        relaxation = Relaxation(model, [elastic, gravity, contact], 4.0 * dt, solver)
        settled, share, settle_steps = relaxation.settle(
            state.positions, tolerance=self.settle_tolerance, weight=model.mass * g
        )
        frames[-1] = settled
        x = model.to_device(settled)
        ratios = tally.add(None, settled)
        series = history.series
        weight = model.mass * g
        energy = np.array(series["energy"])
        results = {
            "fall_height": self.height * size,
            "dt": dt,
            "weight": weight,
            "reaction": contact.reaction(x),
            "reaction_error": abs(contact.reaction(x) / weight - 1.0),
            "unsettled_share": share,
            "settle_steps": float(settle_steps),
            "smallest_gap": min(min(series["gap"]), contact.gap(settled)),
            "smallest_gap_over_size": min(min(series["gap"]), contact.gap(settled)) / size,
            "max_compression": max(series["compression"]),
            "settled_compression": compression(model, settled),
            "peak_reaction_over_weight": max(series["reaction"]) / weight,
            "smallest_volume_ratio": float(ratios.min()),
            "energy_gain": float(np.diff(energy).max(initial=0.0)) / scale,
            "energy_lost": float(energy[0] - energy[-1]) / scale,
            "energy_balance": float(energy[0] - energy[-1]) / scale,
            **tally.numbers(),
        }
        results |= {"value": results["reaction"] / weight, "reference": 1.0}
        ground = Obstacle.slab("ground", frames, np.zeros(len(frames)), below=True)
        numbers = {k: float(v) for k, v in results.items()}
        return ScenarioResult(numbers, series, frames, tally.worst(), [ground])


def compression(model: SoftBodyModel, positions: Floats) -> float:
    """Return the largest loss of extent along a side of the body's box, over that side.

    The rotation of the linear map that fits the motion best is taken out first: a fall on the side is none.
    """
    weights = model.masses / model.mass
    rest = model.rest_positions - weights @ model.rest_positions
    moved = positions - weights @ positions
    weighted = weights[:, None] * rest
    fit = np.linalg.solve(weighted.T @ rest, weighted.T @ moved).T
    U, _, Vt = np.linalg.svd(fit)
    U[:, 2] *= np.sign(np.linalg.det(U @ Vt))
    upright = moved @ (U @ Vt)
    return float((1.0 - np.ptp(upright, axis=0) / np.ptp(rest, axis=0)).max())


class _History:
    """Series of a drop: one row per step."""

    def __init__(
        self,
        model: SoftBodyModel,
        contact: GroundContact,
        elastic: Elastic,
        gravity: Gravity,
    ) -> None:
        self.model, self.contact, self.elastic, self.gravity = model, contact, elastic, gravity
        names = ("time", "energy", "kinetic_energy", "elastic_energy", "contact_energy", "gravity_energy")
        more = ("height", "compression", "gap", "reaction", "inversions", "smallest_volume_ratio")
        self.series: dict[str, list[float]] = {name: [] for name in (*names, *more)}

    def add(self, state: State) -> None:
        x = self.model.to_device(state.positions)
        kinetic = 0.5 * float(self.model.masses @ (state.velocities**2).sum(axis=1))
        elastic = self.elastic.value(x)
        ratios = self.elastic.last_volume_ratios
        contact, gravity = self.contact.value(x), self.gravity.value(x)
        row = {
            "time": state.time,
            "energy": kinetic + elastic + contact + gravity,
            "kinetic_energy": kinetic,
            "elastic_energy": elastic,
            "contact_energy": contact,
            "gravity_energy": gravity,
            "height": np.ptp(state.positions[:, 2]),
            "compression": compression(self.model, state.positions),
            "gap": self.contact.gap(state.positions),
            "reaction": self.contact.reaction(x),
            "inversions": (ratios <= 0).sum(),
            "smallest_volume_ratio": ratios.min(),
        }
        for name, value in row.items():
            self.series[name].append(float(value))
