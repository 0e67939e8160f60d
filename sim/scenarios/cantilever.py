"""Hold a body at one end and let it sag under its own weight, quasi-static."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.element_error import SmallLoad
from sim.energy import Gravity
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
    Ends,
    Floats,
    Record,
    ScenarioResult,
    Tally,
    check_clamp,
    check_positive,
    check_whole,
    frame_steps,
    prism_section,
    silent,
)
from sim.solver import Newton, NewtonConfig


@dataclass
class Cantilever:
    """One end of the longest side of the bounding box clamped; the weight acts along the shortest side.

    The value is the mean sag of the other end; the reference, for a bar of rectangular section, is the
    deflection of Timoshenko's beam, as long as it is small (a twentieth of the length).
    """

    name: ClassVar[str] = "cantilever"
    value_name: ClassVar[str] = "sag of the free end"
    unit: ClassVar[str] = "m"

    gravity: float = 9.81
    """Acceleration [m/s^2]."""
    steps: int = 4
    """Steps of equal load."""
    clamp: float = 0.05
    """Thickness of the clamped slab, over the length; also that of the slab whose sag is measured."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "gravity")
        check_clamp(self)

    def small_load(self, model: SoftBodyModel) -> SmallLoad:
        """Return the weight; the mean sag of the body stands for that of its end."""
        ends = Ends.of(model)
        held, _ = ends.slabs(self.clamp)
        free = np.repeat(~held[:, None], 3, axis=1).astype(np.float64)
        return SmallLoad(free, acceleration=self.gravity * _shortest_side(model, ends))

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        ends = Ends.of(model)
        held, tip = ends.slabs(self.clamp)
        free = np.repeat(~held[:, None], 3, axis=1).astype(np.float64)
        down = _shortest_side(model, ends)
        elastic = elastic_of(model)
        tally = Tally(elastic)
        positions = model.rest_positions.copy()
        frames, keep = [positions], frame_steps(self.steps)
        series: dict[str, list[float]] = {
            name: [] for name in ("load", "sag", "elastic_energy", "smallest_volume_ratio")
        }
        work, last_load, residual = 0.0, np.zeros_like(positions), 0.0
        for number in range(self.steps):
            done = (number + 1) / self.steps
            weight = Gravity(model, done * self.gravity * down)
            before = positions
            newton = Newton(model, [elastic, weight], solver, free=free)
            positions, result = newton.solve(positions, step=number)
            ratios = tally.add(result, positions)
            residual = result.residual / max(result.scale, 1e-300)
            work += float((0.5 * (weight.forces + last_load) * (positions - before)).sum())
            last_load = weight.forces
            sag = float(((positions - model.rest_positions) @ down)[tip].mean())
            row = (done, sag, result.energies["elastic"], float(ratios.min()))
            for values, value in zip(series.values(), row):
                values.append(float(value))
            if number + 1 in keep:
                frames.append(positions)
            record(number + 1, total=self.steps, iterations=result.iterations, sag=sag)
        energy = series["elastic_energy"][-1]
        results = {
            "value": series["sag"][-1],
            "sag_over_length": series["sag"][-1] / ends.length,
            "axis": float(ends.axis),
            "length": ends.length,
            "smallest_volume_ratio": series["smallest_volume_ratio"][-1],
            "residual": residual,
            "energy_balance": abs(work - energy) / max(energy, 1e-300),
            **tally.numbers(),
        }
        section = prism_section(model, ends)
        if section is not None:
            deflection = self._timoshenko(model, ends, *section)
            if deflection <= 0.05 * ends.length:
                results["reference"] = deflection
        return ScenarioResult(results, series, frames, tally.worst())

    def _timoshenko(self, model: SoftBodyModel, ends: Ends, width: float, height: float) -> float:
        """Return the deflection at the middle of the measured slab [m]."""
        span = (1.0 - self.clamp) * ends.length
        x = span - 0.5 * self.clamp * ends.length
        material, area = model.material, width * height
        load = material.density * self.gravity * area
        nu = material.poissons_ratio
        kappa = 10.0 * (1.0 + nu) / (12.0 + 11.0 * nu)
        bending = load * x**2 * (6.0 * span**2 - 4.0 * span * x + x**2)
        bending /= 24.0 * material.youngs_modulus * width * height**3 / 12.0
        return bending + load * (span * x - x**2 / 2.0) / (kappa * material.mu * area)


def _shortest_side(model: SoftBodyModel, ends: Ends) -> Floats:
    """Return the direction down along the shortest side of the bounding box, shape (3,)."""
    sides = np.ptp(model.rest_positions, axis=0)
    sides[ends.axis] = np.inf
    return -np.eye(3)[int(np.argmin(sides))]
