"""Points of the differentiable mesh on a device: positions, real values, scale and gradients."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.neighbors import to_device


class PointFeatures:
    """Device arrays of n points in 2D or 3D.

    Attributes:
        points: Positions, shape (n,) of vec2d or vec3d.
        real_values: psi in [0, 1], shape (n,).
        scale: Length per point to which signed distances are compared, shape (n,); not differentiated.
        points_gradient, real_gradient: Gradients of a loss, accumulated into.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        real_values: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | float = 1.0,
        device: str = "cpu",
    ) -> None:
        """Copy points (n, d), real values (n,), ones if None, and scale (n,) or one number to the device."""
        n = len(points)
        real = np.ones(n) if real_values is None else np.asarray(real_values, dtype=np.float64)
        length = np.broadcast_to(np.asarray(scale, dtype=np.float64), (n,))
        self.points = to_device(np.ascontiguousarray(points, dtype=np.float64), device)
        self.real_values: wp.array = wp.array(real, dtype=wp.float64, device=device)
        self.scale: wp.array = wp.array(np.ascontiguousarray(length), dtype=wp.float64, device=device)
        self.points_gradient = wp.zeros_like(self.points)
        self.real_gradient = wp.zeros_like(self.real_values)

    @property
    def count(self) -> int:
        return self.points.shape[0]

    @property
    def dimension(self) -> int:
        return 2 if self.points.dtype is wp.vec2d else 3

    @property
    def device(self) -> str:
        return str(self.points.device)

    def zero_gradient(self) -> None:
        self.points_gradient.zero_()
        self.real_gradient.zero_()
