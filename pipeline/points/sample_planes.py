"""Tangent planes of samples, sharp up to creases, with spacing and noise estimates. 2D and 3D."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.even_neighbors import even_subset, neighbors_among
from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sheets import are_layered, normals_by_sheet
from pipeline.types import Points
from warp_kernels.sample_planes import best_patch, fit_planes

FIT_NEIGHBORS = {2: 6, 3: 14}
"""Neighbours of a plane fit, by dimension: the least number whose plane is steady on random samples."""
PATCH_NEIGHBORS = {2: 8, 3: 20}
"""Neighbours whose planes a sample may take: reaches across the band that a crease spoils."""
OWN_PLANE_BONUS = 0.008
"""Advantage of the sample's own plane, in units of the spacing; keeps smooth parts from trading planes."""


@dataclass(frozen=True)
class SamplePlanes:
    """One oriented-or-not tangent plane per sample."""

    normals: Points
    """Unit normals, shape (n, d); sign arbitrary unless they were given."""
    residuals: NDArray[np.float64]
    """Root mean square distance of the fitted neighbours from the plane, shape (n,)."""
    spacing: NDArray[np.float64]
    """Mean distance to the 6 (2D: 2) nearest samples, across lines of samples where there are such, shape
    (n,)."""
    neighbors: NDArray[np.int32]
    """Nearest samples without the sample itself, shape (n, k), -1 where there are fewer; see `even_count`."""
    layered: bool = False
    """Whether sheets nearly touch, so that neighbours have to be told by sheet (`sheets.py`)."""
    even_count: int | None = None
    """Samples that neighbours were taken from, fewer than all where samples lie in lines; all if None."""

    @cached_property
    def typical_spacing(self) -> float:
        """Median of the spacing."""
        return float(np.median(self.spacing))

    @property
    def noise(self) -> float:
        """Median distance of neighbours from the planes: noise, and what curvature adds to it."""
        return float(np.median(self.residuals))


def planes_with_normals(
    points: Points, normals: Points, residuals: NDArray[np.float64], device: str = "cpu"
) -> SamplePlanes:
    """Join samples with normals that are known already, as denoising leaves them.

    What is left of the noise looks like sheets that nearly touch, so those are not told here.
    """
    d = points.shape[1]
    neighbors, distance = nearest_neighbors(points, min(PATCH_NEIGHBORS[d], len(points) - 1), device=device)
    spacing = distance[:, : _ring(d, neighbors.shape[1])].mean(axis=1)
    return SamplePlanes(normals, residuals, spacing, neighbors)


def _ring(dimension: int, available: int) -> int:
    return min(6 if dimension == 3 else 2, available)


def estimate_planes(
    points: Points, normals: Points | None = None, device: str = "cpu", sheets: bool = True
) -> SamplePlanes:
    """Fit a plane to every sample, then let each take the best plane among its neighbours'.

    Args:
        points: Distinct samples, shape (n, d), d = 2 or 3.
        normals: Normals to be used instead of the fitted ones, shape (n, d).
        device: Warp device of the fits.
        sheets: Whether to look for sheets that nearly touch; noise looks like them.
    """
    n, d = points.shape
    k = min(PATCH_NEIGHBORS[d], n - 1)
    neighbors, distance = nearest_neighbors(points, k, device=device)
    rows = even_subset(points, float(np.median(distance[:, 0])), 4 * k, device) if d == 3 else None
    if rows is not None:
        neighbors, distance = neighbors_among(points, rows, k, device)
    spacing = distance[:, : _ring(d, k)].mean(axis=1)
    vector = wp.vec2d if d == 2 else wp.vec3d
    x: wp.array = wp.array(points, dtype=vector, device=device)
    table: wp.array = wp.array(neighbors, dtype=wp.int32, device=device)
    fitted, centers, residuals = fit_planes(x, table, min(FIT_NEIGHBORS[d], k))
    bonus = OWN_PLANE_BONUS * float(np.median(spacing))
    patch = best_patch(x, table, k, fitted, centers, residuals, bonus).numpy()
    sharp = np.ascontiguousarray(fitted.numpy()[patch] if normals is None else normals)
    layered = sheets and d == 3 and are_layered(points, sharp, neighbors, device)
    if layered and normals is None:
        sharp = normals_by_sheet(points, sharp, neighbors, float(np.median(spacing)), device)
    return SamplePlanes(
        sharp, residuals.numpy()[patch], spacing, neighbors, layered, n if rows is None else len(rows)
    )
