"""Expected Chamfer distance between samples (targets) and probable faces, with a fused gradient.

    target x:  e(x) = sum_k d_k p_k t_k + D t_end,  t_k = prod_{j<k} (1 - p_j),  d_k ascending
    face f:    e(f) = p_f a_f mean_s |y_s - x_s|,   y_s fixed places of the face, x_s the nearest target
                                                    (with normals: |n.(y_s - x_s)|, distance to its plane)
    loss    =  mean_x e(x) + sum_f e(f)

D is the fall-back distance that a target pays where no face exists. With R_k the expected distance behind
layer k, R_end = D, R_{k-1} = p_k d_k + (1 - p_k) R_k:

    de/dp_k = t_k (d_k - R_k),   de/dd_k = t_k p_k

Closest points are exact and evaluated in every call; their barycentric weights w are constants of
differentiation (the derivative of a minimum does not see its argument, the envelope theorem): dd/dv_i = w_i
(y - x) / d.

Source: Son et al. 2024, DMesh, expected Chamfer distance, with the fall-back term of DMesh++; exact closest
points instead of random samples of faces are ours.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.simplex import at_weights, closest_weights

wp.set_module_options({"enable_backward": False})

LAYERS = 8
"""Faces per target."""

vec8d = wp.types.vector(length=LAYERS, dtype=wp.float64)
vec8i = wp.types.vector(length=LAYERS, dtype=wp.int32)


@wp.func
def add_weighted(target: wp.array[wp.vec2d], face: wp.vec2i, w: wp.vec3d, g: wp.vec2d):
    wp.atomic_add(target, face[0], w[0] * g)
    wp.atomic_add(target, face[1], w[1] * g)


@wp.func
def add_weighted(target: wp.array[wp.vec3d], face: wp.vec3i, w: wp.vec3d, g: wp.vec3d):
    wp.atomic_add(target, face[0], w[0] * g)
    wp.atomic_add(target, face[1], w[1] * g)
    wp.atomic_add(target, face[2], w[2] * g)


@wp.func
def gap_to(points: wp.array[Any], face: Any, w: wp.vec3d, x: Any):
    """Distance from x to the place w of a face, and the unit vector to it, zero at distance zero."""
    delta = at_weights(points, face, w) - x
    d = wp.length(delta)
    return d, delta / wp.max(d, wp.float64(1.0e-300))


@wp.kernel
def targets_to_faces_kernel(
    points: wp.array[Any],
    faces: wp.array[Any],
    prob: wp.array[wp.float64],
    targets: wp.array[Any],
    layer: wp.array2d[wp.int32],
    fallback: wp.float64,
    weight: wp.float64,
    loss: wp.array[wp.float64],
    points_gradient: wp.array[Any],
    prob_gradient: wp.array[wp.float64],
):
    i = wp.tid()
    x = targets[i]
    one = wp.float64(1.0)
    distance = vec8d()
    order = vec8i()
    count = int(0)
    for k in range(LAYERS):
        f = layer[i, k]
        if f >= 0:
            d, unit = gap_to(points, faces[f], closest_weights(points, faces[f], x), x)
            distance[k] = d
            place = int(count)
            while place > 0 and distance[order[wp.max(place - 1, 0)]] > d:
                order[place] = order[place - 1]
                place -= 1
            order[place] = k
            count += 1
    through = vec8d()
    rest = one
    value = wp.float64(0.0)
    for j in range(count):
        k = order[j]
        through[j] = rest
        p = prob[layer[i, k]]
        value += rest * p * distance[k]
        rest = rest * (one - p)
    loss[i] = weight * (value + rest * fallback)
    behind = wp.float64(fallback)
    for back in range(count):
        j = count - 1 - back
        k = order[j]
        f = layer[i, k]
        p = prob[f]
        wp.atomic_add(prob_gradient, f, weight * through[j] * (distance[k] - behind))
        w = closest_weights(points, faces[f], x)
        d, unit = gap_to(points, faces[f], w, x)
        add_weighted(points_gradient, faces[f], w, (weight * through[j] * p) * unit)
        behind = p * distance[k] + (one - p) * behind


@wp.kernel
def faces_to_targets_kernel(
    points: wp.array[Any],
    faces: wp.array[Any],
    prob: wp.array[wp.float64],
    places: wp.array[wp.vec3d],
    targets: wp.array[Any],
    normals: wp.array[Any],
    nearest_target: wp.array2d[wp.int32],
    weight: wp.array[wp.float64],
    loss: wp.array[wp.float64],
    points_gradient: wp.array[Any],
    prob_gradient: wp.array[wp.float64],
):
    f = wp.tid()
    share = weight[f] / wp.float64(places.shape[0])
    p = prob[f]
    total = wp.float64(0.0)
    if share > wp.float64(0.0):
        for s in range(places.shape[0]):
            q = nearest_target[f, s]
            d, unit = gap_to(points, faces[f], places[s], targets[q])
            if normals.shape[0] > 0:
                along = d * wp.dot(unit, normals[q])
                d = wp.abs(along)
                unit = normals[q] * wp.sign(along)
            total += d
            add_weighted(points_gradient, faces[f], places[s], (share * p) * unit)
        wp.atomic_add(prob_gradient, f, share * total)
    loss[f] = share * p * total


for _vector, _face in ((wp.vec2d, wp.vec2i), (wp.vec3d, wp.vec3i)):
    _points, _faces = wp.array(dtype=_vector), wp.array(dtype=_face)
    _both = {"points": _points, "faces": _faces}
    wp.overload(targets_to_faces_kernel, {**_both, "targets": _points, "points_gradient": _points})
    wp.overload(
        faces_to_targets_kernel,
        {**_both, "targets": _points, "normals": _points, "points_gradient": _points},
    )


def targets_to_faces(
    points, faces, prob, targets, layer, fallback: float, weight: float, loss, points_gradient, prob_gradient
) -> None:
    """Write `weight` e(x) of each target, shape (m,), and add its gradient."""
    wp.launch(
        targets_to_faces_kernel,
        dim=targets.shape[0],
        inputs=[points, faces, prob, targets, layer, wp.float64(fallback), wp.float64(weight)],
        outputs=[loss, points_gradient, prob_gradient],
        device=points.device,
        record_tape=False,
    )


def faces_to_targets(
    points,
    faces,
    prob,
    places,
    targets,
    normals,
    nearest_target,
    weight,
    loss,
    points_gradient,
    prob_gradient,
) -> None:
    """Write e(f) of each face, shape (f,), and add its gradient.

    Args:
        places: Barycentric weights of the places of a face, shape (s,).
        normals: Unit normals of the targets, shape (m,), or empty.
        nearest_target: Target of each place, shape (f, s).
        weight: a_f, shape (f,); constant.
    """
    wp.launch(
        faces_to_targets_kernel,
        dim=faces.shape[0],
        inputs=[points, faces, prob, places, targets, normals, nearest_target, weight],
        outputs=[loss, points_gradient, prob_gradient],
        device=points.device,
        record_tape=False,
    )
