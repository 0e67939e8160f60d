"""What is known about the samples before a vertex is placed: noise, planes, border, junction lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.context import RunContext
from pipeline.points.border_samples import BorderSamples, find_border_samples
from pipeline.points.denoising import Noise, denoise, estimate_noise
from pipeline.points.feature_lines import FeatureLines, find_junction_lines, planes_beside_lines
from pipeline.points.flatness import require_surface
from pipeline.points.normalization import Samples
from pipeline.points.outliers import find_outliers
from pipeline.points.sample_planes import SamplePlanes, estimate_planes, planes_with_normals
from pipeline.points.thinning import thin_planes
from pipeline.types import Points

PHASE = "planes"


@dataclass(frozen=True)
class Survey:
    """Samples in the normal frame, without outliers and noise, and what is known about them."""

    samples: Points
    """Positions, shape (m, d)."""
    given_normals: Points | None
    """Unit normals that came with the points, shape (m, d)."""
    noise: Noise
    """Noise that the samples had."""
    planes: SamplePlanes
    """One tangent plane per sample."""
    border: BorderSamples
    """Samples where the surface ends."""
    lines: FeatureLines
    """Lines where three and more sheets meet."""

    @property
    def dimension(self) -> int:
        return int(self.samples.shape[1])

    def thin(self, count: int, context: RunContext) -> tuple[Points, float]:
        """Choose about `count` samples that are evenly far apart; return them, and the least distance."""
        rows, radius = thin_planes(self.samples, self.planes, count, context.rng(), context.device)
        return self.samples[rows], radius


def survey_samples(given: Samples, context: RunContext, *, keep_junctions: bool = True) -> Survey:
    """Drop outliers, remove noise, and find planes, border and junction lines.

    Args:
        given: Samples in the normal frame.
        keep_junctions: Whether three and more sheets may meet in a line; else such lines are counted as cut.

    Raises:
        StageError: The points fill a volume.
    """
    context.record(0, total=1, phase=PHASE)
    samples, normals = given.points, given.normals
    if samples.shape[1] == 3:
        samples, normals = _without_outliers(samples, normals, context)
    require_surface(samples, context.rng(), context.device)
    noise = estimate_noise(samples, context.rng(), context.device)
    samples, planes = _clean_planes(samples, normals, noise, context.device)
    border = find_border_samples(samples, planes, context.device)
    lines = find_junction_lines(samples, planes, context.device)
    if normals is None:
        planes = planes_beside_lines(samples, planes, lines)
    if not keep_junctions:
        context.count("cut_junctions", len(lines), "junction lines cut, as topology asks for two sides")
        lines = FeatureLines()
    length = given.normalization.length
    context.record(
        1,
        total=1,
        phase=PHASE,
        spacing=planes.typical_spacing * length,
        noise=noise.deviation * length,
        border_samples=len(border.index),
    )
    return Survey(samples, normals, noise, planes, border, lines)


def _without_outliers(
    samples: Points, normals: Points | None, context: RunContext
) -> tuple[Points, Points | None]:
    """Drop points that belong to no surface."""
    kept = ~find_outliers(samples, context.device)
    context.count("dropped_outliers", int((~kept).sum()), "points far from the others dropped")
    return np.ascontiguousarray(samples[kept]), None if normals is None else normals[kept]


def _clean_planes(
    samples: Points, normals: Points | None, noise: Noise, device: str
) -> tuple[Points, SamplePlanes]:
    """Return the samples, moved onto patches where they are noisy, and their planes."""
    if not noise.is_large:
        return samples, estimate_planes(samples, normals, device, noise.is_small)
    moved, of_patches, residuals = denoise(samples, noise, device)
    return moved, planes_with_normals(moved, of_patches if normals is None else normals, residuals, device)
