"""What contact and friction between surfaces say about their parameters, by reverse mode through two scalars,
float64.

    contact    z . grad E(x; w, h, s)                        of each pair (`surface_contact.py`)
    friction   z . grad E(x; N, n, c of the begin x_0)       of each pair (`surface_friction.py`)

Their generated adjoints are the derivatives by weight w, positions at rest (which set thickness h and
threshold s) and positions x_0. Nearest points are found inside, so that how they move is part of it.

Source: as the two files; derivatives by the adjoint code of Warp.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.contact import barrier, barrier_slope
from warp_kernels.friction import FrictionLaw, slope_over_distance, tangential
from warp_kernels.surface_candidates import corner_positions, edge_threshold
from warp_kernels.surface_distance import (
    CORNERS,
    mollifier,
    mollifier_slope,
    nearest,
    parallelism,
    parallelism_gradient,
)


@wp.struct
class PairScale:
    """What all pairs share."""

    d_hat: wp.float64
    """[m]."""
    pressure: wp.float64
    """[Pa]."""


@wp.func
def thickness_of(is_edges: wp.bool, in_one_body: wp.bool, rest: CORNERS, d_hat: wp.float64) -> wp.float64:
    """Return the thickness of a pair [m], see `surface_candidates.py`."""
    h = d_hat
    if in_one_body:
        d = wp.length(nearest(is_edges, rest).r)
        h = wp.min(d_hat, wp.float64(0.5) * d)
    return h


@wp.kernel
def contact_work_kernel(
    x: wp.array[wp.vec3d],
    z: wp.array[wp.vec3d],
    rest: wp.array[wp.vec3d],
    corners: wp.array[wp.vec4i],
    is_edges: wp.array[wp.bool],
    in_one_body: wp.array[wp.bool],
    weight: wp.array[wp.float64],
    scale: PairScale,
    work: wp.array[wp.float64],
):
    k = wp.tid()
    at = corner_positions(corners[k], x)
    along = corner_positions(corners[k], z)
    at_rest = corner_positions(corners[k], rest)
    near = nearest(is_edges[k], at)
    h = thickness_of(is_edges[k], in_one_body[k], at_rest, scale.d_hat)
    d = wp.length(near.r)
    c = near.c
    approach = wp.dot(near.r, c[0] * along[0] + c[1] * along[1] + c[2] * along[2] + c[3] * along[3]) / d
    found = barrier_slope(d / h) * approach
    if is_edges[k]:
        s = parallelism(at)
        threshold = edge_threshold(at_rest)
        turn = (
            wp.dot(parallelism_gradient(0, at), along[0])
            + wp.dot(parallelism_gradient(1, at), along[1])
            + wp.dot(parallelism_gradient(2, at), along[2])
            + wp.dot(parallelism_gradient(3, at), along[3])
        )
        found = mollifier(s, threshold) * found + h * barrier(d / h) * mollifier_slope(s, threshold) * turn
    work[k] = weight[k] * scale.pressure * found


@wp.kernel
def friction_work_kernel(
    start: wp.array[wp.vec3d],
    x: wp.array[wp.vec3d],
    anchor: wp.array[wp.vec3d],
    z: wp.array[wp.vec3d],
    rest: wp.array[wp.vec3d],
    corners: wp.array[wp.vec4i],
    is_edges: wp.array[wp.bool],
    in_one_body: wp.array[wp.bool],
    weight: wp.array[wp.float64],
    scale: PairScale,
    law: FrictionLaw,
    work: wp.array[wp.float64],
):
    k = wp.tid()
    four = corners[k]
    at = corner_positions(four, start)
    along = corner_positions(four, z)
    at_rest = corner_positions(four, rest)
    way = corner_positions(four, x) - corner_positions(four, anchor)
    near = nearest(is_edges[k], at)
    h = thickness_of(is_edges[k], in_one_body[k], at_rest, scale.d_hat)
    d = wp.length(near.r)
    c = near.c
    m = wp.float64(1.0)
    if is_edges[k]:
        m = mollifier(parallelism(at), edge_threshold(at_rest))
    force = -weight[k] * scale.pressure * m * barrier_slope(d / h)
    u = tangential(c[0] * way[0] + c[1] * way[1] + c[2] * way[2] + c[3] * way[3], near.r / d)
    w = c[0] * along[0] + c[1] * along[1] + c[2] * along[2] + c[3] * along[3]
    size = wp.dot(u, u)
    if size > wp.float64(0.0):
        work[k] = law.coefficient * force * slope_over_distance(wp.sqrt(size), law.slip) * wp.dot(u, w)


def contact_work(
    x: wp.array, z: wp.array, rest: wp.array, corners: wp.array, is_edges: wp.array, in_one_body: wp.array,
    weight: wp.array, scale: PairScale, out: wp.array,
) -> None:  # fmt: skip
    """Write z . grad E of each pair [J], shape (k,); differentiable by x, z, rest and weight.

    Args:
        x, z, rest: vec3d of shape (n,).
        corners: vec4i of shape (k,); pairs nearer than their thickness.
        in_one_body: Whether the thickness depends on the distance at rest, shape (k,).
        weight: [m^2], shape (k,).
    """
    inputs = [x, z, rest, corners, is_edges, in_one_body, weight, scale]
    wp.launch(contact_work_kernel, len(corners), inputs, [out], device=x.device)


def friction_work(
    start: wp.array, x: wp.array, anchor: wp.array, z: wp.array, rest: wp.array, corners: wp.array,
    is_edges: wp.array, in_one_body: wp.array, weight: wp.array, scale: PairScale, law: FrictionLaw,
    out: wp.array,
) -> None:  # fmt: skip
    """Write z . grad E of the friction of each pair [J]; differentiable by start, rest and weight.

    Args:
        start, x, anchor, z, rest: vec3d of shape (n,).
        corners, is_edges, in_one_body, weight: As `contact_work`; pairs that press at `start`.
        out: Zeroed by the caller.
    """
    inputs = [start, x, anchor, z, rest, corners, is_edges, in_one_body, weight, scale, law]
    wp.launch(friction_work_kernel, len(corners), inputs, [out], device=x.device)
