"""Gain of edge flips in a triangle mesh, measured by the samples of the two faces, one edge per thread.

The edge a b of the faces a b p and b a q would become p q. With S the samples whose closest face is one of
the two,

    gain = sum_S min(d(s, abp), d(s, baq))^2 - sum_S min(d(s, pqb), d(s, qpa))^2

A flip is refused (gain 0) on an edge that has not two faces, when a new face turns by more than `cos_turn`
from both old ones, or gets an aspect ratio above `largest_aspect` and above the worse of the old ones.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.triangle_geometry import aspect_ratio

wp.set_module_options({"enable_backward": False})

_ZERO = wp.constant(wp.float64(0.0))


@wp.struct
class FlipRule:
    """Limits of a flip."""

    cos_turn: wp.float64
    largest_aspect: wp.float64


@wp.func
def segment_distance_sq(s: wp.vec3d, a: wp.vec3d, b: wp.vec3d):
    """Squared distance of a point to a segment."""
    u = b - a
    t = wp.clamp(wp.dot(s - a, u) / wp.max(wp.dot(u, u), wp.float64(1.0e-300)), _ZERO, wp.float64(1.0))
    return wp.length_sq(s - a - t * u)


@wp.func
def triangle_distance_sq(s: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Squared distance of a point to a triangle."""
    n = wp.cross(b - a, c - a)
    inside_ab = wp.dot(wp.cross(b - a, s - a), n) >= _ZERO
    inside_bc = wp.dot(wp.cross(c - b, s - b), n) >= _ZERO
    inside_ca = wp.dot(wp.cross(a - c, s - c), n) >= _ZERO
    if inside_ab and inside_bc and inside_ca:
        d = wp.dot(s - a, n)
        return d * d / wp.max(wp.dot(n, n), wp.float64(1.0e-300))
    return wp.min(
        segment_distance_sq(s, a, b), wp.min(segment_distance_sq(s, b, c), segment_distance_sq(s, c, a))
    )


@wp.kernel
def flip_gain_kernel(
    points: wp.array[wp.vec3d],
    quads: wp.array2d[wp.int32],
    quad_faces: wp.array2d[wp.int32],
    samples: wp.array[wp.vec3d],
    start: wp.array[wp.int32],
    rule: FlipRule,
    gain: wp.array[wp.float64],
):
    e = wp.tid()
    a = points[quads[e, 0]]
    b = points[quads[e, 1]]
    p = points[quads[e, 2]]
    q = points[quads[e, 3]]
    gain[e] = _ZERO
    n_abp = wp.normalize(wp.cross(b - a, p - a))
    n_baq = wp.normalize(wp.cross(a - b, q - b))
    n_pqb = wp.normalize(wp.cross(q - p, b - p))
    n_qpa = wp.normalize(wp.cross(p - q, a - q))
    if wp.max(wp.dot(n_pqb, n_abp), wp.dot(n_pqb, n_baq)) < rule.cos_turn:
        return
    if wp.max(wp.dot(n_qpa, n_abp), wp.dot(n_qpa, n_baq)) < rule.cos_turn:
        return
    if wp.dot(n_pqb, n_qpa) < _ZERO:
        return
    old_aspect = wp.max(aspect_ratio(a, b, p), aspect_ratio(b, a, q))
    if wp.max(aspect_ratio(p, q, b), aspect_ratio(q, p, a)) > wp.max(rule.largest_aspect, old_aspect):
        return
    total = wp.float64(0.0)
    for side in range(2):
        f = quad_faces[e, side]
        for i in range(start[f], start[f + 1]):
            s = samples[i]
            total += wp.min(triangle_distance_sq(s, a, b, p), triangle_distance_sq(s, b, a, q))
            total -= wp.min(triangle_distance_sq(s, p, q, b), triangle_distance_sq(s, q, p, a))
    gain[e] = total


def flip_gains(
    points: wp.array,
    quads: wp.array,
    quad_faces: wp.array,
    samples: wp.array,
    start: wp.array,
    rule: FlipRule,
) -> wp.array:
    """Evaluate the flip of every edge of two faces.

    Args:
        points: Vertices, shape (n,), vec3d.
        quads: Rows a, b, p, q: the faces a b p and b a q share the edge a b, shape (e, 4), int32.
        quad_faces: Their rows, shape (e, 2), int32.
        samples: Positions, sorted by closest face, shape (m,), vec3d.
        start: First sample of each face, shape (f + 1,), int32.
        rule: Limits.

    Returns:
        Decrease of the sum of squared distances, shape (e,), float64; 0 where refused.
    """
    gain = wp.empty(quads.shape[0], dtype=wp.float64, device=points.device)
    wp.launch(
        flip_gain_kernel,
        dim=quads.shape[0],
        inputs=[points, quads, quad_faces, samples, start, rule],
        outputs=[gain],
        device=points.device,
    )
    return gain
