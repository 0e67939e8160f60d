"""Cost and validity of edge collapses in a triangle mesh, one edge per thread.

The collapse of edge a b puts a vertex at the minimiser x of the sum of the quadrics of its ends,

    E(x) = x^T A x - 2 b^T x + c,     minimised with 0.002 w |x - m|^2 added, m the middle of the edge

limited to one edge length from m. Its cost is E(x) + shape * w |a - b|^2 (w: weight of the quadrics). It is
refused when the link condition fails (common neighbours other than those of the faces on the
edge), two border vertices lie on an inner edge, a face turns by more than `cos_turn` allows, a face gets an
aspect ratio above `largest_aspect` and above its old one, or a vertex gets more than MOST_FACES faces or,
on an inner edge, fewer than three. Costs and refusals are two kernels, as only cheap edges need to be judged.

Source: Garland & Heckbert 1997 (quadrics); Dey et al. 1999 (link condition).
"""

from __future__ import annotations

import warp as wp

from warp_kernels.triangle_geometry import aspect_ratio

wp.set_module_options({"enable_backward": False})

MOST_FACES = wp.constant(20)
_ZERO = wp.constant(wp.float64(0.0))
_REFUSED = wp.constant(wp.float64(1.0e300))


@wp.struct
class CollapseRule:
    """Limits of a collapse."""

    shape_weight: wp.float64
    cos_turn: wp.float64
    largest_aspect: wp.float64
    largest_error: wp.float64
    """Root mean square distance to the planes of the quadrics above which a collapse is refused."""


@wp.func
def uses_vertex(faces: wp.array2d[wp.int32], f: int, v: int):
    return faces[f, 0] == v or faces[f, 1] == v or faces[f, 2] == v


@wp.func
def is_neighbor(
    faces: wp.array2d[wp.int32], start: wp.array[wp.int32], fan: wp.array[wp.int32], a: int, v: int, last: int
):
    """Whether v is a corner of one of the faces of vertex a listed before `last`."""
    for i in range(start[a], last):
        if uses_vertex(faces, fan[i], v):
            return True
    return False


@wp.func
def common_neighbors(
    faces: wp.array2d[wp.int32], start: wp.array[wp.int32], fan: wp.array[wp.int32], a: int, b: int
):
    """Count the vertices joined to both a and b."""
    count = int(0)
    for i in range(start[a], start[a + 1]):
        f = fan[i]
        for k in range(3):
            v = faces[f, k]
            if v != a and v != b:
                if not is_neighbor(faces, start, fan, a, v, i):
                    if is_neighbor(faces, start, fan, b, v, start[b + 1]):
                        count += 1
    return count


@wp.func
def fan_stays_valid(
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    start: wp.array[wp.int32],
    fan: wp.array[wp.int32],
    v: int,
    other: int,
    x: wp.vec3d,
    rule: CollapseRule,
):
    """Whether the faces of v that stay may have their corner v at x."""
    for i in range(start[v], start[v + 1]):
        f = fan[i]
        if not uses_vertex(faces, f, other):
            p = faces[f, 1]
            q = faces[f, 2]
            if faces[f, 1] == v:
                p = faces[f, 2]
                q = faces[f, 0]
            if faces[f, 2] == v:
                p = faces[f, 0]
                q = faces[f, 1]
            old = wp.cross(points[p] - points[v], points[q] - points[v])
            new = wp.cross(points[p] - x, points[q] - x)
            if wp.dot(old, new) <= rule.cos_turn * wp.length(old) * wp.length(new):
                return False
            aspect = aspect_ratio(x, points[p], points[q])
            if aspect > rule.largest_aspect:
                if aspect > aspect_ratio(points[v], points[p], points[q]):
                    return False
    return True


