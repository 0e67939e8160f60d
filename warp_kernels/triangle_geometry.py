"""Geometry of one triangle, for the kernels that change surfaces."""

from __future__ import annotations

import warp as wp


@wp.func
def aspect_ratio(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Longest edge times perimeter over 4 sqrt(3) area; 1 for a regular triangle."""
    e = wp.length(b - a)
    f = wp.length(c - b)
    g = wp.length(a - c)
    double_area = wp.length(wp.cross(b - a, c - a))
    return (
        wp.max(e, wp.max(f, g))
        * (e + f + g)
        / (wp.float64(3.4641016151377544) * double_area + wp.float64(1.0e-300))
    )
