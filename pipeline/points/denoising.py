"""Noise level of surface samples from the data, and its removal by projection onto the best patch near each.

The variance that a plane fit of k neighbours leaves is sigma^2 plus a part of curvature. The neighbourhood
reaches as far as the root of k, so the deviation by curvature grows like k and two sizes tell them apart:

    r_k^2 = sigma^2 + (c k)^2        sigma^2 = (16 r_k^2 - r_4k^2) / 15

A thin slab is told from noise by the shape of the distribution (`two_sheets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors, neighbor_table
from pipeline.points.sheets import LARGEST_NOISE
from pipeline.points.two_sheets import shows_two_sheets
from pipeline.types import Points
from warp_kernels.sample_planes import best_patch, fit_planes

NOISY = 0.2
"""Noise in units of the sample spacing above which samples are denoised."""
_SCALES = (16, 64, 256)
"""Neighbours of the plane fits that are compared."""
_SHEET_NEIGHBORS = 64
"""Neighbours among which two sheets are looked for: those whose fits tell the noise."""
_PROBES = 2000
"""Samples at which the noise is estimated."""
_LARGEST_GROWTH = 2.0
"""Growth of the deviation from the first scale to the next above which it is shape, not noise."""
_SLAB = 0.4
"""Noise in units of the spacing above which the nearest 16 neighbours are a ball inside the noise."""
REACH = 4.5
"""Radius of the patches that samples are projected on, in units of the noise."""
_BENT = 0.35
"""Deviation of the shape from a patch, at most, in units of the noise."""
LEAST_PATCH, LARGEST_PATCH = 20, 256
"""Neighbours of a patch."""
_CANDIDATES = 0.6
"""Share of the neighbours whose patches a sample may take."""
_OWN_PATCH_BONUS = 0.03
"""Advantage of the sample's own patch in units of the noise."""
PASSES = 2


@dataclass(frozen=True)
class Noise:
    """Noise of samples of a surface."""

    deviation: float
    """Standard deviation of the distance from the surface; 0 where none can be told from shape."""
    spacing: float
    """Root of the area per sample."""
    bending: float = 0.0
    """Deviation of the shape from planes of radius R, divided by R^2, at the coarsest scale looked at."""

    def radius(self, multiple: float, share: float) -> float:
        """Return `multiple` times the noise, or less where the shape deviates from a plane of this radius by
        more than `share` times the noise.
        """
        limit = np.sqrt(share * self.deviation / max(self.bending, 1e-300))
        return float(min(multiple * self.deviation, limit))

    @property
    def is_small(self) -> bool:
        """Whether sheets that nearly touch can be told from noise."""
        return self.deviation < LARGEST_NOISE * self.spacing

    @property
    def is_large(self) -> bool:
        """Whether the samples have to be denoised before vertices are placed."""
        return self.deviation > NOISY * self.spacing


def estimate_noise(points: Points, rng: np.random.Generator, device: str = "cpu") -> Noise:
    """Estimate noise and spacing from plane fits at some samples.

    Medians are taken, so creases and borders do not matter as long as most samples are away from them. Curves
    (2D) and clouds of fewer than 1000 points count as free of noise.

    Args:
        points: Distinct samples, shape (n, d).
        rng: Chooses the samples.
    """
    n, d = points.shape
    if d == 2 or n < 1000:
        return Noise(0.0, 0.0)
    probe = rng.choice(n, min(_PROBES, n), replace=False)
    near, distance = nearest_neighbors(points, _SCALES[-1], queries=points[probe], device=device)
    variance = []
    for k in _SCALES:
        local = points[near[:, :k]]
        local = local - local.mean(axis=1, keepdims=True)
        least = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", local, local))[:, 0]
        variance.append(float(np.median(np.maximum(least, 0.0))) / (k - 3))
    spacing = float(np.median(distance[:, _SCALES[1] - 1])) * np.sqrt(np.pi / _SCALES[1])
    fine, coarse = ((16 * variance[i] - variance[i + 1]) / 15 for i in range(2))
    if fine <= 0 or variance[1] > _LARGEST_GROWTH**2 * variance[0]:
        return Noise(0.0, spacing)
    if shows_two_sheets(points, near[:, :_SHEET_NEIGHBORS]):
        return Noise(0.0, spacing)
    deviation = np.sqrt(fine)
    if deviation > _SLAB * spacing and coarse > fine:
        deviation = np.sqrt(coarse)
    # r_256^2 - r_64^2 = (15 / 16) of the squared deviation by shape at 256 neighbours.
    shape = np.sqrt(max(variance[2] - variance[1], 0.0) * 16 / 15)
    radius = float(np.median(distance[:, -1]))
    return Noise(float(deviation), spacing, float(shape / radius**2))


def denoise(points: Points, noise: Noise, device: str = "cpu") -> tuple[Points, Points, NDArray[np.float64]]:
    """Move samples onto the patches that explain them best; creases stay, as a patch lies on one side.

    Returns:
        Samples, the unit normals of their patches, both (n, 3), and the residuals of the patches, shape (n,).
    """
    reach = noise.radius(REACH, _BENT) / noise.spacing
    k = int(np.clip(np.pi * reach**2, LEAST_PATCH, min(LARGEST_PATCH, len(points) - 1)))
    for _ in range(PASSES):
        x: wp.array = wp.array(points, dtype=wp.vec3d, device=device)
        table: wp.array = wp.array(
            neighbor_table(points, k, device), dtype=wp.int32, device=device, copy=False
        )
        fitted, centers, residuals = fit_planes(x, table, k)
        bonus = _OWN_PATCH_BONUS * noise.deviation
        count = max(1, int(_CANDIDATES * k))
        patch = best_patch(x, table, count, fitted, centers, residuals, bonus).numpy()
        normal, center = fitted.numpy()[patch], centers.numpy()[patch]
        offset = np.einsum("ij,ij->i", points - center, normal)
        points = points - offset[:, None] * normal
    return np.ascontiguousarray(points), np.ascontiguousarray(normal), residuals.numpy()[patch]
