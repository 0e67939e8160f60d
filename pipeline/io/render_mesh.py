"""The surface of an asset that people see: the boundary of its tets, or a finer surface that they carry.

    x_v(t) = sum_k w_vk p_k(t)      p_k: the vertices of the tet of vertex v, w: barycentric weights at rest

A vertex of the boundary is a vertex of the mesh: its tet has the weight 1 in one corner and 0 in the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.embedding import embed_points
from pipeline.topology import boundary_faces, compact
from pipeline.types import Appearance, SurfaceMesh, TetMesh

_FARTHEST = -2.0
"""Smallest weight of a surface that belongs to the mesh: two heights of a tet outside of it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class RenderMesh:
    """Triangles with their look, and what moves them."""

    points: Floats
    """Vertices at rest [m], Z up, shape (m, 3)."""
    faces: Ints
    """Vertex indices, outward, shape (f, 3)."""
    vertex: Ints | None = None
    """Vertex of the tet mesh under each vertex, shape (m,); None where tets carry the surface."""
    tet: Ints | None = None
    """Row of the tet that carries each vertex, shape (m,)."""
    weights: Floats | None = None
    """Barycentric weights of each vertex in its tet, shape (m, 4)."""
    appearance: Appearance | None = None
    """Colours and texture coordinates of these vertices and faces."""

    def moved(self, tets: Ints, positions: NDArray[np.floating]) -> Floats:
        """Return the vertices, shape (m, 3), when the vertices of the tet mesh are at `positions`."""
        moving = np.asarray(positions, dtype=np.float64)
        if self.tet is not None and self.weights is not None:
            return np.einsum("mk,mkc->mc", self.weights, moving[tets[self.tet]])
        return moving[self.vertex]


def boundary_render_mesh(mesh: TetMesh) -> RenderMesh:
    """The boundary of a mesh, without its interior points."""
    points, faces, vertex = compact(mesh.points, boundary_faces(mesh.tets)[0])
    return RenderMesh(points, faces, vertex=np.asarray(vertex, dtype=np.int32))


def embedded_render_mesh(mesh: TetMesh, surface: SurfaceMesh) -> RenderMesh:
    """A finer surface in the coordinates of the mesh, carried by its tets.

    Raises:
        InputError: Vertices of the surface lie far outside the mesh.
    """
    tet, weights = embed_points(mesh.points, mesh.tets, surface.points)
    far = np.flatnonzero(weights.min(axis=1) < _FARTHEST)
    if len(far):
        raise InputError(
            f"surface: {len(far):,} of {len(tet):,} vertices lie far outside the mesh, first rows "
            f"{far[:5].tolist()}; give the surface that the mesh was made of, or leave out embed_surface"
        )
    return RenderMesh(surface.points, surface.faces, tet=tet, weights=weights, appearance=surface.appearance)
