"""What a file holds before it becomes a point cloud, a surface or a tetrahedral mesh, and that last step.

Readers of one format each return a `Geometry`; the functions here triangulate polygons, drop what no mesh
may hold, count it, and build the validated data types. Nothing is changed silently: every count goes to the
context and the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext, log
from pipeline.errors import InputError
from pipeline.types import METRES, Appearance, Frame, PointCloud, SurfaceMesh, TetMesh


@dataclass
class Geometry:
    """Raw arrays of a file; nothing is validated yet."""

    points: NDArray[Any]
    """Positions, shape (n, d)."""
    normals: NDArray[Any] | None = None
    """Per point, shape (n, d)."""
    colors: NDArray[Any] | None = None
    """Linear RGB per point, shape (n, 3)."""
    segments: NDArray[Any] | None = None
    """Faces of a surface in 2D, shape (f, 2)."""
    face_sizes: NDArray[Any] | None = None
    """Corners of each polygon, shape (f,)."""
    face_vertices: NDArray[Any] | None = None
    """Vertex indices of all polygons one after the other, shape (sum of sizes,)."""
    texture_coordinates: NDArray[Any] | None = None
    """Place in the texture per corner, in the order of `face_vertices`, shape (sum of sizes, 2)."""
    texture: str | None = None
    """File of the texture; inside a package as package[file]."""
    tets: NDArray[Any] | None = None
    """Vertex indices, shape (t, 4)."""
    labels: NDArray[Any] | None = None
    """Region of each tet, shape (t,)."""
    crease_edges: NDArray[Any] | None = None
    """Shape (e, 2)."""
    frame: Frame | None = None
    """Unit and up axis where the file names them."""
    notes: list[tuple[str, int, str]] = field(default_factory=list)
    """What the reader merged or left out: name of the count, number, sentence."""
    warnings: list[str] = field(default_factory=list)
    """What the reader had to assume."""

    @classmethod
    def of_triangles(cls, points: NDArray[Any], faces: NDArray[Any], **fields: Any) -> Geometry:
        """Build a surface from faces of equal size, shape (f, k)."""
        faces = np.asarray(faces)
        return cls(
            points, face_sizes=np.full(len(faces), faces.shape[1]), face_vertices=faces.ravel(), **fields
        )

    @property
    def has_faces(self) -> bool:
        polygons = self.face_sizes is not None and len(self.face_sizes) > 0
        return polygons or (self.segments is not None and len(self.segments) > 0)

    @property
    def has_tets(self) -> bool:
        return self.tets is not None and len(self.tets) > 0

    def describe(self) -> str:
        """Say what is in the file, for an error message."""
        faces = 0 if self.face_sizes is None else len(self.face_sizes)
        faces += 0 if self.segments is None else len(self.segments)
        tets = 0 if self.tets is None else len(self.tets)
        return f"{len(self.points):,} points, {faces:,} faces and {tets:,} tetrahedra"

    def chosen_frame(self, frame: Frame | None) -> Frame:
        """The frame asked for, else the file's own, else metres and Z up."""
        return frame or self.frame or METRES

    def report(self, context: RunContext | None) -> RunContext:
        """Hand the reader's notes to `context` (a new one if None) and its warnings to the log."""
        context = context or RunContext()
        for text in self.warnings:
            log.warning("%s", text)
        for name, value, message in self.notes:
            context.count(name, value, message)
        return context


