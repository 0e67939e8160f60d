"""Smoothed Coulomb friction with lagged normal forces: energy, gradient and Hessian per vertex, in float64.

    T = I - n n^T,   u = T (x - x_p),   y = |u|,   eps = slip speed * h
    energy     mu N f0(y)
    gradient   mu N f1(y) u / y
    Hessian    mu N (f1 / y T + (f1' - f1 / y) (u / y) (u / y)^T)

    f1(y) = 2 y/eps - (y/eps)^2  below eps, 1 above;   f0' = f1

n and N are normal and size of the contact force where the step begins. f1 / y and f1' are not negative: the
Hessian is semi-definite. Below the slip speed the force grows with the speed, so that a body at rest creeps.

Source: Li et al. 2020, Incremental Potential Contact, eq. 14 to 17.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class FrictionLaw:
    """What all vertices share in one step."""

    coefficient: wp.float64
    """mu."""
    slip: wp.float64
    """eps: displacement from which on a vertex slides [m]."""


@wp.func
def tangential(d: wp.vec3d, n: wp.vec3d) -> wp.vec3d:
    return d - wp.dot(n, d) * n


@wp.func
def slope_over_distance(y: wp.float64, slip: wp.float64) -> wp.float64:
    """Return f1(y) / y, finite at 0."""
    if y >= slip:
        return wp.float64(1.0) / y
    return (wp.float64(2.0) - y / slip) / slip


@wp.kernel
def lag_kernel(
    contact_gradient: wp.array[wp.vec3d],
    normal: wp.array[wp.vec3d],
    force: wp.array[wp.float64],
):
    p = wp.tid()
    size = wp.length(contact_gradient[p])
    force[p] = size
    normal[p] = wp.vec3d()
    if size > wp.float64(0.0):
        normal[p] = -contact_gradient[p] / size


@wp.kernel
def energy_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    normal: wp.array[wp.vec3d],
    force: wp.array[wp.float64],
    law: FrictionLaw,
    energy: wp.array[wp.float64],
):
    p = wp.tid()
    y = wp.length(tangential(x[p] - anchor[p], normal[p]))
    f = y
    if y < law.slip:
        third = wp.float64(1.0) / wp.float64(3.0)
        r = y / law.slip
        f = law.slip * (r * r - third * r * r * r + third)
    energy[p] = law.coefficient * force[p] * f


@wp.kernel
def gradient_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    normal: wp.array[wp.vec3d],
    force: wp.array[wp.float64],
    law: FrictionLaw,
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    u = tangential(x[p] - anchor[p], normal[p])
    out[p] += law.coefficient * force[p] * slope_over_distance(wp.length(u), law.slip) * u


@wp.kernel
def hessian_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    normal: wp.array[wp.vec3d],
    force: wp.array[wp.float64],
    law: FrictionLaw,
    blocks: wp.array[wp.mat33d],
):
    p = wp.tid()
    blocks[p] = wp.mat33d()
    if force[p] > wp.float64(0.0):
        n = normal[p]
        u = tangential(x[p] - anchor[p], n)
        y = wp.length(u)
        T = wp.identity(n=3, dtype=wp.float64) - wp.outer(n, n)
        K = slope_over_distance(y, law.slip) * T
        # f1' - f1 / y is -y / eps^2 below eps and -1 / y above; u u^T is divided by y^2.
        if y >= law.slip:
            K = K - wp.outer(u, u) / (y * y * y)
        elif y > wp.float64(0.0):
            K = K - wp.outer(u, u) / (y * law.slip * law.slip)
        blocks[p] = law.coefficient * force[p] * K


def lag_contact(contact_gradient: wp.array, normal: wp.array, force: wp.array) -> None:
    """Split contact gradients [N] into the normals they push along and their sizes, shape (n,) each."""
    wp.launch(lag_kernel, len(force), [contact_gradient], [normal, force], device=force.device)


def friction_energy(
    x: wp.array, anchor: wp.array, normal: wp.array, force: wp.array, law: FrictionLaw, out: wp.array
) -> None:
    """Evaluate the energy of each vertex [J], written to `out`, shape (n,).

    Args:
        x: Positions [m], vec3d of shape (n,).
        anchor: Positions from which the displacement counts [m], vec3d of shape (n,).
        normal: Unit normal of the contact, vec3d of shape (n,).
        force: Normal force [N], shape (n,).
    """
    wp.launch(energy_kernel, len(x), [x, anchor, normal, force, law], [out], device=x.device)


def friction_gradient(
    x: wp.array, anchor: wp.array, normal: wp.array, force: wp.array, law: FrictionLaw, out: wp.array
) -> None:
    """Add the gradient [N] to `out`, vec3d of shape (n,); arguments as `friction_energy`."""
    wp.launch(gradient_kernel, len(x), [x, anchor, normal, force, law], [out], device=x.device)


def friction_hessian(
    x: wp.array, anchor: wp.array, normal: wp.array, force: wp.array, law: FrictionLaw, out: wp.array
) -> None:
    """Evaluate the diagonal blocks [N/m], mat33d of shape (n,); arguments as `friction_energy`."""
    wp.launch(hessian_kernel, len(x), [x, anchor, normal, force, law], [out], device=x.device)
