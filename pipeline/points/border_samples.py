"""Samples on the border of an open curve or surface, with the direction that leaves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points

GAP = np.radians(125.0)
"""Largest angle between neighbouring directions in the tangent plane that an inner sample may show."""
LINE_SAMPLES = 9
"""Border samples of a line fit."""
LEAST_CHAIN = 12
"""Border samples in a row below which they are chance gaps of the sampling, not a border."""
_CHUNK = 1 << 17


@dataclass(frozen=True)
class BorderSamples:
    """Border samples of a point cloud."""

    index: NDArray[np.int64]
    """Sample rows, shape (b,)."""
    conormals: Points
    """Unit tangent vectors that leave the surface across its border, shape (b, d)."""

    @classmethod
    def none(cls, dimension: int) -> BorderSamples:
        return cls(np.zeros(0, dtype=np.int64), np.zeros((0, dimension)))


def find_border_samples(points: Points, planes: SamplePlanes) -> BorderSamples:
    """Find the border of an open surface from the largest angular gap between neighbours in the tangent
    plane.

    A chain of fewer than `LEAST_CHAIN` border samples is dropped: random samples of a closed surface show
    such gaps here and there. Curves (2D) have none: their ends come out of the selection of segments.
    """
    n, d = points.shape
    if d == 2 or n < LINE_SAMPLES + 3:
        return BorderSamples.none(d)
    gap, middle = _largest_gap(points, planes)
    rows = np.flatnonzero(gap > GAP)
    if len(rows) < LEAST_CHAIN:
        return BorderSamples.none(d)
    tree = cKDTree(points[rows])
    distance, near = map(np.asarray, tree.query(points[rows], k=min(LINE_SAMPLES, len(rows))))
    reach = planes.spacing[rows]
    weight = (distance < 5 * reach[:, None]).astype(float)[..., None]
    neighbors = points[rows][near]
    center = (neighbors * weight).sum(axis=1) / weight.sum(axis=1)
    offset = (neighbors - center[:, None]) * weight
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", offset, offset))
    conormal = np.cross(vectors[:, :, 2], planes.normals[rows])
    conormal /= np.maximum(np.linalg.norm(conormal, axis=1), 1e-12)[:, None]
    along = np.einsum("ij,ij->i", conormal, middle[rows])
    conormal *= np.sign(along)[:, None]
    ok = (np.abs(along) > 0.7) & (distance[:, 2] < 3.5 * reach)
    rows, conormal = rows[ok], conormal[ok]
    keep = _in_long_chains(points[rows], planes.spacing[rows])
    return BorderSamples(rows[keep], conormal[keep])


def _largest_gap(points: Points, planes: SamplePlanes) -> tuple[NDArray[np.float64], Points]:
    """Return the largest angular gap [rad] of each sample and the tangent direction in its middle."""
    n = len(points)
    gap, middle = np.empty(n), np.empty((n, 3))
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        normal = planes.normals[part]
        axis = np.where(np.abs(normal[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
        u = np.cross(normal, axis)
        u /= np.linalg.norm(u, axis=1)[:, None]
        v = np.cross(normal, u)
        table = planes.neighbors[part]
        offset = points[table] - points[part][:, None]
        angle = np.arctan2(np.einsum("nki,ni->nk", offset, v), np.einsum("nki,ni->nk", offset, u))
        angle[table < 0] = angle[:, :1].repeat(table.shape[1], axis=1)[table < 0]
        angle.sort(axis=1)
        gaps = np.diff(angle, axis=1, append=angle[:, :1] + 2 * np.pi)
        widest = gaps.argmax(axis=1)
        row = np.arange(len(widest))
        gap[part] = gaps[row, widest]
        turn = angle[row, widest] + gap[part] / 2
        middle[part] = np.cos(turn)[:, None] * u + np.sin(turn)[:, None] * v
    return gap, middle


def _in_long_chains(points: Points, spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    if len(points) < LEAST_CHAIN:
        return np.zeros(len(points), dtype=bool)
    distance, near = map(np.asarray, cKDTree(points).query(points, k=6))
    linked = distance < 4 * spacing[:, None]
    i, s = np.nonzero(linked)
    graph = coo_matrix((np.ones(len(i)), (i, near[i, s])), shape=(len(points),) * 2)
    label = connected_components(graph, directed=False)[1]
    return np.bincount(label)[label] >= LEAST_CHAIN
