"""Vertices and edges on lines where three and more sheets meet, and faces that cross them.

The lines come from the samples (`points.feature_lines`). Their corners and points at the vertex spacing along
them become the first vertices; they do not move, and other vertices stay clear of the lines, so that every
link between two of them has a nearly empty minimum ball and faces on each sheet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.points.feature_lines import FeatureLines
from pipeline.types import Indices, Points

CLEARANCE = 0.6
"""Distance of other vertices from a line, at least, in units of the vertex spacing."""


@dataclass(frozen=True)
class Junctions:
    """Junction lines of placed vertices."""

    count: int
    """Vertices on the lines: the first ones of all."""
    links: NDArray[np.int64]
    """Pairs of vertices that follow each other on a line, shape (m, 2): these edges may have any number of
    faces."""

    @classmethod
    def none(cls) -> Junctions:
        return cls(0, np.zeros((0, 2), dtype=np.int64))

    @classmethod
    def of_links(cls, links: NDArray[np.int64] | None) -> Junctions:
        """Return the junctions that have these links, as a checkpoint keeps them."""
        return cls.none() if links is None else cls(int(links.max(initial=-1)) + 1, links)

    def crossed_by(self, points: Points, faces: Indices) -> NDArray[np.bool_]:
        """Mark faces with an edge that passes a line between two of its vertices, shape (f,)."""
        return _crossed(points, faces, np.arange(len(points)) < self.count, self.links)

    def clear(self, points: Points, spacing: float, clearance: float = CLEARANCE) -> NDArray[np.bool_]:
        """Mark the vertices of the lines, and others that keep their distance, shape (n,).

        Args:
            points: All vertices, those of the lines first, shape (n, 3).
            spacing: Distance between vertices.
        """
        keep = np.ones(len(points), dtype=bool)
        if len(self.links):
            t = np.linspace(0, 1, 9)[:, None, None]
            a, b = points[self.links[:, 0]], points[self.links[:, 1]]
            distance, _ = cKDTree((a * (1 - t) + b * t).reshape(-1, 3)).query(points[self.count :])
            keep[self.count :] = distance > clearance * spacing
        return keep


def lay_vertices(lines: FeatureLines, spacing: float) -> tuple[Points, Junctions]:
    """Put vertices on lines about `spacing` apart; ends that lines have in common become one vertex."""
    points: list[Points] = []
    links: list[NDArray[np.int64]] = []
    corner: dict[bytes, int] = {}
    count = 0
    for line in lines.lines:
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        closed = line[0].tobytes() == line[-1].tobytes()
        steps = max(3 if closed else 1, round(arc[-1] / spacing))
        at = np.linspace(0, arc[-1], steps + 1)
        x = np.stack([np.interp(at, arc, line[:, k]) for k in range(3)], axis=1)
        rows = np.empty(steps + 1, dtype=np.int64)
        for end, place in ((0, line[0]), (steps, line[-1])):
            key = place.tobytes()
            if key not in corner:
                corner[key] = count
                points.append(place[None])
                count += 1
            rows[end] = corner[key]
        rows[1:-1] = count + np.arange(steps - 1)
        points.append(x[1:-1])
        count += steps - 1
        links.append(np.stack([rows[:-1], rows[1:]], axis=1))
    if not links:
        return np.zeros((0, 3)), Junctions.none()
    pairs = np.unique(np.sort(np.concatenate(links), axis=1), axis=0)
    return np.concatenate(points), Junctions(count, pairs)


def _nearest(tree: cKDTree, points: Points, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and rows of the k nearest points of a tree, or of all, shape (n, k)."""
    k = min(k, tree.n)
    distance, row = tree.query(points, k=k)
    return np.asarray(distance).reshape(-1, k), np.asarray(row, dtype=np.int64).reshape(-1, k)


def _crossed(
    points: Points, faces: Indices, junction: NDArray[np.bool_], links: NDArray[np.int64]
) -> NDArray[np.bool_]:
    crossed = np.zeros(len(faces), dtype=bool)
    if not len(links):
        return crossed
    a, b = points[links[:, 0]], points[links[:, 1]]
    tree = cKDTree((a + b) / 2)
    half = np.linalg.norm(b - a, axis=1).max() / 2
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = points[faces[:, i]], points[faces[:, j]]
        open_ = np.flatnonzero(~junction[faces[:, i]] & ~junction[faces[:, j]])
        middle, length = (p + q)[open_] / 2, np.linalg.norm((q - p)[open_], axis=1)
        distance, near = _nearest(tree, middle, 4)
        s, k = np.nonzero(distance < half + length[:, None])
        gap, inside = _segment_gap(p[open_[s]], q[open_[s]], a[near[s, k]], b[near[s, k]])
        crossed[open_[s[inside & (gap < 0.2 * length[s])]]] = True
    return crossed


def _segment_gap(p: Points, q: Points, a: Points, b: Points) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the distance of the lines p q and a b, and whether their nearest points lie inside both."""
    d, e, r = q - p, b - a, p - a
    dd, ee, de = (np.einsum("ij,ij->i", *pair) for pair in ((d, d), (e, e), (d, e)))
    dr, er = np.einsum("ij,ij->i", d, r), np.einsum("ij,ij->i", e, r)
    det = np.maximum(dd * ee - de**2, 1e-300)
    s, t = (de * er - ee * dr) / det, (dd * er - de * dr) / det
    gap = np.linalg.norm(r + s[:, None] * d - t[:, None] * e, axis=1)
    slanted = det > 0.1 * dd * ee
    return gap, slanted & (s > 0.05) & (s < 0.95) & (t > -0.02) & (t < 1.02)
