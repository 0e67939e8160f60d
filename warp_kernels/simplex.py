"""Faces, segments of the plane and triangles of space, as overloads on (vec2d, vec2i) and (vec3d, vec3i).

measure         |b - a|  or  |(b - a) x (c - a)| / 2
closest_weights barycentric weights of the point of a face that is nearest to x
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

SLIVER = wp.constant(wp.float64(1.0e-24))
"""A triangle with sin^2 of the angle at its first vertex below this has no ball: float64 cannot place it."""


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


@wp.func
def ball_offset(u: wp.vec2d, v: wp.vec2d):
    """Ball centre minus first vertex, and 1; or zero and 0 for a face without a ball."""
    if wp.dot(u, u) <= wp.float64(1.0e-300):
        return wp.vec2d(), int(0)
    return wp.float64(0.5) * u, int(1)


@wp.func
def ball_offset(u: wp.vec3d, v: wp.vec3d):
    n = wp.cross(u, v)
    nn = wp.dot(n, n)
    uu = wp.dot(u, u)
    vv = wp.dot(v, v)
    if nn <= SLIVER * uu * vv or nn <= wp.float64(1.0e-300):
        return wp.vec3d(), int(0)
    return (uu * wp.cross(v, n) + vv * wp.cross(n, u)) / (wp.float64(2.0) * nn), int(1)


@wp.func
def offset_adjoint(u: wp.vec2d, v: wp.vec2d, o: wp.vec2d, g: wp.vec2d):
    """Gradients with respect to u and v, given the gradient g with respect to o."""
    return wp.float64(0.5) * g, wp.vec2d()


@wp.func
def offset_adjoint(u: wp.vec3d, v: wp.vec3d, o: wp.vec3d, g: wp.vec3d):
    n = wp.cross(u, v)
    inv = wp.float64(1.0) / wp.dot(n, n)
    l_u = wp.dot(g, wp.cross(v, n)) * inv
    l_v = wp.dot(g, wp.cross(n, u)) * inv
    l_n = wp.dot(g, n) * inv
    return l_u * (u - o) - l_n * wp.cross(v, o), l_v * (v - o) - l_n * wp.cross(o, u)


@wp.func
def edges_of(points: wp.array[wp.vec2d], face: wp.vec2i):
    u = points[face[1]] - points[face[0]]
    return u, u


@wp.func
def edges_of(points: wp.array[wp.vec3d], face: wp.vec3i):
    a = points[face[0]]
    return points[face[1]] - a, points[face[2]] - a


@wp.func
def corner_values(values: wp.array[wp.float64], face: wp.vec2i):
    return wp.vec2d(values[face[0]], values[face[1]])


@wp.func
def corner_values(values: wp.array[wp.float64], face: wp.vec3i):
    return wp.vec3d(values[face[0]], values[face[1]], values[face[2]])


@wp.func
def mean_of(values: wp.array[wp.float64], face: wp.vec2i):
    return (values[face[0]] + values[face[1]]) * wp.float64(0.5)


@wp.func
def mean_of(values: wp.array[wp.float64], face: wp.vec3i):
    return (values[face[0]] + values[face[1]] + values[face[2]]) / wp.float64(3.0)


@wp.func
def add_to_corners(target: wp.array[wp.vec2d], face: wp.vec2i, first: wp.vec2d, u: wp.vec2d, v: wp.vec2d):
    wp.atomic_add(target, face[0], first)
    wp.atomic_add(target, face[1], u)


@wp.func
def add_to_corners(target: wp.array[wp.vec3d], face: wp.vec3i, first: wp.vec3d, u: wp.vec3d, v: wp.vec3d):
    wp.atomic_add(target, face[0], first)
    wp.atomic_add(target, face[1], u)
    wp.atomic_add(target, face[2], v)


@wp.func
def add_values(target: wp.array[wp.float64], face: wp.vec2i, value: wp.vec2d):
    wp.atomic_add(target, face[0], value[0])
    wp.atomic_add(target, face[1], value[1])


@wp.func
def add_values(target: wp.array[wp.float64], face: wp.vec3i, value: wp.vec3d):
    wp.atomic_add(target, face[0], value[0])
    wp.atomic_add(target, face[1], value[1])
    wp.atomic_add(target, face[2], value[2])
