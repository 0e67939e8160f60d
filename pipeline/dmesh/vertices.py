"""The vertices of a surface, before there are faces: placed on the samples, and moved by the Chamfer loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.context import RunContext
from pipeline.dmesh.junctions import Junctions, lay_vertices
from pipeline.dmesh.optimization import OptimizationConfig, optimize_points
from pipeline.dmesh.placement import PlacementConfig, relax_vertices, vertex_count
from pipeline.points.survey import Survey
from pipeline.types import Points

PHASE = "vertices"
LATTICE = 1.29
"""Spacing of a triangular lattice as dense as a saturated Poisson-disk set, in units of its radius."""
NARROW = 0.45
"""Distance of a relaxed vertex from a junction line below which it is dropped, in units of the spacing."""
_LOOP = "optimization_"
"""Prefix of the arrays that the loop saves on its way."""


def place_vertices(
    survey: Survey, config: PlacementConfig, max_faces: int, context: RunContext
) -> tuple[Points, Junctions]:
    """Lay vertices on junction lines, thin the samples elsewhere, and relax these.

    Returns:
        Vertices, shape (n, d), those of the junction lines first.
    """
    settings = config
    if survey.noise.is_large:
        settings = settings.for_noise(survey.noise)
    elif survey.planes.layered:
        settings = settings.for_sheets(len(survey.samples), max_faces)
    even = survey.planes.even_count or len(survey.samples)
    count = vertex_count(even, max_faces, survey.dimension, settings)
    points, radius = survey.thin(count, context)
    spacing = LATTICE * radius if radius else survey.planes.typical_spacing
    laid, junctions = lay_vertices(survey.lines, spacing)
    if len(laid):
        points = np.concatenate([laid, points])
        points = points[junctions.clear(points, spacing)]
    points = relax_vertices(
        points,
        survey.samples,
        survey.planes,
        survey.border,
        settings,
        context.device,
        progress=lambda i, n, move: context.record(i, total=n, phase=PHASE, move=move),
        fixed=junctions.count,
    )
    return points[junctions.clear(points, spacing, NARROW)], junctions


def optimize_vertices(
    points: Points, junctions: Junctions, survey: Survey, config: OptimizationConfig, context: RunContext
) -> Points:
    """Let vertices off junction lines follow the expected Chamfer loss; drop those of low real value.

    Args:
        points: Vertices, shape (n, d), those of the junction lines first.
        context: A `LoopContext` where checkpoints of the loop are to be kept.
    """
    laid = points[: junctions.count].copy()
    result = optimize_points(points, None, survey.samples, config, survey.planes.normals, context=context)
    kept = result.real_values[len(laid) :] >= 0.5
    context.count("dropped_vertices", int((~kept).sum()), "vertices of low real value dropped")
    return np.concatenate([laid, result.points[len(laid) :][kept]])


class LoopContext(RunContext):
    """The context of a loop inside a stage: its checkpoints also hold what the loop started from."""

    def __init__(self, outer: RunContext, step: int, start: dict[str, Any], saved: dict[str, Any]) -> None:
        """Stand between a loop and the stage.

        Args:
            step: Checkpoint of the stage at which it enters the loop.
            start: Arrays of that checkpoint.
            saved: Arrays of the checkpoint that the stage was given.
        """
        super().__init__(outer.device, outer.seed, outer.counts)
        self.outer, self.step, self.start, self.saved = outer, step, start, saved

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        self.outer.record(step, total=total, phase=phase, **values)

    def checkpoint(self, step: int, **arrays: Any) -> None:
        self.outer.checkpoint(self.step, **self.start, loop_step=np.array(step), **arrays)

    def restore(self) -> tuple[int, dict[str, Any]] | None:
        if "loop_step" not in self.saved:
            return None
        arrays = {k: v for k, v in self.saved.items() if k.startswith(_LOOP)}
        return int(self.saved["loop_step"]), arrays
