"""Barrier between pairs of surface primitives: energy, gradient, Hessian and the safe share of a motion.

    energy of a pair   E = w p h m(s) b(d / h)      b: the barrier of `contact.py`, h: thickness,
                                                    w: weight [m^2], m(s): mollifier of nearly parallel
                                                    edges, 1 for vertex and triangle
    B(phi) = w p h b(sqrt(2 phi) / h),   B' = w p b' / d,   B'' = w p (b'' / h - b' / d) / d^2
    dE/dx_i            m B' dphi_i + B m' ds_i
    d2E/dx_i dx_j      m (B' d2phi_ij + B'' dphi_i dphi_j^T) + m' B' (dphi_i ds_j^T + ds_i dphi_j^T)
                       + B (m'' ds_i ds_j^T + m' d2s_ij)

With n = r / d, unit vectors t_a along the free parameters, alpha = sum c_i v_i and nu_a = sum h_a,i (n .
v_i), how fast n turns, the second variation of phi in a direction v is

    (n . alpha)^2 + (what t_a do not span)^2 - d sum_a (2 (t_a . alpha) nu_a + d nu_a^2)

so that, with the force N = -w p m b', the projected Hessian is the sum of squares

    m w p b'' / h (n . alpha)^2
    + N sum_a (d nu_a^2 + 1/2 (sqrt(|h_a| / |c|) t_a . alpha + sqrt(|c| / |h_a|) nu_a)^2)

(2 x y = (x + y)^2 / 2 - (x - y)^2 / 2), and of B m' d2s_ij its semi-definite part. Without the terms in nu_a
a body that turns about a contact meets a wall of its own making at each step.

The safe share of a motion is found by steps that no pair can use up: with l the largest relative speed of two
points of a pair, its distance cannot vanish before the share has grown by d / l. A pair keeps a tenth of its
distance, so that the barrier stays finite in floating point; the bound holds for any motion. Below a
hundredth of h the barrier pushes a hundred times harder than `pressure`: no load holds a pair there, cut
steps took it there, and it leaves slowly, since a turn changes so small a gap by as much as the gap itself.
There a pair keeps half.

Source: Li et al. 2020, Incremental Potential Contact, sections 4 and 5; Li et al. 2021, Codimensional
Incremental Potential Contact, Alg. 1 (additive CCD).
"""

from __future__ import annotations

import warp as wp

from warp_kernels.contact import barrier, barrier_curvature, barrier_slope
from warp_kernels.surface_candidates import Candidates, corner_positions
from warp_kernels.surface_distance import (
    CORNERS,
    Nearest,
    curvature_block,
    mollifier,
    mollifier_curvature,
    mollifier_slope,
    nearest,
    parallelism,
    parallelism_curvature,
    parallelism_gradient,
    weighted,
)

wp.set_module_options({"enable_backward": False})

KEPT = wp.constant(wp.float64(0.1))
"""Share of its distance that a pair keeps in one step."""
CLOSE = wp.constant(wp.float64(0.01))
"""Distance over thickness below which a pair keeps more."""
KEPT_CLOSE = wp.constant(wp.float64(0.5))
"""That share of its distance."""
CCD_STEPS = wp.constant(20000)
"""Advances of one pair that slides close by; what it has reached after so many is safe too."""


@wp.struct
class Axis:
    """A tangential direction of a pair, and how motion along the normal turns the normal to it."""

    t: wp.vec3d
    h: wp.vec4d
    """[1/m]."""


@wp.func
def axis_of(near: Nearest, a: int, at: CORNERS) -> Axis:
    """Return tangential axis a of a pair with more than a free parameters: Gram and Schmidt on e_p, e_q."""
    axis = Axis()
    e_p = weighted(near.c_p, at)
    size = wp.length(e_p)
    axis.t = e_p / size
    axis.h = near.c_p / size
    if a == 1:
        e_q = weighted(near.c_q, at)
        common = wp.dot(e_q, axis.t)
        rest = e_q - common * axis.t
        size = wp.length(rest)
        axis.h = (near.c_q - common * axis.h) / size
        axis.t = rest / size
    return axis


