"""Minimum ball of a face, its signed distance and the probability of the face, with a hand-written gradient.

For a face with first vertex a, edges u (and v), ball centre c = a + o and radius r = |o|:

    segment    o = u / 2
    triangle   o = ( |u|^2 (v x n) + |v|^2 (n x u) ) / (2 |n|^2),   n = u x v
    d          = min_{q not in face} |q - c| - r = (|w|^2 - 2 w.o) / (|w - o| + |o|),   w = q - a
    Lambda_min = sigmoid(sharpness d / scale),   scale = mean of the vertices' scale
    Lambda     = Lambda_min soft_minimum(psi)

The second form of d does not cancel when the ball is large. With the nearest q fixed (an argmin is a constant
of differentiation), e = (q - c)/|q - c| and g = -(e + o/r) = dd/do:

    dd/dq = e,  dd/da = -(e + g_u + g_v),  dd/db = g_u,  dd/dc = g_v
    segment    g_u = g / 2
    triangle   from u.o = |u|^2/2, v.o = |v|^2/2, n.o = 0 with multipliers l:
               l_u = g.(v x n)/|n|^2,  l_v = g.(n x u)/|n|^2,  l_n = g.n/|n|^2
               g_u = l_u (u - o) - l_n (v x o),   g_v = l_v (v - o) - l_n (o x u)

Source: Son et al. 2025, DMesh++, minimum-ball algorithm; the gradient by implicit differentiation is ours.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.launch import launch_sliced
from warp_kernels.simplex import (
    add_to_corners,
    add_values,
    ball_offset,
    corner_values,
    edges_of,
    mean_of,
    offset_adjoint,
)
from warp_kernels.smooth import sigmoid, soft_minimum, soft_minimum_weights

wp.set_module_options({"enable_backward": False})

FREE = wp.constant(-1)
"""Nearest point of a face whose ball has no point within reach: probability 1."""
CLOSED = wp.constant(-2)
"""Nearest point of a face with a point deep inside its ball, or without a ball: probability 0."""


@wp.func
def ball_signed_distance(w: Any, o: Any):
    """|w - o| - |o| without cancellation; both relative to the first vertex."""
    return (wp.dot(w, w) - wp.float64(2.0) * wp.dot(w, o)) / (wp.length(w - o) + wp.length(o))


@wp.func
def tessellation_probability(
    points: wp.array[Any],
    scale: wp.array[wp.float64],
    face: Any,
    q: int,
    sharpness: wp.float64,
):
    """Lambda_min of a face whose nearest other point is q, or FREE or CLOSED."""
    if q == FREE:
        return wp.float64(1.0)
    u, v = edges_of(points, face)
    o, valid = ball_offset(u, v)
    if q == CLOSED or valid == 0:
        return wp.float64(0.0)
    d = ball_signed_distance(points[q] - points[face[0]], o)
    return sigmoid(sharpness * d / mean_of(scale, face))


@wp.kernel
def minimum_ball_kernel(
    offset: int,
    points: wp.array[Any],
    faces: wp.array[Any],
    center: wp.array[Any],
    radius: wp.array[wp.float64],
):
    f = wp.tid() + offset
    face = faces[f]
    u, v = edges_of(points, face)
    o, valid = ball_offset(u, v)
    center[f] = points[face[0]] + o
    radius[f] = wp.length(o)
    if valid == 0:
        radius[f] = wp.float64(wp.inf)


@wp.kernel
def signed_distance_kernel(
    offset: int,
    points: wp.array[Any],
    faces: wp.array[Any],
    nearest: wp.array[wp.int32],
    distance: wp.array[wp.float64],
):
    f = wp.tid() + offset
    face = faces[f]
    q = nearest[f]
    d = wp.float64(wp.inf)
    if q == CLOSED:
        d = -d
    elif q >= 0:
        u, v = edges_of(points, face)
        o, valid = ball_offset(u, v)
        d = ball_signed_distance(points[q] - points[face[0]], o)
    distance[f] = d


@wp.kernel
def face_probability_kernel(
    offset: int,
    points: wp.array[Any],
    real: wp.array[wp.float64],
    scale: wp.array[wp.float64],
    faces: wp.array[Any],
    nearest: wp.array[wp.int32],
    sharpness: wp.float64,
    prob: wp.array[wp.float64],
):
    f = wp.tid() + offset
    face = faces[f]
    tessellation = tessellation_probability(points, scale, face, nearest[f], sharpness)
    prob[f] = tessellation * soft_minimum(corner_values(real, face))


@wp.kernel
def face_probability_gradient_kernel(
    points: wp.array[Any],
    real: wp.array[wp.float64],
    scale: wp.array[wp.float64],
    faces: wp.array[Any],
    nearest: wp.array[wp.int32],
    sharpness: wp.float64,
    prob_gradient: wp.array[wp.float64],
    points_gradient: wp.array[Any],
    real_gradient: wp.array[wp.float64],
):
    f = wp.tid()
    gain = prob_gradient[f]
    q = nearest[f]
    if gain != wp.float64(0.0) and q != CLOSED:
        face = faces[f]
        psi = corner_values(real, face)
        tessellation = wp.float64(1.0)
        if q >= 0:
            u, v = edges_of(points, face)
            o, valid = ball_offset(u, v)
            tessellation = wp.float64(0.0)
            if valid == 1:
                w = points[q] - points[face[0]]
                slope = sharpness / mean_of(scale, face)
                tessellation = sigmoid(slope * ball_signed_distance(w, o))
                k = gain * soft_minimum(psi) * slope * tessellation * (wp.float64(1.0) - tessellation)
                if k != wp.float64(0.0):
                    e = wp.normalize(w - o)
                    g_u, g_v = offset_adjoint(u, v, o, -(e + wp.normalize(o)))
                    wp.atomic_add(points_gradient, q, k * e)
                    add_to_corners(points_gradient, face, -k * (e + g_u + g_v), k * g_u, k * g_v)
        add_values(real_gradient, face, (gain * tessellation) * soft_minimum_weights(psi))


for _vector, _face in ((wp.vec2d, wp.vec2i), (wp.vec3d, wp.vec3i)):
    _points, _faces = wp.array(dtype=_vector), wp.array(dtype=_face)
    wp.overload(minimum_ball_kernel, {"points": _points, "faces": _faces, "center": _points})
    wp.overload(signed_distance_kernel, {"points": _points, "faces": _faces})
    wp.overload(face_probability_kernel, {"points": _points, "faces": _faces})
    wp.overload(
        face_probability_gradient_kernel, {"points": _points, "faces": _faces, "points_gradient": _points}
    )


def check_faces(points: wp.array, faces: wp.array) -> None:
    """Raise where points and faces are not (vec2d, vec2i) or (vec3d, vec3i)."""
    check_array("points", points, (wp.vec2d, wp.vec3d), (None,))
    check_array("faces", faces, wp.vec2i if points.dtype is wp.vec2d else wp.vec3i, (None,))


def minimum_ball(points: wp.array, faces: wp.array, center: wp.array, radius: wp.array) -> None:
    """Write centre (f,) and radius (f,) of the minimum ball of each face; radius inf where there is none.

    Raises:
        TypeError, ValueError: Wrong dtype or shape; the message names the argument.
    """
    check_faces(points, faces)
    check_array("center", center, points.dtype, faces.shape)
    check_array("radius", radius, wp.float64, faces.shape)
    launch_sliced(minimum_ball_kernel, faces.shape[0], [points, faces], [center, radius], points.device)


def signed_distance(points: wp.array, faces: wp.array, nearest: wp.array, out: wp.array) -> None:
    """Write d (f,) of each face, given its nearest other point (f,): inf for FREE, -inf for CLOSED."""
    check_faces(points, faces)
    check_array("nearest", nearest, wp.int32, faces.shape)
    check_array("out", out, wp.float64, faces.shape)
    launch_sliced(signed_distance_kernel, faces.shape[0], [points, faces, nearest], [out], points.device)


def face_probability(points, real, scale, faces, nearest, sharpness: float, out: wp.array) -> None:
    """Write the probability of each face, shape (f,).

    Args:
        points: Positions, shape (n,).
        real: Real values psi in [0, 1], shape (n,).
        scale: Length to which d is compared, shape (n,).
        faces: Vertex indices, shape (f,).
        nearest: Nearest other point of each ball, FREE or CLOSED, shape (f,).
        sharpness: Slope of the sigmoid in units of 1 / scale.
    """
    check_faces(points, faces)
    check_array("nearest", nearest, wp.int32, faces.shape)
    check_array("out", out, wp.float64, faces.shape)
    inputs = [points, real, scale, faces, nearest, wp.float64(sharpness)]
    launch_sliced(face_probability_kernel, faces.shape[0], inputs, [out], points.device)


def face_probability_gradient(
    points, real, scale, faces, nearest, sharpness: float, prob_gradient, points_gradient, real_gradient
) -> None:
    """Add the gradient of a loss to `points_gradient` (n,) and `real_gradient` (n,), given dL/dprob (f,)."""
    check_faces(points, faces)
    check_array("prob_gradient", prob_gradient, wp.float64, faces.shape)
    wp.launch(
        face_probability_gradient_kernel,
        dim=faces.shape[0],
        inputs=[points, real, scale, faces, nearest, wp.float64(sharpness), prob_gradient],
        outputs=[points_gradient, real_gradient],
        device=points.device,
        record_tape=False,
    )
