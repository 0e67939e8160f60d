"""Polygons of open edges: their loops, and the triangulation of least cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.topology import boundary_edges
from pipeline.types import Indices


@dataclass(frozen=True)
class EdgeKeys:
    """One integer per undirected edge or per triangle."""

    count: int

    def of(self, edges: Indices) -> NDArray[np.int64]:
        a, b = edges[:, 0], edges[:, 1]
        return np.asarray(np.minimum(a, b).astype(np.int64) * self.count + np.maximum(a, b))

    def of_faces(self, faces: Indices) -> NDArray[np.int64]:
        s = np.sort(faces, axis=1).astype(np.int64)
        return (s[:, 0] * self.count + s[:, 1]) * self.count + s[:, 2]


def boundary_loops(faces: Indices) -> list[NDArray[np.int64]]:
    """Walk the open edges of oriented faces; return vertex loops in the direction of their half edges.

    A vertex that a loop passes twice splits it there. Chains that do not close (where orientation breaks) are
    left out.
    """
    half = boundary_edges(faces)
    following: dict[int, list[int]] = {}
    for a, b in half.tolist():
        following.setdefault(a, []).append(b)
    loops = []
    while following:
        start = next(iter(following))
        path, place = [start], {start: 0}
        while path:
            ends = following.get(path[-1])
            if not ends:
                # A dead end: drop its vertex and go on from the one before.
                following.pop(path[-1], None)
                place.pop(path.pop(), None)
                continue
            b = ends.pop()
            if not ends:
                following.pop(path[-1])
            if b in place:
                cut = place[b]
                loops.append(np.array(path[cut:], dtype=np.int64))
                for v in path[cut + 1 :]:
                    place.pop(v)
                del path[cut + 1 :]
                if path[-1] not in following:
                    place.pop(path.pop())
            else:
                place[b] = len(path)
                path.append(b)
    return [loop for loop in loops if len(loop) >= 3]


def polygon_triangles(n: int) -> NDArray[np.int32]:
    """Return the triangles i < j < k of the corners of a polygon, shape (n (n - 1) (n - 2) / 6, 3)."""
    i, j, k = (a.ravel() for a in np.meshgrid(*(np.arange(n, dtype=np.int32),) * 3, indexing="ij"))
    return np.stack([i, j, k], axis=1)[(i < j) & (j < k)]


def cheapest_triangulations(
    n: int, triangles: NDArray[np.int32], cost: NDArray[np.float64], barred: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Choose for each of l polygons the triangulation with the least sum of costs.

    Args:
        n: Corners of each polygon.
        triangles: Rows of `polygon_triangles`, shape (t, 3).
        cost: Of each of them, shape (l, t); inf: not to be used.
        barred: Chords (a, b) with a < b that may not be used, shape (l, n, n).

    Returns:
        Rows of `triangles`, shape (l, n - 2), -1 where there is no triangulation.

    Source: Barequet & Sharir 1995 (the dynamic programme).
    """
    count = len(cost)
    row = np.full((n, n, n), -1, dtype=np.int64)
    row[tuple(triangles.T)] = np.arange(len(triangles))
    best = np.full((count, n, n), np.inf)
    best[:, np.arange(n - 1), np.arange(1, n)] = 0.0
    middle = np.zeros((count, n, n), dtype=np.int64)
    for span in range(2, n):
        a = np.arange(n - span)
        b, inner = a + span, a[:, None] + np.arange(1, span)
        total = best[:, a[:, None], inner] + best[:, inner, b[:, None]]
        total += cost[:, row[a[:, None], inner, b[:, None]]]
        middle[:, a, b] = a + 1 + total.argmin(axis=2)
        best[:, a, b] = np.where(barred[:, a, b], np.inf, total.min(axis=2))
    chosen = np.full((count, n - 2), -1, dtype=np.int64)
    for polygon in np.flatnonzero(np.isfinite(best[:, 0, n - 1])).tolist():
        stack, rows = [(0, n - 1)], []
        while stack:
            start, end = stack.pop()
            if end - start >= 2:
                m = int(middle[polygon, start, end])
                rows.append(row[start, m, end])
                stack += [(start, m), (m, end)]
        chosen[polygon] = rows
    return chosen
