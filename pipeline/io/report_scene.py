"""The meshes of a run as the 3D view of the report reads them: base64 of little-endian arrays.

All shapes share one unit box, so that going from one stage to the next moves nothing. What is too large for a
page is thinned, and the note that says so goes with it.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.io.report_contents import Contents, upright
from pipeline.metrics.tet import tet_quality
from pipeline.rendering.picture import point_spacing
from pipeline.rendering.scene import surface_openness
from pipeline.topology import boundary_faces, compact, unique_rows
from pipeline.types import PointCloud, SurfaceMesh, TetMesh

MAX_POINTS = 50_000
MAX_TRIANGLES = 200_000
MAX_TETS = 120_000
MAX_CELLS = float((1 << 20) - 1)
ORDER = (
    ("point_cloud", "Points"),
    ("surface_mesh", "Surface"),
    ("tet_mesh", "Tets"),
    ("sim_mesh", "Optimized tets"),
)


def scene(contents: Contents) -> list[dict[str, Any]]:
    """Return the shapes of a run, 3D only, in the order of the chain.

    Each is a JSON object: name, kind ("points", "surface" or "tets"), counts, note, and arrays in base64.
    """
    found = [(name, label, contents.geometry(name)) for name, label in ORDER]
    solid = [
        (n, label, g) for n, label, g in found if g is not None and g.points.shape[1] == 3 and len(g.points)
    ]
    if not solid:
        return []
    boxes = [upright(g.points, g.frame) for _, _, g in solid]
    low, high = np.min([b.min(axis=0) for b in boxes], axis=0), np.max([b.max(axis=0) for b in boxes], axis=0)
    center, scale = 0.5 * (low + high), float(np.linalg.norm(high - low)) or 1.0
    return [
        shape(name, label, geometry, (points - center) / scale)
        for (name, label, geometry), points in zip(solid, boxes)
    ]


def shape(
    name: str, label: str, geometry: PointCloud | SurfaceMesh | TetMesh, points: NDArray
) -> dict[str, Any]:
    """Return one shape for the page; `points` are those of the geometry, Z up, in the unit box."""
    if isinstance(geometry, PointCloud):
        return _cloud(name, label, geometry, points)
    if isinstance(geometry, SurfaceMesh):
        return _surface(name, label, points, geometry.faces)
    if len(geometry.tets) > MAX_TETS:
        found = _surface(name, label, points, boundary_faces(geometry.tets)[0])
        many = f"{len(geometry.tets):,} tets are too many for a page: only their boundary is shown. "
        return found | {"note": many + found["note"]}
    return {
        "name": name,
        "label": label,
        "kind": "tets",
        "note": "",
        "points": encode(points, "<f4"),
        "tets": encode(geometry.tets, "<u4"),
        "quality": encode(tet_quality(points, geometry.tets)["min_dihedral_angle"], "<f4"),
    }


def encode(array: NDArray, dtype: str) -> str:
    """Encode an array as base64 of its numbers in `dtype`, row after row."""
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode("ascii")


def cluster_faces(points: NDArray, faces: NDArray, limit: int) -> tuple[NDArray, NDArray]:
    """Thin a surface to at most `limit` triangles by merging the vertices of each cell of a grid.

    The grid is the finest of a few that keep the limit, so that also strongly graded surfaces stay near it.

    Source: Rossignac and Borrel 1993, with the mean of a cell as its vertex.
    """
    best: tuple[NDArray, NDArray] | None = None
    cells, kept, refused = max(8.0, np.sqrt(limit / 2.0)), 0.0, np.inf
    for attempt in range(40):
        merged, rows = _merge_cells(points, faces, cells)
        if len(rows) <= limit:
            best, kept = (merged, rows), cells
            if attempt >= 8 or len(rows) > 0.7 * limit or cells >= MAX_CELLS:
                break
        else:
            refused = cells
        if np.isfinite(refused):
            cells = np.sqrt(max(kept, 0.1 * refused) * refused)
        else:
            cells = min(4.0 * cells, MAX_CELLS)
        if kept and cells < 1.05 * kept:
            break
    return best or (points[:0], faces[:0])


def _merge_cells(points: NDArray, faces: NDArray, cells: float) -> tuple[NDArray, NDArray]:
    low = points.min(axis=0)
    size = float((points.max(axis=0) - low).max()) or 1.0
    key = np.floor((points - low) / size * cells).astype(np.int64) @ np.array([1, 1 << 20, 1 << 40])
    _, group = np.unique(key, return_inverse=True)
    count = np.bincount(group)
    merged = np.stack([np.bincount(group, weights=points[:, k]) / count for k in range(3)], axis=1)
    rows = group[faces]
    a, b, c = rows.T
    rows = rows[(a != b) & (b != c) & (c != a)].astype(np.int32)
    # One triangle of each set of three vertices stays, turned as its first one is.
    _, inverse, _ = unique_rows(rows)
    first = np.full(inverse.max(initial=-1) + 1, len(rows))
    np.minimum.at(first, inverse, np.arange(len(rows)))
    return merged, rows[np.sort(first)]


def _cloud(name: str, label: str, cloud: PointCloud, points: NDArray) -> dict[str, Any]:
    step = -(-len(points) // MAX_POINTS)
    note = f"One in {step} of {len(points):,} points is shown." if step > 1 else ""
    shown: dict[str, Any] = {"name": name, "label": label, "kind": "points", "note": note}
    shown |= {"points": encode(points[::step], "<f4"), "radius": 0.85 * point_spacing(points[::step])}
    if cloud.normals is not None:
        normals = upright(cloud.normals[::step], cloud.frame)
        shown["normals"] = encode(np.round(127.0 * normals), "<i1")
    return shown


def _surface(name: str, label: str, points: NDArray, faces: NDArray) -> dict[str, Any]:
    note = ""
    if len(faces) > MAX_TRIANGLES:
        note = f"{len(faces):,} triangles are thinned to at most {MAX_TRIANGLES:,} for this view."
        points, faces = cluster_faces(points, faces, MAX_TRIANGLES)
    points, faces, _ = compact(points, faces)
    openness = surface_openness(points, faces) if len(faces) else np.zeros(0)
    return {
        "name": name,
        "label": label,
        "kind": "surface",
        "note": note,
        "points": encode(points, "<f4"),
        "faces": encode(faces, "<u4"),
        "openness": encode(np.round(255.0 * openness), "<u1"),
    }
