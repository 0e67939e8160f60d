"""Barrier contact of vertices with a sphere and with a static triangle mesh, in float64.

    energy of a vertex   pressure * area * d_hat * b(d / d_hat)      b: the barrier of `contact.py`
    gradient             pressure * area * b'(d / d_hat) n           n = grad d
    Hessian              pressure * area * (b'' / d_hat n n^T + b' D),   D = grad grad d

D is (I - n n^T) / r for a sphere (r to its centre); for a triangle 0 above its inside, (I - n n^T) / d beside
a corner, (I - n n^T - e e^T) / d beside an edge along e. b' <= 0 and D >= 0: the projected Hessian leaves D
out.

A vertex feels every triangle closer than d_hat, so that energy and gradient are continuous; the broad phase
is the tree of `wp.Mesh` with boxes widened by `margin` for its single precision, everything else is float64.
The step bound is the first crossing of the straight path of a vertex with a triangle or the sphere.

Source: Li et al. 2020, Incremental Potential Contact; Ericson 2005, Real-Time Collision Detection, 5.1.5;
Moeller, Trumbore 1997.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.contact import barrier, barrier_curvature, barrier_slope

wp.set_module_options({"enable_backward": False})


@wp.struct
class Obstacle:
    """A sphere, or a triangle mesh where `mesh` is not 0, and the layer around it in which it pushes."""

    mesh: wp.uint64
    corners: wp.array2d[wp.vec3d]
    """Corners of the triangles [m], shape (f, 3)."""
    margin: wp.float32
    """Rounding of the tree [m]."""
    center: wp.vec3d
    """[m]."""
    radius: wp.float64
    """[m]."""
    d_hat: wp.float64
    """Thickness of the layer [m]."""
    pressure: wp.float64
    """Scale of the barrier [Pa]."""
    is_projected: wp.bool
    """Leave the curvature of the distance out of the Hessian."""


@wp.struct
class Push:
    """What one vertex feels, per unit of area and pressure."""

    energy: wp.float64
    gradient: wp.vec3d
    hessian: wp.mat33d
    distance: wp.float64


@wp.func
def nearest_on_edge(p: wp.vec3d, a: wp.vec3d, b: wp.vec3d) -> wp.vec3d:
    e = b - a
    t = wp.clamp(wp.dot(p - a, e) / wp.dot(e, e), wp.float64(0.0), wp.float64(1.0))
    if t == wp.float64(1.0):
        return b  # exactly: a corner is told by equality
    return a + t * e


@wp.func
def nearest_on_triangle(p: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Return the nearest point and the number of directions in which the distance curves (0, 1 or 2)."""
    n = wp.cross(b - a, c - a)
    zero = wp.float64(0.0)
    is_over = (
        wp.dot(wp.cross(b - a, p - a), n) > zero
        and wp.dot(wp.cross(c - b, p - b), n) > zero
        and wp.dot(wp.cross(a - c, p - c), n) > zero
    )
    best = p - wp.dot(p - a, n) / wp.dot(n, n) * n
    edge = wp.vec3d()
    curved = int(0)
    if not is_over:
        q = nearest_on_edge(p, a, b)
        edge = b - a
        r = nearest_on_edge(p, b, c)
        if wp.length_sq(p - r) < wp.length_sq(p - q):
            q = r
            edge = c - b
        r = nearest_on_edge(p, c, a)
        if wp.length_sq(p - r) < wp.length_sq(p - q):
            q = r
            edge = a - c
        best = q
        curved = int(1)
        if wp.length_sq(q - a) == zero or wp.length_sq(q - b) == zero or wp.length_sq(q - c) == zero:
            curved = int(2)
    return best, edge, curved


@wp.func
def push_at(d: wp.float64, n: wp.vec3d, curvature: wp.mat33d, o: Obstacle, push: Push) -> Push:
    """Add the push at distance d along n to `push`."""
    y = d / o.d_hat
    push.energy = push.energy + o.d_hat * barrier(y)
    push.gradient = push.gradient + barrier_slope(y) * n
    push.hessian = push.hessian + barrier_curvature(y) / o.d_hat * wp.outer(n, n)
    if not o.is_projected:
        push.hessian = push.hessian + barrier_slope(y) * curvature
    push.distance = wp.min(push.distance, d)
    return push


