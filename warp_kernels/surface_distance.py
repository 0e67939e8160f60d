"""Distances between a vertex and a triangle and between two edges, with what their derivatives need, float64.

The nearest points of two primitives with the corners x_0 .. x_3 are joined by

    r = sum_i c_i x_i,   d = |r|        vertex 0, triangle 1 2 3:  c = (1, -(1 - p - q), -p, -q)
                                        edges 0 1 and 2 3:         c = (1 - p, p, -(1 - q), -q)

where p and q minimise |r|. Parameters at the end of their range are held there; f of them are free (2 inside,
1 beside an edge, 0 between two points), and c^k = dc / d(parameter k). With phi = |r|^2 / 2, by the envelope
theorem,

    dphi/dx_i         = c_i r
    d2phi/dx_i dx_j   = c_i c_j I - sum_kl (c_i e_k + c^k_i r) (M^-1)_kl (c_j e_l + c^l_j r)^T
    e_k = sum_i c^k_i x_i,   M_kl = e_k . e_l

for every case alike: r is linear in x and in each parameter.

Source: Li et al. 2020, Incremental Potential Contact, section 3 and eq. 24 (mollifier); Ericson 2005,
Real-Time Collision Detection, 5.1, for the cases. The form of the second derivative is derived here.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

CORNERS = wp.types.matrix(shape=(4, 3), dtype=wp.float64)
"""Positions of the four corners of a pair [m]."""

_ZERO = wp.constant(wp.float64(0.0))
_ONE = wp.constant(wp.float64(1.0))


@wp.struct
class Nearest:
    """How the nearest points of two primitives hang on their corners."""

    c: wp.vec4d
    """Weights of the corners in r."""
    c_p: wp.vec4d
    """Derivative of c by the first free parameter."""
    c_q: wp.vec4d
    """Derivative of c by the second free parameter."""
    free: wp.int32
    """Number of free parameters."""
    r: wp.vec3d
    """From the second primitive to the first [m]."""


@wp.func
def weighted(c: wp.vec4d, x: CORNERS) -> wp.vec3d:
    """Return sum_i c_i x_i for weights that add up to zero: free of the size of the positions."""
    return c[1] * (x[1] - x[0]) + c[2] * (x[2] - x[0]) + c[3] * (x[3] - x[0])


@wp.func
def parameter_on_edge(p: wp.vec3d, a: wp.vec3d, b: wp.vec3d) -> wp.float64:
    """Return where the point of a b nearest to p lies, 0 at a and 1 at b."""
    e = b - a
    size = wp.dot(e, e)
    t = _ZERO
    if size > _ZERO:
        t = wp.clamp(wp.dot(p - a, e) / size, _ZERO, _ONE)
    return t


@wp.func
def with_one_parameter(t: wp.float64, c: wp.vec4d, slope: wp.vec4d, x: CORNERS) -> Nearest:
    """Return the case of one parameter t, held where it is 0 or 1."""
    found = Nearest()
    found.c = c
    found.r = weighted(c, x)
    if t > _ZERO and t < _ONE:
        found.c_p = slope
        found.free = 1
    return found


@wp.func
def nearer(a: Nearest, b: Nearest) -> Nearest:
    found = a
    if wp.length_sq(b.r) < wp.length_sq(a.r):
        found = b
    return found


@wp.func
def vertex_face(x: CORNERS) -> Nearest:
    """Return the nearest points of vertex x_0 and triangle x_1 x_2 x_3."""
    u = x[2] - x[1]
    v = x[3] - x[1]
    w = x[0] - x[1]
    n = wp.cross(u, v)
    size = wp.dot(n, n)
    if size > _ZERO:
        p = wp.dot(wp.cross(w, v), n) / size
        q = wp.dot(wp.cross(u, w), n) / size
        if p > _ZERO and q > _ZERO and p + q < _ONE:
            found = Nearest()
            found.c = wp.vec4d(_ONE, p + q - _ONE, -p, -q)
            found.c_p = wp.vec4d(_ZERO, _ONE, -_ONE, _ZERO)
            found.c_q = wp.vec4d(_ZERO, _ONE, _ZERO, -_ONE)
            found.free = 2
            found.r = weighted(found.c, x)
            return found
    t = parameter_on_edge(x[0], x[1], x[2])
    c = wp.vec4d(_ONE, t - _ONE, -t, _ZERO)
    best = with_one_parameter(t, c, wp.vec4d(_ZERO, _ONE, -_ONE, _ZERO), x)
    t = parameter_on_edge(x[0], x[2], x[3])
    c = wp.vec4d(_ONE, _ZERO, t - _ONE, -t)
    best = nearer(best, with_one_parameter(t, c, wp.vec4d(_ZERO, _ZERO, _ONE, -_ONE), x))
    t = parameter_on_edge(x[0], x[3], x[1])
    c = wp.vec4d(_ONE, -t, _ZERO, t - _ONE)
    return nearer(best, with_one_parameter(t, c, wp.vec4d(_ZERO, -_ONE, _ZERO, _ONE), x))


@wp.func
def edge_edge(x: CORNERS) -> Nearest:
    """Return the nearest points of edges x_0 x_1 and x_2 x_3."""
    t = parameter_on_edge(x[0], x[2], x[3])
    slope = wp.vec4d(_ZERO, _ZERO, _ONE, -_ONE)
    best = with_one_parameter(t, wp.vec4d(_ONE, _ZERO, t - _ONE, -t), slope, x)
    t = parameter_on_edge(x[1], x[2], x[3])
    best = nearer(best, with_one_parameter(t, wp.vec4d(_ZERO, _ONE, t - _ONE, -t), slope, x))
    t = parameter_on_edge(x[2], x[0], x[1])
    slope = wp.vec4d(-_ONE, _ONE, _ZERO, _ZERO)
    best = nearer(best, with_one_parameter(t, wp.vec4d(_ONE - t, t, -_ONE, _ZERO), slope, x))
    t = parameter_on_edge(x[3], x[0], x[1])
    best = nearer(best, with_one_parameter(t, wp.vec4d(_ONE - t, t, _ZERO, -_ONE), slope, x))
    u = x[1] - x[0]
    v = x[3] - x[2]
    w = x[2] - x[0]
    n = wp.cross(u, v)
    size = wp.dot(n, n)
    if size > _ZERO:
        p = wp.dot(wp.cross(w, v), n) / size
        q = wp.dot(wp.cross(w, u), n) / size
        if p > _ZERO and p < _ONE and q > _ZERO and q < _ONE:
            found = Nearest()
            found.c = wp.vec4d(_ONE - p, p, q - _ONE, -q)
            found.c_p = slope
            found.c_q = wp.vec4d(_ZERO, _ZERO, _ONE, -_ONE)
            found.free = 2
            found.r = weighted(found.c, x)
            # Nearly parallel edges: rounding of p and q may make an end the better choice.
            best = nearer(best, found)
    return best


@wp.func
def nearest(is_edges: wp.bool, x: CORNERS) -> Nearest:
    """Return the nearest points of two edges, or of a vertex and a triangle."""
    if is_edges:
        return edge_edge(x)
    return vertex_face(x)


@wp.func
def curvature_block(near: Nearest, i: int, j: int, x: CORNERS) -> wp.mat33d:
    """Return d2phi/dx_i dx_j."""
    block = near.c[i] * near.c[j] * wp.identity(n=3, dtype=wp.float64)
    if near.free > 0:
        e_p = weighted(near.c_p, x)
        a_i = near.c[i] * e_p + near.c_p[i] * near.r
        a_j = near.c[j] * e_p + near.c_p[j] * near.r
        m_pp = wp.dot(e_p, e_p)
        if near.free == 1:
            block = block - wp.outer(a_i, a_j) / m_pp
        else:
            e_q = weighted(near.c_q, x)
            b_i = near.c[i] * e_q + near.c_q[i] * near.r
            b_j = near.c[j] * e_q + near.c_q[j] * near.r
            m_pq = wp.dot(e_p, e_q)
            m_qq = wp.dot(e_q, e_q)
            n = wp.cross(e_p, e_q)
            det = wp.dot(n, n)
            block = (
                block
                - (m_qq / det) * wp.outer(a_i, a_j)
                - (m_pp / det) * wp.outer(b_i, b_j)
                + (m_pq / det) * (wp.outer(a_i, b_j) + wp.outer(b_i, a_j))
            )
    return block


@wp.func
def parallelism(x: CORNERS) -> wp.float64:
    """Return s = |(x_1 - x_0) x (x_3 - x_2)|^2, zero for parallel edges."""
    n = wp.cross(x[1] - x[0], x[3] - x[2])
    return wp.dot(n, n)


@wp.func
def mollifier(s: wp.float64, threshold: wp.float64) -> wp.float64:
    """Return m(s) = (2 - s / threshold) s / threshold, 1 from the threshold on or where that is zero."""
    if s >= threshold:
        return _ONE
    y = s / threshold
    return (wp.float64(2.0) - y) * y


@wp.func
def mollifier_slope(s: wp.float64, threshold: wp.float64) -> wp.float64:
    """Return dm/ds."""
    if s >= threshold:
        return _ZERO
    return wp.float64(2.0) * (_ONE - s / threshold) / threshold


@wp.func
def mollifier_curvature(s: wp.float64, threshold: wp.float64) -> wp.float64:
    """Return d2m/ds2."""
    if s >= threshold:
        return _ZERO
    return -wp.float64(2.0) / (threshold * threshold)


@wp.func
def parallelism_gradient(i: int, x: CORNERS) -> wp.vec3d:
    """Return ds/dx_i."""
    u = x[1] - x[0]
    v = x[3] - x[2]
    two = wp.float64(2.0)
    g = two * (wp.dot(v, v) * u - wp.dot(u, v) * v)
    if i > 1:
        g = two * (wp.dot(u, u) * v - wp.dot(u, v) * u)
    if i == 0 or i == 2:
        g = -g
    return g


@wp.func
def parallelism_curvature(i: int, j: int, is_projected: wp.bool, x: CORNERS) -> wp.mat33d:
    """Return d2s/dx_i dx_j, or the semi-definite part 2 (dn/dx_i)^T dn/dx_j with s = |n|^2."""
    u = x[1] - x[0]
    v = x[3] - x[2]
    two = wp.float64(2.0)
    eye = wp.identity(n=3, dtype=wp.float64)
    block = wp.mat33d()
    if i < 2 and j < 2:
        block = wp.dot(v, v) * eye - wp.outer(v, v)
    elif i > 1 and j > 1:
        block = wp.dot(u, u) * eye - wp.outer(u, u)
    else:
        # (u, v): the part of dn^T dn is u v^T - (u . v) I, the rest u v^T - v u^T.
        block = wp.outer(u, v) - wp.dot(u, v) * eye
        if not is_projected:
            block = block + wp.outer(u, v) - wp.outer(v, u)
        if i > 1:
            block = wp.transpose(block)
    sign = two
    if (i == 0 or i == 2) != (j == 0 or j == 2):
        sign = -two
    return sign * block
