"""Choose faces again with other vertices where the first choice missed samples: thin parts of few samples.

Whether vertices on two sides of a thin part are joined to the right ones is chance where their spacing comes
near its thickness. Where it went wrong the surface is cut off or closed over, and the samples there are bare.
Another density gives another chance; the surface that is nearest to all samples is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.context import RunContext
from pipeline.dmesh.placement import PlacementConfig
from pipeline.dmesh.polygons import boundary_loops
from pipeline.dmesh.refinement import closest_on_faces
from pipeline.errors import StageError
from pipeline.points.survey import Survey
from pipeline.topology import components, orient_faces
from pipeline.types import Indices, Points

log = logging.getLogger("simmesh")

DENSITIES = (1.25, 0.8, 1.5)
"""Samples per vertex of further tries, in units of those of the first."""
BARE = 0.5
"""Distance of a sample from the surface, in units of the spacing, from which on it is bare."""
LEAST_BARE = 3
"""Bare samples that make a try worth while."""


@dataclass(frozen=True)
class Fidelity:
    """How well a surface explains its samples; less is better."""

    loops: int
    """Loops of open edges."""
    parts: int
    """Connected parts; a thin part that was cut off is one more."""
    distance: float
    """Root mean square distance of the samples in units of their spacing."""
    bare: int
    """Samples farther than `BARE`."""

    @property
    def is_good(self) -> bool:
        return self.bare < LEAST_BARE

    def is_better_than(self, other: Fidelity) -> bool:
        """Whether there are fewer loops; of as many, fewer parts; of as many, the samples are nearer."""
        return (self.loops, self.parts, self.distance) < (other.loops, other.parts, other.distance)


def fidelity(points: Points, faces: Indices, survey: Survey, device: str = "cpu") -> Fidelity:
    """Compare a surface, before it is coarsened, with its samples."""
    spacing = np.maximum(survey.planes.spacing, survey.planes.typical_spacing)
    distance = closest_on_faces(points, faces, survey.samples, device).distance / spacing
    loops = len(boundary_loops(orient_faces(faces)[0]))
    parts = int(components(faces, 2).max(initial=-1)) + 1
    return Fidelity(loops, parts, float(np.sqrt((distance**2).mean())), int((distance > BARE).sum()))


Decide = Callable[[PlacementConfig, RunContext], tuple[Points, Indices]]
"""Places vertices and chooses faces: a surface."""


def retry(
    points: Points,
    faces: Indices,
    decide: Decide,
    survey: Survey,
    placement: PlacementConfig,
    max_faces: int,
    context: RunContext,
    earlier: Mapping[str, float],
) -> tuple[Points, Indices]:
    """Decide again at other densities as long as samples are bare; return the best surface.

    Only where the samples limit the number of vertices, and are neither noisy nor of sheets that nearly
    touch: elsewhere parts are thick against the spacing of the vertices, or the density is bound.

    Args:
        points, faces: The first surface.
        context: Its counts become `earlier` and those of the surface that is returned.
        earlier: Counts from before the first surface was decided.
    """
    dense = len(survey.samples) > placement.samples_per_vertex * placement.oversampling * max_faces / 2
    if dense or survey.noise.is_large or survey.planes.layered:
        return points, faces
    best, tries = fidelity(points, faces, survey, context.device), 0
    for i, density in enumerate(DENSITIES):
        if best.is_good:
            break
        trial = RunContext(context.device, context.seed + i + 1)
        per_vertex = max(1.0, density * placement.samples_per_vertex)
        tries += 1
        log.info(
            "%d points have no surface: faces are chosen again, %.3g points per vertex", best.bare, per_vertex
        )
        try:
            other = decide(replace(placement, samples_per_vertex=per_vertex), trial)
        except StageError:
            continue
        reached = fidelity(*other, survey, context.device)
        if reached.is_better_than(best):
            (points, faces), best = other, reached
            context.counts.clear()
            context.counts.update(earlier)
            context.counts.update(trial.counts)
    context.count("chosen_again", tries, "times that faces were chosen again")
    return points, faces
