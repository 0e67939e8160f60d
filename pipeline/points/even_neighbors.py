"""Neighbours of samples that lie much denser along lines than across them, as scanners leave them. 3D.

The nearest samples then are those of the own line: their distance says nothing of how far apart the lines
are, and every gap between lines looks like an opening. Neighbours are taken from a subset instead, thinned
to the radius at which neighbourhoods are as wide as those of points without lines. The width is the second
eigenvalue of the covariance of a sample and its six nearest over the first: 0 on lines; its median is 0.37
for random points, 0.5 to 0.6 for thinned ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.thinning import thin_to_radius
from pipeline.types import Points

IN_LINES = 0.1
"""Median width of neighbourhoods below which samples lie in lines."""
EVEN = 0.5
"""Median width from which on a subset does not."""
_RING = 7
"""A sample and its six nearest."""
_GROWTH = 1.3
"""Growth of the radius from try to try."""
_MOST_TRIES = 12
"""Tries: lines up to 23 times as far apart as their samples."""
_PROBES = 1000
"""Samples whose neighbourhoods are looked at."""


def neighborhood_width(points: Points, device: str = "cpu") -> float:
    """Return the median width of neighbourhoods of points (n, 3)."""
    probe = np.random.default_rng(0).choice(len(points), min(_PROBES, len(points)), replace=False)
    near, _ = nearest_neighbors(points, _RING, queries=points[probe], device=device)
    local = points[near]
    local = local - local.mean(axis=1, keepdims=True)
    value = np.linalg.eigvalsh(np.einsum("pki,pkj->pij", local, local))
    return float(np.median(value[:, 1] / np.maximum(value[:, 2], 1e-300)))


def even_subset(points: Points, spacing: float, least: int, device: str = "cpu") -> NDArray[np.int64] | None:
    """Return rows of samples that do not lie in lines any more, ascending; None if all do not.

    Args:
        points: Samples, shape (n, 3).
        spacing: Distance of nearest samples, typically.
        least: Samples that have to be left; where there are fewer, lines are left alone.
    """
    if len(points) < least or neighborhood_width(points, device) >= IN_LINES:
        return None
    radius = spacing
    for _ in range(_MOST_TRIES):
        rows = thin_to_radius(points, radius, np.random.default_rng(0), device)
        if len(rows) < least:
            return None
        if neighborhood_width(points[rows], device) >= EVEN:
            return rows
        radius *= _GROWTH
    return None


def neighbors_among(
    points: Points, rows: NDArray[np.int64], k: int, device: str = "cpu"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the nearest k of the samples `rows` to every sample, itself left out.

    Returns:
        Indices into all samples and distances, both (n, k).
    """
    near, distance = nearest_neighbors(points[rows], k + 1, queries=points, device=device)
    table = rows[near].astype(np.int32)
    dropped = table == np.arange(len(points))[:, None]
    # Of a sample outside of the subset the farthest is too many.
    dropped[~dropped.any(axis=1), -1] = True
    return table[~dropped].reshape(-1, k), distance[~dropped].reshape(-1, k)
