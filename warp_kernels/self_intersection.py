"""Self-intersection of triangle meshes: pairs from a bounding volume hierarchy, tested in float64.

Two triangles without a common vertex intersect when an edge of one crosses the other, which is tested by
signs of volumes

    [a, b, c, d] = dot(cross(b - a, c - a), d - a)

or, in one plane, when their edges cross or one holds a corner of the other. With one common vertex the two
opposite edges are tested; faces with a common edge are neighbours, not intersections. Contact alone does not
count: a volume within 1e-14 of the cube of the edge length is taken as zero.

Source: Guigue & Devillers 2003 (the volume tests); the rule for neighbours is that of the VCG library.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

_ZERO = wp.constant(wp.float64(0.0))
_TINY = wp.constant(wp.float64(1.0e-14))


@wp.func
def volume(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, d: wp.vec3d):
    """Six times the signed volume of a tetrahedron; zero where it is within rounding of flat."""
    u = b - a
    v = c - a
    w = d - a
    value = wp.dot(wp.cross(u, v), w)
    size = wp.max(wp.max(wp.length_sq(u), wp.length_sq(v)), wp.length_sq(w))
    if value * value <= _TINY * _TINY * size * size * size:
        return _ZERO
    return value


@wp.func
def edge_crosses(p: wp.vec3d, q: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Whether the segment p q passes through the inside of the triangle a b c."""
    if volume(a, b, c, p) * volume(a, b, c, q) >= _ZERO:
        return False
    x = volume(p, q, a, b)
    y = volume(p, q, b, c)
    z = volume(p, q, c, a)
    return (x > _ZERO and y > _ZERO and z > _ZERO) or (x < _ZERO and y < _ZERO and z < _ZERO)


