"""Cell list: points sorted by cell, with bounding boxes over runs of points, so that crowded cells stay fast.

Points are stored in cell order (x fastest), so that a row of cells is one contiguous range. Every 16^l
consecutive points (l = 1, 2, ...) have a bounding box: a range longer than `CROWDED` is walked by skipping
the largest aligned block whose box is out of reach. Border cells are unbounded outward, so points may leave
the box of the grid.

Everything is float64, and points of the plane are stored with z = 0: one layer of cells, the same code.
No adjoint: indices are constants of differentiation.
"""

from __future__ import annotations

from typing import Any

import warp as wp

wp.set_module_options({"enable_backward": False})

CROWDED = wp.constant(48)
MAX_LEVELS = 7
BLOCK = 16
INFINITY = wp.constant(wp.float64(1.0e300))

vec8i = wp.types.vector(length=8, dtype=wp.int32)


@wp.struct
class CellList:
    """Points sorted by cell, with boxes over runs of 16, 256, ... points."""

    lower: wp.vec3d
    size: wp.float64
    inv_size: wp.float64
    nx: int
    ny: int
    nz: int
    count: int
    levels: int
    level_start: vec8i
    start: wp.array[wp.int32]
    order: wp.array[wp.int32]
    points: wp.array[wp.vec3d]
    box_lower: wp.array[wp.vec3d]
    box_upper: wp.array[wp.vec3d]


@wp.func
def lift(p: wp.vec2d):
    """A point of the plane as a point of space."""
    return wp.vec3d(p[0], p[1], wp.float64(0.0))


@wp.func
def lift(p: wp.vec3d):
    return p


@wp.func
def cell_coordinate(x: wp.float64, lower: wp.float64, inv_size: wp.float64, n: int):
    """Cell along one axis; clamped before the conversion, which far queries would overflow."""
    return int(wp.clamp(wp.floor((x - lower) * inv_size), wp.float64(0.0), wp.float64(n - 1)))


@wp.func
def cell_of(cells: CellList, p: wp.vec3d):
    return wp.vec3i(
        cell_coordinate(p[0], cells.lower[0], cells.inv_size, cells.nx),
        cell_coordinate(p[1], cells.lower[1], cells.inv_size, cells.ny),
        cell_coordinate(p[2], cells.lower[2], cells.inv_size, cells.nz),
    )


@wp.func
def box_distance_squared(lower: wp.vec3d, upper: wp.vec3d, q: wp.vec3d):
    zero = wp.float64(0.0)
    dx = wp.max(zero, wp.max(lower[0] - q[0], q[0] - upper[0]))
    dy = wp.max(zero, wp.max(lower[1] - q[1], q[1] - upper[1]))
    dz = wp.max(zero, wp.max(lower[2] - q[2], q[2] - upper[2]))
    return dx * dx + dy * dy + dz * dz


@wp.func
def skip_blocks(cells: CellList, j: int, q: wp.vec3d, worst: wp.float64, bound: wp.float64):
    """End of the largest block from j without a squared distance < worst and <= bound; else j."""
    level = int(0)
    while level < cells.levels and (j & ((1 << (4 * (level + 1))) - 1)) == 0:
        level += 1
    end = int(j)
    while level > 0 and end == j:
        b = cells.level_start[level - 1] + (j >> (4 * level))
        d = box_distance_squared(cells.box_lower[b], cells.box_upper[b], q)
        if d >= worst or d > bound:
            end = j + (1 << (4 * level))
        level -= 1
    return end


@wp.func
def row_gap(x: wp.float64, lower: wp.float64, h: wp.float64, i: int, n: int):
    """Distance from x to the slab of cells i along one axis; border slabs are unbounded outward."""
    gap = wp.float64(0.0)
    if i > 0:
        gap = wp.max(gap, lower + wp.float64(i) * h - x)
    if i < n - 1:
        gap = wp.max(gap, x - lower - wp.float64(i + 1) * h)
    return wp.max(wp.float64(0.0), gap - wp.float64(1.0e-9) * h)


@wp.func
def visited_margin(cells: CellList, c: wp.vec3i, ring: int, q: wp.vec3d):
    """Distance from q to the nearest side of the visited block with cells beyond, or INFINITY."""
    m = wp.float64(INFINITY)
    h = cells.size
    if c[0] - ring > 0:
        m = wp.min(m, q[0] - cells.lower[0] - wp.float64(c[0] - ring) * h)
    if c[0] + ring + 1 < cells.nx:
        m = wp.min(m, cells.lower[0] + wp.float64(c[0] + ring + 1) * h - q[0])
    if c[1] - ring > 0:
        m = wp.min(m, q[1] - cells.lower[1] - wp.float64(c[1] - ring) * h)
    if c[1] + ring + 1 < cells.ny:
        m = wp.min(m, cells.lower[1] + wp.float64(c[1] + ring + 1) * h - q[1])
    if c[2] - ring > 0:
        m = wp.min(m, q[2] - cells.lower[2] - wp.float64(c[2] - ring) * h)
    if c[2] + ring + 1 < cells.nz:
        m = wp.min(m, cells.lower[2] + wp.float64(c[2] + ring + 1) * h - q[2])
    # Rounding may put a point into the cell beside its own.
    return m - wp.float64(1.0e-9) * h


