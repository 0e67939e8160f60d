"""Closest point, first hit of a ray and generalised winding number of a triangle mesh, one query per thread.

Closest point: `wp.Mesh` finds the face in float32, the point is evaluated again on that face in float64.

Winding number of a point q: the sum over triangles of their solid angle over 4 pi,

    tan(angle / 2) = det(a, b, c) / (|a||b||c| + (a.b)|c| + (b.c)|a| + (c.a)|b|),     a, b, c = corners - q

(van Oosterom & Strackee 1983). A cluster of triangles farther than `accuracy` times its radius is replaced
by its first-order expansion about the centre p: r = p - q, N = sum A_i n_i and M = sum (c_i - p) (A_i n_i)^T,

    4 pi w = N.r / |r|^3 + trace(M) / |r|^3 - 3 r.M r / |r|^5

Source: Barill, Dickson, Schmidt, Levin, Jacobson 2018, Fast Winding Numbers for Soups and Clouds. Clusters
are the nodes of a complete binary tree over faces, halved along the longest side, stored as a heap (root 1).
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

FACES_PER_LEAF = 4

_FOUR_PI = wp.constant(wp.float64(12.566370614359172))
_LEAF = wp.constant(FACES_PER_LEAF)
_FAR = wp.constant(wp.float32(1.0e12))


@wp.struct
class WindingTree:
    """Clusters of triangles as a heap: node k has the children 2k and 2k + 1; row 0 is not used."""

    leaf_count: wp.int32
    """A power of two; node leaf_count + l is leaf l, which holds FACES_PER_LEAF corner rows."""
    corners: wp.array2d[wp.vec3d]
    """Corners of the triangles in tree order, shape (leaf_count * FACES_PER_LEAF, 3); padded with points."""
    center: wp.array[wp.vec3d]
    radius: wp.array[wp.float64]
    """Largest distance of a corner from the centre; negative for a node without triangles."""
    area_vector: wp.array[wp.vec3d]
    """N of the module docstring."""
    area_moment: wp.array[wp.mat33d]
    """M of the module docstring."""


@wp.func
def closest_barycentric(p: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Return barycentrics of the point of a triangle nearest to p (Ericson 2005, section 5.1.5)."""
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    ab = b - a
    ac = c - a
    d1 = wp.dot(ab, p - a)
    d2 = wp.dot(ac, p - a)
    d3 = wp.dot(ab, p - b)
    d4 = wp.dot(ac, p - b)
    d5 = wp.dot(ab, p - c)
    d6 = wp.dot(ac, p - c)
    va = d3 * d6 - d5 * d4
    vb = d5 * d2 - d1 * d6
    vc = d1 * d4 - d3 * d2
    if d1 <= zero and d2 <= zero:
        return wp.vec3d(one, zero, zero)
    if d3 >= zero and d4 <= d3:
        return wp.vec3d(zero, one, zero)
    if d6 >= zero and d5 <= d6:
        return wp.vec3d(zero, zero, one)
    if vc <= zero and d1 >= zero and d3 <= zero:
        v = d1 / (d1 - d3)
        return wp.vec3d(one - v, v, zero)
    if vb <= zero and d2 >= zero and d6 <= zero:
        w = d2 / (d2 - d6)
        return wp.vec3d(one - w, zero, w)
    if va <= zero and d4 - d3 >= zero and d5 - d6 >= zero:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return wp.vec3d(zero, one - w, w)
    total = va + vb + vc
    if total <= zero:
        return wp.vec3d(one, zero, zero)
    return wp.vec3d(va / total, vb / total, vc / total)


