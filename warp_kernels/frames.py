"""Directions across a normal."""

from __future__ import annotations

import warp as wp


@wp.func
def tangent(n: wp.vec3d):
    """A unit vector across a unit normal."""
    axis = wp.vec3d(wp.float64(0.0), wp.float64(1.0), wp.float64(0.0))
    if wp.abs(n[0]) < wp.float64(0.6):
        axis = wp.vec3d(wp.float64(1.0), wp.float64(0.0), wp.float64(0.0))
    return wp.normalize(wp.cross(n, axis))


@wp.func
def tangents(n: wp.vec3d):
    """Two unit vectors at right angles to a unit normal and to each other."""
    a = tangent(n)
    return a, wp.cross(n, a)
