"""How far the boundary of a tet mesh is from the surface it came from, and the offsets that bring it nearer.

Vertices on a curved surface put every face on one side of it. Moving each boundary vertex along its normal
by o_v such that the faces fit the surface in the least-squares sense halves the mean deviation:

    minimise  sum_q A_q (d_q + sum_k b_qk (n_k . n_q) o_k)^2 + eps sum_v A_v o_v^2

over quadrature points q with area A_q, signed distance d_q along the face normal n_q and barycentrics b_qk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import cg

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import area_vectors
from pipeline.tetmesh.delaunay import tet_volumes
from pipeline.topology import boundary_faces

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

QUADRATURE = np.array(
    [[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.float64
)
QUADRATURE /= QUADRATURE.sum(axis=1, keepdims=True)
"""Barycentrics of the places where a boundary face is compared with the surface."""
STIFFNESS = 0.02
"""Weight of small offsets, relative to the fit."""
LARGEST_OFFSET = 0.15
"""Offsets are cut to this fraction of the local edge length."""


def deviations(
    points: Points, tets: Indices, query: SurfaceQuery, samples: Points, device: str
) -> tuple[Points, Points]:
    """Return distances surface samples -> boundary (s,) and boundary places -> surface (7 b,).

    Args:
        points: Vertices of the tet mesh, shape (n, 3).
        tets: Shape (t, 4).
        query: The surface.
        samples: Samples of the surface, shape (s, 3).
        device: Warp device.
    """
    faces, _ = boundary_faces(tets)
    places = np.einsum("qk,fki->fqi", QUADRATURE, points[faces]).reshape(-1, 3)
    return distance_to_boundary(points, faces, samples, device), query.closest(places).distance


def distance_to_boundary(points: Points, faces: Indices, samples: Points, device: str) -> Points:
    """Return the distance of samples of a surface from boundary faces (b, 3) of a mesh, shape (s,)."""
    return SurfaceQuery(points, faces, device).closest(samples).distance


def fit_boundary(
    points: Points, tets: Indices, query: SurfaceQuery, fixed: NDArray[np.bool_]
) -> tuple[Points, Indices]:
    """Move boundary vertices along their normals to the least-squares fit of the surface.

    Args:
        points: Vertices, boundary vertices on the surface, shape (n, 3).
        tets: Shape (t, 4), of positive volume.
        query: The surface.
        fixed: Vertices that stay (on creases), shape (n,).

    Returns:
        Moved points, and the vertices put back because a tet would have lost 70 % of its volume.
    """
    faces, _ = boundary_faces(tets)
    vector = area_vectors(points, faces)
    area = np.linalg.norm(vector, axis=1)
    unit = vector / np.maximum(area, 1e-300)[:, None]
    vertices, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3)
    n = len(vertices)
    normal: Points = np.stack(
        [np.bincount(local.ravel(), np.repeat(vector[:, k], 3), n) for k in range(3)], axis=1
    ).astype(np.float64)
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-300)[:, None]
    places = np.einsum("qk,fki->fqi", QUADRATURE, points[faces])
    hit = query.closest(places.reshape(-1, 3))
    # Signed distance along the face's own normal: robust where the surface has edges.
    signed = np.einsum("fqi,fi->fq", places - hit.point.reshape(places.shape), unit)
    size = np.sqrt(area)
    # Places far from the surface belong to closed holes; nothing is there to fit.
    use = (hit.distance.reshape(signed.shape) < 0.3 * size[:, None]).ravel()
    weight = np.where(use, np.repeat(area, len(QUADRATURE)), 0.0)
    row = np.repeat(np.arange(signed.size), 3)
    column = np.repeat(local, len(QUADRATURE), axis=0).ravel()
    cosine = np.einsum("fki,fi->fk", normal[local], unit)
    entry = (QUADRATURE[None] * cosine[:, None]).reshape(-1)
    design = coo_matrix((entry, (row, column)), shape=(signed.size, n)).tocsr()
    vertex_area = np.bincount(local.ravel(), np.repeat(area * len(QUADRATURE) / 3.0, 3), n)
    normal_matrix = design.T @ diags(weight) @ design + diags(STIFFNESS * vertex_area + 1e-30)
    target = -(design.T @ (weight * signed.ravel()))
    free = ~fixed[vertices]
    scale = diags(free.astype(np.float64))
    system = scale @ normal_matrix @ scale + diags((~free).astype(np.float64))
    inverse = 1.0 / system.diagonal()
    offset, _ = cg(system, scale @ target, rtol=1e-6, maxiter=200, M=diags(inverse))
    limit = LARGEST_OFFSET * np.sqrt(vertex_area / len(QUADRATURE))
    offset = np.clip(offset, -limit, limit)

    before = tet_volumes(points, tets)
    moved = points.copy()
    back = np.zeros(len(points), dtype=bool)
    for _ in range(20):
        moved[vertices] = points[vertices] + offset[:, None] * normal
        moved[back] = points[back]
        bad = tet_volumes(moved, tets) < 0.3 * before
        if not bad.any():
            break
        back[tets[bad]] = True
    else:
        return points.copy(), vertices
    return moved, vertices[back[vertices]]