@wp.func
def solid_angle(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> wp.float64:
    """Return the signed solid angle of a triangle seen from the origin; 0 on its plane and on its corners."""
    la = wp.length(a)
    lb = wp.length(b)
    lc = wp.length(c)
    determinant = wp.dot(a, wp.cross(b, c))
    denominator = la * lb * lc + wp.dot(a, b) * lc + wp.dot(b, c) * la + wp.dot(c, a) * lb
    if determinant == wp.float64(0.0):
        return wp.float64(0.0)
    return wp.float64(2.0) * wp.atan2(determinant, denominator)


@wp.func
def next_after_subtree(node: int) -> int:
    """Return the heap index that follows a subtree in depth-first order, 0 after the last one."""
    k = node
    while (k & 1) == 1:
        k = k >> 1
    if k == 0:
        return 0
    return k + 1


@wp.func
def tree_winding_number(tree: WindingTree, q: wp.vec3d, accuracy: wp.float64) -> wp.float64:
    """Sum the solid angles of the near triangles and the expansions of the far clusters, over 4 pi."""
    total = wp.float64(0.0)
    node = int(1)
    while node > 0:
        reach = tree.radius[node]
        if reach < wp.float64(0.0):
            node = next_after_subtree(node)
        else:
            r = tree.center[node] - q
            d = wp.length(r)
            if d > accuracy * reach:
                m = tree.area_moment[node]
                inv = wp.float64(1.0) / (d * d * d)
                total += (wp.dot(tree.area_vector[node], r) + wp.trace(m)) * inv
                total -= wp.float64(3.0) * wp.dot(r, m * r) * inv / (d * d)
                node = next_after_subtree(node)
            elif node >= tree.leaf_count:
                first = (node - tree.leaf_count) * _LEAF
                for k in range(_LEAF):
                    i = first + k
                    total += solid_angle(
                        tree.corners[i, 0] - q, tree.corners[i, 1] - q, tree.corners[i, 2] - q
                    )
                node = next_after_subtree(node)
            else:
                node = 2 * node
    return total / _FOUR_PI


@wp.kernel
def winding_number_kernel(
    tree: WindingTree,
    accuracy: wp.float64,
    queries: wp.array[wp.vec3d],
    winding: wp.array[wp.float64],
):
    p = wp.tid()
    winding[p] = tree_winding_number(tree, queries[p], accuracy)


@wp.kernel
def closest_point_kernel(
    mesh: wp.uint64,
    points: wp.array[wp.vec3d],
    faces: wp.array2d[wp.int32],
    queries: wp.array[wp.vec3d],
    face: wp.array[wp.int32],
    barycentric: wp.array[wp.vec3d],
    closest: wp.array[wp.vec3d],
    distance: wp.array[wp.float64],
):
    p = wp.tid()
    q = queries[p]
    hit = wp.mesh_query_point_no_sign(
        mesh, wp.vec3(wp.float32(q[0]), wp.float32(q[1]), wp.float32(q[2])), _FAR
    )
    f = int(0)
    if hit.result:
        f = hit.face
    a = points[faces[f, 0]]
    b = points[faces[f, 1]]
    c = points[faces[f, 2]]
    w = closest_barycentric(q, a, b, c)
    x = w[0] * a + w[1] * b + w[2] * c
    face[p] = f
    barycentric[p] = w
    closest[p] = x
    distance[p] = wp.length(q - x)


@wp.kernel
def ray_distance_kernel(
    mesh: wp.uint64,
    origins: wp.array[wp.vec3],
    directions: wp.array[wp.vec3],
    limit: wp.float32,
    distance: wp.array[wp.float32],
):
    p = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[p], directions[p], limit)
    distance[p] = limit
    if hit.result:
        distance[p] = hit.t


def winding_number(
    tree: WindingTree,
    queries: wp.array,
    accuracy: float,
    out: wp.array | None = None,
) -> wp.array:
    """Evaluate the generalised winding number at points.

    Args:
        tree: Clusters of the mesh.
        queries: Positions, shape (m,), vec3d.
        accuracy: A cluster farther than this many of its radii is expanded; infinity sums every triangle.
        out: Result, shape (m,), float64. Allocated if None.
    """
    if out is None:
        out = wp.empty(len(queries), dtype=wp.float64, device=queries.device)
    wp.launch(
        winding_number_kernel,
        dim=len(queries),
        inputs=[tree, wp.float64(accuracy), queries],
        outputs=[out],
        device=queries.device,
        record_tape=False,
    )
    return out


def closest_point(
    mesh: wp.Mesh,
    points: wp.array,
    faces: wp.array,
    queries: wp.array,
) -> tuple[wp.array, wp.array, wp.array, wp.array]:
    """Find the nearest face of each query and the nearest point on it.

    Args:
        mesh: The triangles in float32, for the search alone.
        points: The same vertices, shape (n,), vec3d.
        faces: Vertex indices, shape (f, 3).
        queries: Positions, shape (m,), vec3d.

    Returns:
        face (m,), barycentric coordinates (m,), point (m,), distance (m,).
    """
    device = queries.device
    face = wp.empty(len(queries), dtype=wp.int32, device=device)
    barycentric = wp.empty(len(queries), dtype=wp.vec3d, device=device)
    closest = wp.empty(len(queries), dtype=wp.vec3d, device=device)
    distance = wp.empty(len(queries), dtype=wp.float64, device=device)
    wp.launch(
        closest_point_kernel,
        dim=len(queries),
        inputs=[mesh.id, points, faces, queries],
        outputs=[face, barycentric, closest, distance],
        device=device,
        record_tape=False,
    )
    return face, barycentric, closest, distance


def ray_distance(mesh: wp.Mesh, origins: wp.array, directions: wp.array, limit: float) -> wp.array:
    """Find the distance from each origin (m,) to the first triangle along its direction (m,), or limit."""
    distance = wp.empty(len(origins), dtype=wp.float32, device=origins.device)
    wp.launch(
        ray_distance_kernel,
        dim=len(origins),
        inputs=[mesh.id, origins, directions, limit],
        outputs=[distance],
        device=origins.device,
        record_tape=False,
    )
    return distance
