"""Pull a body at both ends, or press it together: clamped, quasi-static."""

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


@dataclass
class Stretch:
    """Both ends of the longest side of the bounding box clamped and pulled apart, quasi-static.

    The value is the stiffness of the first step; the reference, for a bar of rectangular section, is E A /
    L between the clamps, which hinder the contraction beside them and so add some percent.
    """

    name: ClassVar[str] = "stretch"
    value_name: ClassVar[str] = "initial stiffness"
    unit: ClassVar[str] = "N/m"

    stretch: float = 1.2
    """Length at the end over the length at rest; below 1 compresses."""
    steps: int = 8
    """Steps of equal displacement."""
    clamp: float = 0.05
    """Thickness of the clamped slab at each end, over the length."""

    def __post_init__(self) -> None:
        check_whole(self, "steps")
        check_positive(self, "stretch")
        check_clamp(self)

    def small_load(self, model: SoftBodyModel) -> SmallLoad:
        """Return the unit displacement that the value is the stiffness against."""
        ends = Ends.of(model)
        left, right = ends.slabs(self.clamp)
        displacement = right[:, None].astype(np.float64) * np.eye(3)[ends.axis]
        return SmallLoad(np.repeat(~(left | right)[:, None], 3, axis=1).astype(np.float64), displacement)

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        ends = Ends.of(model)
        left, right = ends.slabs(self.clamp)
        free = np.repeat(~(left | right)[:, None], 3, axis=1).astype(np.float64)
        # Slabs stay rigid; between them the guess is stretched evenly.
        inner = np.clip((ends.share - self.clamp) / (1.0 - 2.0 * self.clamp), 0.0, 1.0)
        pull = (self.stretch - 1.0) * ends.length

        def place(done: float, before: float, positions: Floats) -> Floats:
            moved = positions.copy()
            moved[:, ends.axis] += pull * (done - before) * inner
            return moved

        def measure(positions: Floats, force: Floats) -> dict[str, float]:
            displacement = float((positions - model.rest_positions)[right, ends.axis].mean())
            return {
                "stretch": 1.0 + displacement / ends.length,
                "displacement": displacement,
                "force": float(force[right, ends.axis].sum()),
            }

        found = follow_path(model, free, self.steps, place, measure, solver=solver, record=record or silent)
        force, displacement = found.series["force"], found.series["displacement"]
        found.results |= {
            "value": force[0] / displacement[0],
            "axis": float(ends.axis),
            "length": ends.length,
            "clamped_vertices": float((left | right).sum()),
            "initial_stiffness": force[0] / displacement[0],
            "final_stiffness": force[-1] / displacement[-1],
        }
        section = prism_section(model, ends)
        if section is not None:
            span = (1.0 - 2.0 * self.clamp) * ends.length
            found.results["reference"] = model.material.youngs_modulus * section[0] * section[1] / span
        return found


@dataclass
class Compress(Stretch):
    """The same, pressed together."""

    name: ClassVar[str] = "compress"

    stretch: float = 0.8
    """Length at the end over the length at rest."""
