"""Where to stand: a three-quarter view that frames points. Scenes are Z up; the front looks to -Y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A pinhole camera: position, axes (unit, right-handed: right x up = -forward) and focal length."""

    eye: Vector
    right: Vector
    up: Vector
    forward: Vector
    focal: float
    """Focal length as a multiple of the picture's height."""

    def project(self, points: NDArray, width: int, height: int) -> tuple[NDArray, NDArray]:
        """Return pixel coordinates (n, 2), x right and y down, and depths (n,) of 3D points."""
        q = np.asarray(points, dtype=np.float64) - self.eye
        z = q @ self.forward
        scale = self.focal * height / z
        x = 0.5 * width + scale * (q @ self.right)
        y = 0.5 * height - scale * (q @ self.up)
        return np.stack([x, y], axis=1), z


def three_quarter_view(
    points: NDArray,
    *,
    azimuth: float = 32.0,
    elevation: float = 17.0,
    field_of_view: float = 24.0,
    aspect: float = 4 / 3,
    margin: float = 0.06,
) -> View:
    """Frame all points, shape (n, 3), as tightly as the margin allows.

    Args:
        azimuth: Turn from the front (-Y) towards +X [degrees].
        elevation: Height over the horizon [degrees].
        field_of_view: Vertical opening [degrees].
        aspect: Width over height of the picture.
        margin: Share of the picture left free on every side.
    """
    p = np.asarray(points, dtype=np.float64)
    a, e = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    forward = -back
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    slope_y = np.tan(np.radians(field_of_view) / 2)
    target = 0.5 * (p.min(axis=0) + p.max(axis=0))
    # A point at offset (x, y) and depth z beyond the target is inside when distance >= |x| / slope - z.
    free_y, free_x = slope_y * (1 - 2 * margin), slope_y * aspect * (1 - 2 * margin)
    distance = 1.0
    for _ in range(6):
        q = p - target
        x, y, z = q @ right, q @ up, q @ forward
        distance = max((np.abs(x) / free_x - z).max(), (np.abs(y) / free_y - z).max())
        distance = max(distance, 1e-9 + 1.02 * float(-z.min()))
        u, v = x / (distance + z), y / (distance + z)
        shift = 0.5 * (u.min() + u.max()) * right + 0.5 * (v.min() + v.max()) * up
        target = target + distance * shift
    q = p - target
    x, y, z = q @ right, q @ up, q @ forward
    distance = max(
        (np.abs(x) / free_x - z).max(), (np.abs(y) / free_y - z).max(), 1.02 * float(-z.min()), 1e-9
    )
    return View(target + distance * back, right, up, forward, 0.5 / slope_y)
