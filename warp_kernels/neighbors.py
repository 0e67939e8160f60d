"""Exact k nearest points over the cell list of `neighbors_cells`, fast on crowded and on empty space.

Around a query the cells are visited ring by ring; with m the distance to the nearest side of the visited
block beyond which cells exist, every unseen point is at least m away, and the search ends as soon as the kth
best distance <= m.
Two additions bound the cost on any cloud: ranges of crowded cells are walked by skipping boxes (a million
equal points are passed in a few steps once k of them are found), and after `RINGS` rings without an end, for
a query far from all points, the whole list is walked in the same way, from the bound that the box nearest to
the query gives.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.launch import launch_sliced
from warp_kernels.neighbors_cells import (
    CROWDED,
    INFINITY,
    CellList,
    cell_of,
    nearest_leaf,
    row_gap,
    skip_blocks,
    visited_margin,
)

wp.set_module_options({"enable_backward": False})

RINGS = wp.constant(4)


@wp.func
def window_bound(cells: CellList, position: int, k: int, q: wp.vec3d):
    """Upper bound of the kth squared distance: the farthest of k + 1 points stored around `position`."""
    bound = wp.float64(INFINITY)
    if cells.count > k:
        first = wp.clamp(position - k / 2, 0, cells.count - k - 1)
        bound = wp.float64(0.0)
        for j in range(first, first + k + 1):
            bound = wp.max(bound, wp.length_sq(cells.points[j] - q))
        bound = bound * wp.float64(1.000000000001)
    return bound


@wp.func
def scan_nearest(
    cells: CellList,
    first: int,
    last: int,
    q: wp.vec3d,
    own: int,
    row: int,
    k: int,
    bound: wp.float64,
    worst_before: wp.float64,
    index: wp.array2d[wp.int32],
    distance: wp.array2d[wp.float64],
):
    """Insert the points of a range into the sorted list of a row; return the kth squared distance."""
    worst = worst_before
    j = int(first)
    long = last - first > CROWDED
    while j < last:
        stop = last
        if long:
            end = int(j)
            if (j & 15) == 0:
                end = skip_blocks(cells, j, q, worst, bound)
            stop = wp.min(last, (j | 15) + 1)
            if end > j:
                j = end
                stop = end
        while j < stop:
            d = wp.length_sq(cells.points[j] - q)
            if d < worst and d <= bound and j != own:
                i = int(k - 1)
                while i > 0 and distance[row, i - 1] > d:
                    distance[row, i] = distance[row, i - 1]
                    index[row, i] = index[row, i - 1]
                    i -= 1
                distance[row, i] = d
                index[row, i] = j
                worst = distance[row, k - 1]
            j += 1
    return worst


@wp.func
def outward(i: int):
    """0, -1, 1, -2, 2, ...: rows near the query first, so that far ones are skipped."""
    step = (i + 1) / 2
    if (i & 1) == 1:
        step = -step
    return step


@wp.kernel
def nearest_kernel(
    offset: int,
    cells: CellList,
    queries: wp.array[wp.vec3d],
    query_order: wp.array[wp.int32],
    k: int,
    is_self: int,
    index: wp.array2d[wp.int32],
    distance: wp.array2d[wp.float64],
):
    s = wp.tid() + offset
    row = query_order[s]
    q = queries[s]
    own = int(-1)
    if is_self == 1:
        own = s
    for i in range(k):
        distance[row, i] = wp.float64(INFINITY)
        index[row, i] = -1
    c = cell_of(cells, q)
    worst = wp.float64(INFINITY)
    bound = wp.float64(INFINITY)
    here = (c[2] * cells.ny + c[1]) * cells.nx + c[0]
    crowd = cells.start[here + 1] - cells.start[here]
    if crowd > CROWDED:
        position = int(s)
        if is_self == 0:
            position = nearest_leaf(cells, q)
        bound = window_bound(cells, position, k, q)
    done = int(0)
    ring = int(1)
    while done == 0 and ring <= RINGS:
        x0 = wp.max(c[0] - ring, 0)
        x1 = wp.min(c[0] + ring, cells.nx - 1)
        for zi in range(2 * ring + 1):
            z = c[2] + outward(zi)
            dz = row_gap(q[2], cells.lower[2], cells.size, z, cells.nz)
            for yi in range(2 * ring + 1):
                y = c[1] + outward(yi)
                dy = row_gap(q[1], cells.lower[1], cells.size, y, cells.ny)
                if z < 0 or z >= cells.nz or y < 0 or y >= cells.ny or dy * dy + dz * dz > worst:
                    continue
                base = (z * cells.ny + y) * cells.nx
                if ring == 1 or wp.abs(z - c[2]) == ring or wp.abs(y - c[1]) == ring:
                    worst = scan_nearest(
                        cells, cells.start[base + x0], cells.start[base + x1 + 1], q, own, row, k, bound,
                        worst, index, distance,
                    )  # fmt: skip
                else:
                    # Inner rows of a shell: only the two end cells are new. One call site, so one copy of the
                    # code.
                    for side in range(2):
                        x = c[0] - ring + side * 2 * ring
                        if x >= 0 and x < cells.nx:
                            worst = scan_nearest(
                                cells, cells.start[base + x], cells.start[base + x + 1], q, own, row, k,
                                bound, worst, index, distance,
                            )  # fmt: skip
        m = visited_margin(cells, c, ring, q)
        if m >= wp.float64(INFINITY) * wp.float64(0.5) or (m > wp.float64(0.0) and worst <= m * m):
            done = 1
        ring += 1
    if done == 0:
        position = int(s)
        if is_self == 0:
            position = nearest_leaf(cells, q)
        bound = wp.min(worst * wp.float64(1.000000000001), window_bound(cells, position, k, q))
        worst = wp.float64(INFINITY)
        for i in range(k):
            distance[row, i] = wp.float64(INFINITY)
            index[row, i] = -1
        worst = scan_nearest(cells, 0, cells.count, q, own, row, k, bound, worst, index, distance)
    for i in range(k):
        j = index[row, i]
        if j >= 0:
            index[row, i] = cells.order[j]
            distance[row, i] = wp.sqrt(distance[row, i])
        else:
            distance[row, i] = wp.float64(wp.inf)


def nearest(cells, queries, query_order, is_self: bool, index, distance) -> None:
    """Find the k nearest points of each query, ascending; missing ones get index -1 and an infinite distance.

    Args:
        cells: The `CellList` that is searched.
        queries: Positions, shape (m,) of vec3d, best in cell order.
        query_order: Row of the result for each query, int32, shape (m,).
        is_self: True when `queries` is `cells.points`: then the point itself is left out.
        index: Neighbours by their original number, int32, shape (m, k).
        distance: Their distances, float64, shape (m, k).
    """
    launch_sliced(
        nearest_kernel,
        queries.shape[0],
        [cells, queries, query_order, index.shape[1], int(is_self)],
        [index, distance],
        queries.device,
    )
