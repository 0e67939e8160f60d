"""Carry the look of the input to the surface that an asset shows: to the nearest points of the input.

    color(x) = sum_i b_i color_i                     b: barycentric coordinates of the nearest point of x
    uv(x)    = sum_i b_i uv_i                        unless a seam of the texture lies between

A corner takes the texture coordinates of its own nearest point as long as these lie where those of the middle
of its triangle lead to; across a seam they do not, and the map of the middle goes on to the corner instead:

    uv(x) = uv(m) + A (x - m)                        A: the affine map of the triangle nearest to the middle m
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.types import Appearance, PointCloud, SurfaceMesh

Floats = NDArray[np.float64]

_SEAM = 3.0
"""A corner farther from the middle in the texture than this many continued steps lies across a seam."""


def transferred(source: SurfaceMesh, points: Floats, faces: NDArray[np.int32]) -> Appearance | None:
    """Look of other triangles by the nearest points of a surface in the same coordinates.

    Args:
        source: Gives colours and texture.
        points: Shape (m, 3).
        faces: Vertex indices, shape (g, 3).
    """
    look = source.appearance
    if look is None or not len(source.faces) or not len(faces):
        return None
    query = SurfaceQuery(source.points, source.faces)
    nearest = query.closest(points)
    colors = None
    if look.colors is not None:
        colors = np.einsum("mi,mic->mc", nearest.barycentric, look.colors[source.faces[nearest.face]])
    coordinates = None
    if look.texture_coordinates is not None:
        corners = look.texture_coordinates
        own = np.einsum("mi,mic->mc", nearest.barycentric, corners[nearest.face])[faces]
        middle = points[faces].mean(axis=1)
        central = query.closest(middle)
        at_middle = np.einsum("mi,mic->mc", central.barycentric, corners[central.face])
        maps = _texture_maps(source.points[source.faces[central.face]], corners[central.face])
        step = np.einsum("guc,gkc->gku", maps, points[faces] - central.point[:, None])
        reached = np.linalg.norm(own - at_middle[:, None], axis=2)
        expected = np.linalg.norm(step, axis=2)
        # One length per triangle: a corner that happens to lie near the middle is no seam.
        is_across = reached > _SEAM * expected.max(axis=1, keepdims=True)
        coordinates = np.where(is_across[..., None], at_middle[:, None] + step, own)
    return Appearance(colors, coordinates, look.texture)


def transferred_colors(cloud: PointCloud, points: Floats) -> Appearance | None:
    """Colours of the nearest samples of a point cloud, for points of shape (m, 3)."""
    if cloud.colors is None or cloud.dimension != 3:
        return None
    return Appearance(cloud.colors[cKDTree(cloud.points).query(points)[1]])


def _texture_maps(corners: Floats, places: Floats) -> Floats:
    """Affine maps A from space to the texture, shape (g, 2, 3): A (p_j - p_0) = uv_j - uv_0 in each triangle.

    Args:
        corners: p, shape (g, 3, 3).
        places: uv, shape (g, 3, 2).
    """
    edges, steps = corners[:, 1:] - corners[:, :1], places[:, 1:] - places[:, :1]
    return np.swapaxes(steps, 1, 2) @ np.swapaxes(np.linalg.pinv(edges, rcond=1e-6), 1, 2)
