"""Poisson-disk thinning: a maximal subset of points no two of which are nearer than a radius.

The result is that of throwing darts in the order of `priority`: a point is kept unless a point of lower
priority within the radius has been kept. It is found in rounds: an undecided point is dropped when a kept one
is near, and kept when no undecided one of lower priority is near. Any number of threads gives the same set
(the lexicographically first maximal independent set), so the order of execution does not matter.

Source: Blelloch, Fineman, Shun 2012, Greedy sequential maximal independent set and matching are parallel on
average.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

UNDECIDED = wp.constant(0)
KEPT = wp.constant(1)
DROPPED = wp.constant(2)


@wp.kernel
def thinning_round_kernel(
    grid: wp.uint64,
    points: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    priority: wp.array[wp.int32],
    radius: float,
    parallel: float,
    stretch: float,
    state: wp.array[wp.int32],
    undecided: wp.array[wp.int32],
):
    p = wp.hash_grid_point_id(grid, wp.tid())
    if state[p] != UNDECIDED:
        return
    x = points[p]
    mine = priority[p]
    blocked = int(0)
    for j in wp.hash_grid_query(grid, x, radius):
        if priority[j] < mine and state[j] != DROPPED:
            d = points[j] - x
            square = wp.dot(d, d)
            if normals.shape[0] > 0:
                n = normals[p]
                other = normals[j]
                cosine = wp.dot(n, other)
                if cosine < 0.0:
                    other = -other
                if wp.abs(cosine) > parallel:
                    height = 0.5 * stretch * wp.dot(n + other, d)
                    square += height * height
            if square < radius * radius:
                if state[j] == KEPT:
                    state[p] = DROPPED
                    return
                blocked = 1
    if blocked == 0:
        state[p] = KEPT
    else:
        wp.atomic_add(undecided, 0, 1)


def thinning_round(
    grid: wp.HashGrid,
    points: wp.array,
    normals: wp.array,
    priority: wp.array,
    radius: float,
    parallel: float,
    stretch: float,
    state: wp.array,
    undecided: wp.array,
) -> None:
    """Decide what one round can decide.

    Args:
        grid: Hash grid over `points`, built for `radius`.
        points: Positions, shape (n,), vec3.
        normals: Unit normals, shape (n,), vec3, or empty: heights over the mean tangent plane of two points
            count `stretch` times where their normals are more than `parallel` (`sheets.py`).
        priority: A permutation of 0..n-1, lowest first, shape (n,).
        radius: Least distance between kept points.
        state: UNDECIDED, KEPT or DROPPED per point, shape (n,); modified.
        undecided: Number of points left, shape (1,); counted up.
    """
    wp.launch(
        thinning_round_kernel,
        dim=len(points),
        inputs=[grid.id, points, normals, priority, radius, parallel, stretch],
        outputs=[state, undecided],
        device=points.device,
    )
