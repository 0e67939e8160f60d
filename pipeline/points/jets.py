"""The smooth surface behind few samples: a quadratic fit to each (`warp_kernels/jets.py`), their blend.

Flat faces between samples deviate from a surface of curvature c by about c s^2 / 12 (s: distance of the
vertices); the blend of quadratic fits follows it one order further, and stops at creases, whose two sides
have different normals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors, to_device
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points
from warp_kernels.jets import JetRule, blend_jets, fit_jets

FIT_WIDTH, BLEND_WIDTH = 1.5, 0.75
"""Width of the weights of neighbours in a fit, and of jets in a blend, in units of the spacing."""
LEAST_COSINE, LEAST_BLEND_COSINE = 0.5, 0.6
"""Cosine between normals at which a neighbour, or a jet, has no say any more."""
BAND = 0.1
"""Distance from the fit, in units of the spacing, at which a neighbour counts little."""
SLOPE_RIDGE, BEND_RIDGE = 1e-3, 5e-3
"""Pull of the coefficients to 0 relative to one sample: decides where samples are too few."""
BLENDED = 6
"""Nearest samples whose jets are blended."""
LARGEST_SPREAD = 0.1
"""Scatter of the jets at a place, in units of the spacing, above which they do not tell where the surface
is."""
_TURNS = 2
"""Fits, each in the frame of the normals of the one before."""


def _rule(width: float, cosine: float) -> JetRule:
    rule = JetRule()
    rule.width, rule.cosine, rule.band = wp.float64(width), wp.float64(cosine), wp.float64(BAND)
    rule.slope_ridge, rule.bend_ridge = wp.float64(SLOPE_RIDGE), wp.float64(BEND_RIDGE)
    return rule


@dataclass(frozen=True)
class Blend:
    """Places moved onto the smooth surface."""

    points: Points
    """Positions, shape (q, 3)."""
    normals: Points
    """Unit normals, on the side of the directions given, shape (q, 3)."""
    nearest: NDArray[np.int64]
    """Nearest sample, shape (q,)."""
    is_known: NDArray[np.bool_]
    """Whether the jets agree on the place, shape (q,)."""


class SmoothSurface:
    """Jets of all samples.

    Args:
        samples: Positions, shape (n, 3).
        planes: Their planes and neighbours.
        device: Warp device.
    """

    def __init__(self, samples: Points, planes: SamplePlanes, device: str = "cpu") -> None:
        self.samples, self.planes, self.device = samples, planes, device
        self._points = to_device(samples, device)
        self._spacing: wp.array = wp.array(planes.spacing, dtype=wp.float64, device=device)
        table: wp.array = wp.array(planes.neighbors, dtype=wp.int32, device=device)
        tilted = to_device(planes.normals, device)
        for _ in range(_TURNS):
            self._normals = tilted
            tilted, self._jets = fit_jets(
                self._points, self._normals, self._spacing, table, _rule(FIT_WIDTH, LEAST_COSINE)
            )
        self.normals: Points = np.ascontiguousarray(tilted.numpy())
        """Unit normals of the jets at the samples, shape (n, 3)."""

    def nearest_to(self, places: Points, directions: Points) -> Blend:
        """Move places (q, 3) with unit normals (q, 3) onto the blend of the jets that face their way."""
        near, _ = nearest_neighbors(
            self.samples, min(BLENDED, len(self.samples)), queries=places, device=self.device
        )
        moved, normals, spread = blend_jets(
            to_device(places, self.device),
            to_device(directions, self.device),
            self._points,
            self._normals,
            self._spacing,
            self._jets,
            wp.array(near, dtype=wp.int32, device=self.device),
            _rule(BLEND_WIDTH, LEAST_BLEND_COSINE),
        )
        toward = normals.numpy()
        known = spread.numpy() < LARGEST_SPREAD * self.planes.spacing[near[:, 0]]
        known &= np.einsum("ij,ij->i", toward, directions) > LEAST_BLEND_COSINE
        return Blend(moved.numpy(), toward, near[:, 0].astype(np.int64), known)
