"""Which neighbours lie on the same sheet of a surface, where sheets nearly touch. 3D, float64.

Two points of a circular arc see each other at equal and opposite heights over their tangent planes, so that
for unit normals n_i, n_j, turned to the same side, and d = x_j - x_i

    height = |(n_i + n_j) . d| / 2

vanishes up to third order on one sheet, however curved, and is the distance of the sheets across two parallel
ones. A pair lies across sheets when |n_i . n_j| > `parallel` and height > `slope` |d|.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.sample_planes import least_eigenpair
from warp_kernels.simplex import ball_offset

wp.set_module_options({"enable_backward": False})

_SLACK = wp.constant(wp.float64(1.0e-9))
"""Rounding of a sum of votes."""


@wp.struct
class SheetRule:
    """When two points count as lying on different sheets."""

    parallel: wp.float64
    """Least |cosine| between their normals."""
    slope: wp.float64
    """Least height over their mean tangent plane, in units of their distance."""


@wp.func
def lies_across(points: wp.array[wp.vec3d], normals: wp.array[wp.vec3d], rule: SheetRule, i: int, j: int):
    """Whether points i and j lie on different sheets."""
    d = points[j] - points[i]
    other = normals[j]
    cosine = wp.dot(normals[i], other)
    if cosine < wp.float64(0.0):
        other = -other
    height = wp.float64(0.5) * wp.abs(wp.dot(normals[i] + other, d))
    return wp.abs(cosine) > rule.parallel and height > rule.slope * wp.length(d)


@wp.kernel
def sheet_neighbors_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    pool: wp.array2d[wp.int32],
    rule: SheetRule,
    kept: wp.array2d[wp.int32],
    crossing: wp.array[wp.int32],
):
    p = wp.tid()
    width = kept.shape[1]
    place = int(0)
    count = int(0)
    for s in range(pool.shape[1]):
        j = pool[p, s]
        if j >= 0:
            if lies_across(points, normals, rule, p, j):
                count += 1
            elif place < width:
                kept[p, place] = j
                place += 1
    while place < width:
        kept[p, place] = -1
        place += 1
    crossing[p] = count


@wp.func
def band_weight(height: wp.float64):
    """Weight of a point near a plane, its height in band widths: near exp(-height^2), zero beyond 2."""
    rest = wp.max(wp.float64(1.0) - wp.float64(0.25) * height * height, wp.float64(0.0))
    square = rest * rest
    return square * square


@wp.kernel
def refit_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    neighbors: wp.array2d[wp.int32],
    width: wp.float64,
    refitted: wp.array[wp.vec3d],
):
    p = wp.tid()
    x = points[p]
    n = normals[p]
    moment = wp.mat33d()
    for s in range(neighbors.shape[1]):
        j = neighbors[p, s]
        if j >= 0:
            d = points[j] - x
            height = wp.dot(n, d) / width
            moment += band_weight(height) * wp.outer(d, d)
    trace = wp.trace(moment)
    refitted[p] = n
    if trace > wp.float64(0.0):
        normal, _ = least_eigenpair(moment / trace)
        refitted[p] = normal


@wp.kernel
def vote_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    neighbors: wp.array2d[wp.int32],
    width: wp.float64,
    chosen: wp.array[wp.vec3d],
):
    p = wp.tid()
    x = points[p]
    most = wp.float64(-1.0)
    for c in range(-1, neighbors.shape[1]):
        j = p
        if c >= 0:
            j = neighbors[p, c]
        if j >= 0:
            n = normals[j]
            votes = wp.float64(0.0)
            for s in range(neighbors.shape[1]):
                k = neighbors[p, s]
                # A neighbour counts at most 1: no need to go on where all that are left bring no victory.
                if votes + wp.float64(neighbors.shape[1] - s) < most - _SLACK:
                    break
                if k >= 0:
                    height = wp.dot(n, points[k] - x) / width
                    votes += band_weight(height)
            if votes > most:
                most = votes
                chosen[p] = n


@wp.kernel
def nearest_on_sheet_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    queries: wp.array[wp.vec3d],
    query_normals: wp.array[wp.vec3d],
    pool: wp.array2d[wp.int32],
    parallel: wp.float64,
    stretch: wp.float64,
    nearest: wp.array[wp.int32],
):
    q = wp.tid()
    least = wp.float64(1.0e300)
    for s in range(pool.shape[1]):
        j = pool[q, s]
        if j >= 0:
            d = points[j] - queries[q]
            other = normals[j]
            cosine = wp.dot(query_normals[q], other)
            if cosine < wp.float64(0.0):
                other = -other
            cost = wp.dot(d, d)
            if wp.abs(cosine) > parallel:
                height = wp.float64(0.5) * stretch * wp.dot(query_normals[q] + other, d)
                cost += height * height
            if cost < least:
                least = cost
                nearest[q] = j


@wp.kernel
def sheet_margin_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    faces: wp.array[wp.vec3i],
    neighbors: wp.array2d[wp.int32],
    rule: SheetRule,
    margin: wp.array[wp.float64],
):
    f = wp.tid()
    face = faces[f]
    x = points[face[0]]
    o, valid = ball_offset(points[face[1]] - x, points[face[2]] - x)
    across = lies_across(points, normals, rule, face[0], face[1])
    across = across or lies_across(points, normals, rule, face[1], face[2])
    across = across or lies_across(points, normals, rule, face[2], face[0])
    if valid == 0 or across:
        margin[f] = -wp.float64(1.0)
        return
    c = x + o
    r = wp.length(o)
    nearest = wp.float64(1.0e300)
    for k in range(3):
        v = face[k]
        for s in range(neighbors.shape[1]):
            q = neighbors[v, s]
            if q >= 0 and q != face[0] and q != face[1] and q != face[2]:
                # A point across from another corner does not block the face either.
                a = face[(k + 1) % 3]
                b = face[(k + 2) % 3]
                distance = wp.length(points[q] - c)
                if distance < nearest:
                    if not lies_across(points, normals, rule, a, q) and not lies_across(
                        points, normals, rule, b, q
                    ):
                        nearest = distance
    margin[f] = (nearest - r) / r


def sheet_neighbors(
    points: wp.array, normals: wp.array, pool: wp.array, rule: SheetRule, kept: wp.array, crossing: wp.array
) -> None:
    """Keep the nearest neighbours on the sheet of each point.

    Args:
        points, normals: Positions and unit normals of any sign, shape (n,) of vec3d.
        pool: Neighbours, nearest first, -1 where missing, shape (n, m).
        kept: Output, the first ones on the same sheet, -1 where there are fewer, shape (n, k).
        crossing: Output, how many of the pool lie across, shape (n,).
    """
    check_array("normals", normals, wp.vec3d, (len(points),))
    check_array("kept", kept, wp.int32, (len(points), None))
    wp.launch(
        sheet_neighbors_kernel,
        dim=len(points),
        inputs=[points, normals, pool, rule],
        outputs=[kept, crossing],
        device=points.device,
    )


def sheet_margin(
    points: wp.array,
    normals: wp.array,
    faces: wp.array,
    neighbors: wp.array,
    rule: SheetRule,
    margin: wp.array,
) -> None:
    """Compute (d - R) / R per face, d the distance of the ball's centre to the nearest point of the sheet.

    Args:
        faces: Triangles, shape (f,) of vec3i.
        neighbors: Neighbours on the same sheet (`sheet_neighbors`), shape (n, k); other points are not looked
            at.
        margin: Output, shape (f,); -1 for a face without a ball, or with corners on different sheets.
    """
    check_array("faces", faces, wp.vec3i, (None,))
    wp.launch(
        sheet_margin_kernel,
        dim=len(faces),
        inputs=[points, normals, faces, neighbors, rule],
        outputs=[margin],
        device=points.device,
    )


def refit_normals(
    points: wp.array, normals: wp.array, neighbors: wp.array, width: float, refitted: wp.array
) -> None:
    """Fit planes through the points themselves, neighbours weighted by `band_weight(height / width)`.

    Args:
        normals: Planes before, from which heights are measured.
        refitted: Output, shape (n,).
    """
    wp.launch(
        refit_kernel,
        dim=len(points),
        inputs=[points, normals, neighbors, wp.float64(width)],
        outputs=[refitted],
        device=points.device,
    )


def vote_normals(
    points: wp.array, normals: wp.array, neighbors: wp.array, width: float, chosen: wp.array
) -> None:
    """Give each point that normal of its neighbours, or its own, whose plane through the point has most
    neighbours in it, counted by exp(-(height / width)^2).

    Args as in `refit_normals`; `chosen` is the output.
    """
    wp.launch(
        vote_kernel,
        dim=len(points),
        inputs=[points, normals, neighbors, wp.float64(width)],
        outputs=[chosen],
        device=points.device,
    )


def nearest_on_sheet(
    points: wp.array,
    normals: wp.array,
    queries: wp.array,
    query_normals: wp.array,
    pool: wp.array,
    parallel: float,
    stretch: float,
    nearest: wp.array,
) -> None:
    """Choose from each row of a pool the point of least |d|^2 + (stretch height)^2.

    Args:
        points, normals, queries, query_normals: Shape (n,) and (m,) of vec3d.
        pool: Rows of points, -1 where missing, shape (m, k).
        parallel: Normals less parallel than this have no common height.
        stretch: Weight of the height over the mean tangent plane.
        nearest: Output, shape (m,), int32.
    """
    wp.launch(
        nearest_on_sheet_kernel,
        dim=len(queries),
        inputs=[points, normals, queries, query_normals, pool, wp.float64(parallel), wp.float64(stretch)],
        outputs=[nearest],
        device=points.device,
    )
