"""Samples on the border of an open curve or surface, with the direction that leaves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.points.neighbors import to_device
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points
from warp_kernels.angular_gap import angular_gaps

GAP = np.radians(125.0)
"""Largest angle between neighbouring directions in the tangent plane that an inner sample may show."""
LINE_SAMPLES = 9
"""Border samples of a line fit."""
LEAST_CHAIN = 12
"""Border samples in a row below which they are chance gaps of the sampling, not a border."""


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


def find_border_samples(points: Points, planes: SamplePlanes, device: str = "cpu") -> BorderSamples:
    """Find the border of an open surface from the largest angular gap between neighbours in the tangent
    plane.

    A chain of fewer than `LEAST_CHAIN` border samples is dropped: random samples of a closed surface show
    such gaps here and there. Curves (2D) have none: their ends come out of the selection of segments.
    """
    n, d = points.shape
    if d == 2 or n < LINE_SAMPLES + 3:
        return BorderSamples.none(d)
    gaps, middles = angular_gaps(
        to_device(points, device),
        to_device(planes.normals, device),
        wp.array(planes.neighbors, dtype=wp.int32, device=device),
    )
    rows, middle = np.flatnonzero(gaps.numpy() > GAP), middles.numpy()
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


def _in_long_chains(points: Points, spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    if len(points) < LEAST_CHAIN:
        return np.zeros(len(points), dtype=bool)
    distance, near = map(np.asarray, cKDTree(points).query(points, k=6))
    linked = distance < 4 * spacing[:, None]
    i, s = np.nonzero(linked)
    graph = coo_matrix((np.ones(len(i)), (i, near[i, s])), shape=(len(points),) * 2)
    label = connected_components(graph, directed=False)[1]
    return np.bincount(label)[label] >= LEAST_CHAIN