@wp.func
def nearest_leaf(cells: CellList, q: wp.vec3d):
    """First point of the run of 16 that a greedy descent through the boxes reaches."""
    first = int(0)
    last = (cells.count - 1) >> (4 * cells.levels)
    for up in range(cells.levels):
        level = cells.levels - up
        best = wp.float64(INFINITY) * wp.float64(2.0)
        block = int(first)
        for b in range(first, last + 1):
            k = cells.level_start[level - 1] + b
            d = box_distance_squared(cells.box_lower[k], cells.box_upper[k], q)
            if d < best:
                best = d
                block = b
        first = block * 16
        last = wp.min(first + 15, (cells.count - 1) >> (4 * (level - 1)))
    return first


@wp.kernel
def cell_key_kernel(
    points: wp.array[wp.vec3d],
    cells: CellList,
    key: wp.array[wp.int32],
    order: wp.array[wp.int32],
    count: wp.array[wp.int32],
    occupied: wp.array[wp.int32],
):
    p = wp.tid()
    c = cell_of(cells, points[p])
    k = (c[2] * cells.ny + c[1]) * cells.nx + c[0]
    key[p] = k
    order[p] = p
    before = wp.atomic_add(count, k + 1, 1)
    if before == 0:
        wp.atomic_add(occupied, 0, 1)
    wp.atomic_max(occupied, 1, before + 1)


@wp.kernel
def gather_kernel(
    points: wp.array[wp.vec3d],
    order: wp.array[wp.int32],
    sorted_points: wp.array[wp.vec3d],
):
    p = wp.tid()
    sorted_points[p] = points[order[p]]


@wp.kernel
def leaf_box_kernel(
    points: wp.array[wp.vec3d],
    count: int,
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
):
    b = wp.tid()
    lo = points[16 * b]
    hi = points[16 * b]
    for j in range(16 * b + 1, wp.min(16 * b + 16, count)):
        lo = wp.min(lo, points[j])
        hi = wp.max(hi, points[j])
    lower[b] = lo
    upper[b] = hi


@wp.kernel
def parent_box_kernel(
    child_start: int,
    child_count: int,
    parent_start: int,
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
):
    b = wp.tid()
    lo = lower[child_start + 16 * b]
    hi = upper[child_start + 16 * b]
    for j in range(child_start + 16 * b + 1, child_start + wp.min(16 * b + 16, child_count)):
        lo = wp.min(lo, lower[j])
        hi = wp.max(hi, upper[j])
    lower[parent_start + b] = lo
    upper[parent_start + b] = hi


@wp.kernel
def lift_kernel(
    points: wp.array[Any],
    lifted: wp.array[wp.vec3d],
):
    p = wp.tid()
    lifted[p] = lift(points[p])


for _vector in (wp.vec2d, wp.vec3d):
    wp.overload(lift_kernel, {"points": wp.array(dtype=_vector)})


def lift_points(points: wp.array, out: wp.array) -> None:
    """Write points (n,) of vec2d or vec3d as vec3d (n,); z = 0 in the plane."""
    wp.launch(lift_kernel, dim=points.shape[0], inputs=[points], outputs=[out], device=points.device)


def sort_by_cell(points, cells, key, order, count, occupied) -> None:
    """Fill `order` (stable by cell) and `cells.start`; `occupied` gets the occupied cells and the largest
    count.

    Args:
        points: Positions, shape (n,) of vec3d.
        key, order: Work space int32, shape (2 n,), as the radix sort wants it.
        count: Work space int32, shape (cells + 1,).
        occupied: int32, shape (2,).
    """
    count_cells(points, cells, key, order, count, occupied)
    wp.utils.array_scan(count, cells.start, inclusive=True)
    wp.utils.radix_sort_pairs(key, order, points.shape[0])


def count_cells(points, cells, key, order, count, occupied) -> None:
    """First half of `sort_by_cell`: the cell of every point and the histogram."""
    count.zero_()
    occupied.zero_()
    wp.launch(
        cell_key_kernel,
        dim=points.shape[0],
        inputs=[points, cells],
        outputs=[key, order, count, occupied],
        device=points.device,
    )


def gather_points(points, order, out) -> None:
    """Write points[order] to `out`, shape (n,) of vec3d."""
    wp.launch(gather_kernel, dim=out.shape[0], inputs=[points, order], outputs=[out], device=out.device)


def fill_cells(points, cells) -> None:
    """Gather `cells.points` by `cells.order` and build the boxes of all levels."""
    n = points.shape[0]
    device = points.device
    gather_points(points, cells.order, cells.points)
    size = -(-n // BLOCK)
    wp.launch(
        leaf_box_kernel,
        dim=size,
        inputs=[cells.points, n],
        outputs=[cells.box_lower, cells.box_upper],
        device=device,
    )
    for level in range(1, cells.levels):
        parent = -(-size // BLOCK)
        wp.launch(
            parent_box_kernel,
            dim=parent,
            inputs=[cells.level_start[level - 1], size, cells.level_start[level]],
            outputs=[cells.box_lower, cells.box_upper],
            device=device,
        )
        size = parent
