"""Whether points sample a surface or a curve at all, rather than filling a volume. 2D and 3D.

The covariance of the k nearest points has eigenvalues l_0 <= l_1 (<= l_2). On a surface l_0 / l_1 falls with
the size of the neighbourhood down to noise and bending; in a volume, on a solid or along a thick string it
stays near 1 at every size. Noise larger than the spacing looks like a volume in small neighbourhoods, so the
flattest of three sizes counts.
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import StageError
from pipeline.points.neighbors import nearest_neighbors
from pipeline.types import Points

_SIZES = (16, 64, 256)
"""Points of the neighbourhoods; the largest is also the largest patch that denoising projects onto."""
_PROBES = 1000
"""Points whose neighbourhoods are looked at."""
ROUND = 0.4
"""Median of l_0 / l_1 above which neighbourhoods are no surface. Uniform points in a volume show 0.53 at 16
points, a sphere with noise of a tenth of its radius 0.46, a pleated garment with noise as large as the
distance of its layers 0.3."""


def roundness(points: Points, rng: np.random.Generator, device: str = "cpu") -> float:
    """Return the median of l_0 / l_1 at the flattest of three neighbourhood sizes; 0 for too few points."""
    n = len(points)
    probe = rng.choice(n, min(_PROBES, n), replace=False)
    sizes = [k for k in _SIZES if 3 * k <= n]
    if not sizes:
        return 0.0
    near, _ = nearest_neighbors(points, sizes[-1], queries=points[probe], device=device)
    ratios = []
    for k in sizes:
        local = points[near[:, :k]]
        local = local - local.mean(axis=1, keepdims=True)
        value = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", local, local))
        ratios.append(float(np.median(value[:, 0] / np.maximum(value[:, 1], 1e-300))))
    return min(ratios)


def require_surface(points: Points, rng: np.random.Generator, device: str = "cpu") -> None:
    """Refuse points that fill a volume.

    Raises:
        StageError: The neighbourhoods are as thick as they are wide, at every size.
    """
    if roundness(points, rng, device) > ROUND:
        raise StageError(
            f"reconstruct: the {len(points):,} points do not lie on a surface: neighbourhoods of "
            f"{_SIZES[0]} to {_SIZES[-1]} points are as thick as they are wide. They fill a volume, or their "
            "noise exceeds their spacing too far. Give points of the surface alone, remove outliers, or "
            "average the scans before"
        )
