"""Small vibrations of the free body: its lowest frequencies and how it moves in the lowest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.model import SoftBodyModel
from sim.modes import lowest_modes
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
    FRAME_LIMIT,
    Ends,
    Record,
    ScenarioResult,
    Tally,
    check_positive,
    check_whole,
    prism_section,
    silent,
)
from sim.solver import NewtonConfig


@dataclass
class Modal:
    """Lowest modes of the free body.

    The value is the lowest frequency that is not zero; the reference, for a bar of rectangular section that
    is at least eight times as long as wide, is the first bending frequency of the free Euler-Bernoulli
    beam.
    """

    name: ClassVar[str] = "modal"
    value_name: ClassVar[str] = "lowest frequency"
    unit: ClassVar[str] = "Hz"

    count: int = 4
    """Modes with resistance that are wanted."""
    amplitude: float = 0.05
    """Largest displacement of the frames, over the size."""

    def __post_init__(self) -> None:
        check_whole(self, "count")
        check_positive(self, "amplitude")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        modes = lowest_modes(model, min(6 + self.count, 3 * model.vertex_count), tolerance=1e-6)
        zero = modes.zero_count
        elastic = modes.frequencies[zero:]
        record(1, total=1, modes=len(elastic))
        tally = Tally(elastic_of(model))
        results = {"zero_modes": float(zero), "residual": modes.residual, "value": float("nan")}
        frames = []
        if len(elastic):
            results["value"] = float(elastic[0])
            shape = modes.shapes[zero]
            shape = shape * (self.amplitude * model.size / np.linalg.norm(shape, axis=1).max())
            phases = np.linspace(0.0, 2.0 * np.pi, FRAME_LIMIT)
            frames = [model.rest_positions + np.sin(phase) * shape for phase in phases]
        tally.add(None, model.rest_positions)
        results |= tally.numbers()
        ends = Ends.of(model)
        section = prism_section(model, ends)
        if section is not None and ends.length >= 8.0 * section[0]:
            # cos b cosh b = 1: b_1 = 4.7300; the free-free beam bends first about its thin side.
            material = model.material
            speed = np.sqrt(material.youngs_modulus * section[1] ** 2 / 12.0 / material.density)
            results["reference"] = float(4.730040744862704**2 * speed / (2.0 * np.pi * ends.length**2))
        series = {"frequency": [float(f) for f in elastic]}
        return ScenarioResult(results, series, frames, tally.worst())