@wp.func
def turning_block(near: Nearest, d: wp.float64, i: int, j: int, axis: Axis) -> wp.mat33d:
    """Return block (i, j) of d nu^2 + (sqrt(|h| / |c|) t . alpha + sqrt(|c| / |h|) nu)^2 / 2, per force."""
    n = near.r / d
    ratio = wp.sqrt(wp.length(near.c) / wp.length(axis.h))
    left = (near.c[i] / ratio) * axis.t + (ratio * axis.h[i]) * n
    right = (near.c[j] / ratio) * axis.t + (ratio * axis.h[j]) * n
    return wp.float64(0.5) * wp.outer(left, right) + (d * axis.h[i] * axis.h[j]) * wp.outer(n, n)


@wp.kernel
def energy_kernel(
    x: wp.array[wp.vec3d],
    pairs: Candidates,
    pressure: wp.float64,
    energy: wp.array[wp.float64],
    distance: wp.array[wp.float64],
):
    k = wp.tid()
    at = corner_positions(pairs.corners[k], x)
    d = wp.length(nearest(pairs.is_edges[k], at).r)
    h = pairs.thickness[k]
    energy[k] = wp.float64(0.0)
    distance[k] = d
    if h == wp.float64(0.0):
        distance[k] = wp.float64(wp.inf)
    elif d < h:
        m = wp.float64(1.0)
        if pairs.is_edges[k]:
            m = mollifier(parallelism(at), pairs.threshold[k])
        if m > wp.float64(0.0):
            energy[k] = pairs.weight[k] * pressure * h * m * barrier(d / h)


@wp.kernel
def gradient_kernel(
    x: wp.array[wp.vec3d],
    pairs: Candidates,
    pressure: wp.float64,
    out: wp.array[wp.vec3d],
):
    k = wp.tid()
    four = pairs.corners[k]
    at = corner_positions(four, x)
    near = nearest(pairs.is_edges[k], at)
    d = wp.length(near.r)
    h = pairs.thickness[k]
    if d < h and d > wp.float64(0.0):
        scale = pairs.weight[k] * pressure
        s = parallelism(at)
        m = wp.float64(1.0)
        m_slope = wp.float64(0.0)
        if pairs.is_edges[k]:
            m = mollifier(s, pairs.threshold[k])
            m_slope = mollifier_slope(s, pairs.threshold[k])
        push = (scale * m * barrier_slope(d / h) / d) * near.r
        turn = scale * h * barrier(d / h) * m_slope
        for i in range(4):
            g = near.c[i] * push
            if turn != wp.float64(0.0):
                g = g + turn * parallelism_gradient(i, at)
            wp.atomic_add(out, four[i], g)


@wp.kernel
def hessian_kernel(
    x: wp.array[wp.vec3d],
    pairs: Candidates,
    pressure: wp.float64,
    is_projected: wp.bool,
    active: wp.array[wp.int32],
    slot: wp.array2d[wp.int32],
    blocks: wp.array[wp.mat33d],
):
    a = wp.tid()
    k = active[a]
    at = corner_positions(pairs.corners[k], x)
    near = nearest(pairs.is_edges[k], at)
    d = wp.length(near.r)
    h = pairs.thickness[k]
    is_near = d < h and d > wp.float64(0.0)
    m = wp.float64(1.0)
    m_1 = wp.float64(0.0)
    m_2 = wp.float64(0.0)
    if pairs.is_edges[k]:
        s = parallelism(at)
        m = mollifier(s, pairs.threshold[k])
        m_1 = mollifier_slope(s, pairs.threshold[k])
        m_2 = mollifier_curvature(s, pairs.threshold[k])
    scale = pairs.weight[k] * pressure
    y = d / h
    B = scale * h * barrier(y)
    B_1 = scale * barrier_slope(y) / d
    B_2 = scale * (barrier_curvature(y) / h - barrier_slope(y) / d) / (d * d)
    stiff = m * scale * barrier_curvature(y) / (h * d * d)
    force = -m * scale * barrier_slope(y)
    first = Axis()
    second = Axis()
    if is_near and near.free > 0:
        first = axis_of(near, 0, at)
    if is_near and near.free > 1:
        second = axis_of(near, 1, at)
    for i in range(4):
        for j in range(4):
            target = slot[a, 4 * i + j]
            if target >= 0:
                block = wp.mat33d()
                if is_near:
                    rr = near.c[i] * near.c[j] * wp.outer(near.r, near.r)
                    if is_projected:
                        block = stiff * rr
                        if near.free > 0:
                            block = block + force * turning_block(near, d, i, j, first)
                        if near.free > 1:
                            block = block + force * turning_block(near, d, i, j, second)
                    else:
                        block = m * (B_1 * curvature_block(near, i, j, at) + B_2 * rr)
                    if m_1 > wp.float64(0.0):
                        block = block + B * m_1 * parallelism_curvature(i, j, is_projected, at)
                        if not is_projected:
                            s_i = parallelism_gradient(i, at)
                            s_j = parallelism_gradient(j, at)
                            block = block + (B * m_2) * wp.outer(s_i, s_j)
                            block = block + (m_1 * B_1) * (
                                near.c[i] * wp.outer(near.r, s_j) + near.c[j] * wp.outer(s_i, near.r)
                            )
                blocks[target] = block