@wp.func
def push_of(x: wp.vec3d, o: Obstacle) -> Push:
    push = Push()
    push.distance = wp.float64(wp.inf)
    eye = wp.identity(n=3, dtype=wp.float64)
    if o.mesh == wp.uint64(0):
        r = wp.length(x - o.center)
        n = (x - o.center) / r
        push = push_at(r - o.radius, n, (eye - wp.outer(n, n)) / r, o, push)
    else:
        reach = wp.float32(o.d_hat) + o.margin
        box = wp.vec3f(reach, reach, reach)
        centre = wp.vec3f(x)
        query = wp.mesh_query_aabb(o.mesh, centre - box, centre + box)
        face = wp.int32(0)
        while wp.mesh_query_aabb_next(query, face):
            q, e, curved = nearest_on_triangle(x, o.corners[face, 0], o.corners[face, 1], o.corners[face, 2])
            d = wp.length(x - q)
            if d < o.d_hat and d > wp.float64(0.0):
                n = (x - q) / d
                D = wp.mat33d()
                if curved > 0:
                    D = eye - wp.outer(n, n)
                if curved == 1:
                    D = D - wp.outer(e, e) / wp.dot(e, e)
                push = push_at(d, n, D / d, o, push)
            elif d == wp.float64(0.0):
                push.energy = wp.float64(wp.inf)
                push.distance = d
    return push


@wp.func
def crossing(x: wp.vec3d, dx: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> wp.float64:
    """Return the fraction of dx at which the path meets the triangle, widened by rounding; inf if never."""
    miss = wp.float64(wp.inf)
    h = wp.cross(dx, c - a)
    det = wp.dot(b - a, h)
    if det == wp.float64(0.0):
        return miss
    s = x - a
    u = wp.dot(s, h) / det
    q = wp.cross(s, b - a)
    v = wp.dot(dx, q) / det
    t = wp.dot(c - a, q) / det
    eps = wp.float64(1.0e-9)
    if u < -eps or v < -eps or u + v > wp.float64(1.0) + eps or t < wp.float64(0.0):
        return miss
    return t


@wp.kernel
def push_kernel(
    x: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    obstacle: Obstacle,
    energy: wp.array[wp.float64],
    gradient: wp.array[wp.vec3d],
    blocks: wp.array[wp.mat33d],
    distance: wp.array[wp.float64],
):
    p = wp.tid()
    push = Push()
    push.distance = wp.float64(wp.inf)
    if areas[p] > wp.float64(0.0):
        push = push_of(x[p], obstacle)
    scale = obstacle.pressure * areas[p]
    energy[p] = scale * push.energy
    gradient[p] = scale * push.gradient
    blocks[p] = scale * push.hessian
    distance[p] = push.distance


@wp.kernel
def step_bound_kernel(
    x: wp.array[wp.vec3d],
    dx: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    obstacle: Obstacle,
    bound: wp.array[wp.float64],
):
    p = wp.tid()
    if areas[p] == wp.float64(0.0):
        return
    if obstacle.mesh == wp.uint64(0):
        # |x - c + t dx|^2 = radius^2
        s = x[p] - obstacle.center
        a = wp.dot(dx[p], dx[p])
        b = wp.dot(s, dx[p])
        c = wp.dot(s, s) - obstacle.radius * obstacle.radius
        inside = b * b - a * c
        if b < wp.float64(0.0) and inside >= wp.float64(0.0):
            wp.atomic_min(bound, 0, c / (wp.sqrt(inside) - b))
    else:
        begin = wp.vec3f(x[p])
        end = wp.vec3f(x[p] + dx[p])
        margin = wp.vec3f(obstacle.margin, obstacle.margin, obstacle.margin)
        query = wp.mesh_query_aabb(obstacle.mesh, wp.min(begin, end) - margin, wp.max(begin, end) + margin)
        face = wp.int32(0)
        while wp.mesh_query_aabb_next(query, face):
            t = crossing(
                x[p], dx[p], obstacle.corners[face, 0], obstacle.corners[face, 1], obstacle.corners[face, 2]
            )
            wp.atomic_min(bound, 0, t)


def obstacle_push(
    x: wp.array,
    areas: wp.array,
    obstacle: Obstacle,
    energy: wp.array,
    gradient: wp.array,
    blocks: wp.array,
    distance: wp.array,
) -> None:
    """Evaluate what each vertex feels; all outputs are written.

    Args:
        x: Positions [m], vec3d of shape (n,).
        areas: Surface area of each vertex [m^2], shape (n,); zero for one that cannot touch.
        energy: [J], shape (n,); infinite inside.
        gradient: [N], vec3d of shape (n,).
        blocks: Diagonal Hessian blocks [N/m], mat33d of shape (n,).
        distance: [m], shape (n,); of a mesh inf beyond d_hat.
    """
    wp.launch(
        push_kernel, len(x), [x, areas, obstacle], [energy, gradient, blocks, distance], device=x.device
    )


def obstacle_step_bound(
    x: wp.array, dx: wp.array, areas: wp.array, obstacle: Obstacle, out: wp.array
) -> None:
    """Lower `out[0]` to the fraction of `dx` at which the first vertex would reach the obstacle."""
    wp.launch(step_bound_kernel, len(x), [x, dx, areas, obstacle], [out], device=x.device)
