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
        return edges.min(axis=1).astype(np.int64) * self.count + edges.max(axis=1)

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


def cheapest_triangulation(
    n: int, triangles: NDArray[np.int32], cost: NDArray[np.float64], forbidden: NDArray[np.integer]
) -> NDArray[np.int64] | None:
    """Choose the triangulation of a polygon with the least sum of costs.

    Args:
        n: Corners of the polygon.
        triangles: Rows of `polygon_triangles`.
        cost: Of each of them; inf: not to be used.
        forbidden: Chords (a, b) with a < b that may not be used, shape (m, 2).

    Returns:
        Rows of `triangles`, shape (n - 2,), or None where there is no triangulation.

    Source: Barequet & Sharir 1995 (the dynamic programme).
    """
    row = np.full((n, n, n), -1, dtype=np.int64)
    row[tuple(triangles.T)] = np.arange(len(triangles))
    table = np.full((n, n, n), np.inf)
    table[tuple(triangles.T)] = cost
    barred = np.zeros((n, n), dtype=bool)
    barred[forbidden[:, 0], forbidden[:, 1]] = True
    best = np.full((n, n), np.inf)
    best[np.arange(n - 1), np.arange(1, n)] = 0.0
    middle = np.zeros((n, n), dtype=np.int64)
    for span in range(2, n):
        for a in range(n - span):
            b = a + span
            if barred[a, b]:
                continue
            inner = np.arange(a + 1, b)
            total = best[a, inner] + best[inner, b] + table[a, inner, b]
            m = int(total.argmin())
            best[a, b], middle[a, b] = total[m], inner[m]
    if not np.isfinite(best[0, n - 1]):
        return None
    chosen, stack = [], [(0, n - 1)]
    while stack:
        a, b = stack.pop()
        if b - a >= 2:
            m = int(middle[a, b])
            chosen.append(row[a, m, b])
            stack += [(a, m), (m, b)]
    return np.array(chosen, dtype=np.int64)
