"""Repair what other programs write into surfaces and point clouds, and say what was done.

Faces are dropped that name no point or a point without finite coordinates, or that have the corners of an
earlier one; points of no face are dropped, and of a cloud those that are not finite. Points are neither moved
nor merged; holes, crossings and the turn of the faces are the business of the stages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry

MESSAGES = {
    "points_not_finite": "points without finite coordinates, dropped",
    "faces_outside": "faces that name no point of the mesh, dropped",
    "faces_not_finite": "faces with a point that is not finite, dropped",
    "faces_duplicate": "faces with the corners of an earlier one, dropped",
    "unused_points": "points that no face uses, dropped",
}
"""What each count means."""


def repair_raw(raw: Geometry) -> Geometry:
    """Return the points or polygons of a file without what no mesh may hold; what was done joins its notes.

    Raises:
        InputError: Nothing is left.
    """
    if raw.has_tets or raw.segments is not None:
        return raw
    return _surface(raw) if raw.has_faces else _cloud(raw)


def _cloud(raw: Geometry) -> Geometry:
    good = _finite(raw)
    if len(good) and not good.any():
        raise InputError("no point is left after repair: none has finite coordinates")
    return _noted(_with_points(raw, good), points_not_finite=int((~good).sum()))


def _surface(raw: Geometry) -> Geometry:
    sizes = np.asarray(raw.face_sizes, dtype=np.int64)
    vertices = np.asarray(raw.face_vertices, dtype=np.int64)
    if (sizes < 0).any() or sizes.sum() != len(vertices):
        return raw  # the reader of the faces says what is wrong
    count = len(raw.points)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    inside = (vertices >= 0) & (vertices < count)
    outside = np.zeros(len(sizes), dtype=bool)
    outside[owner[~inside]] = True
    finite = _finite(raw)
    lost = np.zeros(len(sizes), dtype=bool)
    lost[owner[inside][~finite[vertices[inside]]]] = True
    lost &= ~outside
    repeated = _repeats(sizes, vertices) & ~outside & ~lost
    keep = ~(outside | lost | repeated)
    if len(keep) and not keep.any():
        raise InputError("no face is left after repair")
    corner = keep[owner]
    look = raw.texture_coordinates
    kept = replace(
        raw,
        face_sizes=sizes[keep],
        face_vertices=vertices[corner],
        texture_coordinates=None if look is None else np.asarray(look)[corner],
    )
    used = np.zeros(count, dtype=bool)
    used[vertices[corner]] = True
    counts = {
        "faces_outside": int(outside.sum()),
        "faces_not_finite": int(lost.sum()),
        "faces_duplicate": int(repeated.sum()),
        "unused_points": int(count - used.sum()),
    }
    return _noted(_with_points(kept, used), **counts)


def _finite(raw: Geometry) -> NDArray[np.bool_]:
    """Which points have finite coordinates."""
    return np.asarray(np.isfinite(np.asarray(raw.points, dtype=np.float64)).all(axis=1))


def _repeats(sizes: NDArray[np.int64], vertices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which polygons have the corners of an earlier one, in any order."""
    start = np.cumsum(sizes) - sizes
    repeated = np.zeros(len(sizes), dtype=bool)
    for size in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == size)
        corners = np.sort(vertices[start[rows][:, None] + np.arange(size)], axis=1)
        first = np.unique(corners, axis=0, return_index=True)[1]
        again = np.ones(len(rows), dtype=bool)
        again[first] = False
        repeated[rows[again]] = True
    return repeated


def _with_points(raw: Geometry, keep: NDArray[np.bool_]) -> Geometry:
    """Keep some points, and what belongs to them; faces are renumbered."""
    if keep.all():
        return raw

    def rows(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else np.asarray(array)[keep]

    index = np.cumsum(keep) - 1
    faces = None if raw.face_vertices is None else index[np.asarray(raw.face_vertices, dtype=np.int64)]
    return replace(
        raw,
        points=np.asarray(raw.points)[keep],
        normals=rows(raw.normals),
        colors=rows(raw.colors),
        face_vertices=faces,
    )


def _noted(raw: Geometry, **counts: int) -> Geometry:
    notes = [(name, count, MESSAGES[name]) for name, count in counts.items() if count]
    return replace(raw, notes=[*raw.notes, *notes])
