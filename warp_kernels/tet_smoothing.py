"""Vertex smoothing: a damped Newton step per vertex over its star, and the check of all simultaneous moves.

A vertex minimises over its own displacement d, all others fixed,

    f(d) = sum over its tets of E(p + d) + 2 b . d + d^T A d

with the tet energy E of `tet_quality` and a quadratic pull (A, b) towards the surface, which is zero for
inner vertices. The step is -H^-1 grad f with the curvature H of `tet_quality`, limited to half the shortest
edge and shortened until f falls. What a vertex may do is its `freedom`: 0 fixed, 1 along `axis`, 2 across
`axis`, 3 free. Moves of all vertices together are checked per tet: no tet may turn over, and none may
become worse than the worst tet that touches it was.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.tet_geometry import others, six_volume
from warp_kernels.tet_quality import QualityParameters, tet_derivatives, tet_energy

wp.set_module_options({"enable_backward": False})

FIXED = 0
ALONG = 1
ACROSS = 2
FREE = 3

_TINY = wp.constant(wp.float64(1.0e-300))
_DAMPING = wp.constant(wp.float64(1.0e-6))
_SHRINK = wp.constant(wp.float64(0.4))
_DECREASE = wp.constant(wp.float64(1.0e-6))


@wp.kernel
def vertex_step_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    star_start: wp.array[int],
    star: wp.array[int],
    freedom: wp.array[int],
    axis: wp.array[wp.vec3d],
    pull: wp.array[wp.mat33d],
    pull_slope: wp.array[wp.vec3d],
    parameters: QualityParameters,
    floor: wp.float64,
    trials: int,
    step: wp.array[wp.vec3d],
):
    p = wp.tid()
    step[p] = wp.vec3d()
    free = freedom[p]
    first = star_start[p]
    last = star_start[p + 1]
    if free == FIXED or first == last:
        return
    A = pull[p]
    b = pull_slope[p]
    x = points[p]
    quality = wp.float64(0.0)
    g = wp.float64(2.0) * b
    H = wp.float64(2.0) * A
    shortest = wp.float64(1.0e300)
    for s in range(first, last):
        o = others(tets[star[s] // 4], star[s] % 4)
        p1 = points[o[0]]
        p2 = points[o[1]]
        p3 = points[o[2]]
        r = tet_derivatives(x, p1, p2, p3, parameters)
        quality += r.value
        g += r.gradient
        H += r.curvature
        shortest = wp.min(
            shortest, wp.min(wp.length_sq(p1 - x), wp.min(wp.length_sq(p2 - x), wp.length_sq(p3 - x)))
        )

    a = axis[p]
    trace = H[0, 0] + H[1, 1] + H[2, 2] + _TINY
    d = wp.vec3d()
    if free == ALONG:
        d = -(wp.dot(g, a) / (wp.dot(a, H * a) + _DAMPING * trace)) * a
    else:
        if free == ACROSS:
            # Curvature and gradient of the tangent plane; a unit of curvature along the axis keeps H regular.
            side = wp.identity(n=3, dtype=wp.float64) - wp.outer(a, a)
            g = side * g
            H = side * H * side + trace * wp.outer(a, a)
        H += _DAMPING * trace * wp.identity(n=3, dtype=wp.float64)
        d = -(wp.inverse(H) * g)
    slope = wp.dot(g, d)
    # Near inversion the curvature may be singular to rounding: fall back to the gradient.
    if not (slope < wp.float64(0.0)):
        d = -g / (wp.length(g) + _TINY) * wp.sqrt(shortest)
        if free == ALONG:
            d = wp.dot(d, a) * a
    length = wp.length(d)
    limit = wp.float64(0.5) * wp.sqrt(shortest)
    if length > limit:
        d = d * (limit / length)
    if not (length > wp.float64(0.0)):
        return

    for k in range(trials):
        y = x + d
        pulled = wp.dot(d, wp.float64(2.0) * b + A * d)
        f = wp.float64(0.0)
        allowed = quality * (wp.float64(1.0) - _DECREASE) - pulled
        # A pull may not buy a bad tet: the star stays under `floor`, or as good as it was.
        allowed = wp.min(allowed, wp.max(quality, floor))
        for s in range(first, last):
            if f <= allowed:
                o = others(tets[star[s] // 4], star[s] % 4)
                f += tet_energy(y, points[o[0]], points[o[1]], points[o[2]], parameters)
        if f <= allowed:
            step[p] = d
            return
        d = d * _SHRINK


@wp.kernel
def star_worst_kernel(
    star_start: wp.array[int],
    star: wp.array[int],
    tet_value: wp.array[wp.float64],
    worst: wp.array[wp.float64],
):
    p = wp.tid()
    w = wp.float64(0.0)
    for s in range(star_start[p], star_start[p + 1]):
        w = wp.max(w, tet_value[star[s] // 4])
    worst[p] = w


@wp.kernel
def check_moves_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    tet_value: wp.array[wp.float64],
    worst: wp.array[wp.float64],
    parameters: QualityParameters,
    moved_value: wp.array[wp.float64],
    rejected: wp.array[int],
):
    t = wp.tid()
    i = tets[t]
    p0 = points[i[0]]
    p1 = points[i[1]]
    p2 = points[i[2]]
    p3 = points[i[3]]
    value = tet_energy(p0, p1, p2, p3, parameters)
    moved_value[t] = value
    limit = wp.max(wp.max(worst[i[0]], worst[i[1]]), wp.max(worst[i[2]], worst[i[3]]))
    if not (six_volume(p0, p1, p2, p3) > wp.float64(0.0)) or (value > limit and value > tet_value[t]):
        # Every writer writes the same value, so the order does not matter.
        for k in range(4):
            rejected[i[k]] = 1


def vertex_steps(
    points: wp.array,
    tets: wp.array,
    star_start: wp.array,
    star: wp.array,
    freedom: wp.array,
    axis: wp.array,
    pull: wp.array,
    pull_slope: wp.array,
    parameters: Any,
    floor: float = 1e300,
    trials: int = 6,
    out: wp.array | None = None,
) -> wp.array:
    """Find the step of every vertex that lowers the energy of its own star, all others fixed.

    Args:
        points: Vertices, shape (n,), vec3d.
        tets: Vertex indices, shape (t,), vec4i.
        star_start, star: Stars as CSR, shapes (n + 1,) and (4 t,); an entry is 4 tet + corner.
        freedom, axis: What a vertex may do, shape (n,); `axis` are unit vectors.
        pull, pull_slope: Quadratic pull A and b per vertex, shape (n,), mat33d and vec3d.
        parameters: `QualityParameters`.
        floor: Energy of a star that a pull may raise it to.
        trials: Lengths tried.
        out: Steps, shape (n,), vec3d. Allocated if None.
    """
    if out is None:
        out = wp.empty(points.shape[0], dtype=wp.vec3d, device=points.device)
    inputs = [points, tets, star_start, star, freedom, axis, pull, pull_slope, parameters]
    wp.launch(
        vertex_step_kernel,
        dim=points.shape[0],
        inputs=[*inputs, floor, trials],
        outputs=[out],
        device=points.device,
    )
    return out


def star_worst(star_start: wp.array, star: wp.array, tet_value: wp.array) -> wp.array:
    """Return the largest energy among the tets of each vertex, shape (n,)."""
    count = star_start.shape[0] - 1
    out = wp.empty(count, dtype=wp.float64, device=star.device)
    wp.launch(
        star_worst_kernel, dim=count, inputs=[star_start, star, tet_value], outputs=[out], device=star.device
    )
    return out


def check_moves(
    points: wp.array, tets: wp.array, tet_value: wp.array, worst: wp.array, parameters: Any
) -> tuple[wp.array, wp.array]:
    """Evaluate moved points.

    Energy per tet, shape (t,), and 1 for vertices of tets that became unacceptable, (n,).
    """
    value = wp.empty(tets.shape[0], dtype=wp.float64, device=points.device)
    rejected = wp.zeros(points.shape[0], dtype=int, device=points.device)
    wp.launch(
        check_moves_kernel,
        dim=tets.shape[0],
        inputs=[points, tets, tet_value, worst, parameters],
        outputs=[value, rejected],
        device=points.device,
    )
    return value, rejected
