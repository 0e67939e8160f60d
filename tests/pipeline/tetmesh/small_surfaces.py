"""Small triangle surfaces for the tests of this folder and of the stage."""

from __future__ import annotations

import numpy as np

from pipeline.topology import simplex_edges
from pipeline.types import SurfaceMesh

CUBE_POINTS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_FACES = np.array(
    [
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]],
        [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
    ],
    dtype=np.int32,
).reshape(-1, 3)


def subdivide(points, faces):
    """Cut every triangle into four at the middles of its edges."""
    edges, edge, _ = simplex_edges(faces)
    m = len(points) + edge
    parts = [
        np.stack([faces[:, 0], m[:, 0], m[:, 1]], axis=1),
        np.stack([faces[:, 1], m[:, 2], m[:, 0]], axis=1),
        np.stack([faces[:, 2], m[:, 1], m[:, 2]], axis=1),
        m[:, [0, 2, 1]],
    ]
    return np.concatenate([points, points[edges].mean(axis=1)]), np.concatenate(parts).astype(np.int32)


def box(low, high, levels=2):
    """Return a closed outward box with 12 * 4^levels faces."""
    points, faces = CUBE_POINTS, CUBE_FACES
    for _ in range(levels):
        points, faces = subdivide(points, faces)
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return SurfaceMesh(points * (high - low) + low, faces)


def ball(center=(0, 0, 0), radius=1.0, levels=4):
    """Return a closed outward sphere with 8 * 4^levels faces (a divided octahedron)."""
    points = np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array(
        [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]],
        dtype=np.int32,
    )
    for _ in range(levels):
        points, faces = subdivide(points, faces)
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return SurfaceMesh(radius * points + np.asarray(center, dtype=float), faces)


def join(*meshes):
    """Put surfaces into one, as separate parts."""
    shift = np.cumsum([0] + [len(m.points) for m in meshes[:-1]])
    return SurfaceMesh(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, shift, strict=True)]),
    )


def turned(mesh, rows=slice(None)):
    """Turn some faces over."""
    faces = mesh.faces.copy()
    faces[rows] = faces[rows][:, ::-1]
    return SurfaceMesh(mesh.points, faces)


def enclosed_volume(mesh):
    """Return the signed volume of a closed surface: the sum of det(a, b, c) / 6 over its faces."""
    a, b, c = (mesh.points[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)
