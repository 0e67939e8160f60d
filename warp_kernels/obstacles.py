"""Barrier contact of vertices with a sphere, in float64.

    energy of a vertex   pressure * area * d_hat * b(d / d_hat)      b: the barrier of `contact.py`
    gradient             pressure * area * b'(d / d_hat) n           n = grad d
    Hessian              pressure * area * (b'' / d_hat n n^T + b' D),   D = grad grad d = (I - n n^T) / r

with r the distance to the centre. b' <= 0 and D >= 0: the projected Hessian leaves D out. The step bound is
where the straight path of a vertex first meets the sphere.

Source: Li et al. 2020, Incremental Potential Contact.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.contact import barrier, barrier_curvature, barrier_slope

wp.set_module_options({"enable_backward": False})


@wp.struct
class Sphere:
    """A solid sphere and the layer around it in which it pushes."""

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


@wp.kernel
def push_kernel(
    x: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    sphere: Sphere,
    energy: wp.array[wp.float64],
    gradient: wp.array[wp.vec3d],
    blocks: wp.array[wp.mat33d],
    distance: wp.array[wp.float64],
):
    p = wp.tid()
    energy[p] = wp.float64(0.0)
    gradient[p] = wp.vec3d()
    blocks[p] = wp.mat33d()
    distance[p] = wp.float64(wp.inf)
    if areas[p] > wp.float64(0.0):
        scale = sphere.pressure * areas[p]
        r = wp.length(x[p] - sphere.center)
        n = (x[p] - sphere.center) / r
        d = r - sphere.radius
        y = d / sphere.d_hat
        nn = wp.outer(n, n)
        block = barrier_curvature(y) / sphere.d_hat * nn
        if not sphere.is_projected:
            block = block + barrier_slope(y) / r * (wp.identity(n=3, dtype=wp.float64) - nn)
        energy[p] = scale * sphere.d_hat * barrier(y)
        gradient[p] = scale * barrier_slope(y) * n
        blocks[p] = scale * block
        distance[p] = d


@wp.kernel
def step_bound_kernel(
    x: wp.array[wp.vec3d],
    dx: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    sphere: Sphere,
    bound: wp.array[wp.float64],
):
    p = wp.tid()
    if areas[p] == wp.float64(0.0):
        return
    # |x - c + t dx|^2 = radius^2
    s = x[p] - sphere.center
    a = wp.dot(dx[p], dx[p])
    b = wp.dot(s, dx[p])
    c = wp.dot(s, s) - sphere.radius * sphere.radius
    inside = b * b - a * c
    if b < wp.float64(0.0) and inside >= wp.float64(0.0):
        wp.atomic_min(bound, 0, c / (wp.sqrt(inside) - b))


def sphere_push(
    x: wp.array,
    areas: wp.array,
    sphere: Sphere,
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
        distance: [m], shape (n,); inf for one that cannot touch.
    """
    wp.launch(push_kernel, len(x), [x, areas, sphere], [energy, gradient, blocks, distance], device=x.device)


def sphere_step_bound(x: wp.array, dx: wp.array, areas: wp.array, sphere: Sphere, out: wp.array) -> None:
    """Lower `out[0]` to the fraction of `dx` at which the first vertex would reach the sphere."""
    wp.launch(step_bound_kernel, len(x), [x, dx, areas, sphere], [out], device=x.device)