def merge_geometries(parts: Sequence[Geometry]) -> Geometry:
    """Put several surfaces or tetrahedral meshes into one; normals and textures are left out and counted.

    Colours are kept where all have them.
    """
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0] + [len(p.points) for p in parts])[:-1]
    merged = Geometry(np.concatenate([p.points for p in parts]), frame=parts[0].frame)
    merged.notes = [note for p in parts for note in p.notes]
    if all(p.colors is not None for p in parts):
        merged.colors = np.concatenate([p.colors for p in parts])
    textured = sum(p.texture is not None for p in parts)
    merged.notes.append(("textures_ignored", textured, "textures of single parts, left out of the whole"))
    if all(p.face_sizes is not None for p in parts):
        merged.face_sizes = np.concatenate([p.face_sizes for p in parts])
        merged.face_vertices = np.concatenate([p.face_vertices + o for p, o in zip(parts, offsets)])
    if all(p.tets is not None for p in parts):
        merged.tets = np.concatenate([p.tets + o for p, o in zip(parts, offsets)])
        if any(p.labels is not None for p in parts):
            merged.labels = np.concatenate([_labels(p) for p in parts])
    return merged


def _labels(part: Geometry) -> NDArray[Any]:
    """Labels of the tets, 0 where there are none."""
    count = 0 if part.tets is None else len(part.tets)
    return np.zeros(count, dtype=np.int32) if part.labels is None else part.labels


def vertex_colors(mesh: SurfaceMesh) -> NDArray[np.float64] | None:
    """Colours of the vertices of a surface, linear RGB (n, 3), where it has them."""
    return None if mesh.appearance is None else mesh.appearance.colors


def to_point_cloud(
    raw: Geometry, frame: Frame | None = None, context: RunContext | None = None
) -> PointCloud:
    """Take the points of a file; normals of zero length drop all normals, and that is counted.

    Raises:
        InputError: No points, or points that are not finite.
    """
    context = raw.report(context)
    _require_points(raw)
    normals = raw.normals
    if normals is not None:
        bad = int((~(np.linalg.norm(np.asarray(normals, dtype=np.float64), axis=1) > 1e-12)).sum())
        if bad:
            normals = None
            context.count(
                "normals_ignored", bad, "points whose normal has no length: all normals are left out"
            )
    return PointCloud(raw.points, normals, raw.colors, frame=raw.chosen_frame(frame))


def to_surface_mesh(
    raw: Geometry, frame: Frame | None = None, context: RunContext | None = None
) -> SurfaceMesh:
    """Triangulate polygons as fans, drop faces that repeat a vertex, and build the surface.

    Raises:
        InputError: No faces, indices out of range, points that are not finite.
    """
    context = raw.report(context)
    _require_points(raw)
    if not raw.has_faces:
        raise InputError(f"expected a surface, found {raw.describe()}")
    corners = None
    if raw.segments is not None:
        faces = np.asarray(raw.segments)
    else:
        corners = _fans(raw, context)
        faces = np.asarray(raw.face_vertices, dtype=np.int64)[corners]
    _require_range("faces", faces, len(raw.points))
    ordered = np.sort(faces, axis=1)
    keep = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
    context.count("degenerate_faces", int((~keep).sum()), "faces that repeat a vertex, dropped")
    if not keep.any():
        raise InputError(f"no usable geometry: all {len(faces):,} faces repeat a vertex")
    look = None if corners is None else _appearance(raw, corners[keep], context)
    return SurfaceMesh(raw.points, faces[keep], raw.chosen_frame(frame), look)


def to_tet_mesh(
    raw: Geometry, frame: Frame | None = None, context: RunContext | None = None, repair: bool = False
) -> TetMesh:
    """Build the tetrahedral mesh; one whose tets are all left-handed is turned over and counted.

    Args:
        raw: What the file holds.
        frame: Instead of that of the file.
        context: Receives counts.
        repair: Repair what `repair_tets` can instead of refusing it.

    Raises:
        InvalidMeshError: Some tets inverted or flat, duplicate tets, indices out of range.
        InputError: No tetrahedra.
    """
    context = raw.report(context)
    _require_points(raw)
    if not raw.has_tets:
        raise InputError(f"expected a tetrahedral mesh, found {raw.describe()}")
    tets = np.asarray(raw.tets)
    chosen = raw.chosen_frame(frame)
    if repair:
        from pipeline.io.tet_repair import MESSAGES, repair_tets  # brings scipy, which no reader needs

        mesh, counts = repair_tets(raw.points, tets, raw.labels, chosen)
        for name, count in counts.items():
            context.count(name, count, MESSAGES[name])
        return mesh
    _require_range("tets", tets, len(raw.points))
    points = np.asarray(raw.points, dtype=np.float64)
    if points.shape[1] == 3 and _all_inverted(points, tets):
        tets = tets[:, [0, 2, 1, 3]]
        context.count(
            "tets_turned", len(tets), "the mesh is left-handed throughout; tets turned to positive volume"
        )
    used = np.zeros(len(points), dtype=bool)
    used[tets.ravel()] = True
    context.count("points_without_tet", int(len(used) - used.sum()), "points that no tet uses, kept")
    return TetMesh(points, tets, raw.labels, raw.crease_edges, frame=chosen)


