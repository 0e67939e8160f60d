"""Numbers that describe a surface mesh: topology, size, shape of its faces, self-intersection."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.topology import boundary_edges, compact, components, simplex_edges
from pipeline.types import Indices, Points, SurfaceMesh

_FACES_PER_LEAF = 8
_FEW = 0.4
"""Share of the faces below which the search tree is built over those that are asked about."""
"""Boxes in a leaf of the hierarchy: a quarter faster than single ones, to build and to search."""


def surface_summary(mesh: SurfaceMesh) -> dict[str, Any]:
    """Describe a surface (3D) or a set of segments (2D) by plain numbers.

    Keys of both: vertices, faces, components, watertight, length or area. In 3D also boundary_edges,
    boundary_loops, nonmanifold_edges, nonmanifold_vertices, oriented, euler_characteristic, volume (of a
    watertight oriented surface, else None) and aspect_ratio (longest edge times perimeter over 4 sqrt(3)
    area; 1 is equilateral). In 2D also ends (vertices of one segment) and junctions (of three and more).
    """
    points, faces, _ = compact(mesh.points, mesh.faces)
    if mesh.dimension == 2:
        return _curve_summary(points, faces)
    edges, face_edges, uses = simplex_edges(faces)
    border = boundary_edges(faces)
    shape = aspect_ratios(points, faces)
    oriented = _misoriented_edges(faces, face_edges, uses) == 0
    watertight = bool(len(faces)) and bool((uses == 2).all())
    volume = signed_volume(points, faces) if watertight and oriented else None
    return {
        "vertices": len(points),
        "faces": len(faces),
        "components": int(components(faces, 2).max(initial=-1)) + 1,
        "boundary_edges": len(border),
        "boundary_loops": int(components(border, 1).max(initial=-1)) + 1,
        "nonmanifold_edges": int((uses > 2).sum()),
        "nonmanifold_vertices": int((vertex_fans(faces) > 1).sum()),
        "watertight": watertight,
        "oriented": oriented,
        "euler_characteristic": len(points) - len(edges) + len(faces),
        "area": float(_areas(points, faces).sum()),
        "volume": volume,
        "aspect_ratio": {
            "mean": float(shape.mean()) if len(shape) else None,
            "p99": float(np.quantile(shape, 0.99)) if len(shape) else None,
            "max": float(shape.max()) if len(shape) else None,
            "above_4_percent": float(100 * (shape > 4).mean()) if len(shape) else None,
        },
    }


def _curve_summary(points: Points, segments: Indices) -> dict[str, Any]:
    degree = np.bincount(segments.ravel(), minlength=len(points))
    length = np.linalg.norm(points[segments[:, 1]] - points[segments[:, 0]], axis=1)
    return {
        "vertices": len(points),
        "faces": len(segments),
        "components": int(components(segments, 1).max(initial=-1)) + 1,
        "ends": int((degree == 1).sum()),
        "junctions": int((degree > 2).sum()),
        "watertight": bool(len(segments)) and bool((degree == 2).all()),
        "length": float(length.sum()),
    }


def aspect_ratios(points: Points, faces: Indices) -> NDArray[np.float64]:
    """Return longest edge times perimeter over 4 sqrt(3) area, shape (f,); infinite where flat."""
    corners = points[faces]
    sides = np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2)
    area = _areas(points, faces)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sides.max(axis=1) * sides.sum(axis=1) / (4 * np.sqrt(3) * area)


def signed_volume(points: Points, faces: Indices) -> float:
    """Return the volume enclosed by oriented triangles; positive when they face outward."""
    if not len(faces):
        return 0.0
    corners = points[faces] - points[faces].mean(axis=(0, 1))
    return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def vertex_fans(faces: Indices) -> NDArray[np.int64]:
    """Count the edge-connected fans of triangles at each vertex; more than one is a pinched vertex."""
    return np.bincount(fan_vertices(faces)[1], minlength=int(faces.max(initial=-1)) + 1)


def fan_vertices(faces: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fan of every face corner, shape (f, 3), and the vertex of every fan.

    Two triangles at a vertex belong to one fan when a chain of triangles joined by edges at that vertex links
    them.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    f = len(faces)
    if not f:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    edges, face_edges, _ = simplex_edges(faces)
    # Corner k of a face meets its edges 01, 02, 12 as listed; each (edge, end) pair and corner is a node.
    sides = np.array([[0, 1], [0, 2], [1, 2]])
    corner = np.arange(3 * f).reshape(f, 3)
    node = 2 * face_edges[:, sides] + (edges[face_edges[:, sides]][..., 1] == faces[:, :, None])
    rows = np.repeat(corner.ravel(), 2)
    size = 3 * f + 2 * len(edges)
    graph = coo_matrix((np.ones(len(rows)), (rows, 3 * f + node.ravel())), shape=(size, size))
    label = connected_components(graph, directed=False)[1][: 3 * f]
    used = np.zeros(size, dtype=bool)
    used[label] = True
    fan = (np.cumsum(used) - 1)[label]
    vertex = np.zeros(fan.max() + 1, dtype=np.int64)
    vertex[fan] = faces.ravel()
    return fan.reshape(f, 3), vertex


def self_intersecting_faces(
    points: Points,
    faces: Indices,
    queries: NDArray[np.integer] | None = None,
    device: str = "cpu",
    groups: NDArray[np.integer] | None = None,
) -> NDArray[np.bool_]:
    """Mark triangles that intersect another one, shape (f,).

    Args:
        points: Vertices, shape (n, 3).
        faces: Triangles, shape (f, 3).
        queries: Rows to be tested against all; all rows if None. Both partners of a pair are marked.
        groups: Faces of different groups are not compared, shape (f,); those of group 0 with all. None: 0.
    """
    from warp_kernels.self_intersection import face_boxes, self_intersections

    if not len(faces) or (queries is not None and not len(queries)):
        return np.zeros(len(faces), dtype=bool)
    x: wp.array = wp.array(points, dtype=wp.vec3d, device=device)
    table: wp.array = wp.array(np.ascontiguousarray(faces, dtype=np.int32), dtype=wp.int32, device=device)
    everything: wp.array = wp.array(np.arange(len(faces), dtype=np.int32), dtype=wp.int32, device=device)
    asked = everything
    if queries is not None:
        asked = wp.array(np.asarray(queries, dtype=np.int32), dtype=wp.int32, device=device)
    # A tree over the smaller set: building one costs more than searching it.
    rows, members = (everything, asked) if len(asked) < _FEW * len(faces) else (asked, everything)
    boxes, tree = face_boxes(x, table, rows), face_boxes(x, table, members)
    hit = self_intersections(
        x,
        table,
        asked,
        rows,
        boxes,
        wp.Bvh(*tree, leaf_size=_FACES_PER_LEAF),
        members,
        wp.array(np.zeros(0) if groups is None else groups, dtype=wp.int32, device=device),
    )
    return hit.numpy() > 0


def _areas(points: Points, faces: Indices) -> NDArray[np.float64]:
    corners = points[faces]
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def _misoriented_edges(faces: Indices, face_edges: NDArray, uses: NDArray) -> int:
    """Count edges of two faces that run through them in the same direction."""
    if not len(faces):
        return 0
    half = np.stack([faces[:, [0, 1]], faces[:, [0, 2]], faces[:, [1, 2]]], axis=1)
    sign = np.array([1, -1, 1]) * np.where(half[..., 0] < half[..., 1], 1, -1)
    total = np.bincount(face_edges.ravel(), sign.ravel(), len(uses))
    return int((np.abs(total[uses == 2]) > 0).sum())
