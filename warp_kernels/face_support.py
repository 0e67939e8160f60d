"""How well samples support faces: one face per thread, with the samples found near its places. 2D and 3D.

For the places q of a face with unit normal m, and the samples i near q with positions p_i and normals n_i

    offset    = mean_q min_i |n_i . (q - p_i)|
    gap       = max_q  |q - p_1| / max(h_1, h),    sample 1 the nearest, h_1 its spacing, h the typical one
    agreement = mean_q max_i |n_i . m|
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.checks import check_array

wp.set_module_options({"enable_backward": False})

_ZERO = wp.constant(wp.float64(0.0))


@wp.kernel
def face_support_kernel(
    places: wp.array[Any],
    face_normals: wp.array[Any],
    samples: wp.array[Any],
    normals: wp.array[Any],
    spacing: wp.array[wp.float64],
    typical: wp.float64,
    near: wp.array2d[wp.int32],
    distance: wp.array2d[wp.float64],
    offset: wp.array[wp.float64],
    gap: wp.array[wp.float64],
    agreement: wp.array[wp.float64],
):
    f = wp.tid()
    count = places.shape[0] / face_normals.shape[0]
    m = face_normals[f]
    total = _ZERO
    widest = _ZERO
    cosine = _ZERO
    for k in range(count):
        q = f * count + k
        least = wp.float64(1.0e300)
        best = _ZERO
        for s in range(near.shape[1]):
            i = near[q, s]
            if i >= 0:
                n = normals[i]
                least = wp.min(least, wp.abs(wp.dot(n, places[q] - samples[i])))
                best = wp.max(best, wp.abs(wp.dot(n, m)))
        total += least
        cosine += best
        widest = wp.max(widest, distance[q, 0] / wp.max(spacing[near[q, 0]], typical))
    offset[f] = total / wp.float64(count)
    gap[f] = widest
    agreement[f] = cosine / wp.float64(count)


for _vector in (wp.vec2d, wp.vec3d):
    wp.overload(
        face_support_kernel,
        dict.fromkeys(("places", "face_normals", "samples", "normals"), wp.array(dtype=_vector)),
    )


def face_support(
    places: wp.array,
    face_normals: wp.array,
    samples: wp.array,
    normals: wp.array,
    spacing: wp.array,
    typical: float,
    near: wp.array,
    distance: wp.array,
) -> tuple[wp.array, wp.array, wp.array]:
    """Compare faces with the samples near them.

    Args:
        places: Positions on the faces, equally many for each, one face after the other, shape (f k,).
        face_normals: Unit normals, shape (f,).
        samples: Positions, shape (m,).
        normals: Unit normals of the samples, shape (m,).
        spacing: Spacing of the samples around each, shape (m,).
        typical: Typical spacing.
        near: Nearest samples of each place, nearest first, shape (f k, s).
        distance: Their distances, shape (f k, s).

    Returns:
        offset, gap and agreement of the module docstring, shape (f,).
    """
    f = len(face_normals)
    check_array("normals", normals, samples.dtype, (len(samples),))
    check_array("near", near, wp.int32, (len(places), None))
    out = tuple(wp.empty(f, dtype=wp.float64, device=places.device) for _ in range(3))
    if f:
        wp.launch(
            face_support_kernel,
            dim=f,
            inputs=[
                places,
                face_normals,
                samples,
                normals,
                spacing,
                wp.float64(typical),
                near,
                distance,
            ],
            outputs=list(out),
            device=places.device,
        )
    return out[0], out[1], out[2]
