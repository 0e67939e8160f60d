"""Lists of the expected Chamfer distance: faces near a target, places and weights of faces.

faces of a target   the `LAYERS` nearest likely faces of those at the points near it
places of a face    points with given barycentric weights; each looks for its target
weight of a face    a_f = |f| / sum_g p_g |g|, its share of the expected area (2D: length); 0 if unlikely
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.chamfer import LAYERS, gap_to, vec8d, vec8i
from warp_kernels.checks import check_array
from warp_kernels.launch import launch_sliced
from warp_kernels.simplex import at_weights, closest_weights, corner, measure

wp.set_module_options({"enable_backward": False})


@wp.kernel
def count_corners_kernel(faces: wp.array[Any], count: wp.array[wp.int32]):
    f = wp.tid()
    for i in range(3):
        v = corner(faces[f], i)
        if v >= 0:
            wp.atomic_add(count, v + 1, 1)


@wp.kernel
def fill_corners_kernel(faces: wp.array[Any], cursor: wp.array[wp.int32], face_of: wp.array[wp.int32]):
    f = wp.tid()
    for i in range(3):
        v = corner(faces[f], i)
        if v >= 0:
            face_of[wp.atomic_add(cursor, v, 1)] = f


@wp.kernel
def nearest_faces_kernel(
    offset: int,
    points: wp.array[Any],
    faces: wp.array[Any],
    prob: wp.array[wp.float64],
    least_prob: wp.float64,
    targets: wp.array[Any],
    near_vertex: wp.array2d[wp.int32],
    face_start: wp.array[wp.int32],
    face_of: wp.array[wp.int32],
    layer: wp.array2d[wp.int32],
):
    i = wp.tid() + offset
    x = targets[i]
    distance = vec8d()
    found = vec8i()
    for k in range(LAYERS):
        distance[k] = wp.float64(wp.inf)
        found[k] = -1
    for j in range(near_vertex.shape[1]):
        v = near_vertex[i, j]
        if v >= 0:
            for s in range(face_start[v], face_start[v + 1]):
                f = face_of[s]
                if prob[f] >= least_prob:
                    d, unit = gap_to(points, faces[f], closest_weights(points, faces[f], x), x)
                    last = LAYERS - 1
                    if d < distance[last] or (d == distance[last] and f < found[last]):
                        seen = bool(False)
                        for k in range(LAYERS):
                            if found[k] == f:
                                seen = True
                        if not seen:
                            k = int(LAYERS - 1)
                            while k > 0 and (
                                distance[k - 1] > d or (distance[k - 1] == d and found[k - 1] > f)
                            ):
                                distance[k] = distance[k - 1]
                                found[k] = found[k - 1]
                                k -= 1
                            distance[k] = d
                            found[k] = f
    for k in range(LAYERS):
        layer[i, k] = found[k]


@wp.kernel
def face_places_kernel(
    points: wp.array[Any], faces: wp.array[Any], places: wp.array[wp.vec3d], out: wp.array2d[Any]
):
    f, s = wp.tid()
    out[f, s] = at_weights(points, faces[f], places[s])


@wp.kernel
def face_measure_kernel(
    points: wp.array[Any],
    faces: wp.array[Any],
    prob: wp.array[wp.float64],
    size: wp.array[wp.float64],
    expected: wp.array[wp.float64],
):
    f = wp.tid()
    size[f] = measure(points, faces[f])
    expected[f] = prob[f] * size[f]


@wp.kernel
def face_share_kernel(
    prob: wp.array[wp.float64],
    least_prob: wp.float64,
    total: wp.array[wp.float64],
    weight: wp.array[wp.float64],
):
    f = wp.tid()
    if prob[f] < least_prob or total[0] <= wp.float64(0.0):
        weight[f] = wp.float64(0.0)
    else:
        weight[f] = weight[f] / total[0]


for _vector, _face in ((wp.vec2d, wp.vec2i), (wp.vec3d, wp.vec3i)):
    _points, _faces = wp.array(dtype=_vector), wp.array(dtype=_face)
    _both = {"points": _points, "faces": _faces}
    wp.overload(count_corners_kernel, {"faces": _faces})
    wp.overload(fill_corners_kernel, {"faces": _faces})
    wp.overload(nearest_faces_kernel, {**_both, "targets": _points})
    wp.overload(face_places_kernel, {**_both, "out": wp.array2d(dtype=_vector)})
    wp.overload(face_measure_kernel, _both)


def faces_of_vertices(faces: wp.array, count: int) -> tuple[wp.array, wp.array]:
    """Return the faces of each of `count` vertices: row start (count + 1,) and face numbers (corners,)."""
    device = faces.device
    counts = wp.zeros(count + 1, dtype=wp.int32, device=device)
    wp.launch(count_corners_kernel, dim=faces.shape[0], inputs=[faces], outputs=[counts], device=device)
    start = wp.empty(count + 1, dtype=wp.int32, device=device)
    wp.utils.array_scan(counts, start, inclusive=True)
    corners = faces.shape[0] * (2 if faces.dtype is wp.vec2i else 3)
    face_of = wp.empty(corners, dtype=wp.int32, device=device)
    wp.launch(
        fill_corners_kernel,
        dim=faces.shape[0],
        inputs=[faces, wp.clone(start)],
        outputs=[face_of],
        device=device,
    )
    return start, face_of


def nearest_faces(points, faces, prob, least_prob, targets, near_vertex, face_start, face_of, out) -> None:
    """Write the `LAYERS` nearest faces of each target among those at its near vertices, shape (m, LAYERS).

    Args:
        prob: Probability per face, shape (f,); those below `least_prob` are left out.
        near_vertex: Vertices near each target, shape (m, k).
        face_start, face_of: Faces of each vertex, as `faces_of_vertices` gives them.
    """
    check_array("out", out, wp.int32, (targets.shape[0], LAYERS))
    launch_sliced(
        nearest_faces_kernel,
        targets.shape[0],
        [points, faces, prob, wp.float64(least_prob), targets, near_vertex, face_start, face_of],
        [out],
        points.device,
    )


def face_places(points, faces, places, out) -> None:
    """Write the places of each face with barycentric weights `places` (s,), shape (f, s)."""
    wp.launch(
        face_places_kernel,
        dim=(faces.shape[0], places.shape[0]),
        inputs=[points, faces, places],
        outputs=[out],
        device=points.device,
    )


def face_weights(points, faces, prob, least_prob: float) -> wp.array:
    """Return the area of each face over the expected area of all, shape (f,); 0 below `least_prob`."""
    count, device = faces.shape[0], faces.device
    weight = wp.empty(count, dtype=wp.float64, device=device)
    expected = wp.empty(count, dtype=wp.float64, device=device)
    wp.launch(
        face_measure_kernel,
        dim=count,
        inputs=[points, faces, prob],
        outputs=[weight, expected],
        device=device,
    )
    total = wp.zeros(1, dtype=wp.float64, device=device)
    if count:
        wp.utils.array_sum(expected, out=total)
    wp.launch(
        face_share_kernel,
        dim=count,
        inputs=[prob, wp.float64(least_prob), total],
        outputs=[weight],
        device=device,
    )
    return weight
