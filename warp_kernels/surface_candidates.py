"""Pairs of surface primitives that may come near each other while every point stays in a box of its own.

    pair of vertex a and triangle b, or of edges a < b, without a common corner and not both static,
    whose boxes, one widened by `reach`, overlap

The boxes of the points are hulls of a straight motion. Trees over triangles and edges (single precision,
rounded outward) find the pairs; one pass counts, one writes, so that the order is that of the primitives.

    thickness of a pair   min(d_hat, half its distance at rest)    in one body
                          d_hat                                    of two bodies, or of a body and an obstacle
    weight of a pair      the smaller of the areas of its two primitives

Half the distance at rest keeps every pair silent at rest, however fine the mesh, and leaves none out; a pair
that touches at rest (`RESTING` of d_hat) has thickness 0 and is not watched.

Source: Li et al. 2020, Incremental Potential Contact, sections 4.2 and 5; the thickness of pairs is ours.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.surface_distance import CORNERS, nearest

wp.set_module_options({"enable_backward": False})

PARALLEL = wp.constant(wp.float64(1.0e-3))
"""Threshold of the mollifier over the squared lengths of both edges at rest."""
RESTING = wp.constant(wp.float64(1.0e-6))
"""Distance at rest over d_hat below which a pair of one body counts as touching."""


@wp.struct
class ContactSurface:
    """Vertices, edges and triangles of bodies and obstacles over one list of points, bodies first."""

    body: wp.array[wp.int32]
    """Which body each point belongs to, -1 for static ones."""
    rest: wp.array[wp.vec3d]
    """Points at rest [m]; static ones where they are."""
    vertices: wp.array[wp.int32]
    edges: wp.array2d[wp.int32]
    """Shape (e, 2)."""
    faces: wp.array2d[wp.int32]
    """Shape (f, 3)."""
    vertex_areas: wp.array[wp.float64]
    """[m^2], by number in `vertices`."""
    edge_areas: wp.array[wp.float64]
    face_areas: wp.array[wp.float64]
    d_hat: wp.float64
    """Largest thickness [m]."""
    with_self: wp.bool
    """Bodies feel themselves and each other."""
    with_static: wp.bool
    """Bodies feel what is static."""


@wp.struct
class Candidates:
    """Pairs and what stays the same of each."""

    corners: wp.array[wp.vec4i]
    is_edges: wp.array[wp.bool]
    thickness: wp.array[wp.float64]
    """[m]; 0 for a pair that is not watched."""
    weight: wp.array[wp.float64]
    """[m^2]."""
    threshold: wp.array[wp.float64]
    """Of the mollifier [m^4]; 0 for vertex and triangle."""


@wp.func
def rounded_down(v: wp.vec3d) -> wp.vec3f:
    f = wp.vec3f(v)
    return f - wp.float32(1.2e-7) * wp.abs(f)


@wp.func
def rounded_up(v: wp.vec3d) -> wp.vec3f:
    f = wp.vec3f(v)
    return f + wp.float32(1.2e-7) * wp.abs(f)


@wp.kernel
def point_boxes_kernel(
    x: wp.array[wp.vec3d],
    dx: wp.array[wp.vec3d],
    share: wp.float64,
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
):
    p = wp.tid()
    end = x[p] + share * dx[p]
    lower[p] = wp.min(x[p], end)
    upper[p] = wp.max(x[p], end)


@wp.kernel
def is_covered_kernel(
    x: wp.array[wp.vec3d],
    slack: wp.float64,
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
    outside: wp.array[wp.int32],
):
    p = wp.tid()
    a = lower[p] - x[p]
    b = x[p] - upper[p]
    if not (wp.max(wp.max(a), wp.max(b)) <= slack):
        outside[0] = 1  # every writer writes the same value


@wp.kernel
def simplex_boxes_kernel(
    simplices: wp.array2d[wp.int32],
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
    low: wp.array[wp.vec3f],
    high: wp.array[wp.vec3f],
):
    s = wp.tid()
    a = lower[simplices[s, 0]]
    b = upper[simplices[s, 0]]
    for k in range(1, simplices.shape[1]):
        a = wp.min(a, lower[simplices[s, k]])
        b = wp.max(b, upper[simplices[s, k]])
    low[s] = rounded_down(a)
    high[s] = rounded_up(b)


@wp.func
def may_meet(a: wp.int32, b: wp.int32, surface: ContactSurface) -> wp.bool:
    """Tell whether primitives with the corners a and b, of one primitive each, are to be watched."""
    one = surface.body[a]
    other = surface.body[b]
    if one < 0 and other < 0:
        return False
    if one < 0 or other < 0:
        return surface.with_static
    return surface.with_self


@wp.kernel
def pairs_kernel(
    surface: ContactSurface,
    face_tree: wp.uint64,
    edge_tree: wp.uint64,
    lower: wp.array[wp.vec3d],
    upper: wp.array[wp.vec3d],
    reach: wp.float64,
    start: wp.array[wp.int32],
    is_counting: wp.bool,
    count: wp.array[wp.int32],
    pairs: wp.array[wp.vec2i],
):
    q = wp.tid()
    vertex_count = surface.vertices.shape[0]
    margin = wp.vec3d(reach, reach, reach)
    found = int(0)
    other = wp.int32(0)
    if q < vertex_count:
        p = surface.vertices[q]
        query = wp.bvh_query_aabb(face_tree, rounded_down(lower[p] - margin), rounded_up(upper[p] + margin))
        while wp.bvh_query_next(query, other):
            a = surface.faces[other, 0]
            b = surface.faces[other, 1]
            c = surface.faces[other, 2]
            if p != a and p != b and p != c and may_meet(p, a, surface):
                if not is_counting:
                    pairs[start[q] + found] = wp.vec2i(q, other)
                found += 1
    else:
        e = q - vertex_count
        a = surface.edges[e, 0]
        b = surface.edges[e, 1]
        query = wp.bvh_query_aabb(
            edge_tree,
            rounded_down(wp.min(lower[a], lower[b]) - margin),
            rounded_up(wp.max(upper[a], upper[b]) + margin),
        )
        while wp.bvh_query_next(query, other):
            c = surface.edges[other, 0]
            d = surface.edges[other, 1]
            if other > e and a != c and a != d and b != c and b != d and may_meet(a, c, surface):
                if not is_counting:
                    pairs[start[q] + found] = wp.vec2i(q, other)
                found += 1
    if is_counting:
        count[q] = found


@wp.func
def edge_threshold(x: CORNERS) -> wp.float64:
    """Return the threshold of the mollifier of two edges at rest [m^4]."""
    return PARALLEL * wp.length_sq(x[1] - x[0]) * wp.length_sq(x[3] - x[2])


@wp.func
def corner_positions(corners: wp.vec4i, x: wp.array[wp.vec3d]) -> CORNERS:
    return wp.matrix_from_rows(x[corners[0]], x[corners[1]], x[corners[2]], x[corners[3]])


@wp.kernel
def describe_kernel(
    surface: ContactSurface,
    pairs: wp.array[wp.vec2i],
    corners: wp.array[wp.vec4i],
    is_edges: wp.array[wp.bool],
    thickness: wp.array[wp.float64],
    weight: wp.array[wp.float64],
    threshold: wp.array[wp.float64],
):
    k = wp.tid()
    q = pairs[k][0]
    other = pairs[k][1]
    vertex_count = surface.vertices.shape[0]
    four = wp.vec4i()
    second = wp.int32(0)
    if q < vertex_count:
        four = wp.vec4i(
            surface.vertices[q], surface.faces[other, 0], surface.faces[other, 1], surface.faces[other, 2]
        )
        second = four[1]
        weight[k] = wp.min(surface.vertex_areas[q], surface.face_areas[other])
    else:
        e = q - vertex_count
        four = wp.vec4i(
            surface.edges[e, 0], surface.edges[e, 1], surface.edges[other, 0], surface.edges[other, 1]
        )
        second = four[2]
        weight[k] = wp.min(surface.edge_areas[e], surface.edge_areas[other])
    corners[k] = four
    is_edges[k] = q >= vertex_count
    rest = corner_positions(four, surface.rest)
    thickness[k] = surface.d_hat
    if surface.body[four[0]] == surface.body[second]:
        d = wp.length(nearest(q >= vertex_count, rest).r)
        thickness[k] = wp.min(surface.d_hat, wp.float64(0.5) * d)
        if d <= RESTING * surface.d_hat:
            thickness[k] = wp.float64(0.0)
    threshold[k] = wp.float64(0.0)
    if q >= vertex_count:
        threshold[k] = edge_threshold(rest)


def point_boxes(x: wp.array, dx: wp.array, share: float, lower: wp.array, upper: wp.array) -> None:
    """Write the boxes of points that move from x to x + share dx, vec3d of shape (n,) each."""
    wp.launch(point_boxes_kernel, len(x), [x, dx, share], [lower, upper], device=x.device)


def leave_boxes(x: wp.array, slack: float, lower: wp.array, upper: wp.array, out: wp.array) -> None:
    """Set `out[0]` to 1 if a point is farther than `slack` [m] outside of its box, or not finite."""
    wp.launch(is_covered_kernel, len(x), [x, slack, lower, upper], [out], device=x.device)


def simplex_boxes(
    simplices: wp.array, lower: wp.array, upper: wp.array, low: wp.array, high: wp.array
) -> None:
    """Write the boxes of simplices, shape (s, k), from those of their points; vec3f of shape (s,)."""
    wp.launch(simplex_boxes_kernel, len(simplices), [simplices, lower, upper], [low, high], device=low.device)


def find_pairs(
    surface: ContactSurface, face_tree: wp.Bvh, edge_tree: wp.Bvh, lower: wp.array, upper: wp.array,
    reach: float, start: wp.array, count: wp.array | None, pairs: wp.array | None,
) -> None:  # fmt: skip
    """Count the pairs of each vertex, then edge, into `count`, or write them from `start` on into `pairs`.

    Args:
        lower, upper: Boxes of the points, vec3d of shape (n,).
        reach: How far one box of a pair is widened [m].
        start: First pair of each query, shape (v + e,).
        pairs: Query (vertex, or v + edge) and partner (triangle or edge), vec2i; None to count.
    """
    wp.launch(
        pairs_kernel,
        len(start),
        [surface, face_tree.id, edge_tree.id, lower, upper, reach, start, pairs is None],
        [count, pairs],
        device=lower.device,
    )


def describe_pairs(surface: ContactSurface, pairs: wp.array, out: Candidates) -> None:
    """Write corners, kind, thickness, weight and threshold of each pair, arrays of its length."""
    wp.launch(
        describe_kernel,
        len(pairs),
        [surface, pairs],
        [out.corners, out.is_edges, out.thickness, out.weight, out.threshold],
        device=pairs.device,
    )
