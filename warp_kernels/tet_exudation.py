"""Margins of the facets of a regular (weighted Delaunay) triangulation, and what a flip of each is worth.

The facet between the tets t = (a, b, c, d) and u = (a, b, c, e) is locally regular while its margin is
positive: the height of the lifted e above the hyperplane through the lifted vertices of t,

    M = |p_e|^2 - w_e - sum_i lambda_i (|p_i|^2 - w_i),    lambda: barycentric coordinates of p_e in t

which is linear in the weights: dM/dw_e = -1, dM/dw_i = lambda_i. Where the margin changes sign the
triangulation changes by a flip: t and u become the three tets around d e where e lies behind the facet alone
(2-3), and the three tets around the edge (p, r) become two where it lies behind one more face of t and that
edge has only three tets (3-2). The badness of a tet is exp((20 - smallest dihedral angle) / 6), in degrees.

Source: Cheng, Dey, Edelsbrunner, Facello and Teng 2000, Sliver exudation (weights and their flips). Margins
as functions to descend are this project's own.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.tet_geometry import six_volume, tet_normals

wp.set_module_options({"enable_backward": False})

NO_FLIP = -1

_DEGREES = wp.constant(wp.float64(57.29577951308232))
_BAD = wp.constant(wp.float64(20.0))
_SCALE = wp.constant(wp.float64(6.0))
_FLAT = wp.constant(wp.float64(1.0e-14))
_SIDE = wp.constant(wp.float64(1.0e-9))


@wp.func
def tet_badness(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d):
    """Badness of a tet, whichever way it is oriented."""
    n = tet_normals(p0, p1, p2, p3)
    largest = wp.float64(-1.0)
    for i in range(4):
        for j in range(i):
            a = wp.vec3d(n[i, 0], n[i, 1], n[i, 2])
            b = wp.vec3d(n[j, 0], n[j, 1], n[j, 2])
            size = wp.length(a) * wp.length(b)
            # The angle is the largest cosine's; outward normals of both faces enclose its supplement.
            cosine = wp.float64(1.0)
            if size > wp.float64(0.0):
                cosine = -wp.dot(a, b) / size
            largest = wp.max(largest, cosine)
    angle = _DEGREES * wp.acos(wp.clamp(largest, wp.float64(-1.0), wp.float64(1.0)))
    return wp.exp((_BAD - angle) / _SCALE)


@wp.kernel
def badness_kernel(points: wp.array[wp.vec3d], tets: wp.array[wp.vec4i], badness: wp.array[wp.float64]):
    t = wp.tid()
    i = tets[t]
    badness[t] = tet_badness(points[i[0]], points[i[1]], points[i[2]], points[i[3]])


@wp.func
def vertex_outside(i: wp.vec4i, j: wp.vec4i):
    """Corner of tet j that is not a vertex of tet i."""
    for k in range(4):
        if j[k] != i[0] and j[k] != i[1] and j[k] != i[2] and j[k] != i[3]:
            return k
    return 0


@wp.kernel
def facet_kernel(
    points: wp.array[wp.vec3d],
    weights: wp.array[wp.float64],
    tets: wp.array[wp.vec4i],
    neighbors: wp.array[wp.vec4i],
    badness: wp.array[wp.float64],
    facets: wp.array[wp.vec2i],
    margin: wp.array[wp.float64],
    slope: wp.array[wp.vec4d],
    apex: wp.array[int],
    change: wp.array[wp.float64],
    flip: wp.array[int],
):
    f = wp.tid()
    t = facets[f][0]
    corner = facets[f][1]
    i = tets[t]
    u = neighbors[t][corner]
    j = tets[u]
    far = vertex_outside(i, j)
    e = j[far]
    pe = points[e]
    p0 = points[i[0]]
    p1 = points[i[1]]
    p2 = points[i[2]]
    p3 = points[i[3]]
    apex[f] = e
    flip[f] = -1
    change[f] = wp.float64(0.0)
    volume = six_volume(p0, p1, p2, p3)
    if wp.abs(volume) < _FLAT:
        margin[f] = wp.float64(0.0)
        slope[f] = wp.vec4d()
        return
    l = wp.vec4d(
        six_volume(pe, p1, p2, p3) / volume,
        six_volume(p0, pe, p2, p3) / volume,
        six_volume(p0, p1, pe, p3) / volume,
        six_volume(p0, p1, p2, pe) / volume,
    )
    slope[f] = l
    # Relative to p_e, so that no large squares cancel: sum of lambda is 1 and sum of lambda p is p_e.
    margin[f] = (
        -weights[e]
        - l[0] * (wp.length_sq(p0 - pe) - weights[i[0]])
        - l[1] * (wp.length_sq(p1 - pe) - weights[i[1]])
        - l[2] * (wp.length_sq(p2 - pe) - weights[i[2]])
        - l[3] * (wp.length_sq(p3 - pe) - weights[i[3]])
    )

    behind = int(0)
    other = int(-1)
    for k in range(4):
        if k != corner:
            if l[k] > _SIDE:
                behind += 1
            else:
                other = k
    if behind == 3:
        new = wp.float64(0.0)
        pd = points[i[corner]]
        for k in range(4):
            if k != corner:
                # The two vertices of the facet other than k.
                q = int(-1)
                r = int(-1)
                for m in range(4):
                    if m != corner and m != k:
                        r = q
                        q = i[m]
                new += tet_badness(pd, pe, points[q], points[r])
        change[f] = new - badness[t] - badness[u]
        flip[f] = t
    elif behind == 2:
        third = neighbors[t][other]
        o = i[other]
        across = int(-1)
        for k in range(4):
            if j[k] == o:
                across = neighbors[u][k]
        if third >= 0 and third == across:
            q = int(-1)
            r = int(-1)
            for m in range(4):
                if m != corner and m != other:
                    r = q
                    q = i[m]
            pd = points[i[corner]]
            new = tet_badness(pd, pe, points[o], points[q]) + tet_badness(pd, pe, points[o], points[r])
            change[f] = new - badness[t] - badness[u] - badness[third]
            flip[f] = third


def tet_badnesses(points: wp.array, tets: wp.array) -> wp.array:
    """Return the badness of every tet, shape (t,)."""
    out = wp.empty(tets.shape[0], dtype=wp.float64, device=points.device)
    wp.launch(badness_kernel, dim=tets.shape[0], inputs=[points, tets], outputs=[out], device=points.device)
    return out


def facet_margins(
    points: wp.array,
    weights: wp.array,
    tets: wp.array,
    neighbors: wp.array,
    badness: wp.array,
    facets: wp.array,
) -> tuple[wp.array, wp.array, wp.array, wp.array, wp.array]:
    """Evaluate facets, shape (f,), vec2i: a tet and the corner that the facet is opposite to.

    Args:
        points, weights: Vertices, shape (n,), vec3d; and their weights [length^2].
        tets, neighbors: Vertices of each tet and the tets opposite to them, -1 outside, shape (t,), vec4i.
        badness: Of each tet, shape (t,).

    Returns:
        Margin (f,) [length^2]; its derivative by the weights of the tet's vertices (f,), vec4d; the vertex
        behind the facet (f,), by whose weight the derivative is -1; badness after the flip minus before (f,);
        NO_FLIP where the facet has none, the third tet of a 3-2 flip or the tet itself, (f,).
    """
    count, device = facets.shape[0], points.device
    margin = wp.empty(count, dtype=wp.float64, device=device)
    slope = wp.empty(count, dtype=wp.vec4d, device=device)
    apex = wp.empty(count, dtype=int, device=device)
    change = wp.empty(count, dtype=wp.float64, device=device)
    flip = wp.empty(count, dtype=int, device=device)
    wp.launch(
        facet_kernel,
        dim=count,
        inputs=[points, weights, tets, neighbors, badness, facets],
        outputs=[margin, slope, apex, change, flip],
        device=device,
    )
    return margin, slope, apex, change, flip
