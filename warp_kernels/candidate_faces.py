"""Candidate faces: every point with its k nearest neighbours (2D) or with all pairs of them (3D), each face
once.

No sort and no hash: the owner of a face is its lowest vertex whose list holds the others. A point emits a
face unless a lower vertex of it owns it. Pass 1 marks the emitted faces in a bit mask and counts them, a scan
gives the places, pass 2 writes them. The result does not depend on the number of threads.

With positions, pass 1 also drops faces with a point deeper inside their ball than `reach`, as far as the
neighbour lists of the vertices show it; this removes about two thirds of the faces before they exist. A
dropped face would get probability zero, so it makes no difference which of its owners drops it.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.launch import launch_sliced
from warp_kernels.simplex import ball_offset, sorted_face

wp.set_module_options({"enable_backward": False})


@wp.func
def holds(neighbor: wp.array2d[wp.int32], v: int, x: int, y: int, k: int):
    """True when the list of v holds x and y; a negative y counts as held."""
    has_x = int(0)
    has_y = int(0)
    if y < 0:
        has_y = 1
    j = int(0)
    while j < k and has_x + has_y < 2:
        q = neighbor[v, j]
        if q == x:
            has_x = 1
        if q == y:
            has_y = 1
        j += 1
    return has_x + has_y == 2


@wp.func
def owned_by_lower(neighbor: wp.array2d[wp.int32], i: int, a: int, b: int, k: int):
    """True when a vertex of face (i, a, b) below i owns it."""
    owned = bool(False)
    if a < i:
        owned = holds(neighbor, a, i, b, k)
    if b >= 0 and b < i and not owned:
        owned = holds(neighbor, b, i, a, k)
    return owned


@wp.func
def has_deep_point(
    points: wp.array[Any],
    neighbor: wp.array2d[wp.int32],
    v: int,
    i: int,
    a: int,
    b: int,
    o: Any,
    kill: wp.float64,
):
    """True when a neighbour of v has a power below `kill` in the ball of (i, a, b), offset o from i."""
    deep = bool(False)
    k = int(0)
    while k < neighbor.shape[1] and not deep:
        q = neighbor[v, k]
        if q >= 0 and q != i and q != a and q != b:
            w = points[q] - points[i]
            deep = wp.dot(w, w) - wp.float64(2.0) * wp.dot(w, o) < kill
        k += 1
    return deep


@wp.func
def is_dead(
    points: wp.array[Any],
    scale: wp.array[wp.float64],
    neighbor: wp.array2d[wp.int32],
    i: int,
    a: int,
    b: int,
    u: Any,
    v: Any,
    reach: wp.float64,
):
    """True when face (i, a, b) has no ball, or a listed neighbour lies deeper in it than the reach."""
    mean = (scale[i] + scale[a]) * wp.float64(0.5)
    if b >= 0:
        mean = (scale[i] + scale[a] + scale[b]) / wp.float64(3.0)
    o, valid = ball_offset(u, v)
    dead = bool(False)
    if valid == 0:
        dead = True
    else:
        r = wp.length(o)
        width = reach * mean
        if width < r:
            kill = -width * (wp.float64(2.0) * r - width)
            dead = has_deep_point(points, neighbor, i, i, a, b, o, kill)
            if not dead:
                dead = has_deep_point(points, neighbor, a, i, a, b, o, kill)
            if b >= 0 and not dead:
                dead = has_deep_point(points, neighbor, b, i, a, b, o, kill)
    return dead


@wp.func
def edge_to(points: wp.array[Any], reach: wp.float64, i: int, a: int):
    """Edge from i to a, zero where there is none or where positions are not wanted (a negative reach)."""
    u = points.dtype()
    if reach >= wp.float64(0.0) and a >= 0:
        u = points[a] - points[i]
    return u


@wp.kernel
def mark_faces_kernel(
    offset: int,
    points: wp.array[Any],
    scale: wp.array[wp.float64],
    neighbor: wp.array2d[wp.int32],
    k: int,
    dimension: int,
    reach: wp.float64,
    mask: wp.array2d[wp.uint32],
    count: wp.array[wp.int32],
):
    i = wp.tid() + offset
    n = int(0)
    bit = int(0)
    word = wp.uint32(0)
    for p in range(k):
        a = neighbor[i, p]
        u = edge_to(points, reach, i, a)
        end = k
        if dimension == 2:
            end = p + 2
        for s in range(p + 1, end):
            b = int(-1)
            if dimension == 3:
                b = neighbor[i, s]
            if a >= 0 and (dimension == 2 or b >= 0):
                dead = bool(False)
                if reach >= wp.float64(0.0):
                    v = edge_to(points, reach, i, b)
                    dead = is_dead(points, scale, neighbor, i, a, b, u, v, reach)
                if not dead and not owned_by_lower(neighbor, i, a, b, k):
                    word = word | (wp.uint32(1) << wp.uint32(bit & 31))
                    n += 1
            if (bit & 31) == 31:
                mask[i, bit >> 5] = word
                word = wp.uint32(0)
            bit += 1
    if (bit & 31) != 0:
        mask[i, bit >> 5] = word
    count[i] = n


@wp.kernel
def write_faces_kernel(
    offset: int,
    points: wp.array[Any],
    neighbor: wp.array2d[wp.int32],
    k: int,
    dimension: int,
    mask: wp.array2d[wp.uint32],
    end_of: wp.array[wp.int32],
    faces: wp.array[Any],
):
    i = wp.tid() + offset
    place = int(0)
    if i > 0:
        place = end_of[i - 1]
    bit = int(0)
    for p in range(k):
        end = k
        if dimension == 2:
            end = p + 2
        for s in range(p + 1, end):
            if ((mask[i, bit >> 5] >> wp.uint32(bit & 31)) & wp.uint32(1)) != wp.uint32(0):
                b = int(-1)
                if dimension == 3:
                    b = neighbor[i, s]
                if place < faces.shape[0]:
                    faces[place] = sorted_face(points, i, neighbor[i, p], b)
                place += 1
            bit += 1


for _vector, _face in ((wp.vec2d, wp.vec2i), (wp.vec3d, wp.vec3i)):
    wp.overload(mark_faces_kernel, {"points": wp.array(dtype=_vector)})
    wp.overload(write_faces_kernel, {"points": wp.array(dtype=_vector), "faces": wp.array(dtype=_face)})


def mask_words(k: int, dimension: int) -> int:
    """Return the number of 32-bit words that mark the faces of one point."""
    return max(1, -(-(k if dimension == 2 else k * (k - 1) // 2) // 32))


def mark_faces(points, scale, neighbor, k: int, reach: float, mask, count, end_of) -> None:
    """Pass 1: mark the faces that each point emits and scan their counts.

    Args:
        points: Positions, shape (n,) of vec2d or vec3d; read only with a reach.
        scale: Length per point, shape (n,).
        neighbor: Nearest neighbours, int32, shape (n, at least k); -1 where missing.
        k: How many of them are joined.
        reach: Drop faces with a listed point deeper than `reach` times the mean scale; negative: keep all.
        mask: uint32, shape (n, `mask_words`).
        count: Faces per point, shape (n,).
        end_of: Inclusive scan of `count`, shape (n,).
    """
    dimension = 2 if points.dtype is wp.vec2d else 3
    check_array("points", points, (wp.vec2d, wp.vec3d), (None,))
    check_array("mask", mask, wp.uint32, (neighbor.shape[0], mask_words(k, dimension)))
    launch_sliced(
        mark_faces_kernel,
        neighbor.shape[0],
        [points, scale, neighbor, k, dimension, wp.float64(reach)],
        [mask, count],
        neighbor.device,
    )
    wp.utils.array_scan(count, end_of, inclusive=True)


def write_faces(points, neighbor, k: int, mask, end_of, faces) -> None:
    """Pass 2: write the marked faces, vertices ascending within a face; what exceeds `faces` is left out."""
    dimension = 2 if points.dtype is wp.vec2d else 3
    launch_sliced(
        write_faces_kernel,
        neighbor.shape[0],
        [points, neighbor, k, dimension, mask, end_of],
        [faces],
        neighbor.device,
    )
