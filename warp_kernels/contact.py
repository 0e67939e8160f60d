"""Barrier contact with a half space: energy, gradient, Hessian and the step that stays outside, in float64.

    d = n . x - offset,   y = d / d_hat
    energy of a vertex   pressure * area * d_hat * b(y),    b(y) = -(y - 1)^2 ln y  for 0 < y < 1, else 0
    force on it          -pressure * area * b'(y) n

b has two continuous derivatives at y = 1 and grows without bound at y = 0, so that a body that starts outside
and takes steps below `step_bound` never touches the plane. `pressure` [Pa] sets how close a load comes: y is
about pressure * area / force for a heavy load. b'' is positive on (0, 1): no projection is needed.

Source: Li et al. 2020, Incremental Potential Contact, eq. 6 (here scaled to an energy per area).
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class Plane:
    """A half space that a body may not enter, and the layer in which it pushes."""

    normal: wp.vec3d
    """Unit vector out of the half space."""
    offset: wp.float64
    """normal . x of the points of the plane [m]."""
    d_hat: wp.float64
    """Thickness of the layer [m]."""
    pressure: wp.float64
    """Scale of the barrier [Pa]."""


@wp.func
def distance(x: wp.vec3d, plane: Plane) -> wp.float64:
    return wp.dot(plane.normal, x) - plane.offset


@wp.func
def barrier(y: wp.float64) -> wp.float64:
    one = wp.float64(1.0)
    if y >= one:
        return wp.float64(0.0)
    if y <= wp.float64(0.0):
        return wp.float64(wp.inf)
    return -(y - one) * (y - one) * wp.log(y)


@wp.func
def barrier_slope(y: wp.float64) -> wp.float64:
    one = wp.float64(1.0)
    if y >= one:
        return wp.float64(0.0)
    return -wp.float64(2.0) * (y - one) * wp.log(y) - (y - one) * (y - one) / y


@wp.func
def barrier_curvature(y: wp.float64) -> wp.float64:
    one = wp.float64(1.0)
    if y >= one:
        return wp.float64(0.0)
    r = (y - one) / y
    return -wp.float64(2.0) * wp.log(y) - wp.float64(4.0) * r + r * r


@wp.kernel
def energy_kernel(
    x: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    plane: Plane,
    energy: wp.array[wp.float64],
):
    p = wp.tid()
    energy[p] = wp.float64(0.0)
    if areas[p] > wp.float64(0.0):
        y = distance(x[p], plane) / plane.d_hat
        energy[p] = plane.pressure * areas[p] * plane.d_hat * barrier(y)


@wp.kernel
def gradient_kernel(
    x: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    plane: Plane,
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    if areas[p] > wp.float64(0.0):
        y = distance(x[p], plane) / plane.d_hat
        out[p] += plane.pressure * areas[p] * barrier_slope(y) * plane.normal


@wp.kernel
def hessian_kernel(
    x: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    plane: Plane,
    blocks: wp.array[wp.mat33d],
):
    p = wp.tid()
    blocks[p] = wp.mat33d()
    if areas[p] > wp.float64(0.0):
        y = distance(x[p], plane) / plane.d_hat
        stiffness = plane.pressure * areas[p] / plane.d_hat * barrier_curvature(y)
        blocks[p] = stiffness * wp.outer(plane.normal, plane.normal)


@wp.kernel
def step_bound_kernel(
    x: wp.array[wp.vec3d],
    dx: wp.array[wp.vec3d],
    areas: wp.array[wp.float64],
    plane: Plane,
    bound: wp.array[wp.float64],
):
    p = wp.tid()
    approach = -wp.dot(plane.normal, dx[p])
    if areas[p] > wp.float64(0.0) and approach > wp.float64(0.0):
        wp.atomic_min(bound, 0, distance(x[p], plane) / approach)


def contact_energy(x: wp.array, areas: wp.array, plane: Plane, out: wp.array) -> None:
    """Evaluate the barrier energy of each vertex [J]; infinite on or behind the plane.

    Args:
        x: Positions [m], vec3d of shape (n,).
        areas: Surface area of each vertex [m^2], shape (n,); zero for one that cannot touch.
        out: Written, shape (n,).
    """
    wp.launch(energy_kernel, len(x), [x, areas, plane], [out], device=x.device)


def contact_gradient(x: wp.array, areas: wp.array, plane: Plane, out: wp.array) -> None:
    """Add the gradient of the barrier energy [N] to `out`, vec3d of shape (n,)."""
    wp.launch(gradient_kernel, len(x), [x, areas, plane], [out], device=x.device)


def contact_hessian(x: wp.array, areas: wp.array, plane: Plane, out: wp.array) -> None:
    """Evaluate the diagonal Hessian block of each vertex [N/m], mat33d of shape (n,)."""
    wp.launch(hessian_kernel, len(x), [x, areas, plane], [out], device=x.device)


def contact_step_bound(x: wp.array, dx: wp.array, areas: wp.array, plane: Plane, out: wp.array) -> None:
    """Lower `out[0]` to the fraction of `dx` at which the first vertex would reach the plane."""
    wp.launch(step_bound_kernel, len(x), [x, dx, areas, plane], [out], device=x.device)