@wp.kernel
def safe_share_kernel(
    x: wp.array[wp.vec3d],
    dx: wp.array[wp.vec3d],
    pairs: Candidates,
    bound: wp.array[wp.float64],
):
    k = wp.tid()
    if pairs.thickness[k] == wp.float64(0.0):
        return
    four = pairs.corners[k]
    at = corner_positions(four, x)
    move = corner_positions(four, dx)
    mean = wp.float64(0.25) * (move[0] + move[1] + move[2] + move[3])
    move = wp.matrix_from_rows(move[0] - mean, move[1] - mean, move[2] - mean, move[3] - mean)
    a = wp.length(move[0])
    b = wp.length(move[1])
    c = wp.max(wp.length(move[2]), wp.length(move[3]))
    is_edges = pairs.is_edges[k]
    speed = a + wp.max(b, c)
    if is_edges:
        speed = wp.max(a, b) + c
    if speed == wp.float64(0.0):
        return
    d = wp.length(nearest(is_edges, at).r)
    kept = KEPT
    if d < CLOSE * pairs.thickness[k]:
        kept = KEPT_CLOSE
    kept_distance = kept * d
    largest = bound[0]  # only ever lowered: an old value costs a few more advances
    share = wp.float64(0.0)
    advance = (wp.float64(1.0) - kept) * d / speed
    for n in range(CCD_STEPS):
        next = share + advance
        if next > largest:
            return
        d = wp.length(nearest(is_edges, at + next * move).r)
        if n > 0 and d < kept_distance:
            break
        share = next
        advance = wp.float64(0.9) * d / speed
    wp.atomic_min(bound, 0, share)


def pair_energy(
    x: wp.array, pairs: Candidates, pressure: float, energy: wp.array, distance: wp.array
) -> None:
    """Evaluate the energy [J] and the distance [m] of each pair, shape (k,); infinite where it touches.

    Args:
        x: Positions [m], vec3d of shape (n,).
        pressure: Scale of the barrier [Pa].
    """
    wp.launch(energy_kernel, len(energy), [x, pairs, pressure], [energy, distance], device=x.device)


def pair_gradient(x: wp.array, pairs: Candidates, pressure: float, out: wp.array) -> None:
    """Add the gradient [N] of all pairs to `out`, vec3d of shape (n,), in no fixed order on CUDA."""
    wp.launch(gradient_kernel, len(pairs.corners), [x, pairs, pressure], [out], device=x.device)


def pair_hessian(
    x: wp.array, pairs: Candidates, pressure: float, is_projected: bool, active: wp.array, slot: wp.array,
    out: wp.array,
) -> None:  # fmt: skip
    """Write the Hessian blocks [N/m] of some pairs.

    Args:
        active: Numbers of the pairs, shape (a,).
        slot: Where block (i, j) goes in `out`, at 4 i + j, shape (a, 16); -1 for nowhere.
        out: mat33d.
    """
    wp.launch(
        hessian_kernel, len(active), [x, pairs, pressure, is_projected, active, slot], [out], device=x.device
    )


def safe_share(x: wp.array, dx: wp.array, pairs: Candidates, out: wp.array) -> None:
    """Lower `out[0]` to the share of dx after which every pair still has its kept share of its distance."""
    wp.launch(safe_share_kernel, len(pairs.corners), [x, dx, pairs], [out], device=x.device)
