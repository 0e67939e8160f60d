"""Point cloud to surface: minimum-ball faces on relaxed vertices, closed, fitted and coarsened. 2D and 3D.

The page docs/algorithms/reconstruction.md describes the steps, what each contributes, and their limits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.dmesh.coarsening import CoarseningConfig, CollapsingMesh, sample_quadrics
from pipeline.dmesh.curing import cure
from pipeline.dmesh.extraction import extract_faces
from pipeline.dmesh.filling import close_curves, drop_specks, fill_at_links, zip_gaps
from pipeline.dmesh.flipping import flip_edges
from pipeline.dmesh.junctions import Junctions, lay_vertices
from pipeline.dmesh.optimization import OptimizationConfig, optimize_points
from pipeline.dmesh.orientation import orient_outward
from pipeline.dmesh.patches import Surface
from pipeline.dmesh.placement import PlacementConfig, relax_vertices, vertex_count
from pipeline.dmesh.refinement import RefinementConfig, closest_on_faces, refine_positions, snap_border
from pipeline.dmesh.selection import SelectionConfig
from pipeline.dmesh.tessellation import minimum_ball_share
from pipeline.errors import StageError
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.border_samples import BorderSamples, find_border_samples
from pipeline.points.denoising import denoise, estimate_noise
from pipeline.points.feature_lines import FeatureLines, find_junction_lines, planes_beside_lines
from pipeline.points.flatness import require_surface
from pipeline.points.normalization import Samples, normalize_samples
from pipeline.points.outliers import find_outliers
from pipeline.points.sample_planes import estimate_planes, planes_with_normals
from pipeline.points.thinning import thin_planes
from pipeline.stages.stage import Stage
from pipeline.topology import compact, orient_faces
from pipeline.types import Indices, PointCloud, Points, SurfaceMesh

log = logging.getLogger("simmesh")

PHASES = ("planes", "vertices", "optimization", "faces", "closing", "fit", "coarsening", "orientation")
"""Names under which progress is recorded, in order."""
UNEXPLAINED = 3.0
"""Distance from the surface, in units of the sample spacing, beyond which a point counts as left out."""
LATTICE = 1.29
"""Spacing of a triangular lattice as dense as a saturated Poisson-disk set, in units of its radius."""
NARROW = 0.45
"""Distance of a relaxed vertex from a junction line below which it is dropped, in units of the spacing."""
TOPOLOGIES = ("any", "manifold", "closed")
"""What may be asked of the topology of the result."""
_VERTICES, _OPTIMIZED, _CLOSED, _COARSE = 1, 2, 3, 4
"""Checkpoints: vertices are placed, moved by the loss, the surface is closed and fitted, it is coarsened."""
_LOOP = "optimization_"
"""Prefix of the arrays that the optimization saves on its way."""


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
    config = config or ReconstructConfig()
    context = context or RunContext()
    samples = normalize_samples(cloud)
    context.count("merged_duplicates", samples.duplicates, "exact duplicate points merged")
    return _Reconstruction(samples, config, context).run(cloud)


class _LoopContext(RunContext):
    """The context of a loop inside the stage: its checkpoints also hold the vertices that it started from."""

    def __init__(
        self, outer: RunContext, points: Points, links: NDArray[np.int64], saved: dict[str, Any]
    ) -> None:
        super().__init__(device=outer.device, seed=outer.seed, counts=outer.counts)
        self.outer, self.points, self.links, self.saved = outer, points, links, saved

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        self.outer.record(step, total=total, phase=phase, **values)

    def checkpoint(self, step: int, **arrays: Any) -> None:
        self.outer.checkpoint(
            _VERTICES, points=self.points, links=self.links, loop_step=np.array(step), **arrays
        )

    def restore(self) -> tuple[int, dict[str, Any]] | None:
        if "loop_step" not in self.saved:
            return None
        arrays = {k: v for k, v in self.saved.items() if k.startswith(_LOOP)}
        return int(self.saved["loop_step"]), arrays


class _Reconstruction:
    """One run: the samples, what is known about them, and the mesh as it grows."""

    def __init__(self, samples: Samples, config: ReconstructConfig, context: RunContext) -> None:
        self.config, self.context, self.given = config, context, samples.normals
        self.samples, self.normalization = samples.points, samples.normalization
        self._report("planes", 0, 1)
        if self.samples.shape[1] == 3:
            samples = self._without_outliers(samples)
        require_surface(self.samples, context.rng(), context.device)
        self.noise = estimate_noise(self.samples, context.rng(), context.device)
        if self.noise.is_large:
            self.samples, normals, residuals = denoise(self.samples, self.noise, context.device)
            normals = normals if samples.normals is None else samples.normals
            self.planes = planes_with_normals(self.samples, normals, residuals, context.device)
        else:
            self.planes = estimate_planes(self.samples, samples.normals, context.device, self.noise.is_small)
        self.border: BorderSamples = find_border_samples(self.samples, self.planes, context.device)
        self.lines = find_junction_lines(self.samples, self.planes, context.device)
        if samples.normals is None:
            self.planes = planes_beside_lines(self.samples, self.planes, self.lines)
        if config.topology != "any":
            context.count(
                "cut_junctions", len(self.lines), "junction lines cut, as topology asks for two sides"
            )
            self.lines = FeatureLines()
        self.junctions = Junctions.none()
        length = self.normalization.length
        self._report(
            "planes",
            1,
            1,
            spacing=self.planes.typical_spacing * length,
            noise=self.noise.deviation * length,
            border_samples=len(self.border.index),
        )

    def _without_outliers(self, samples: Samples) -> Samples:
        """Drop points that belong to no surface."""
        kept = ~find_outliers(self.samples, self.context.device)
        self.context.count("dropped_outliers", int((~kept).sum()), "points far from the others dropped")
        normals = samples.normals if samples.normals is None else samples.normals[kept]
        self.samples, self.given = np.ascontiguousarray(self.samples[kept]), normals
        return replace(samples, points=self.samples, normals=normals)

    def run(self, cloud: PointCloud) -> SurfaceMesh:
        """Go through the phases from the last checkpoint and return the mesh in the frame of the input."""
        step, saved = self.context.restore() or (0, {})
        flat = self.samples.shape[1] == 2
        points: Any = saved.get("points")
        faces: Any = saved.get("faces")
        if step < _VERTICES:
            points = self._place()
            self.context.checkpoint(_VERTICES, points=points, links=self.junctions.links)
        elif "links" in saved:
            self.junctions = Junctions(int(saved["links"].max(initial=-1)) + 1, saved["links"])
        if step < _OPTIMIZED and self.config.optimization.enabled:
            points = self._optimize(points, saved)
            self.context.checkpoint(_OPTIMIZED, points=points, links=self.junctions.links)
        if step < _CLOSED:
            points, faces = self._curve(points) if flat else self._surface(points)
            self.context.checkpoint(_CLOSED, points=points, faces=faces)
        if step < _COARSE and not flat:
            points, faces = self._coarsen(points, faces)
            self.context.checkpoint(_COARSE, points=points, faces=faces)
        self._report("orientation", 0, 1)
        faces, disagreeing = orient_outward(points, faces, self.samples, self.given, self.context.device)
        self.context.count("misoriented_faces", disagreeing, "faces that cannot be oriented like a neighbour")
        points, faces, _ = compact(points, faces)
        self._check_explained(points, faces)
        mesh = SurfaceMesh(self.normalization.undo(points), faces, frame=cloud.frame)
        self._describe(mesh)
        return mesh

    def _report(self, phase: str, step: int, total: int, **values: float) -> None:
        self.context.record(step, total=total, phase=phase, **values)

    def _place(self) -> Points:
        """Thin the samples and relax the rest."""
        settings = self.config.placement
        if self.noise.is_large:
            settings = settings.for_noise(self.noise)
        elif self.planes.layered:
            settings = settings.for_sheets(len(self.samples), self.config.max_faces)
        count = vertex_count(len(self.samples), self.config.max_faces, self.samples.shape[1], settings)
        start, radius = thin_planes(self.samples, self.planes, count, self.context.rng(), self.context.device)
        points = self.samples[start]
        spacing = LATTICE * radius if radius else self.planes.typical_spacing
        laid, self.junctions = lay_vertices(self.lines, spacing)
        if len(laid):
            points = np.concatenate([laid, points])
            points = points[self.junctions.clear(points, spacing)]
        points = relax_vertices(
            points,
            self.samples,
            self.planes,
            self.border,
            settings,
            self.context.device,
            progress=lambda i, n, move: self._report("vertices", i, n, move=move),
            fixed=self.junctions.count,
        )
        return points[self.junctions.clear(points, spacing, NARROW)]

    def _optimize(self, points: Points, saved: dict[str, Any]) -> Points:
        """Let vertices off junction lines follow the expected Chamfer loss; drop those of low real value."""
        laid = points[: self.junctions.count].copy()
        result = optimize_points(
            points,
            None,
            self.samples,
            self.config.optimization,
            self.planes.normals,
            context=_LoopContext(self.context, points, self.junctions.links, saved),
        )
        kept = result.real_values[len(laid) :] >= 0.5
        self.context.count("dropped_vertices", int((~kept).sum()), "vertices of low real value dropped")
        return np.concatenate([laid, result.points[len(laid) :][kept]])

    def _choose(self, points: Points) -> Indices:
        """Choose faces by minimum ball and support."""
        self._report("faces", 0, 1)
        faces, counts = extract_faces(
            points, self.samples, self.planes, self.config.selection, self.context.device, self.junctions
        )
        self._report("faces", 1, 1, **counts)
        if not len(faces):
            raise StageError(
                f"reconstruct: none of {counts['candidates']:,} candidate faces is supported by the "
                f"{len(self.samples):,} points; they may be too few or too noisy for a surface. "
                "Give more points, or raise reconstruct.selection.largest_offset and largest_gap"
            )
        return faces

    def _curve(self, points: Points) -> tuple[Points, Indices]:
        """Segments of a 2D cloud: choose, close gaps, fit."""
        view = Surface(points, self.samples, self.planes, self.config.selection, self.context.device)
        faces = close_curves(view, self._choose(points))
        return self._fit(points, faces), faces

    def _surface(self, points: Points) -> tuple[Points, Indices]:
        """Triangles of a 3D cloud: choose, close, fit, and move borders out."""
        device = self.context.device
        view = Surface(points, self.samples, self.planes, self.config.selection, device, self.junctions.links)
        chosen = self._choose(points)
        faces = drop_specks(chosen)
        specks = len(chosen) - len(faces)
        self._report("closing", 0, 2)
        faces = fill_at_links(view, zip_gaps(view, faces))
        self._report("closing", 1, 2)
        cured = cure(view, faces)
        faces, count = cured.faces, self.context.count
        count("speck_faces", specks + cured.specks, "faces of parts too small to be a surface dropped")
        count("cured_faces", cured.removed, "faces removed around defects")
        count("filled_faces", cured.filled, "faces added to close holes that samples cover")
        if not len(faces):
            raise StageError(
                "reconstruct: the points do not form a surface of more than a few faces; "
                "they may be too few or too noisy. Give more points"
            )
        points, faces, _ = compact(points, faces)
        self._report("closing", 2, 2, faces=len(faces))
        points = self._fit(points, faces)
        if len(self.border.index):
            points = snap_border(points, faces, self.samples, self.planes, self.context.device)
        return points, faces

    def _fit(self, points: Points, faces: Indices) -> Points:
        """Refine the positions on decided faces."""
        settings = self.config.refinement
        for i in range(settings.rounds):
            step = refine_positions(
                points,
                faces,
                self.samples,
                self.planes,
                self.border,
                damping=settings.damping if not self.noise.is_large else settings.noise_damping,
                normal_damping=settings.normal_damping,
                largest_step=0.5,
                device=self.context.device,
            )
            points = step.points
            self._report("fit", i + 1, settings.rounds, distance=step.distance)
        return points

    def _coarsen(self, points: Points, faces: Indices) -> tuple[Points, Indices]:
        """Collapse edges to the wanted number of faces or error; then fit and flip where that helps."""
        config, device = self.config, self.context.device
        if len(faces) > config.max_faces or config.max_error:
            settings = config.coarsening
            quadrics, weight = sample_quadrics(points, faces, self.samples, self.planes, settings, device)
            mesh = CollapsingMesh(points, faces, quadrics, weight, device)
            start = len(faces)

            def progress(left: int, target: int) -> None:
                self._report("coarsening", start - left, max(start - target, 1), faces=left)

            mesh.collapse(config.max_faces, settings, progress=progress)
            if config.max_error:
                limit = config.max_error / self.normalization.length
                mesh.collapse(4, settings, largest_error=limit, progress=progress)
            points, faces = mesh.compact()
            if len(faces) > config.max_faces:
                log.warning("coarsening stopped at %d faces: no further collapse is safe", len(faces))
        return self._polish(points, faces)

    def _polish(self, points: Points, faces: Indices) -> tuple[Points, Indices]:
        """Flip edges and take careful steps in turn; keep what brings the samples nearer."""
        settings, device = self.config.refinement, self.context.device
        faces, _ = orient_faces(faces)
        best = closest_on_faces(points, faces, self.samples, device)
        for i in range(settings.final_rounds):
            trial, _ = flip_edges(points, faces, self.samples, rounds=1, device=device, closest=best)
            step = refine_positions(
                points,
                trial,
                self.samples,
                self.planes,
                BorderSamples.none(3),
                damping=settings.final_damping if not self.noise.is_large else settings.noise_damping,
                normal_damping=settings.normal_damping,
                largest_step=0.3,
                device=device,
            )
            reached = closest_on_faces(step.points, trial, self.samples, device)
            distance = float(reached.distance.mean())
            self._report("fit", i + 1, settings.final_rounds, distance=distance)
            if distance >= best.distance.mean():
                break
            points, faces, best = step.points, trial, reached
        return points, faces

    def _check_explained(self, points: Points, faces: Indices) -> None:
        """Count samples that the result leaves out; fail when they are the majority."""
        distance = closest_on_faces(points, faces, self.samples, self.context.device).distance
        far = distance > UNEXPLAINED * np.maximum(self.planes.spacing, self.planes.typical_spacing)
        self.context.count("unexplained_points", int(far.sum()), "points far from the reconstructed surface")
        if far.mean() > 0.5:
            raise StageError(
                f"reconstruct: {int(far.sum()):,} of {len(far):,} points are far from every face "
                "that could be found: the cloud does not sample a surface, or its noise exceeds its spacing. "
                "Check the columns of the file, or remove outliers and noise"
            )

    def _describe(self, mesh: SurfaceMesh) -> None:
        """Say in the log and the counts what is not as a closed surface has it."""
        summary = surface_summary(mesh)
        share = minimum_ball_share(mesh.points, mesh.faces, self.context.device)
        log.info("%.1f %% of the faces are in the minimum-ball set of their vertices", 100.0 * share)
        self.context.note("minimum_ball", lambda: {"share_of_faces": share})
        if mesh.dimension == 2:
            self.context.count("open_ends", summary["ends"], "open ends of curves")
        else:
            crossing = int(self_intersecting_faces(mesh.points, mesh.faces, device=self.context.device).sum())
            if self.config.topology == "closed" and not summary["watertight"]:
                raise StageError(
                    f"reconstruct: the surface has {summary['boundary_edges']:,} open edges, but "
                    "reconstruct.topology=closed was asked for. Add points where the shape is open, or set "
                    "reconstruct.topology=any"
                )
            self.context.count("open_edges", summary["boundary_edges"], "edges on the border of the surface")
            self.context.count(
                "nonmanifold_edges", summary["nonmanifold_edges"], "edges of three or more faces"
            )
            self.context.count("intersecting_faces", crossing, "faces that intersect another one")
        self._report("orientation", 1, 1, faces=len(mesh.faces))


STAGE = Stage(
    name="reconstruct",
    function=reconstruct,
    config=ReconstructConfig,
    inputs=("point_cloud",),
    output="surface_mesh",
    version=7,
)