@wp.kernel
def collapse_cost_kernel(
    points: wp.array[wp.vec3d],
    edges: wp.array2d[wp.int32],
    matrix: wp.array[wp.mat33d],
    vector: wp.array[wp.vec3d],
    constant: wp.array[wp.float64],
    weight: wp.array[wp.float64],
    rule: CollapseRule,
    cost: wp.array[wp.float64],
    position: wp.array[wp.vec3d],
):
    e = wp.tid()
    a = edges[e, 0]
    b = edges[e, 1]
    w = weight[a] + weight[b]
    middle = wp.float64(0.5) * (points[a] + points[b])
    length = wp.length(points[b] - points[a])
    A = matrix[a] + matrix[b]
    r = vector[a] + vector[b]
    pull = wp.float64(0.002) * w + wp.float64(1.0e-9)
    step = wp.inverse(A + pull * wp.identity(n=3, dtype=wp.float64)) * (r - A * middle)
    size = wp.length(step)
    if size > length:
        step = step * (length / size)
    x = middle + step
    error = wp.dot(x, A * x) - wp.float64(2.0) * wp.dot(r, x) + constant[a] + constant[b]
    position[e] = x
    cost[e] = wp.max(error, _ZERO) + rule.shape_weight * w * length * length
    if error > rule.largest_error * rule.largest_error * w:
        cost[e] = _REFUSED


@wp.kernel
def collapse_valid_kernel(
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    edges: wp.array2d[wp.int32],
    edge_faces: wp.array[wp.int32],
    start: wp.array[wp.int32],
    fan: wp.array[wp.int32],
    is_border: wp.array[wp.int32],
    position: wp.array[wp.vec3d],
    rule: CollapseRule,
    rows: wp.array[wp.int32],
    valid: wp.array[wp.int32],
):
    i = wp.tid()
    e = rows[i]
    a = edges[e, 0]
    b = edges[e, 1]
    valid[i] = 0
    left = start[a + 1] - start[a] + start[b + 1] - start[b] - 2 * edge_faces[e]
    if left > MOST_FACES or (edge_faces[e] == 2 and left < 3):
        return
    if is_border[a] != 0 and is_border[b] != 0 and edge_faces[e] != 1:
        return
    if edge_faces[e] > 2 or common_neighbors(faces, start, fan, a, b) != edge_faces[e]:
        return
    if not fan_stays_valid(points, faces, start, fan, a, b, position[e], rule):
        return
    if not fan_stays_valid(points, faces, start, fan, b, a, position[e], rule):
        return
    valid[i] = 1


def collapse_costs(
    points: wp.array,
    edges: wp.array,
    quadrics: tuple[wp.array, wp.array, wp.array, wp.array],
    rule: CollapseRule,
) -> tuple[wp.array, wp.array]:
    """Evaluate the cost of collapsing every edge.

    Args:
        points: Vertices, shape (n,), vec3d.
        edges: Vertex pairs, shape (e, 2), int32.
        quadrics: A (n,) mat33d, b (n,) vec3d, c (n,) and w (n,) of the module docstring.
        rule: Limits.

    Returns:
        Costs, shape (e,), 1e300 where the error is too large, and positions, shape (e,), vec3d.
    """
    cost = wp.empty(edges.shape[0], dtype=wp.float64, device=points.device)
    position = wp.empty(edges.shape[0], dtype=wp.vec3d, device=points.device)
    wp.launch(
        collapse_cost_kernel,
        dim=edges.shape[0],
        inputs=[points, edges, *quadrics, rule],
        outputs=[cost, position],
        device=points.device,
    )
    return cost, position


def collapse_valid(
    points: wp.array,
    faces: wp.array,
    edges: wp.array,
    edge_faces: wp.array,
    start: wp.array,
    fan: wp.array,
    is_border: wp.array,
    position: wp.array,
    rule: CollapseRule,
    rows: wp.array,
) -> wp.array:
    """Tell which collapses are allowed.

    Args:
        points: Vertices, shape (n,), vec3d.
        faces: Triangles, shape (f, 3), int32.
        edges: Vertex pairs, shape (e, 2), int32.
        edge_faces: Faces on each edge, shape (e,), int32.
        start: First entry of each vertex in `fan`, shape (n + 1,), int32.
        fan: Faces by vertex, shape (3 f,), int32.
        is_border: 1 for vertices of open edges or of edges with three faces, shape (n,), int32.
        position: Where each collapse puts the vertex, shape (e,), vec3d.
        rule: Limits.
        rows: Edges to be judged, shape (r,), int32.

    Returns:
        1 where allowed, shape (r,), int32.
    """
    valid = wp.empty(rows.shape[0], dtype=wp.int32, device=points.device)
    wp.launch(
        collapse_valid_kernel,
        dim=rows.shape[0],
        inputs=[points, faces, edges, edge_faces, start, fan, is_border, position, rule, rows],
        outputs=[valid],
        device=points.device,
    )
    return valid
