"""Greedy choice of non-overlapping faces in order of rank, in rounds. Triangles in 3D, segments in 2D.

A face is compared with chosen faces that share a vertex with it, with no others. So a face can be decided as
soon as every better face at each of its vertices is decided: it is then the head of the ranked list of all
its vertices. Each round decides all such faces; they share no vertex, hence the result is that of the serial
greedy loop, whatever the number of threads.

A triangle is refused when

    an edge of it has two chosen faces already (it would be the third) and is no link of a junction line,
    it folds back on a chosen neighbour: angle across the shared edge below `fold`,
    it overlaps a chosen face at a shared vertex: normals within `coplanar` and sectors that intersect,
    fewer than `least_open` of its edges have exactly one chosen face (0 accepts free faces, 2 closes gaps
    only).

A segment is refused when an end of it has two chosen segments, or one that leaves within the angle `fold`.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

UNDECIDED = wp.constant(0)
CHOSEN = wp.constant(1)
REFUSED = wp.constant(2)

_SECTOR_MARGIN = wp.constant(wp.float64(0.03))


@wp.struct
class SelectionRule:
    """Thresholds of the choice."""

    cos_fold: wp.float64
    """Cosine of the least angle between two faces across their edge."""
    cos_coplanar: wp.float64
    """Cosine of the largest angle between normals of faces whose overlap is tested."""
    least_open: wp.int32
    """How many edges with exactly one chosen face a new face needs."""


@wp.struct
class RankedFaces:
    """Candidates in order of rank, and for every vertex the candidates that use it, in the same order."""

    start: wp.array[wp.int32]
    """First entry of each vertex in `face`, shape (n + 1,)."""
    face: wp.array[wp.int32]
    """Candidate rows, best first within a vertex."""
    head: wp.array[wp.int32]
    """First undecided entry of each vertex, shape (n,)."""
    link_start: wp.array[wp.int32]
    """First entry of each vertex in `link_vertex`, shape (n + 1,)."""
    link_vertex: wp.array[wp.int32]
    """Other ends of the links of each vertex: edges on junction lines, which may have any number of faces."""


@wp.func
def corner_of(faces: wp.array2d[wp.int32], f: int, v: int):
    """Return the corner 0..2 of a triangle at vertex v, -1 where it does not use it."""
    if faces[f, 0] == v:
        return 0
    if faces[f, 1] == v:
        return 1
    if faces[f, 2] == v:
        return 2
    return -1


@wp.func
def is_link(ranked: RankedFaces, a: int, b: int):
    """Whether edge a b lies on a junction line."""
    for i in range(ranked.link_start[a], ranked.link_start[a + 1]):
        if ranked.link_vertex[i] == b:
            return True
    return False


@wp.func
def in_sector(u: wp.vec3d, w: wp.vec3d, normal: wp.vec3d, d: wp.vec3d):
    """Whether direction d, projected along a unit normal, lies strictly inside the sector from u to w."""
    side_u = wp.dot(wp.cross(u, d), normal)
    side_w = wp.dot(wp.cross(d, w), normal)
    size = _SECTOR_MARGIN * wp.length(d)
    return side_u > size * wp.length(u) and side_w > size * wp.length(w)


@wp.func
def sectors_overlap(
    u: wp.vec3d,
    w: wp.vec3d,
    normal: wp.vec3d,
    p: wp.vec3d,
    q: wp.vec3d,
    other: wp.vec3d,
    cos_coplanar: wp.float64,
):
    """Whether the corners u, w and p, q of two triangles at one vertex overlap; unit normals."""
    if wp.abs(wp.dot(normal, other)) < cos_coplanar:
        return False
    middle = wp.normalize(u) + wp.normalize(w)
    middle_other = wp.normalize(p) + wp.normalize(q)
    if in_sector(u, w, normal, middle_other) or in_sector(u, w, normal, p) or in_sector(u, w, normal, q):
        return True
    return in_sector(p, q, other, middle) or in_sector(p, q, other, u) or in_sector(p, q, other, w)


@wp.func
def triangle_fits(
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    ranked: RankedFaces,
    state: wp.array[wp.int32],
    rule: SelectionRule,
    f: int,
):
    """Whether a triangle goes with the chosen ones."""
    open_edges = int(0)
    normal = wp.normalize(
        wp.cross(points[faces[f, 1]] - points[faces[f, 0]], points[faces[f, 2]] - points[faces[f, 0]])
    )
    for corner in range(3):
        a = faces[f, corner]
        b = faces[f, (corner + 1) % 3]
        c = faces[f, (corner + 2) % 3]
        x = points[a]
        u = points[b] - x
        w = points[c] - x
        along = wp.normalize(u)
        rise = wp.normalize(w - wp.dot(w, along) * along)
        on_edge = int(0)
        for i in range(ranked.start[a], ranked.head[a]):
            g = ranked.face[i]
            if state[g] == CHOSEN:
                k = corner_of(faces, g, a)
                g1 = faces[g, (k + 1) % 3]
                g2 = faces[g, (k + 2) % 3]
                p = points[g1] - x
                q = points[g2] - x
                if g1 == b or g2 == b:
                    on_edge += 1
                    far = q
                    if g2 == b:
                        far = p
                    rise_other = wp.normalize(far - wp.dot(far, along) * along)
                    if wp.dot(rise, rise_other) > rule.cos_fold:
                        return False
                if sectors_overlap(u, w, normal, p, q, wp.normalize(wp.cross(p, q)), rule.cos_coplanar):
                    return False
        if on_edge > 1 and not is_link(ranked, a, b):
            return False
        if on_edge > 0:
            open_edges += 1
    return open_edges >= rule.least_open


@wp.func
def segment_fits(
    points: wp.array[wp.vec2d],
    segments: wp.array2d[wp.int32],
    ranked: RankedFaces,
    state: wp.array[wp.int32],
    rule: SelectionRule,
    f: int,
):
    """Whether a segment goes with the chosen ones."""
    for corner in range(2):
        a = segments[f, corner]
        u = wp.normalize(points[segments[f, 1 - corner]] - points[a])
        degree = int(0)
        for i in range(ranked.start[a], ranked.head[a]):
            g = ranked.face[i]
            if state[g] == CHOSEN:
                degree += 1
                b = segments[g, 0] + segments[g, 1] - a
                if wp.dot(u, wp.normalize(points[b] - points[a])) > rule.cos_fold:
                    return False
        if degree >= 2:
            return False
    return True


@wp.kernel
def ready_kernel(
    active: wp.array[wp.int32],
    faces: wp.array2d[wp.int32],
    ranked: RankedFaces,
    ready: wp.array[wp.int32],
):
    v = active[wp.tid()]
    ready[v] = -1
    h = ranked.head[v]
    if h == ranked.start[v + 1]:
        return
    f = ranked.face[h]
    for corner in range(faces.shape[1]):
        other = faces[f, corner]
        # The lowest vertex owns the face; it is ready when it heads the lists of all its vertices.
        if other < v or ranked.face[ranked.head[other]] != f:
            return
    ready[v] = f


@wp.kernel
def decide_triangles_kernel(
    active: wp.array[wp.int32],
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    ready: wp.array[wp.int32],
    rule: SelectionRule,
    ranked: RankedFaces,
    state: wp.array[wp.int32],
):
    v = active[wp.tid()]
    f = ready[v]
    if f < 0:
        return
    if triangle_fits(points, faces, ranked, state, rule, f):
        state[f] = CHOSEN
    else:
        state[f] = REFUSED
    for corner in range(3):
        ranked.head[faces[f, corner]] += 1


@wp.kernel
def decide_segments_kernel(
    active: wp.array[wp.int32],
    points: wp.array[wp.vec2d],
    faces: wp.array2d[wp.int32],
    ready: wp.array[wp.int32],
    rule: SelectionRule,
    ranked: RankedFaces,
    state: wp.array[wp.int32],
):
    v = active[wp.tid()]
    f = ready[v]
    if f < 0:
        return
    if segment_fits(points, faces, ranked, state, rule, f):
        state[f] = CHOSEN
    else:
        state[f] = REFUSED
    for corner in range(2):
        ranked.head[faces[f, corner]] += 1


def selection_round(
    active: wp.array,
    points: wp.array,
    faces: wp.array,
    ranked: RankedFaces,
    rule: SelectionRule,
    state: wp.array,
    ready: wp.array,
) -> None:
    """Decide every candidate that heads the lists of all its vertices.

    Args:
        active: The vertices that have undecided candidates, and any others, shape (a,), int32.
        points: Positions, shape (n,), vec3d for triangles and vec2d for segments.
        faces: Candidates, shape (f, d), int32.
        ranked: Candidates by vertex; heads are advanced.
        rule: Thresholds.
        state: UNDECIDED, CHOSEN or REFUSED per candidate, shape (f,); modified.
        ready: Work space, shape (n,), int32.
    """
    device = points.device
    wp.launch(ready_kernel, dim=len(active), inputs=[active, faces, ranked], outputs=[ready], device=device)
    kernel = decide_triangles_kernel if points.dtype == wp.vec3d else decide_segments_kernel
    wp.launch(
        kernel,
        dim=len(active),
        inputs=[active, points, faces, ready, rule],
        outputs=[ranked, state],
        device=device,
    )
