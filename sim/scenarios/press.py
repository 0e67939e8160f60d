"""Press a body between two frictionless plates, quasi-static."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.energy import GroundContact
from sim.integrator import Relaxation
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
    Ends,
    Obstacle,
    Record,
    ScenarioResult,
    Tally,
    check_positive,
    check_whole,
    frame_steps,
    prism_section,
    silent,
)
from sim.solver import NewtonConfig


@dataclass
class Press:
    """A plate comes down on a body that lies on another one; no friction, no weight.

    Every step is relaxed until the inertia of the steps is no longer seen. The value is the stiffness at
    small shortening, extrapolated from the secants of the first and the second step; the reference, for a
    bar of rectangular section, is E A / H.
    """

    name: ClassVar[str] = "press"
    value_name: ClassVar[str] = "initial stiffness"
    unit: ClassVar[str] = "N/m"

    press: float = 0.2
    """Way of the plate, over the height of the body."""
    steps: int = 10
    """Steps of equal way."""
    contact_distance: float = 2e-3
    """Distance at which the plates begin to push, over the height of the body."""
    contact_pressure: float = 0.1
    """Scale of the contact barrier over Young's modulus."""
    settle_tolerance: float = 1e-3
    """A step is at rest when its inertia is less than this share of the force of the plate."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "press", "contact_distance", "contact_pressure", "settle_tolerance")
        if self.press >= 1.0:
            raise ValueError(f"press.press: expected a share below 1, got {self.press}")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        rest = model.rest_positions
        low, height = float(rest[:, 2].min()), float(np.ptp(rest[:, 2]))
        d_hat = self.contact_distance * height
        pressure = self.contact_pressure * model.material.youngs_modulus
        below = GroundContact(model, d_hat=d_hat, pressure=pressure, offset=low - d_hat)
        above = GroundContact(
            model, d_hat=d_hat, pressure=pressure, normal=(0.0, 0.0, -1.0), offset=-(low + height + d_hat)
        )
        below.name, above.name = "lower plate", "upper plate"
        elastic = elastic_of(model)
        tally = Tally(elastic)
        # Free motion along the plates is anchored by inertia: as long a step as the lowest stiffness bears.
        speed = np.sqrt(model.material.youngs_modulus / model.material.density)
        positions = rest.copy()
        frames, keep = [positions], frame_steps(self.steps)
        heights = [low + height + d_hat]
        series: dict[str, list[float]] = {
            name: []
            for name in (
                "way",
                "force",
                "lower_force",
                "gap",
                "shortening",
                "inversions",
                "smallest_volume_ratio",
            )
        }
        work = 0.0
        for number in range(self.steps):
            way = self.press * height * (number + 1) / self.steps
            before = self.press * height * number / self.steps
            plate = low + height + d_hat - way
            # Scaled about the lower plate, the body stays between the plates.
            scale = (height + 2.0 * d_hat - way) / (height + 2.0 * d_hat - before)
            start = positions.copy()
            start[:, 2] = low - d_hat + scale * (start[:, 2] - low + d_hat)
            above.plane.offset = -plate
            relaxation = Relaxation(model, [elastic, below, above], 10.0 * model.size / speed, solver)
            for _ in range(20):
                state, result = relaxation.step(State(start, np.zeros_like(start)), number=number)
                inertia = model.masses @ np.linalg.norm(state.positions - start, axis=1) / relaxation.dt**2
                start = state.positions
                ratios = tally.add(result, start)
                x = model.to_device(start)
                force = above.reaction(x)
                if inertia <= self.settle_tolerance * max(force, 1e-300):
                    break
                relaxation.dt *= 2.0
            positions = start
            last_force = series["force"][-1] if number else 0.0
            work += 0.5 * (force + last_force) * (way - before)
            gaps = (below.gap(positions), above.gap(positions))
            row = (
                way,
                force,
                below.reaction(x),
                min(gaps),
                way - 2.0 * d_hat + sum(gaps),
                (ratios <= 0).sum(),
                ratios.min(),
            )
            for values, value in zip(series.values(), row):
                values.append(float(value))
            if number + 1 in keep:
                frames.append(positions)
                heights.append(plate)
            record(number + 1, total=self.steps, iterations=result.iterations, force=force)
        # The gaps give way first: the way counts from the step in which the plate pushes.
        pushed, shortened = np.array(series["force"]), np.array(series["shortening"])
        secant = pushed / shortened
        slope = (secant[1] - secant[0]) / (shortened[1] - shortened[0]) if len(secant) > 1 else 0.0
        results = {
            "value": secant[0] - slope * shortened[0],
            "force": pushed[-1],
            "shortening": shortened[-1] / height,
            "force_difference": abs(series["lower_force"][-1] / max(pushed[-1], 1e-300) - 1.0),
            "smallest_gap_over_size": min(series["gap"]) / model.size,
            "smallest_volume_ratio": series["smallest_volume_ratio"][-1],
            **tally.numbers(),
        }
        energy = sum(e.value(x) for e in (elastic, below, above))
        results["energy_balance"] = abs(work - energy) / max(energy, 1e-300)
        sides = np.ptp(rest, axis=0)
        if prism_section(model, Ends.of(model)) is not None:
            results["reference"] = model.material.youngs_modulus * sides[0] * sides[1] / height
        plates = [
            Obstacle.slab("lower plate", frames, np.full(len(frames), low - d_hat), below=True),
            Obstacle.slab("upper plate", frames, np.array(heights), below=False),
        ]
        numbers = {k: float(v) for k, v in results.items()}
        return ScenarioResult(numbers, series, frames, tally.worst(), plates)
