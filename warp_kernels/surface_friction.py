"""Smoothed Coulomb friction between pairs of surface primitives with lagged contact, in float64.

    N = -w p m b'(d / h),   n = r / d,   c        of the begin of the step (`surface_contact.py`)
    u = (I - n n^T) sum_i c_i (x_i - x_p,i)       what the nearest points slide over each other
    energy     mu N f0(|u|)
    gradient   c_i mu N f1 u / |u|
    Hessian    c_i c_j mu N (f1 / y T + (f1' - f1 / y) (u / y) (u / y)^T),   y = |u|,   T = I - n n^T

with f0, f1 of `friction.py`. Static points do not move: their x - x_p is zero.

Source: Li et al. 2020, Incremental Potential Contact, section 5.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.contact import barrier_slope
from warp_kernels.friction import FrictionLaw, slope_over_distance, tangential
from warp_kernels.surface_candidates import Candidates, corner_positions
from warp_kernels.surface_distance import mollifier, nearest, parallelism

wp.set_module_options({"enable_backward": False})


@wp.struct
class LaggedPairs:
    """Contacts of the begin of a step."""

    corners: wp.array[wp.vec4i]
    weights: wp.array[wp.vec4d]
    """c."""
    normal: wp.array[wp.vec3d]
    force: wp.array[wp.float64]
    """N [N]."""


@wp.kernel
def lag_kernel(
    x: wp.array[wp.vec3d],
    pairs: Candidates,
    pressure: wp.float64,
    weights: wp.array[wp.vec4d],
    normal: wp.array[wp.vec3d],
    force: wp.array[wp.float64],
):
    k = wp.tid()
    at = corner_positions(pairs.corners[k], x)
    near = nearest(pairs.is_edges[k], at)
    d = wp.length(near.r)
    h = pairs.thickness[k]
    force[k] = wp.float64(0.0)
    if d < h and d > wp.float64(0.0):
        m = wp.float64(1.0)
        if pairs.is_edges[k]:
            m = mollifier(parallelism(at), pairs.threshold[k])
        force[k] = -pairs.weight[k] * pressure * m * barrier_slope(d / h)
        weights[k] = near.c
        normal[k] = near.r / d


@wp.func
def slip_of(a: int, x: wp.array[wp.vec3d], anchor: wp.array[wp.vec3d], pairs: LaggedPairs) -> wp.vec3d:
    four = pairs.corners[a]
    c = pairs.weights[a]
    u = wp.vec3d()
    for i in range(4):
        u = u + c[i] * (x[four[i]] - anchor[four[i]])
    return tangential(u, pairs.normal[a])


@wp.kernel
def energy_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    pairs: LaggedPairs,
    law: FrictionLaw,
    energy: wp.array[wp.float64],
):
    a = wp.tid()
    y = wp.length(slip_of(a, x, anchor, pairs))
    f = y
    if y < law.slip:
        third = wp.float64(1.0) / wp.float64(3.0)
        q = y / law.slip
        f = law.slip * (q * q - third * q * q * q + third)
    energy[a] = law.coefficient * pairs.force[a] * f


@wp.kernel
def gradient_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    pairs: LaggedPairs,
    law: FrictionLaw,
    out: wp.array[wp.vec3d],
):
    a = wp.tid()
    u = slip_of(a, x, anchor, pairs)
    pull = law.coefficient * pairs.force[a] * slope_over_distance(wp.length(u), law.slip) * u
    for i in range(4):
        wp.atomic_add(out, pairs.corners[a][i], pairs.weights[a][i] * pull)


@wp.kernel
def hessian_kernel(
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    pairs: LaggedPairs,
    law: FrictionLaw,
    slot: wp.array2d[wp.int32],
    blocks: wp.array[wp.mat33d],
):
    a = wp.tid()
    n = pairs.normal[a]
    u = slip_of(a, x, anchor, pairs)
    y = wp.length(u)
    K = slope_over_distance(y, law.slip) * (wp.identity(n=3, dtype=wp.float64) - wp.outer(n, n))
    if y >= law.slip:
        K = K - wp.outer(u, u) / (y * y * y)
    elif y > wp.float64(0.0):
        K = K - wp.outer(u, u) / (y * law.slip * law.slip)
    K = law.coefficient * pairs.force[a] * K
    c = pairs.weights[a]
    for i in range(4):
        for j in range(4):
            target = slot[a, 4 * i + j]
            if target >= 0:
                blocks[target] = c[i] * c[j] * K


def lag_pairs(
    x: wp.array, pairs: Candidates, pressure: float, weights: wp.array, normal: wp.array, force: wp.array
) -> None:
    """Write the weights of the corners, the normal and the force [N] of each pair; force 0 where none."""
    wp.launch(lag_kernel, len(force), [x, pairs, pressure], [weights, normal, force], device=x.device)


def pair_friction_energy(
    x: wp.array, anchor: wp.array, pairs: LaggedPairs, law: FrictionLaw, out: wp.array
) -> None:
    """Evaluate the energy of each pair [J], written to `out`, shape (a,).

    Args:
        x: Positions [m], vec3d of shape (n,).
        anchor: Positions from which the displacement counts [m], vec3d of shape (n,).
    """
    wp.launch(energy_kernel, len(out), [x, anchor, pairs, law], [out], device=x.device)


def pair_friction_gradient(
    x: wp.array, anchor: wp.array, pairs: LaggedPairs, law: FrictionLaw, out: wp.array
) -> None:
    """Add the gradient [N] to `out`, vec3d of shape (n,), in no fixed order on CUDA."""
    wp.launch(gradient_kernel, len(pairs.corners), [x, anchor, pairs, law], [out], device=x.device)


def pair_friction_hessian(
    x: wp.array, anchor: wp.array, pairs: LaggedPairs, law: FrictionLaw, slot: wp.array, out: wp.array
) -> None:
    """Write the Hessian blocks [N/m] of each pair; `slot` as in `pair_hessian`."""
    wp.launch(hessian_kernel, len(slot), [x, anchor, pairs, law, slot], [out], device=x.device)
