"""Drawings of 2D shapes as SVG text: points and segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_MARKS = 20_000
"""More points than this are thinned evenly over their rows."""


def draw_plane(
    points: NDArray,
    segments: NDArray | None = None,
    *,
    size: tuple[int, int] = (640, 480),
    color: str = "currentColor",
    frame: tuple[NDArray, NDArray] | None = None,
) -> str:
    """Draw 2D points, or the segments between them, as one SVG element, y up.

    Args:
        points: Positions, shape (n, 2).
        segments: Vertex indices, shape (s, 2); None draws the points.
        size: Width and height of the view box.
        color: A CSS colour.
        frame: Lowest and highest corner that must be in the picture, shape (2,) each; None frames all points.
    """
    width, height = size
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    head = f'<svg viewBox="0 0 {width} {height}" role="img" fill="none" stroke-linecap="round">'
    if not len(points):
        return head + "</svg>"
    low, high = frame or (points.min(axis=0), points.max(axis=0))
    extent = np.maximum(np.asarray(high) - low, 1e-300)
    scale = 0.9 * float(np.min(np.array([width, height]) / extent))
    at = (points - 0.5 * (np.asarray(low) + high)) * [scale, -scale] + [0.5 * width, 0.5 * height]
    text = [f"{x:.2f} {y:.2f}" for x, y in at]
    if segments is None:
        step = -(-len(text) // MAX_MARKS)
        path = "".join(f"M{p}h0" for p in text[::step])
        return head + f'<path d="{path}" stroke="{color}" stroke-width="3"/></svg>'
    path = "".join(f"M{text[a]}L{text[b]}" for a, b in np.asarray(segments, dtype=np.int64).tolist())
    return head + f'<path d="{path}" stroke="{color}" stroke-width="2"/></svg>'
