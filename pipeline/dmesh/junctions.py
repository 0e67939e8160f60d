"""Vertices on lines where three and more sheets meet, found from the samples, and faces that cross them.

Relaxation has put vertices onto the intersection of the planes of their cells. Around a vertex on such a
line, with direction t, the samples lie in half planes that end at t: seen along t they are rays. A crease has
two of them, a junction three or more, also where two of the sheets lie in one plane. A row of such vertices
is a junction line; single ones are chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Indices, Points

NEIGHBORS = 64
"""Samples around a vertex that are looked at."""
LEAST_BEND = 0.06
"""Second moment of the sample normals above which the planes around a vertex differ."""
STRAIGHT = 0.03
"""Largest moment of the sample normals along the line: more is a corner, or curved."""
RAY_WIDTH = np.radians(30.0)
"""Gap between directions that separates two sheets."""
RAY_SAMPLES = 4
"""Samples of a sheet, at least."""
LEAST_CHAIN = 8
"""Vertices of a junction line, at least."""
_EXTENSIONS = 3
"""Times that lines are continued over vertices on bends, which have too few samples on one sheet."""
_NEAR_AXIS = 0.25
"""Samples nearer to the line, in units of the neighbourhood's radius, show no direction."""


@dataclass(frozen=True)
class Junctions:
    """Junction lines of placed vertices."""

    mask: NDArray[np.bool_]
    """Vertices of the lines, shape (n,)."""
    links: NDArray[np.int64]
    """Pairs of vertices that follow each other on a line, shape (m, 2)."""

    @classmethod
    def none(cls, vertex_count: int) -> Junctions:
        return cls(np.zeros(vertex_count, dtype=bool), np.zeros((0, 2), dtype=np.int64))

    def crossed_by(self, points: Points, faces: Indices) -> NDArray[np.bool_]:
        """Mark faces with an edge that passes a line between two of its vertices, shape (f,)."""
        return _crossed(points, faces, self.mask, self.links)


def find_junctions(points: Points, samples: Points, planes: SamplePlanes, device: str = "cpu") -> Junctions:
    """Find the junction lines of placed vertices (3D)."""
    n = len(points)
    near, distance = nearest_neighbors(samples, min(NEIGHBORS, len(samples)), queries=points, device=device)
    normals = planes.normals[near]
    moment = np.einsum("nki,nkj->nij", normals, normals) / near.shape[1]
    value, vector = np.linalg.eigh(moment)
    line = vector[:, :, 0]
    radius = distance[:, -1]
    offset = samples[near] - points[:, None]
    # A vertex on the line lies on all of the planes.
    height = np.abs(np.einsum("nki,nki->nk", offset, normals))
    on_planes = np.quantile(height, 0.9, axis=1) < 0.1 * radius
    maybe = np.flatnonzero((value[:, 0] < STRAIGHT) & (value[:, 1] > LEAST_BEND) & on_planes)
    mask = np.zeros(n, dtype=bool)
    if not len(maybe):
        return Junctions.none(n)
    u, v = vector[maybe][:, :, 1], vector[maybe][:, :, 2]
    x = np.einsum("nki,ni->nk", offset[maybe], u)
    y = np.einsum("nki,ni->nk", offset[maybe], v)
    far = np.hypot(x, y) > _NEAR_AXIS * radius[maybe][:, None]
    mask[maybe] = _sheets(np.where(far, np.arctan2(y, x), np.nan)) >= 3
    links = _links(points, np.flatnonzero(mask), line)
    graph = coo_matrix((np.ones(len(links)), links.T), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    mask &= np.bincount(label)[label] >= LEAST_CHAIN
    bent = (value[:, 1] > LEAST_BEND) & (np.quantile(height, 0.7, axis=1) < 0.2 * radius)
    for _ in range(_EXTENSIONS):
        more = _along_lines(points, mask, bent, line)
        line[more[0]] = line[more[1]]
        mask[more[0]] = True
    links = _links(points, np.flatnonzero(mask), line)
    return Junctions(mask, links[mask[links].all(axis=1)])


def _sheets(angle: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the groups of at least `RAY_SAMPLES` directions that gaps of `RAY_WIDTH` separate, row by row."""
    count = np.zeros(len(angle), dtype=np.int64)
    for i, row in enumerate(angle):
        a = np.sort(row[np.isfinite(row)])
        if len(a) < 3 * RAY_SAMPLES:
            continue
        cut = np.flatnonzero(np.diff(a, append=a[0] + 2 * np.pi) > RAY_WIDTH)
        if len(cut) >= 3:
            size = np.diff(cut, append=cut[0] + len(a))
            count[i] = (size >= RAY_SAMPLES).sum()
    return count


def _nearest(tree: cKDTree, points: Points, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and rows of the k nearest points of a tree, or of all, shape (n, k)."""
    k = min(k, tree.n)
    distance, row = tree.query(points, k=k)
    return np.asarray(distance).reshape(-1, k), np.asarray(row, dtype=np.int64).reshape(-1, k)


def _links(points: Points, rows: NDArray[np.int64], line: Points) -> NDArray[np.int64]:
    """Join each junction vertex to the nearest one ahead and behind along its line: pairs of rows (m, 2)."""
    if len(rows) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    distance, near = _nearest(cKDTree(points[rows]), points[rows], 7)
    reach = 2.5 * np.median(distance[:, 1])
    pairs = []
    for sign in (1.0, -1.0):
        offset = points[rows][near] - points[rows][:, None]
        ahead = sign * np.einsum("nki,ni->nk", offset, line[rows])
        fits = (ahead > 0.8 * np.maximum(distance, 1e-300)) & (distance < reach)
        first = fits.argmax(axis=1)
        ok = np.flatnonzero(fits.any(axis=1))
        pairs.append(np.stack([rows[ok], rows[near[ok, first[ok]]]], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _along_lines(
    points: Points, mask: NDArray[np.bool_], bent: NDArray[np.bool_], line: Points
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find vertices on a bend that continue a line within two steps: them, and the line's vertex of each."""
    rows, other = np.flatnonzero(mask), np.flatnonzero(bent & ~mask)
    if len(rows) < 2 or not len(other):
        return other[:0], other[:0]
    tree = cKDTree(points[rows])
    reach = 2.0 * np.median(_nearest(tree, points[rows], 2)[0][:, 1])
    distance, near = _nearest(tree, points[other], 4)
    offset = points[other][:, None] - points[rows][near]
    along = np.abs(np.einsum("nki,nki->nk", offset, line[rows][near]))
    fits = (distance < reach) & (along > 0.985 * distance)
    ok = np.flatnonzero(fits.any(axis=1))
    return other[ok], rows[near[ok, fits[ok].argmax(axis=1)]]


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