def _all_inverted(points: NDArray[np.float64], tets: NDArray[Any]) -> bool:
    """Whether every tet has negative volume; a few at the front decide for most meshes."""
    for rows in (tets[:8], tets):
        a, b, c, d = (points[rows[:, k]] for k in range(4))
        with np.errstate(invalid="ignore", over="ignore"):  # points that are not finite are refused later
            if not (np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0).all():
                return False
    return True


def _appearance(raw: Geometry, corners: NDArray[np.int64], context: RunContext) -> Appearance | None:
    """Colours and texture coordinates of triangles whose corners, shape (f, 3), are rows of `face_vertices`.

    What is not finite, or not one for each point or corner, is left out and counted.
    """

    def usable(values: NDArray[Any] | None, rows: int, width: int, what: str) -> NDArray[np.float64] | None:
        if values is None:
            return None
        values = np.asarray(values, dtype=np.float64)
        if values.shape == (rows, width) and np.isfinite(values).all():
            return values
        context.count("looks_ignored", 1, f"{what} that do not fit the surface, left out")
        return None

    colors = usable(raw.colors, len(raw.points), 3, "colours")
    places = usable(raw.texture_coordinates, len(np.asarray(raw.face_vertices)), 2, "texture coordinates")
    if colors is None and places is None:
        return None
    return Appearance(colors, None if places is None else places[corners], raw.texture)


def _fans(raw: Geometry, context: RunContext) -> NDArray[np.int64]:
    """Split polygons into triangles (v0, vk, vk+1), in the order of the faces: rows of `face_vertices`."""
    sizes = np.asarray(raw.face_sizes, dtype=np.int64)
    vertices = np.asarray(raw.face_vertices, dtype=np.int64)
    if (sizes < 0).any() or sizes.sum() != len(vertices):
        raise InputError(
            f"faces: their sizes add up to {int(sizes.sum()):,}, but there are {len(vertices):,} indices"
        )
    context.count("polygons_split", int((sizes > 3).sum()), "polygons split into triangles")
    context.count("faces_too_small", int((sizes < 3).sum()), "faces with fewer than three corners, dropped")
    start = np.cumsum(sizes) - sizes
    triangles = np.maximum(sizes - 2, 0)
    owner = np.repeat(np.arange(len(sizes)), triangles)
    k = np.arange(len(owner)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    first = start[owner]
    return np.stack([first, first + k + 1, first + k + 2], axis=1)


def _require_points(raw: Geometry) -> None:
    if not len(raw.points):
        raise InputError("no usable geometry: the file holds no points")


def _require_range(name: str, rows: NDArray[Any], point_count: int) -> None:
    """Refuse indices that int32 would wrap around; the data types check the rest."""
    if rows.dtype.kind not in "iu":
        raise InputError(f"{name}: expected integers, got {rows.dtype}")
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= point_count):
        bad = np.flatnonzero(((rows < 0) | (rows >= point_count)).any(axis=1))
        raise InputError(
            f"{name}: {len(bad):,} of {len(rows):,} name a vertex outside 0..{point_count - 1}, "
            f"first rows {bad[:5].tolist()}; the file is damaged"
        )
