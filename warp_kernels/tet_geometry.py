"""Geometry of one tetrahedron, for the kernels on quality: volume, normals, edges, orientation."""

from __future__ import annotations

import warp as wp

face_normals = wp.types.matrix(shape=(4, 3), dtype=wp.float64)
"""Outward normals of the faces opposite to the four vertices, one per row."""


@wp.func
def tet_normals(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d):
    """Outward normals, twice the area long, of the faces opposite to the four vertices (rows)."""
    b = p1 - p0
    c = p2 - p0
    d = p3 - p0
    n1 = wp.cross(d, c)
    n2 = wp.cross(b, d)
    n3 = wp.cross(c, b)
    n0 = -(n1 + n2 + n3)
    return face_normals(
        n0[0], n0[1], n0[2], n1[0], n1[1], n1[2], n2[0], n2[1], n2[2], n3[0], n3[1], n3[2]
    )  # fmt: skip


@wp.func
def six_volume(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d):
    return wp.dot(wp.cross(p1 - p0, p2 - p0), p3 - p0)


@wp.func
def squared_edges(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d):
    return (
        wp.length_sq(p1 - p0)
        + wp.length_sq(p2 - p0)
        + wp.length_sq(p3 - p0)
        + wp.length_sq(p2 - p1)
        + wp.length_sq(p3 - p1)
        + wp.length_sq(p3 - p2)
    )


@wp.func
def others(i: wp.vec4i, corner: int):
    """The other three vertices, in the order in which the given corner in front keeps the orientation."""
    if corner == 0:
        return wp.vec3i(i[1], i[2], i[3])
    if corner == 1:
        return wp.vec3i(i[0], i[3], i[2])
    if corner == 2:
        return wp.vec3i(i[3], i[0], i[1])
    return wp.vec3i(i[2], i[1], i[0])
