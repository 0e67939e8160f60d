"""Delaunay tessellation (Qhull) of a point set, adjacency of its tets, and relaxation of its interior points.

Optimal Delaunay triangulation: an interior point moves to the average of the circumcentres of its tets,
weighted by their volume over the size field cubed; between moves the tessellation is made anew.

Source: Chen & Xu 2004, Optimal Delaunay triangulations; Alliez, Cohen-Steiner, Yvinec, Desbrun 2005,
Variational tetrahedral meshing (weights from a sizing field).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from pipeline.errors import StageError
from pipeline.topology import TET_FACES, unique_rows

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

GUARD_DISTANCE = 0.6
"""Distance of the eight guard points outside the bounding box, in diagonals."""
JITTER = 1e-6
"""Displacement that decides among cospherical points, in diagonals; positions themselves do not change."""


def tet_volumes(points: Points, tets: Indices) -> Points:
    """Return the signed volume of each tet, shape (t,)."""
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0


def tessellate(points: Points, rng: np.random.Generator) -> Indices:
    """Return the Delaunay tets of points and eight guards, shape (t, 4), oriented; some may be flat.

    Indices n to n + 7 are the guards: every tet that names one is outside. Cospherical points, which regular
    lattices and flat faces are full of, are told apart by displacing a copy that decides the connectivity
    alone.

    Raises:
        StageError: Qhull finds no three-dimensional tessellation.
    """
    low, high = points.min(axis=0) - GUARD_DISTANCE, points.max(axis=0) + GUARD_DISTANCE
    guards = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    cloud = np.concatenate([points + JITTER * rng.uniform(-1, 1, points.shape), guards])
    try:
        tets = Delaunay(cloud).simplices
    except QhullError as error:
        raise StageError(
            f"tetrahedralize: no Delaunay tessellation of {len(points)} points ({error})"
        ) from error
    turn = tet_volumes(cloud, tets) < 0
    tets = tets.astype(np.int32)
    tets[turn] = tets[turn][:, [0, 2, 1, 3]]
    return tets


def tet_neighbors(tets: Indices) -> Indices:
    """Return the tet across the face opposite each corner, shape (t, 4); -1 where there is none."""
    _, face, _ = unique_rows(tets[:, TET_FACES].reshape(-1, 3))
    order = np.argsort(face, kind="stable")
    same = np.flatnonzero(face[order][1:] == face[order][:-1])
    left, right = order[same], order[same + 1]
    neighbors = np.full(4 * len(tets), -1, dtype=np.int32)
    neighbors[left], neighbors[right] = right // 4, left // 4
    return neighbors.reshape(-1, 4)


def circumcenters(points: Points, tets: Indices) -> tuple[Points, NDArray[np.bool_]]:
    """Return the circumcentre of each tet, shape (t, 3), and whether it is well defined, shape (t,)."""
    a = points[tets[:, 0]]
    edge = points[tets[:, 1:]] - a[:, None]
    square = np.einsum("tki,tki->tk", edge, edge)
    cross = np.stack(
        [
            np.cross(edge[:, 1], edge[:, 2]),
            np.cross(edge[:, 2], edge[:, 0]),
            np.cross(edge[:, 0], edge[:, 1]),
        ],
        axis=1,
    )
    determinant = np.einsum("ti,ti->t", edge[:, 0], cross[:, 0])
    good = np.abs(determinant) > 1e-6 * square.max(axis=1, initial=0.0) ** 1.5
    offset = np.einsum("tk,tki->ti", square, cross) / np.where(good, 2.0 * determinant, 1.0)[:, None]
    return a + offset, good


def relax_interior(
    points: Points,
    surface_count: int,
    size: Callable[[Points], Points],
    iterations: int,
    rng: np.random.Generator,
) -> Points:
    """Move interior points to their optimal Delaunay positions; the first `surface_count` points stay.

    Tets with a corner at an interior point count as inside: those points keep clear of the surface.

    Args:
        points: Surface points, then interior points, shape (n, 3).
        size: Size field: points (m, 3) -> edge lengths (m,).
    """
    points = points.copy()
    n = len(points)
    for _ in range(iterations if n > surface_count else 0):
        tets = tessellate(points, rng)
        tets = tets[(tets < n).all(axis=1) & (tets >= surface_count).any(axis=1)]
        volume = np.abs(tet_volumes(points, tets))
        centroid = points[tets].mean(axis=1)
        target, good = circumcenters(points, tets)
        reach = np.linalg.norm(points[tets[:, 0]] - centroid, axis=1)
        # The circumcentre of a flat tet lies far away and says nothing: its centroid takes over.
        good &= np.linalg.norm(target - centroid, axis=1) < 1.5 * reach
        target = np.where(good[:, None], target, centroid)
        weight = np.repeat(volume / size(centroid) ** 3, 4)
        corner = tets.ravel()
        total = np.bincount(corner, weight, n)
        moved = np.stack(
            [np.bincount(corner, weight * np.repeat(target[:, k], 4), n) for k in range(3)], axis=1
        )
        known = total > 0
        known[:surface_count] = False
        points[known] = moved[known] / total[known][:, None]
    return points
