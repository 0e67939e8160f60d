"""Point cloud to surface: minimum-ball faces on relaxed vertices, closed, fitted and coarsened. 2D and 3D.

The page docs/algorithms/reconstruction.md describes the steps, what each contributes, and their limits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from pipeline.context import RunContext
from pipeline.dmesh.closing import close_curve, close_surface
from pipeline.dmesh.coarsening import CoarseningConfig
from pipeline.dmesh.fitting import coarsen, fit_vertices, polish, refine
from pipeline.dmesh.junctions import Junctions
from pipeline.dmesh.optimization import OptimizationConfig
from pipeline.dmesh.orientation import orient_outward
from pipeline.dmesh.patches import Surface
from pipeline.dmesh.placement import PlacementConfig
from pipeline.dmesh.refinement import RefinementConfig, closest_on_faces
from pipeline.dmesh.retrying import retry
from pipeline.dmesh.selection import SelectionConfig
from pipeline.dmesh.tessellation import minimum_ball_share
from pipeline.dmesh.vertices import LoopContext, optimize_vertices, place_vertices
from pipeline.errors import StageError
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.normalization import normalize_samples
from pipeline.points.survey import Survey, survey_samples
from pipeline.stages.stage import Stage
from pipeline.topology import compact
from pipeline.types import Indices, PointCloud, Points, SurfaceMesh

log = logging.getLogger("simmesh")

PHASES = ("planes", "vertices", "optimization", "faces", "closing", "fit", "coarsening", "orientation")
"""Names under which progress is recorded, in order."""
UNEXPLAINED = 3.0
"""Distance from the surface, in units of the sample spacing, beyond which a point counts as left out."""
TOPOLOGIES = ("any", "manifold", "closed")
"""What may be asked of the topology of the result."""
_VERTICES, _OPTIMIZED, _CLOSED, _COARSE = 1, 2, 3, 4
"""Checkpoints: vertices are placed, moved by the loss, the surface is closed and fitted, it is coarsened."""


@dataclass
class ReconstructConfig:
    """How a point cloud becomes a surface."""

    max_faces: int = 20000
    """Faces of the result, at most."""
    max_error: float = 0.0
    """Coarsen below `max_faces` while the root mean square distance to the samples of a vertex stays below
    this, in units of the input; 0 keeps `max_faces`."""
    topology: str = "any"
    """any: borders and junctions as the samples have them; manifold: no edge of three faces; closed: also
    fail where the surface has a border."""
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    """Number and relaxation of vertices."""
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    """Gradient descent of the expected Chamfer loss on the placed vertices; off unless enabled."""
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    """Which candidates become faces."""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    """Fit of the vertices on decided faces."""
    coarsening: CoarseningConfig = field(default_factory=CoarseningConfig)
    """Edge collapse."""

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise ValueError(f"topology: expected one of {', '.join(TOPOLOGIES)}, got {self.topology!r}")
        if self.max_faces < 4:
            raise ValueError(f"max_faces: expected at least 4, got {self.max_faces}")
        if not self.max_error >= 0:
            raise ValueError(f"max_error: expected 0 or a length, got {self.max_error}")


def reconstruct(
    cloud: PointCloud, config: ReconstructConfig | None = None, *, context: RunContext | None = None
) -> SurfaceMesh:
    """Find the surface (2D: the curve) that a point cloud samples.

    Closed surfaces come out watertight, manifold, oriented outward and free of self-intersections. Exact
    duplicate points are merged and counted. Given normals replace the estimated ones.

    Args:
        cloud: Samples, 3D or 2D; any scale.
        config: Settings; the defaults if None.
        context: Device, seed, progress and checkpoints.

    Raises:
        InputError: Fewer than 4 distinct points (2D: 3), or all of them on a line or plane.
        StageError: The points fill a volume, or no face is supported by them.
    """
    config, context = config or ReconstructConfig(), context or RunContext()
    samples = normalize_samples(cloud)
    context.count("merged_duplicates", samples.duplicates, "exact duplicate points merged")
    survey = survey_samples(samples, context, keep_junctions=config.topology == "any")
    limit = config.max_error / samples.normalization.length
    points, faces = _mesh(survey, config, limit, context)
    context.record(0, total=1, phase="orientation")
    faces, turned = orient_outward(points, faces, survey.samples, survey.given_normals, context.device)
    context.count("misoriented_faces", turned, "faces that cannot be oriented like a neighbour")
    points, faces, _ = compact(points, faces)
    _check_explained(points, faces, survey, context)
    mesh = SurfaceMesh(samples.normalization.undo(points), faces, frame=cloud.frame)
    _describe(mesh, config.topology, context)
    return mesh


def _mesh(
    survey: Survey, config: ReconstructConfig, largest_error: float, context: RunContext
) -> tuple[Points, Indices]:
    """Go through the phases from the last checkpoint on: vertices, faces, fit, coarsening."""
    step, saved = context.restore() or (0, {})
    if step < _VERTICES:
        points, junctions = place_vertices(survey, config.placement, config.max_faces, context)
        context.checkpoint(_VERTICES, points=points, links=junctions.links)
    else:
        points, junctions = saved["points"], Junctions.of_links(saved.get("links"))
    if step < _OPTIMIZED and config.optimization.enabled:
        start = {"points": points, "links": junctions.links}
        loop = LoopContext(context, _VERTICES, start, saved)
        points = optimize_vertices(points, junctions, survey, config.optimization, loop)
        context.checkpoint(_OPTIMIZED, points=points, links=junctions.links)
    if step < _CLOSED:
        earlier = dict(context.counts)
        points, faces = _faces(points, junctions, survey, config, context)
        if survey.dimension == 3 and not config.optimization.enabled:

            def decide(placement: PlacementConfig, trial: RunContext) -> tuple[Points, Indices]:
                placed = place_vertices(survey, placement, config.max_faces, trial)
                return _faces(*placed, survey, config, trial)

            points, faces = retry(
                points, faces, decide, survey, config.placement, config.max_faces, context, earlier
            )
        context.checkpoint(_CLOSED, points=points, faces=faces)
    else:
        faces = saved["faces"]
    if step < _COARSE and survey.dimension == 3:
        points, faces, seen = refine(points, faces, survey, config.refinement, config.max_faces, context)
        points, faces = coarsen(
            points, faces, seen, config.coarsening, config.max_faces, largest_error, context
        )
        points, faces = polish(points, faces, seen, config.refinement, context)
        context.checkpoint(_COARSE, points=points, faces=faces)
    return points, faces


def _faces(
    points: Points, junctions: Junctions, survey: Survey, config: ReconstructConfig, context: RunContext
) -> tuple[Points, Indices]:
    """Decide the faces among placed vertices, and fit the vertices to the samples on them."""
    surface = Surface(
        points, survey.samples, survey.planes, config.selection, context.device, junctions.links
    )
    if survey.dimension == 2:
        faces = close_curve(surface, junctions, context)
    else:
        points, faces = close_surface(surface, junctions, context)
    return fit_vertices(points, faces, survey, config.refinement, context), faces


def _check_explained(points: Points, faces: Indices, survey: Survey, context: RunContext) -> None:
    """Count samples that the result leaves out; fail when they are the majority."""
    distance = closest_on_faces(points, faces, survey.samples, context.device).distance
    far = distance > UNEXPLAINED * np.maximum(survey.planes.spacing, survey.planes.typical_spacing)
    context.count("unexplained_points", int(far.sum()), "points far from the reconstructed surface")
    if far.mean() > 0.5:
        raise StageError(
            f"reconstruct: {int(far.sum()):,} of {len(far):,} points are far from every face "
            "that could be found: the cloud does not sample a surface, or its noise exceeds its spacing. "
            "Check the columns of the file, or remove outliers and noise"
        )


def _describe(mesh: SurfaceMesh, topology: str, context: RunContext) -> None:
    """Say in the log and the counts what is not as a closed surface has it."""
    summary = surface_summary(mesh)
    share = minimum_ball_share(mesh.points, mesh.faces, context.device)
    log.info("%.1f %% of the faces are in the minimum-ball set of their vertices", 100.0 * share)
    context.note("minimum_ball", lambda: {"share_of_faces": share})
    if mesh.dimension == 2:
        context.count("open_ends", summary["ends"], "open ends of curves")
    else:
        crossing = int(self_intersecting_faces(mesh.points, mesh.faces, device=context.device).sum())
        if topology == "closed" and not summary["watertight"]:
            raise StageError(
                f"reconstruct: the surface has {summary['boundary_edges']:,} open edges, but "
                "reconstruct.topology=closed was asked for. Add points where the shape is open, or set "
                "reconstruct.topology=any"
            )
        context.count("open_edges", summary["boundary_edges"], "edges on the border of the surface")
        context.count("nonmanifold_edges", summary["nonmanifold_edges"], "edges of three or more faces")
        context.count("intersecting_faces", crossing, "faces that intersect another one")
    context.record(1, total=1, phase="orientation", faces=len(mesh.faces))


STAGE = Stage(
    name="reconstruct",
    function=reconstruct,
    config=ReconstructConfig,
    inputs=("point_cloud",),
    output="surface_mesh",
    version=8,
)
