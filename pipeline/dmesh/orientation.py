"""Orient a finished surface or curve: consistent, and outward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.dmesh.curing import orient_along_tree
from pipeline.dmesh.extraction import face_normals
from pipeline.points.neighbors import nearest_neighbors
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import manifold_parts, orient_faces
from pipeline.types import Indices, Points

_TRUSTED = 0.5
"""Mean cosine between given and found normals above which the signs of the given ones decide."""
_MOST_NESTED = 64
"""Closed parts whose nesting is examined; with more, all of them face outward."""
_PROBES = 512
"""Faces of an open part that are looked at."""
_OFFSET = 1e-3
"""Distance of a probe behind its face, in units of the square root of its area."""
_FLAT = 0.02
"""Mean winding number, from 1/2, below which an open part has no outside."""


def orient_outward(
    points: Points, faces: Indices, samples: Points, normals: Points | None = None, device: str = "cpu"
) -> tuple[Indices, int]:
    """Turn faces to agree with their neighbours, and every part between junctions to face outward.

    Given normals decide the side of a part where their signs agree with each other. Otherwise a closed part
    has positive volume (2D: runs counter-clockwise), and one that lies inside an odd number of others faces
    into the cavity that it bounds; an open part winds around the points behind its faces, and a flat one
    keeps its side.

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
    part, is_open = manifold_parts(faces)
    count = len(is_open)
    flip = np.zeros(count, dtype=bool)
    flip[~is_open] = _signed_sizes(points, faces, part, count)[~is_open] < 0
    if d == 3:
        if 1 < (~is_open).sum() <= _MOST_NESTED:
            flip ^= _nested(points, faces, part, ~is_open, device)
        for c in np.flatnonzero(is_open):
            flip[c] = _winding_behind(points, faces[part == c], device) < 0.5 - _FLAT
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


def _winding_behind(points: Points, faces: Indices, device: str) -> float:
    """Return the mean winding number of a surface around points behind its faces.

    It is 1 for a closed surface that faces outward, 0 for one that faces inward, 1/2 for a flat one, and in
    between as far as the surface is open: half the jump across a face, plus what the rest winds.
    """
    corners = points[faces[:: -(-len(faces) // _PROBES)]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.sqrt(np.linalg.norm(normal, axis=1, keepdims=True))
    probes = corners.mean(axis=1) - _OFFSET * normal / np.maximum(size, 1e-300)
    return float(SurfaceQuery(points, faces, device).winding_number(probes).mean())


def _signed_sizes(points: Points, faces: Indices, part: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return the signed volume (2D: area, counter-clockwise positive) of each part."""
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
    """Mark closed parts that lie inside an odd number of other closed ones."""
    rows = np.flatnonzero(closed)
    probes = np.stack([points[faces[part == c][0]].mean(axis=0) for c in rows])
    depth = np.zeros(len(rows), dtype=np.int64)
    for c in rows:
        inside = np.abs(SurfaceQuery(points, faces[part == c], device).winding_number(probes)) > 0.5
        depth += inside & (rows != c)
    nested = np.zeros(len(closed), dtype=bool)
    nested[rows] = depth % 2 == 1
    return nested
