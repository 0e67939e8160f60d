"""Surface to tetrahedra: Delaunay tets of points on and inside the surface, labelled by winding number.

The page docs/algorithms/tetrahedralize.md describes the steps and their limits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.stages.stage import Stage
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import clean_surface
from pipeline.tetmesh.closure import enclosing_shares, sheets_beside
from pipeline.tetmesh.creases import crease_curve, find_creases, spread_on_creases
from pipeline.tetmesh.delaunay import relax_interior, tessellate, tet_volumes
from pipeline.tetmesh.deviation import deviations, distance_to_boundary, fit_boundary
from pipeline.tetmesh.inspection import tell_buried, tell_closure, tell_lost_parts, tell_volume
from pipeline.tetmesh.lattice import interior_points
from pipeline.tetmesh.occupancy import make_occupancy
from pipeline.tetmesh.refinement import SIDE_STEP, choose_new, far_places
from pipeline.tetmesh.sampling import SurfaceSamples, corner_normals, sample_faces, spread_points
from pipeline.tetmesh.sizing import MOST_CELLS, AdaptedSizeField, SizeField, grid_cells, local_sizes
from pipeline.tetmesh.solid import Solid, extract_solid, is_flat
from pipeline.topology import boundary_edges, boundary_faces, components, simplex_edges
from pipeline.types import SurfaceMesh, TetMesh

log = logging.getLogger("simmesh")

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

LARGEST_MESH = 5_000_000
"""More tets than this are refused before any work."""
QUICK = 3
"""Every third sample is enough where a mesh is made to be measured and thrown away."""
EARLY_TOLERANCE, TOLERANCE = 0.12, 0.18
"""Shares by which the number of tets may be off before and after they are relaxed and repaired."""
FINAL_ATTEMPTS = 3


@dataclass
class TetrahedralizeConfig:
    """How a surface becomes tetrahedra."""

    target_tets: int = 15_000
    """Number of tetrahedra to aim at; met within 20 % where the shape allows it."""
    edge_length: float | None = None
    """Edge length in the unit of the input, instead of `target_tets`; shorter where thin or curved."""
    grading: float = 0.5
    """Growth of the edge length per distance along an axis; larger puts more of the tets at the surface."""
    crease_angle: float = 40.0
    """Edges of the surface that turn by more than this [degrees] are kept as creases."""
    adapt_rounds: int = 2
    """Rounds that measure the deviation from the surface and shorten the edges where it is large."""
    adapt_exponent: float = 0.35
    """Edge length goes with deviation to the minus this; 0.25 minimises the mean, 0.5 the maximum."""
    lloyd_iterations: int = 8
    """Steps that spread the surface points evenly."""
    relax_iterations: int = 5
    """Steps that move interior points to their optimal Delaunay positions."""
    refine_rounds: int = 3
    """Rounds that add surface points where the boundary is far from the surface: webs, cut tips, chords."""
    fit_surface: bool = True
    """Move boundary vertices off the surface by the least-squares offsets that halve the mean deviation."""

    def __post_init__(self) -> None:
        """Validate.

        Raises:
            ValueError: A number out of range; the message names the field.
        """
        checks = (
            ("target_tets", 20 <= self.target_tets <= LARGEST_MESH, f"20 to {LARGEST_MESH:,}"),
            ("edge_length", self.edge_length is None or self.edge_length > 0, "a positive length"),
            ("grading", 0.05 <= self.grading <= 2.0, "0.05 to 2"),
            ("crease_angle", 5.0 <= self.crease_angle <= 180.0, "5 to 180 degrees"),
            ("adapt_rounds", 0 <= self.adapt_rounds <= 10, "0 to 10"),
            ("adapt_exponent", 0.0 <= self.adapt_exponent <= 1.0, "0 to 1"),
            ("lloyd_iterations", 1 <= self.lloyd_iterations <= 1000, "1 to 1000"),
            ("relax_iterations", 0 <= self.relax_iterations <= 1000, "0 to 1000"),
            ("refine_rounds", 0 <= self.refine_rounds <= 100, "0 to 100"),
        )
        for name, is_good, wanted in checks:
            if not is_good:
                raise ValueError(f"tetrahedralize.{name}: expected {wanted}, got {getattr(self, name)}")


def tetrahedralize(
    surface: SurfaceMesh, config: TetrahedralizeConfig | None = None, *, context: RunContext | None = None
) -> TetMesh:
    """Fill a surface with tetrahedra; its boundary is closed and manifold whatever the surface is.

    Args:
        surface: Triangles; may be open, self-intersecting, non-manifold, in several parts, with cavities.
        config: How.
        context: Device, seed, progress and counts.

    Returns:
        Tets of positive volume in the coordinates of the surface; `labels` number the connected pieces.

    Raises:
        ValueError: A surface that is not made of triangles in space.
        StageError: An open sheet, which encloses less than it leaves out.
    """
    config, context = config or TetrahedralizeConfig(), context or RunContext()
    if surface.dimension != 3:
        raise ValueError(
            "tetrahedralize: expected triangles in space, got segments in the plane; a 2D run ends here"
        )
    if not len(surface.faces):
        raise StageError("tetrahedralize: the surface has no faces")
    work = _Work(surface, config, context)
    for k in range(config.adapt_rounds):
        work.trial(k)
    solid, fixed_count = work.final()
    return work.finish(solid, fixed_count, surface)


class _Repairs(RunContext):
    """Keeps what is counted, until it is known whether the mesh is used."""

    def __init__(self, device: str, seed: int) -> None:
        super().__init__(device=device, seed=seed)
        self.found: list[tuple[str, float, str]] = []

    def count(self, name: str, value: float, message: str) -> None:
        self.found.append((name, value, message))


class _Work:
    """The state of one call: the cleaned surface, its samples and the size field."""

    def __init__(self, surface: SurfaceMesh, config: TetrahedralizeConfig, context: RunContext) -> None:
        self.config, self.context, self.rng = config, context, context.rng()
        self.steps = config.adapt_rounds + 4
        self._prepare(surface.points, surface.faces, context)
        sheets = self._find_sheets()
        if sheets.any():
            of_sheet = sheets[self.clean.component]
            context.count(
                "open_sheets", sheets.sum(), "open sheets beside the body, which enclose nothing, left out"
            )
            log.warning(
                "%d open sheets with %d faces are left out: they enclose nothing",
                sheets.sum(),
                of_sheet.sum(),
            )
            # What is counted while cleaning has been counted.
            quiet = RunContext(device=context.device, seed=context.seed)
            self._prepare(self.clean.to_input(self.clean.points), self.clean.faces[~of_sheet], quiet)
        self.creases = find_creases(self.clean.points, self.clean.faces, config.crease_angle)
        context.record(2, total=self.steps, phase="sizes", base=self.field.base * self.clean.diagonal)

    def _prepare(self, points: Points, faces: Indices, context: RunContext) -> None:
        """Clean the surface and make its size field and samples; `context` counts what cleaning changes."""
        config = self.config
        self.clean = clean_surface(points, faces, context)
        clean = self.clean
        self.is_closed = bool(clean.is_closed.all())
        self.query = SurfaceQuery(clean.points, clean.faces, context.device)
        context.count(
            "open_edges", len(boundary_edges(clean.faces)), "open edges; the solid ends at the half level set"
        )
        self.context.record(1, total=self.steps, phase="clean", faces=len(clean.faces))
        normals = corner_normals(clean.points, clean.faces, config.crease_angle)
        few = sample_faces(clean.points, clean.faces, normals, 20_000, self.rng)
        wanted = local_sizes(few, self.query)
        volume = abs(float(clean.volume.sum()))
        cells = MOST_CELLS if config.edge_length is not None else grid_cells(config.target_tets)
        self.field: SizeField = SizeField(few.points, wanted, self.query, volume, config.grading, cells)
        if config.edge_length is not None:
            self.field.largest = config.edge_length / clean.diagonal
            self.field.set_base(self.field.largest)
            self.target = self.field.estimate()
            if self.target > LARGEST_MESH:
                raise StageError(
                    f"tetrahedralize: edge length {config.edge_length:g} needs about {self.target:.2g} "
                    f"tetrahedra; the limit is {LARGEST_MESH:.2g}, use a longer edge"
                )
        else:
            self.target = float(config.target_tets)
            self.field.fit(self.target)
        # About 25 samples per surface point; a compact body of t tets has about 5 t^(2/3) surface points.
        count = int(np.clip(130.0 * self.target ** (2.0 / 3.0), 20_000, 1_000_000))
        self.samples: SurfaceSamples = sample_faces(clean.points, clean.faces, normals, count, self.rng)
        self.few = self.samples.some(max(25_000, count // 4))

    def trial(self, k: int) -> None:
        """Mesh quickly, count, measure the deviation at the samples, and adapt the size field."""
        points, surface_count, _ = self._points(
            max(3, self.config.lloyd_iterations // 2), self.samples.thinned(QUICK)
        )
        tets = self._inside(points, surface_count)
        faces, _ = boundary_faces(tets)
        to_mesh = distance_to_boundary(points, faces, self.field.samples, self.context.device)
        self.context.record(3 + k, total=self.steps, phase="adapt", tets=len(tets), deviation=to_mesh.mean())
        scale = self.field.estimate() / len(tets)
        self.field = AdaptedSizeField.adapt(self.field, to_mesh, self.config.adapt_exponent)
        if self.config.edge_length is None:
            self.field.fit(self.target * scale)
        else:
            self.field.set_base(1.0)

    def final(self) -> tuple[Solid, int]:
        """Mesh with care; again with another base size while the number of tets is far off; keep the best."""
        may_change = self.config.edge_length is None
        nearest = np.inf
        for k in range(FINAL_ATTEMPTS):
            made = self._points(self.config.lloyd_iterations, self.samples)
            if k == 0 and may_change and self._correct(len(self._inside(*made[:2])), EARLY_TOLERANCE):
                made = self._points(self.config.lloyd_iterations, self.samples)
            points, surface_count, fixed_count = made
            points = self._relax(points, surface_count)
            found = self._refine(points, surface_count, fixed_count)
            count = len(found[0].tets)
            self.context.record(self.steps - 1, total=self.steps, phase="mesh", tets=count)
            if abs(np.log(count / self.target)) < nearest:
                nearest = abs(np.log(count / self.target))
                solid, fixed, repairs = found
            # Thin round bodies lose a quarter of their tets to repairs: the solid is what is counted.
            if not may_change or not self._correct(count, TOLERANCE):
                break
        for name, value, message in repairs.found:
            self.context.count(name, value, message)
        return solid, fixed

    def _correct(self, count: int, tolerance: float) -> bool:
        """Correct the base size if a number of tets is off by more than a share; tell whether it was."""
        ratio = count / self.target
        if abs(ratio - 1.0) <= tolerance:
            return False
        self.field.fit(self.field.estimate() / float(np.clip(ratio, 0.5, 2.0)))
        return True

    def _refine(self, points: Points, surface_count: int, fixed_count: int) -> tuple[Solid, int, _Repairs]:
        """Extract the solid, add surface points where its boundary is far from the surface; keep the best."""
        curve = crease_curve(self.clean.points, self.creases, 0.05 * self.field.values.min())
        lowest, added = np.inf, 0
        for k in range(self.config.refine_rounds + 1):
            # Only the solid that is kept counts: not what others repaired.
            found = _Repairs(device=self.context.device, seed=self.context.seed)
            solid = extract_solid(points, surface_count, self.clean, self.query, self.rng, found)
            places, excess = far_places(
                solid.points, solid.tets, self.query, self.few, self.field, self.context.device
            )
            # The fourth power: a web outweighs many chords, a place that stays far does not hide the others.
            score = float((excess**4).sum())
            if score < lowest:
                lowest, best, repairs, fixed = score, solid, found, fixed_count
                repairs.count(
                    "refined_places",
                    added,
                    "surface points added where the boundary was far from it",
                )
            if k == self.config.refine_rounds or not len(places):
                break
            on_crease, others = choose_new(places, excess, points[:surface_count], curve, self.field)
            if not len(on_crease) + len(others):
                break
            points = np.concatenate(
                [
                    points[:fixed_count],
                    on_crease,
                    points[fixed_count:surface_count],
                    others,
                    points[surface_count:],
                ]
            )
            fixed_count += len(on_crease)
            added += len(on_crease) + len(others)
            surface_count += len(on_crease) + len(others)
        return best, fixed, repairs

    def _points(self, iterations: int, samples: SurfaceSamples) -> tuple[Points, int, int]:
        """Return crease, other surface and interior points; how many on the surface, how many on creases."""
        fixed = spread_on_creases(self.clean.points, self.creases, self.field, self.rng)
        on_surface = spread_points(samples, self.field, self.query, fixed, iterations, self.rng)
        inside = interior_points(self.field, self.query, on_surface)
        return np.concatenate([on_surface, inside]), len(on_surface), len(fixed)

    def _relax(self, points: Points, surface_count: int) -> Points:
        """Relax the interior points; those that would leave the solid stay."""
        moved = relax_interior(points, surface_count, self.field, self.config.relax_iterations, self.rng)
        stray = surface_count + np.flatnonzero(~self.query.is_inside(moved[surface_count:]))
        moved[stray] = points[stray]
        return moved

    def _inside(self, points: Points, surface_count: int) -> Indices:
        tets = tessellate(points, self.rng)
        tets = tets[(tets < len(points)).all(axis=1)]
        tets = tets[make_occupancy(self.query, surface_count, self.is_closed)(points, tets)]
        if not len(tets):
            raise StageError(
                "tetrahedralize: the surface encloses nothing: no place has a winding number above one half; "
                "close it, or check that its faces point outward"
            )
        return tets

    def finish(self, solid: Solid, fixed_count: int, surface: SurfaceMesh) -> TetMesh:
        """Check against the surface, fit the boundary, find creases, return to the input's coordinates."""
        points, tets = solid.points, solid.tets
        faces, _ = boundary_faces(tets)
        boundary = SurfaceQuery(points, faces, self.context.device)
        places = self.samples.some(4000)
        tell_closure(points, faces, self.clean, self.query, self.field, self.context)
        tell_lost_parts(boundary, self.clean, self.field, self.context)
        tell_buried(self.query, places, SIDE_STEP * self.field(places))
        on_crease = solid.source < fixed_count
        if self.config.fit_surface:
            points, back = fit_boundary(points, tets, self.query, on_crease)
            flat = np.unique(tets[is_flat(points, tets, self.clean)])
            points[flat] = solid.points[flat]
            if is_flat(points, tets, self.clean).any():
                points, back = solid.points, np.unique(faces)
            self.context.count(
                "unfitted_vertices",
                len(np.union1d(back, flat)),
                "boundary vertices kept on the surface to keep their tets",
            )
        to_mesh, to_surface = deviations(points, tets, self.query, self.few, self.context.device)
        self.context.record(
            self.steps,
            total=self.steps,
            phase="finish",
            tets=len(tets),
            surface_to_mesh=to_mesh.mean(),
            mesh_to_surface=to_surface.mean(),
        )
        # Each expectation may fail alone: a grid for bodies thinner than a cell, a sum for parts that pierce.
        tell_volume(
            float(tet_volumes(points, tets).sum()), (self.field.grid_volume, float(self.clean.volume.sum()))
        )
        return TetMesh(
            points=self.clean.to_input(points),
            tets=tets,
            labels=components(tets, 3).astype(np.int32),
            crease_edges=self._crease_edges(points, faces, on_crease),
            frame=surface.frame,
        )

    def _crease_edges(self, points: Points, faces: Indices, on_crease: NDArray[np.bool_]) -> Indices | None:
        """Return boundary edges between crease points whose middle lies on a crease of the surface."""
        edges, _, _ = simplex_edges(faces)
        edges = edges[on_crease[edges].all(axis=1)]
        if not len(edges):
            return None
        length = np.linalg.norm(points[edges[:, 1]] - points[edges[:, 0]], axis=1)
        on_curve = crease_curve(self.clean.points, self.creases, 0.05 * length.min())
        distance, _ = cKDTree(on_curve).query(points[edges].mean(axis=1))
        return edges[distance < 0.2 * length]

    def _find_sheets(self) -> NDArray[np.bool_]:
        """Return which components are open sheets beside a body; refuse a surface that is nothing else.

        A sheet has a half level set too, but is no body.
        """
        if self.is_closed:
            return np.zeros(len(self.clean.is_closed), dtype=bool)
        places = self.samples.some(4000)
        enclosing, left_out = enclosing_shares(self.clean, self.query, places, SIDE_STEP * self.field(places))
        sheets = sheets_beside(self.clean, enclosing, left_out)
        if enclosing.sum() <= left_out.sum() and not sheets.any():
            raise StageError(
                "tetrahedralize: the surface encloses nothing, or too little to be a body: "
                f"{100 * enclosing.sum():.0f} % of it surrounds an inside, {100 * left_out.sum():.0f} % has "
                "none on either side; close the surface, give it a thickness, or take open sheets away"
            )
        return sheets


STAGE = Stage(
    name="tetrahedralize",
    function=tetrahedralize,
    config=TetrahedralizeConfig,
    inputs=("surface_mesh",),
    output="tet_mesh",
    version=5,
)
