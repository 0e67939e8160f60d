"""Bring a surface of decided faces nearer to its samples with as few faces as wanted: fit, split, collapse,
flip.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from pipeline.context import RunContext
from pipeline.dmesh.coarsening import CoarseningConfig, CollapsingMesh, sample_quadrics
from pipeline.dmesh.densification import add_samples, split_edges
from pipeline.dmesh.descent import descend
from pipeline.dmesh.flipping import flip_edges
from pipeline.dmesh.refinement import RefinementConfig, closest_on_faces, refine_positions, snap_border
from pipeline.points.border_samples import BorderSamples
from pipeline.points.jets import SmoothSurface
from pipeline.points.survey import Survey
from pipeline.topology import orient_faces
from pipeline.types import Indices, Points

log = logging.getLogger("simmesh")

LARGEST_STEP = 0.5
"""Longest move of a vertex in a fit, in units of the shortest edge at it."""
LARGEST_FINAL_STEP = 0.3
"""The same after coarsening."""
_SMOOTH_FITS = 2
"""Times that the smooth surface is sampled on the faces before they are fitted to it."""


def fit_vertices(
    points: Points, faces: Indices, survey: Survey, config: RefinementConfig, context: RunContext
) -> Points:
    """Fit the vertices to the samples by rounds of least squares, move borders of a surface out, and follow
    the expected Chamfer loss where that is wanted.
    """
    for i in range(config.rounds):
        step = refine_positions(
            points,
            faces,
            survey.samples,
            survey.planes,
            survey.border,
            damping=config.damping if not survey.noise.is_large else config.noise_damping,
            normal_damping=config.normal_damping,
            largest_step=LARGEST_STEP,
            device=context.device,
        )
        points = step.points
        context.record(i + 1, total=config.rounds, phase="fit", distance=step.distance)
    if len(survey.border.index):
        points = snap_border(points, faces, survey.samples, survey.planes, context.device)
    if config.chamfer_iterations:
        normals = survey.planes.normals
        points = descend(points, faces, survey.samples, normals, config.chamfer_iterations, context)
    return points


def refine(
    points: Points,
    faces: Indices,
    survey: Survey,
    config: RefinementConfig,
    max_faces: int,
    context: RunContext,
) -> tuple[Points, Indices, Survey]:
    """Split edges where the samples allow more vertices than the choice of faces did, and fit again.

    Samples that were noisy, and sheets that nearly touch, are left as they are.

    Returns:
        The mesh, and what later fits are to see: the samples, and where edges were split, samples of the
        smooth surface between them.
    """
    wanted = int(min(len(survey.samples) / config.samples_per_vertex, max_faces / 2))
    if len(points) >= wanted or survey.noise.is_large or survey.planes.layered:
        return points, faces, survey
    points, faces = split_edges(points, faces, wanted)
    smooth = SmoothSurface(survey.samples, survey.planes, context.device)

    def between() -> Survey:
        samples, planes = add_samples(points, faces, smooth)
        return replace(survey, samples=samples, planes=planes, border=BorderSamples.none(3))

    for _ in range(_SMOOTH_FITS):
        points = fit_vertices(points, faces, between(), config, context)
    return points, faces, between()


def coarsen(
    points: Points,
    faces: Indices,
    survey: Survey,
    config: CoarseningConfig,
    max_faces: int,
    largest_error: float,
    context: RunContext,
) -> tuple[Points, Indices]:
    """Collapse edges down to a number of faces, and on as long as the error stays small.

    Args:
        largest_error: Root mean square distance to the samples of a vertex, in the normal frame; 0 ends the
            collapse at `max_faces`.
    """
    if len(faces) <= max_faces and not largest_error:
        return points, faces
    quadrics, weight = sample_quadrics(points, faces, survey.samples, survey.planes, config, context.device)
    mesh = CollapsingMesh(points, faces, quadrics, weight, context.device)
    start = len(faces)

    def progress(left: int, target: int) -> None:
        context.record(start - left, total=max(start - target, 1), phase="coarsening", faces=left)

    mesh.collapse(max_faces, config, progress=progress)
    if largest_error:
        mesh.collapse(4, config, largest_error=largest_error, progress=progress)
    points, faces = mesh.compact()
    if len(faces) > max_faces:
        log.warning("coarsening stopped at %d faces: no further collapse is safe", len(faces))
    return points, faces


def polish(
    points: Points, faces: Indices, survey: Survey, config: RefinementConfig, context: RunContext
) -> tuple[Points, Indices]:
    """Flip edges and take careful steps in turn; keep what brings the samples nearer."""
    faces, _ = orient_faces(faces)
    best = closest_on_faces(points, faces, survey.samples, context.device)
    for i in range(config.final_rounds):
        trial, _ = flip_edges(points, faces, survey.samples, rounds=1, device=context.device, closest=best)
        step = refine_positions(
            points,
            trial,
            survey.samples,
            survey.planes,
            BorderSamples.none(3),
            damping=config.final_damping if not survey.noise.is_large else config.noise_damping,
            normal_damping=config.normal_damping,
            largest_step=LARGEST_FINAL_STEP,
            device=context.device,
        )
        reached = closest_on_faces(step.points, trial, survey.samples, context.device)
        distance = float(reached.distance.mean())
        context.record(i + 1, total=config.final_rounds, phase="fit", distance=distance)
        if distance >= best.distance.mean():
            break
        points, faces, best = step.points, trial, reached
    return points, faces
