"""Turn one end of a body about its long axis: clamped, quasi-static."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.element_error import SmallLoad
from sim.model import SoftBodyModel
from sim.scenarios.held_path import follow_path
from sim.scenarios.scenario import (
    Ends,
    Floats,
    Record,
    ScenarioResult,
    check_clamp,
    check_positive,
    check_whole,
    prism_section,
    silent,
)
from sim.solver import NewtonConfig


def torsion_constant(a: float, b: float) -> float:
    """Return J [m^4] of a rectangular section, T = G J th / L.

    J = a b^3 (1/3 - 64 b / (pi^5 a) sum_odd tanh(n pi a / 2 b) / n^5),  a >= b

    Source: Timoshenko, Goodier 1970, Theory of Elasticity, section 109.
    """
    n = np.arange(1, 100, 2)
    series = (np.tanh(n * np.pi * a / (2.0 * b)) / n**5).sum()
    return float(a * b**3 * (1.0 / 3.0 - 64.0 * b / (np.pi**5 * a) * series))


@dataclass
class Twist:
    """One end of the longest side of the bounding box clamped, the other turned about the axis, quasi-static.

    The value is the torsional stiffness of the first step; the reference, for a bar of rectangular section,
    is that of Saint-Venant between the clamps, which hinder the warping beside them and so add some
    percent.
    """

    name: ClassVar[str] = "twist"
    value_name: ClassVar[str] = "initial torsional stiffness"
    unit: ClassVar[str] = "N m/rad"

    angle: float = 90.0
    """Turn of the end [deg]."""
    steps: int = 9
    """Steps of equal turn."""
    clamp: float = 0.05
    """Thickness of the clamped slab at each end, over the length."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "angle")
        check_clamp(self)

    def small_load(self, model: SoftBodyModel) -> SmallLoad:
        """Return the unit turn that the value is the stiffness against."""
        ends = Ends.of(model)
        left, right = ends.slabs(self.clamp)
        arm = model.rest_positions - model.masses @ model.rest_positions / model.mass
        displacement = right[:, None].astype(np.float64) * np.cross(np.eye(3)[ends.axis], arm)
        return SmallLoad(np.repeat(~(left | right)[:, None], 3, axis=1).astype(np.float64), displacement)

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        ends = Ends.of(model)
        left, right = ends.slabs(self.clamp)
        free = np.repeat(~(left | right)[:, None], 3, axis=1).astype(np.float64)
        inner = np.clip((ends.share - self.clamp) / (1.0 - 2.0 * self.clamp), 0.0, 1.0)
        u, v = (ends.axis + 1) % 3, (ends.axis + 2) % 3
        rest = model.rest_positions
        centre = model.masses @ rest / model.mass
        total = float(np.radians(self.angle))

        def place(done: float, before: float, positions: Floats) -> Floats:
            # Slabs turn as rigid bodies; between them the guess is turned evenly.
            angle = total * (done - before) * inner
            du, dv = positions[:, u] - centre[u], positions[:, v] - centre[v]
            moved = positions.copy()
            moved[:, u] = centre[u] + np.cos(angle) * du - np.sin(angle) * dv
            moved[:, v] = centre[v] + np.sin(angle) * du + np.cos(angle) * dv
            return moved

        def measure(positions: Floats, force: Floats) -> dict[str, float]:
            du, dv = positions[right, u] - centre[u], positions[right, v] - centre[v]
            return {
                "torque": float((du * force[right, v] - dv * force[right, u]).sum()),
                "axial_force": float(force[right, ends.axis].sum()),
            }

        found = follow_path(model, free, self.steps, place, measure, solver=solver, record=record or silent)
        found.series["angle"] = [total * done for done in found.series["done"]]
        found.results |= {
            "value": found.series["torque"][0] / found.series["angle"][0],
            "axis": float(ends.axis),
            "length": ends.length,
            "angle": total,
        }
        section = prism_section(model, ends)
        if section is not None:
            span = (1.0 - 2.0 * self.clamp) * ends.length
            found.results["reference"] = model.material.mu * torsion_constant(*section) / span
        return found