@wp.func
def turn(n: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Twice the signed area of a triangle seen along the unit normal n; zero within rounding."""
    value = wp.dot(n, wp.cross(b - a, c - a))
    if wp.abs(value) <= _TINY * wp.max(wp.length_sq(b - a), wp.length_sq(c - a)):
        return _ZERO
    return value


@wp.func
def segments_cross(n: wp.vec3d, p: wp.vec3d, q: wp.vec3d, a: wp.vec3d, b: wp.vec3d):
    """Whether two segments in a plane with unit normal n cross in their insides."""
    return turn(n, p, q, a) * turn(n, p, q, b) < _ZERO and turn(n, a, b, p) * turn(n, a, b, q) < _ZERO


@wp.func
def holds(n: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, p: wp.vec3d):
    """Whether a point in the plane of a triangle lies in its inside."""
    x = turn(n, a, b, p)
    y = turn(n, b, c, p)
    z = turn(n, c, a, p)
    return (x > _ZERO and y > _ZERO and z > _ZERO) or (x < _ZERO and y < _ZERO and z < _ZERO)


@wp.func
def on_one_side(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, p: wp.vec3d, q: wp.vec3d, r: wp.vec3d):
    """Whether p, q and r lie on the same side of the plane through a, b and c."""
    x = volume(a, b, c, p)
    if x == _ZERO or x * volume(a, b, c, q) <= _ZERO:
        return False
    return x * volume(a, b, c, r) > _ZERO


@wp.func
def separate_triangles_intersect(
    a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, p: wp.vec3d, q: wp.vec3d, r: wp.vec3d
):
    """Whether two triangles without a common vertex intersect."""
    if on_one_side(a, b, c, p, q, r) or on_one_side(p, q, r, a, b, c):
        return False
    if edge_crosses(p, q, a, b, c) or edge_crosses(q, r, a, b, c) or edge_crosses(r, p, a, b, c):
        return True
    if edge_crosses(a, b, p, q, r) or edge_crosses(b, c, p, q, r) or edge_crosses(c, a, p, q, r):
        return True
    if volume(a, b, c, p) != _ZERO or volume(a, b, c, q) != _ZERO or volume(a, b, c, r) != _ZERO:
        return False
    n = wp.normalize(wp.cross(b - a, c - a))
    for i in range(3):
        x = a
        y = b
        if i == 1:
            x = b
            y = c
        if i == 2:
            x = c
            y = a
        if segments_cross(n, x, y, p, q) or segments_cross(n, x, y, q, r) or segments_cross(n, x, y, r, p):
            return True
    return holds(n, a, b, c, p) or holds(n, p, q, r, a)


@wp.func
def fan_triangles_intersect(o: wp.vec3d, b: wp.vec3d, c: wp.vec3d, q: wp.vec3d, r: wp.vec3d):
    """Whether two triangles o b c and o q r with one common vertex o intersect elsewhere."""
    u = b - o
    w = c - o
    middle = u + w
    # Most triangles of a fan lie beyond a plane through o from each other.
    if (
        wp.dot(middle, u) > _ZERO
        and wp.dot(middle, w) > _ZERO
        and wp.dot(middle, q - o) < _ZERO
        and wp.dot(middle, r - o) < _ZERO
    ):
        return False
    return edge_crosses(q, r, o, b, c) or edge_crosses(b, c, o, q, r)


@wp.func
def are_compared(group: wp.array[wp.int32], f: int, g: int):
    """Whether two triangles belong to one group or one of them to group 0."""
    if group.shape[0] == 0:
        return True
    return group[f] == group[g] or group[f] == 0 or group[g] == 0


@wp.func
def rounded_down(x: wp.float64):
    """A float32 below x."""
    y = wp.float32(x)
    return y - (wp.float32(1.2e-7) * wp.abs(y) + wp.float32(1.0e-37))


@wp.func
def rounded_up(x: wp.float64):
    """A float32 above x."""
    return -rounded_down(-x)


@wp.kernel
def box_kernel(
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    rows: wp.array[wp.int32],
    lower: wp.array[wp.vec3],
    upper: wp.array[wp.vec3],
):
    i = wp.tid()
    f = rows[i]
    a = points[faces[f, 0]]
    b = points[faces[f, 1]]
    c = points[faces[f, 2]]
    low = wp.min(wp.min(a, b), c)
    high = wp.max(wp.max(a, b), c)
    lower[i] = wp.vec3(rounded_down(low[0]), rounded_down(low[1]), rounded_down(low[2]))
    upper[i] = wp.vec3(rounded_up(high[0]), rounded_up(high[1]), rounded_up(high[2]))


@wp.kernel
def mark_kernel(rows: wp.array[wp.int32], marked: wp.array[wp.int32]):
    marked[rows[wp.tid()]] = 1


@wp.kernel
def self_intersection_kernel(
    bvh: wp.uint64,
    members: wp.array[wp.int32],
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    rows: wp.array[wp.int32],
    lower: wp.array[wp.vec3],
    upper: wp.array[wp.vec3],
    group: wp.array[wp.int32],
    is_queried: wp.array[wp.int32],
    hit: wp.array[wp.int32],
):
    f = rows[wp.tid()]
    query = wp.bvh_query_aabb(bvh, lower[wp.tid()], upper[wp.tid()])
    member = int(0)
    while wp.bvh_query_next(query, member):
        g = members[member]
        # Where both triangles are queried, the one with the lower number looks at the pair.
        twice = g < f and is_queried[f] != 0 and is_queried[g] != 0
        if g != f and not twice and are_compared(group, f, g):
            common = int(0)
            mine = int(0)
            theirs = int(0)
            for i in range(3):
                for j in range(3):
                    if faces[f, i] == faces[g, j]:
                        common += 1
                        mine = i
                        theirs = j
            if common < 2:
                a = points[faces[f, mine]]
                b = points[faces[f, (mine + 1) % 3]]
                c = points[faces[f, (mine + 2) % 3]]
                p = points[faces[g, theirs]]
                q = points[faces[g, (theirs + 1) % 3]]
                r = points[faces[g, (theirs + 2) % 3]]
                crosses = bool(False)
                if common == 1:
                    crosses = fan_triangles_intersect(a, b, c, q, r)
                else:
                    crosses = separate_triangles_intersect(a, b, c, p, q, r)
                if crosses:
                    # Every writer writes the same value.
                    hit[f] = 1
                    hit[g] = 1


def face_boxes(points: wp.array, faces: wp.array, rows: wp.array) -> tuple[wp.array, wp.array]:
    """Return the lower and upper corners of bounding boxes, rounded outward, shape (r,), vec3.

    Args:
        points: Vertices, shape (n,), vec3d.
        faces: Triangles, shape (f, 3), int32.
        rows: Triangles that are asked for, shape (r,), int32.
    """
    lower = wp.empty(len(rows), dtype=wp.vec3, device=points.device)
    upper = wp.empty(len(rows), dtype=wp.vec3, device=points.device)
    wp.launch(
        box_kernel, dim=len(rows), inputs=[points, faces, rows], outputs=[lower, upper], device=points.device
    )
    return lower, upper


def self_intersections(
    points: wp.array,
    faces: wp.array,
    queries: wp.array,
    rows: wp.array,
    boxes: tuple[wp.array, wp.array],
    bvh: wp.Bvh,
    members: wp.array,
    group: wp.array,
    out: wp.array | None = None,
) -> wp.array:
    """Mark triangles that intersect another one: pairs of `rows` and `members`, one of which is queried.

    Args:
        points: Vertices, shape (n,), vec3d.
        faces: Triangles, shape (f, 3), int32.
        queries: Triangles to be tested against all, shape (q,), int32: equal to `rows` or to `members`.
        rows: Triangles that search, shape (r,), int32.
        boxes: Their `face_boxes`.
        bvh: Hierarchy over the boxes of the triangles `members`.
        members: Triangles that are found, shape (m,), int32.
        group: Triangles of different groups other than 0 are not compared, shape (f,), int32; empty: all are.
        out: 1 for both partners of every intersecting pair, shape (f,), int32. Allocated and zeroed if None.
    """
    if out is None:
        out = wp.zeros(faces.shape[0], dtype=wp.int32, device=points.device)
    is_queried = wp.zeros(faces.shape[0], dtype=wp.int32, device=points.device)
    wp.launch(mark_kernel, dim=len(queries), inputs=[queries], outputs=[is_queried], device=points.device)
    wp.launch(
        self_intersection_kernel,
        dim=len(rows),
        inputs=[bvh.id, members, points, faces, rows, *boxes, group, is_queried],
        outputs=[out],
        device=points.device,
    )
    return out
