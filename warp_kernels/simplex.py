"""Faces, segments of the plane and triangles of space, as overloads on (vec2d, vec2i) and (vec3d, vec3i).

measure         |b - a|  or  |(b - a) x (c - a)| / 2
closest_weights barycentric weights of the point of a face that is nearest to x
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def corner(face: wp.vec2i, i: int):
    """Vertex i of a face, -1 where it has none."""
    if i == 2:
        return int(-1)
    return face[i]


@wp.func
def corner(face: wp.vec3i, i: int):
    return face[i]


@wp.func
def sorted_face(points: wp.array[wp.vec2d], i: int, a: int, b: int):
    """Face with ascending vertices; `points` chooses the dimension, and a segment ignores b."""
    return wp.vec2i(wp.min(i, a), wp.max(i, a))


@wp.func
def sorted_face(points: wp.array[wp.vec3d], i: int, a: int, b: int):
    low = wp.min(i, wp.min(a, b))
    high = wp.max(i, wp.max(a, b))
    return wp.vec3i(low, i + a + b - low - high, high)


@wp.func
def at_weights(points: wp.array[wp.vec2d], face: wp.vec2i, w: wp.vec3d):
    """Point of a face with barycentric weights w; a segment uses the first two."""
    return w[0] * points[face[0]] + w[1] * points[face[1]]


@wp.func
def at_weights(points: wp.array[wp.vec3d], face: wp.vec3i, w: wp.vec3d):
    return w[0] * points[face[0]] + w[1] * points[face[1]] + w[2] * points[face[2]]


@wp.func
def measure(points: wp.array[wp.vec2d], face: wp.vec2i):
    return wp.length(points[face[1]] - points[face[0]])


@wp.func
def measure(points: wp.array[wp.vec3d], face: wp.vec3i):
    a = points[face[0]]
    return wp.float64(0.5) * wp.length(wp.cross(points[face[1]] - a, points[face[2]] - a))


@wp.func
def closest_weights(points: wp.array[wp.vec2d], face: wp.vec2i, x: wp.vec2d):
    a = points[face[0]]
    u = points[face[1]] - a
    uu = wp.dot(u, u)
    t = wp.float64(0.0)
    if uu > wp.float64(0.0):
        t = wp.clamp(wp.dot(x - a, u) / uu, wp.float64(0.0), wp.float64(1.0))
    return wp.vec3d(wp.float64(1.0) - t, t, wp.float64(0.0))


@wp.func
def segment_parameter(num: wp.float64, rest: wp.float64):
    """num / (num + rest), 0 for a segment without length."""
    t = wp.float64(0.0)
    if num + rest > wp.float64(0.0):
        t = num / (num + rest)
    return t


@wp.func
def closest_weights(points: wp.array[wp.vec3d], face: wp.vec3i, x: wp.vec3d):
    """Voronoi regions of a triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    a = points[face[0]]
    b = points[face[1]]
    c = points[face[2]]
    u = b - a
    v = c - a
    d1 = wp.dot(u, x - a)
    d2 = wp.dot(v, x - a)
    if d1 <= zero and d2 <= zero:
        return wp.vec3d(one, zero, zero)
    d3 = wp.dot(u, x - b)
    d4 = wp.dot(v, x - b)
    if d3 >= zero and d4 <= d3:
        return wp.vec3d(zero, one, zero)
    vc = d1 * d4 - d3 * d2
    if vc <= zero and d1 >= zero and d3 <= zero:
        t = segment_parameter(d1, -d3)
        return wp.vec3d(one - t, t, zero)
    d5 = wp.dot(u, x - c)
    d6 = wp.dot(v, x - c)
    if d6 >= zero and d5 <= d6:
        return wp.vec3d(zero, zero, one)
    vb = d5 * d2 - d1 * d6
    if vb <= zero and d2 >= zero and d6 <= zero:
        t = segment_parameter(d2, -d6)
        return wp.vec3d(one - t, zero, t)
    va = d3 * d6 - d5 * d4
    if va <= zero and d4 - d3 >= zero and d5 - d6 >= zero:
        t = segment_parameter(d4 - d3, d5 - d6)
        return wp.vec3d(zero, one - t, t)
    total = va + vb + vc
    if total <= zero:
        return wp.vec3d(one, zero, zero)
    return wp.vec3d(va, vb, vc) / total
