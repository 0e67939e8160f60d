"""Nearest other point of the minimum ball of each face, exact, over a cell list.

    q = argmin_{q not in face} |q - c|,  searched where  |q - c| <= r + reach

Points are compared by their power |w|^2 - 2 w.o (w = q - a, o = c - a), which orders them as the distance
from c does and does not cancel when the ball is large. Only rows of cells that meet the ball of radius r +
reach are read, and of a row only the chord; a face dies at the first point nearer than r - reach, where its
probability is zero anyway. Balls over more than `MANY_ROWS` rows, or outside the grid, walk the whole list
through its boxes instead.

With the neighbour lists of the vertices a first test settles most faces without reading cells: those with a
point deep inside, and those whose ball lies within the ball that the list of a vertex covers.
No adjoint: the nearest point is a constant of differentiation.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.launch import launch_sliced
from warp_kernels.minimum_ball import CLOSED, FREE, check_faces
from warp_kernels.neighbors_cells import (
    CROWDED,
    INFINITY,
    CellList,
    cell_coordinate,
    lift,
    nearest_leaf,
    row_gap,
    skip_blocks,
)
from warp_kernels.simplex import ball_offset, corner, edges_of, mean_of

wp.set_module_options({"enable_backward": False})

MANY_ROWS = wp.constant(100)


@wp.struct
class Ball:
    """A ball in the search: first vertex, centre, offset, squared radius, own vertices, power that kills."""

    first: wp.vec3d
    center: wp.vec3d
    offset: wp.vec3d
    rr: wp.float64
    kill: wp.float64
    own: wp.vec3i


@wp.func
def reach_power(r: wp.float64, reach: wp.float64):
    """Power of a point at distance r + reach from the centre."""
    return reach * (wp.float64(2.0) * r + reach)


@wp.func
def squared_distance_bound(ball: Ball, power: wp.float64):
    """Squared distance from the centre for a power, rounded up."""
    return (power + ball.rr) * wp.float64(1.000000000000004) + wp.float64(4.0e-15) * ball.rr


@wp.func
def power_of(ball: Ball, q: wp.vec3d):
    w = q - ball.first
    return wp.dot(w, w) - wp.float64(2.0) * wp.dot(w, ball.offset)


@wp.func
def scan_ball(cells: CellList, ball: Ball, first: int, last: int, power: wp.float64, index: int):
    """Best power and sorted index over a range, given those found before; ends early below `ball.kill`."""
    best = wp.float64(power)
    found = int(index)
    j = int(first)
    long = last - first > CROWDED
    while j < last and best >= ball.kill:
        stop = last
        if long:
            end = int(j)
            if (j & 15) == 0:
                bound = squared_distance_bound(ball, best)
                end = skip_blocks(cells, j, ball.center, wp.float64(INFINITY), bound)
            stop = wp.min(last, (j | 15) + 1)
            if end > j:
                j = end
                stop = end
        while j < stop:
            p = power_of(ball, cells.points[j])
            if p < best:
                o = cells.order[j]
                if o != ball.own[0] and o != ball.own[1] and o != ball.own[2]:
                    best = p
                    found = j
            j += 1
    return best, found


@wp.func
def search_ball(cells: CellList, ball: Ball, power: wp.float64):
    """Best power below `power` and its sorted index, or -1."""
    best = wp.float64(power)
    found = int(-1)
    c = ball.center
    h = cells.size
    whole = int(0)
    y0 = int(0)
    y1 = int(0)
    z0 = int(0)
    z1 = int(0)
    if best >= wp.float64(INFINITY):
        whole = 1
    else:
        reach = wp.sqrt(wp.max(squared_distance_bound(ball, best), wp.float64(0.0)))
        y0 = cell_coordinate(c[1] - reach, cells.lower[1], cells.inv_size, cells.ny)
        y1 = cell_coordinate(c[1] + reach, cells.lower[1], cells.inv_size, cells.ny)
        z0 = cell_coordinate(c[2] - reach, cells.lower[2], cells.inv_size, cells.nz)
        z1 = cell_coordinate(c[2] + reach, cells.lower[2], cells.inv_size, cells.nz)
        if (y1 - y0 + 1) * (z1 - z0 + 1) > MANY_ROWS:
            whole = 1
    if whole == 1:
        leaf = nearest_leaf(cells, c)
        best, found = scan_ball(cells, ball, leaf, wp.min(leaf + 16, cells.count), best, found)
        best, found = scan_ball(cells, ball, 0, cells.count, best, found)
        return best, found
    for z in range(z0, z1 + 1):
        dz = row_gap(c[2], cells.lower[2], h, z, cells.nz)
        for y in range(y0, y1 + 1):
            dy = row_gap(c[1], cells.lower[1], h, y, cells.ny)
            rest = squared_distance_bound(ball, best) - dy * dy - dz * dz
            if rest >= wp.float64(0.0) and best >= ball.kill:
                half = wp.sqrt(rest) + wp.float64(1.0e-9) * h
                x0 = cell_coordinate(c[0] - half, cells.lower[0], cells.inv_size, cells.nx)
                x1 = cell_coordinate(c[0] + half, cells.lower[0], cells.inv_size, cells.nx)
                base = (z * cells.ny + y) * cells.nx
                best, found = scan_ball(
                    cells, ball, cells.start[base + x0], cells.start[base + x1 + 1], best, found
                )
    return best, found


@wp.func
def lists_cover(ball: Ball, power: wp.float64, neighbor_distance: wp.array2d[wp.float64]):
    """True when the list of a vertex holds every point of the ball that `power` gives."""
    covered = bool(False)
    last = neighbor_distance.shape[1] - 1
    if last >= 0 and power < wp.float64(INFINITY):
        need = wp.sqrt(ball.rr) + wp.sqrt(squared_distance_bound(ball, power))
        for i in range(3):
            if ball.own[i] >= 0:
                if need < neighbor_distance[ball.own[i], last]:
                    covered = True
    return covered


@wp.kernel
def nearest_other_kernel(
    offset: int,
    cells: CellList,
    points: wp.array[Any],
    faces: wp.array[Any],
    scale: wp.array[wp.float64],
    reach: wp.float64,
    neighbor: wp.array2d[wp.int32],
    neighbor_distance: wp.array2d[wp.float64],
    nearest: wp.array[wp.int32],
):
    f = wp.tid() + offset
    face = faces[f]
    u, v = edges_of(points, face)
    o, valid = ball_offset(u, v)
    result = int(CLOSED)
    if valid == 1:
        ball = Ball()
        ball.first = lift(points[face[0]])
        ball.offset = lift(o)
        ball.center = ball.first + ball.offset
        ball.own = wp.vec3i(corner(face, 0), corner(face, 1), corner(face, 2))
        ball.rr = wp.dot(o, o)
        ball.kill = -wp.float64(INFINITY)
        best = wp.float64(INFINITY)
        seed = int(-1)
        if reach >= wp.float64(0.0):
            r = wp.sqrt(ball.rr)
            width = reach * mean_of(scale, face)
            best = reach_power(r, width)
            if width < r:
                ball.kill = -reach_power(r - width, width)
        # The neighbours of the vertices give a bound, or settle the face.
        k = int(0)
        while k < neighbor.shape[1] and best >= ball.kill:
            for i in range(3):
                own = ball.own[i]
                if own >= 0:
                    q = neighbor[own, k]
                    if q >= 0 and q != ball.own[0] and q != ball.own[1] and q != ball.own[2]:
                        p = power_of(ball, lift(points[q]))
                        if p < best:
                            best = p
                            seed = q
            k += 1
        if best >= ball.kill and not lists_cover(ball, best, neighbor_distance):
            best, found = search_ball(cells, ball, best)
            if found >= 0:
                seed = cells.order[found]
        if best >= ball.kill:
            result = FREE
            if seed >= 0:
                result = seed
    nearest[f] = result


for _vector, _face in ((wp.vec2d, wp.vec2i), (wp.vec3d, wp.vec3i)):
    wp.overload(nearest_other_kernel, {"points": wp.array(dtype=_vector), "faces": wp.array(dtype=_face)})


def nearest_other(
    cells, points, faces, scale, reach: float, neighbor, neighbor_distance, out: wp.array
) -> None:
    """Write the nearest other point of each ball, shape (f,): an index, `FREE` or `CLOSED`.

    Args:
        cells: `CellList` of `points`.
        points: Positions, shape (n,).
        faces: Vertex indices, shape (f,).
        scale: Length per point, shape (n,); the reach of a face is `reach` times the mean of its vertices.
        reach: Distances beyond r + reach give FREE, below r - reach CLOSED; negative: exact, without limit.
        neighbor: Nearest neighbours of each point, ascending, shape (n, k), k = 0 where there are none.
        neighbor_distance: Their distances, shape (n, k).
    """
    check_faces(points, faces)
    launch_sliced(
        nearest_other_kernel,
        faces.shape[0],
        [cells, points, faces, scale, wp.float64(reach), neighbor, neighbor_distance],
        [out],
        points.device,
    )
