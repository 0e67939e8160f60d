"""The widest gap between the directions to the neighbours of a point, seen in its tangent plane. 3D, float64.

With tangent vectors u, v of the unit normal, a neighbour at offset d has the angle atan2(v . d, u . d); the
gap is the largest difference of angles that follow each other around the circle.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.frames import tangent

wp.set_module_options({"enable_backward": False})

MOST_NEIGHBORS = 32
"""Neighbours that are looked at, at most."""
_Angles = wp.types.vector(length=MOST_NEIGHBORS, dtype=wp.float64)
_TURN = wp.constant(wp.float64(6.283185307179586))


@wp.kernel
def angular_gap_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    neighbors: wp.array2d[wp.int32],
    gap: wp.array[wp.float64],
    middle: wp.array[wp.vec3d],
):
    p = wp.tid()
    u = tangent(normals[p])
    v = wp.cross(normals[p], u)
    angles = _Angles()
    count = int(0)
    for s in range(neighbors.shape[1]):
        j = neighbors[p, s]
        if j >= 0:
            d = points[j] - points[p]
            angle = wp.atan2(wp.dot(v, d), wp.dot(u, d))
            place = count
            while place > 0 and angles[wp.max(place - 1, 0)] > angle:
                angles[place] = angles[place - 1]
                place -= 1
            angles[place] = angle
            count += 1
    widest = _TURN
    start = wp.float64(0.0)
    if count > 0:
        start = angles[count - 1]
        widest = angles[0] + _TURN - start
    for s in range(count - 1):
        between = angles[s + 1] - angles[s]
        if between > widest:
            widest = between
            start = angles[s]
    turn = start + wp.float64(0.5) * widest
    gap[p] = widest
    middle[p] = wp.cos(turn) * u + wp.sin(turn) * v


def angular_gaps(points: wp.array, normals: wp.array, neighbors: wp.array) -> tuple[wp.array, wp.array]:
    """Find the widest gap around every point.

    Args:
        points: Positions, shape (n,), vec3d.
        normals: Unit normals, shape (n,), vec3d.
        neighbors: Points around each, -1 where missing, shape (n, k), k up to `MOST_NEIGHBORS`.

    Returns:
        Gap [rad], shape (n,), and the unit tangent vector in its middle, shape (n,), vec3d.
    """
    check_array("normals", normals, wp.vec3d, (len(points),))
    check_array("neighbors", neighbors, wp.int32, (len(points), None))
    if neighbors.shape[1] > MOST_NEIGHBORS:
        raise ValueError(f"neighbors: expected at most {MOST_NEIGHBORS} columns, got {neighbors.shape[1]}")
    gap = wp.empty(len(points), dtype=wp.float64, device=points.device)
    middle = wp.empty(len(points), dtype=wp.vec3d, device=points.device)
    wp.launch(
        angular_gap_kernel,
        dim=len(points),
        inputs=[points, normals, neighbors],
        outputs=[gap, middle],
        device=points.device,
    )
    return gap, middle
