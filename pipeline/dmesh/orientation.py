"""Orient a finished surface or curve: consistent, and outward where it is closed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.dmesh.curing import orient_along_tree
from pipeline.dmesh.extraction import face_normals
from pipeline.points.neighbors import nearest_neighbors
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import components, orient_faces, simplex_edges
from pipeline.types import Indices, Points

_TRUSTED = 0.5
"""Mean cosine between given and found normals above which the signs of the given ones decide."""
_MOST_NESTED = 64
"""Closed components whose nesting is examined; with more, all of them face outward."""


def orient_outward(
    points: Points, faces: Indices, samples: Points, normals: Points | None = None, device: str = "cpu"
) -> tuple[Indices, int]:
    """Turn faces to agree with their neighbours, and every component to face outward.

    Given normals decide the side of a component where their signs agree with each other. Otherwise a closed
    component has positive volume (2D: runs counter-clockwise), and one that lies inside an odd number of
    others faces into the cavity that it bounds.

    Args:
        samples: Positions, shape (m, d).
        normals: Given normals of the samples, shape (m, d).

    Returns:
        Faces, and how many lie at an edge whose faces disagree (not zero on a Moebius strip).
    """
    faces, bad = orient_faces(faces)
    if not len(faces):
        return faces, bad
    d = points.shape[1]
    if bad and d == 3:
        faces, wrong = orient_along_tree(faces)
        bad = int(wrong.sum())
    part = components(faces, d - 1)
    count = int(part.max()) + 1
    flip = np.zeros(count, dtype=bool)
    closed = np.zeros(count, dtype=bool)
    if d == 3:
        _, face_edges, uses = simplex_edges(faces)
        open_face = (uses[face_edges] != 2).any(axis=1)
    else:
        open_face = (np.bincount(faces.ravel(), minlength=len(points))[faces] != 2).any(axis=1)
    closed[np.bincount(part[open_face], minlength=count) == 0] = True
    size = _signed_sizes(points, faces, part, count)
    flip[closed] = size[closed] < 0
    if d == 3 and 1 < closed.sum() <= _MOST_NESTED:
        flip ^= _nested(points, faces, part, closed, device)
    if normals is not None:
        own, _ = face_normals(points, faces)
        near, _ = nearest_neighbors(samples, 1, queries=points[faces].mean(axis=1), device=device)
        agree = np.einsum("ij,ij->i", own, normals[near[:, 0]])
        mean = np.bincount(part, agree, count) / np.bincount(part, minlength=count)
        trusted = np.abs(mean) > _TRUSTED
        flip[trusted] = mean[trusted] < 0
    turn = flip[part]
    faces[turn] = faces[turn][:, [1, 0] if d == 2 else [0, 2, 1]]
    return faces, bad


def _signed_sizes(points: Points, faces: Indices, part: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return the signed volume (2D: area, counter-clockwise positive) of each component."""
    if points.shape[1] == 3:
        corners = points[faces]
        size = np.maximum(np.bincount(part, minlength=count), 1)
        center = np.stack(
            [np.bincount(part, corners.mean(axis=1)[:, k], count) / size for k in range(3)], axis=1
        )
        a, b, c = (corners[:, k] - center[part] for k in range(3))
        return np.bincount(part, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, count).astype(np.float64)
    a, b = points[faces[:, 0]], points[faces[:, 1]]
    return np.bincount(part, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2, count).astype(np.float64)


def _nested(
    points: Points, faces: Indices, part: NDArray[np.int64], closed: NDArray[np.bool_], device: str
) -> NDArray[np.bool_]:
    """Mark closed components that lie inside an odd number of other closed ones."""
    rows = np.flatnonzero(closed)
    probes = np.stack([points[faces[part == c][0]].mean(axis=0) for c in rows])
    depth = np.zeros(len(rows), dtype=np.int64)
    for c in rows:
        inside = np.abs(SurfaceQuery(points, faces[part == c], device).winding_number(probes)) > 0.5
        depth += inside & (rows != c)
    nested = np.zeros(len(closed), dtype=bool)
    nested[rows] = depth % 2 == 1
    return nested
