"""Bring samples into a normal frame, check that they span a curve or a surface, and undo it at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.points.neighbors import morton_codes
from pipeline.types import PointCloud, Points

FLAT = 1e-9
"""Extent across a line or plane, relative to the longest extent, below which samples count as flat."""


@dataclass(frozen=True)
class Normalization:
    """x -> (x - center) / length: the bounding box is centred and its longest side is 1."""

    center: NDArray[np.float64]
    length: float

    def apply(self, points: Points) -> Points:
        return (points - self.center) / self.length

    def undo(self, points: Points) -> Points:
        return points * self.length + self.center


@dataclass(frozen=True)
class Samples:
    """Distinct samples in the normal frame, along a space-filling curve: what is near is near in memory."""

    points: Points
    normals: Points | None
    normalization: Normalization
    duplicates: int
    """How many input points were exact copies of another one."""


def normalize_samples(cloud: PointCloud) -> Samples:
    """Merge exact duplicates, move the samples into the normal frame and order them along a Morton curve.

    A merged sample keeps the normal of its first copy. The order of the input does not matter otherwise.

    Raises:
        InputError: Fewer than 4 distinct points (3 in 2D), or all of them on one line (2D: as well) or plane.
    """
    d = cloud.dimension
    points, first = _distinct(cloud.points)
    total = len(cloud.points)
    need = d + 1
    if len(points) == 1 and total > 1:
        raise InputError(
            f"point cloud: all {total:,} points are equal; "
            "check that the file holds coordinates in its first columns"
        )
    if len(points) < need:
        raise InputError(
            f"point cloud: {len(points)} distinct points of {total:,}, at least {need} are needed in {d}D "
            "(and some thousand for a useful surface); sample the shape more densely"
        )
    low, high = points.min(axis=0), points.max(axis=0)
    length = float((high - low).max())
    normalization = Normalization(center=(low + high) / 2, length=length)
    unit = normalization.apply(points)
    extents = np.linalg.svd(_moments(unit), compute_uv=False)
    if extents[1] < FLAT * extents[0]:
        raise InputError(
            f"point cloud: all {len(points):,} points lie on one straight line; "
            "a curve or surface cannot be found in it. Check the columns and units of the file"
        )
    if d == 3 and extents[2] < FLAT * extents[0]:
        raise InputError(
            f"point cloud: all {len(points):,} points lie in one plane; a flat sheet encloses nothing. "
            "Drop the constant coordinate and give the points as 2D, or scan the other sides too"
        )
    order = np.argsort(morton_codes(unit + 0.5), kind="stable")
    unit = np.ascontiguousarray(unit[order])
    normals = None if cloud.normals is None else cloud.normals[first[order]]
    return Samples(unit, normals, normalization, total - len(points))


def _distinct(points: Points) -> tuple[Points, NDArray[np.int64]]:
    """Return the distinct rows in the order of their coordinates, and the first input row of each."""
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    new = np.ones(len(points), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    # lexsort is stable, so the first of a run of equal rows is the first in the input.
    return np.ascontiguousarray(ordered[new]), order[new]


def _moments(points: Points) -> NDArray[np.float64]:
    """Return R of a QR factorisation of the centred points: its singular values are their extents."""
    r: NDArray[np.float64] = np.asarray(np.linalg.qr(points - points.mean(axis=0), mode="r"))
    return r
