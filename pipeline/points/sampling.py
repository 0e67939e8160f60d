"""Sample surfaces: points distributed uniformly by area (3D) or length (2D), with the normal of their face.

A triangle (a, b, c) is sampled by  p = (1 - s) a + s (1 - t) b + s t c  with s = sqrt(u), u and t uniform in
[0, 1).
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import InputError
from pipeline.types import PointCloud, SurfaceMesh


def sample_surface(mesh: SurfaceMesh, count: int, seed: int = 0) -> PointCloud:
    """Draw `count` points of a surface, uniform by area, with unit normals, colours and frame of the mesh.

    Raises:
        InputError: `count` is below 1 or the surface has no area.

    Source: Osada et al. 2002, Shape Distributions, section 4.1.
    """
    if count < 1:
        raise InputError(f"count: expected at least 1 sample, got {count}")
    corners = mesh.points[mesh.faces]
    vectors = _face_vectors(corners)
    size = np.linalg.norm(vectors, axis=1)
    total = np.cumsum(size)
    if not len(total) or not total[-1] > 0:
        raise InputError(f"the surface has {len(mesh.faces)} faces and no area: nothing to sample")
    rng = np.random.default_rng(seed)
    face = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    face = np.minimum(face, int(np.flatnonzero(size > 0)[-1]))
    corner = corners[face]
    if mesh.dimension == 2:
        s = rng.random((count, 1))
        points = (1 - s) * corner[:, 0] + s * corner[:, 1]
        return PointCloud(points, vectors[face] / size[face, None], frame=mesh.frame)
    s, t = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points = (1 - s) * corner[:, 0] + s * (1 - t) * corner[:, 1] + s * t * corner[:, 2]
    colors = None
    if mesh.appearance is not None and mesh.appearance.colors is not None:
        color = mesh.appearance.colors[mesh.faces[face]]
        colors = (1 - s) * color[:, 0] + s * (1 - t) * color[:, 1] + s * t * color[:, 2]
    return PointCloud(points, vectors[face] / size[face, None], colors, frame=mesh.frame)


def _face_vectors(corners: np.ndarray) -> np.ndarray:
    """Normal of each face, shape (f, d), as long as twice its area (3D) or its length (2D)."""
    edges = corners[:, 1:] - corners[:, :1]
    if corners.shape[2] == 2:
        return np.stack([edges[:, 0, 1], -edges[:, 0, 0]], axis=1)
    return np.cross(edges[:, 0], edges[:, 1])
