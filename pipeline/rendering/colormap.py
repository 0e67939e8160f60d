"""Colours: sRGB to linear light and back, and the quality scale that pictures and report share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REGULAR_DIHEDRAL = float(np.degrees(np.arccos(1.0 / 3.0)))
"""Dihedral angle of the regular tetrahedron, 70.53 degrees: the best minimum there is."""

QUALITY_STOPS: tuple[tuple[float, str], ...] = (
    (0.0, "#8c1127"),
    (0.10, "#d7402f"),
    (0.22, "#f4944b"),
    (0.38, "#f7d98b"),
    (0.56, "#a3d5c3"),
    (0.76, "#4a9dbf"),
    (1.0, "#2b4d8f"),
)
"""Bad to good, position in [0, 1] and sRGB; red to blue over pale yellow suits all common colour vision."""


def hex_to_rgb(text: str) -> tuple[float, float, float]:
    """Return sRGB in [0, 1] of a colour like "#8c1127"."""
    r, g, b = (int(text[k : k + 2], 16) / 255.0 for k in (1, 3, 5))
    return r, g, b


def to_linear(srgb: NDArray | tuple[float, ...]) -> NDArray[np.float64]:
    """Convert sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    c = np.asarray(srgb, dtype=np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((np.maximum(c, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray) -> NDArray[np.float64]:
    """Convert linear light to sRGB values, clipped to [0, 1]."""
    c = np.clip(np.asarray(linear, dtype=np.float64), 0.0, 1.0)
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 0.0031308) ** (1.0 / 2.4) - 0.055)


def quality_colors(values: NDArray, low: float = 0.0, high: float = REGULAR_DIHEDRAL) -> NDArray[np.float64]:
    """Map values to the quality scale; returns sRGB in [0, 1], shape (n, 3). Values outside are clamped."""
    t = np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    at = [position for position, _ in QUALITY_STOPS]
    stops = np.array([hex_to_rgb(color) for _, color in QUALITY_STOPS])
    return np.stack([np.interp(t, at, stops[:, k]) for k in range(3)], axis=1)
