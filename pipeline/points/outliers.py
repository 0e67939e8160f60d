"""Points that belong to no surface: far from the rest, or thinly strewn through space. 3D.

A point is lonely when its spacing (mean distance of its 6 nearest points) is many times that of the points
around it: they are each other's neighbours, and it is nobody's. Outliers that are each other's neighbours
are sparser than the rest, and fill a volume: the covariance of their neighbours is not flat. What is left is
looked at again, until nothing more is found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors
from pipeline.types import Points

LONELY = 4.0
"""Spacing in units of that of the points around, above which a point is lonely: a jump of the density of a
scan by a factor of 10 makes it 3.2."""
SPARSE = 3.0
"""Spacing in units of the typical one, above which points that fill a volume are outliers."""
ROUND = 0.25
"""Least over second eigenvalue of the covariance of 12 neighbours, above which they fill a volume."""
LARGEST_SHARE = 0.1
"""Share of outliers above which none is removed: then they are what the cloud consists of."""
_NEIGHBORS = 12
_RING = 6
_ROUNDS = 6


def find_outliers(points: Points, device: str = "cpu") -> NDArray[np.bool_]:
    """Mark points that belong to no surface.

    Args:
        points: Distinct samples, shape (n, 3).

    Returns:
        Mask, shape (n,); none of them where they were more than `LARGEST_SHARE`.
    """
    outlier = np.zeros(len(points), dtype=bool)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(~outlier)
        if len(rows) <= _NEIGHBORS:
            break
        found = rows[_outliers_once(points[rows], device)]
        outlier[found] = True
        if not len(found):
            break
        if outlier.mean() > LARGEST_SHARE:
            return np.zeros(len(points), dtype=bool)
    return outlier


def _outliers_once(points: Points, device: str) -> NDArray[np.bool_]:
    near, distance = nearest_neighbors(points, _NEIGHBORS, device=device)
    spacing = distance[:, :_RING].mean(axis=1)
    sparse = np.flatnonzero(spacing > SPARSE * np.median(spacing))
    found = np.zeros(len(points), dtype=bool)
    if len(sparse):
        around = np.median(spacing[near[sparse]], axis=1)
        offset = points[near[sparse]] - points[near[sparse]].mean(axis=1, keepdims=True)
        value = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", offset, offset))
        found[sparse] = (spacing[sparse] > LONELY * around) | (value[:, 0] > ROUND * value[:, 1])
    return found
