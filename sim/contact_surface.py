"""The triangles, edges and vertices that contact works on: the boundary of a model, and static obstacles.

    area of a triangle   its own
    area of an edge      a third of every triangle beside it
    area of a vertex     a third of every triangle around it

Points are numbered bodies first; the vertices of an obstacle follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sim.model import SoftBodyModel
from warp_kernels.self_intersection import face_boxes, self_intersections
from warp_kernels.surface_candidates import ContactSurface

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class SurfaceTopology:
    """Primitives of a model and of obstacles, and their areas at rest.

    Args:
        points: Static vertices [m], shape (m, 3).
        faces: Static triangles, shape (g, 3), of positive area.

    Raises:
        ValueError: The obstacle is no triangle mesh.
    """

    def __init__(self, model: SoftBodyModel, points: ArrayLike, faces: ArrayLike) -> None:
        self.model = model
        self.static_points, static_faces = _checked(points, faces)
        n = model.vertex_count
        self.body_faces = np.asarray(model.contact_faces, dtype=np.int32)
        """Triangles of the bodies, shape (f, 3); the first of `faces`."""
        self.faces: Ints = np.concatenate([self.body_faces, static_faces + np.int32(n)]).astype(np.int32)
        sides = np.sort(self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges, number = np.unique(sides, axis=0, return_inverse=True)
        self.edges: Ints = edges.astype(np.int32)
        self.edges_of_face: Ints = number.reshape(-1, 3).astype(np.int32)
        vertices, number = np.unique(self.faces, return_inverse=True)
        self.vertices: Ints = vertices.astype(np.int32)
        self.vertices_of_face: Ints = number.reshape(-1, 3).astype(np.int32)
        self.rest = np.concatenate([model.rest_positions, self.static_points])
        a, b, c = (self.rest[self.faces[:, k]] for k in range(3))
        self.face_areas: Floats = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2.0
        self.vertex_areas = self._share(self.vertices_of_face, len(self.vertices))
        self.edge_areas = self._share(self.edges_of_face, len(self.edges))
        self.body = np.concatenate([bodies_of(model), np.full(len(self.static_points), -1)]).astype(np.int32)

    def _share(self, of_face: Ints, count: int) -> Floats:
        return np.bincount(of_face.ravel(), np.repeat(self.face_areas / 3.0, 3), count).astype(np.float64)

    @property
    def query_count(self) -> int:
        """Vertices and edges: each asks for its partners once."""
        return len(self.vertices) + len(self.edges)

    def on_device(self, d_hat: float, *, with_self: bool) -> Any:
        """Return the struct of the kernels."""
        device = self.model.device
        s: Any = ContactSurface()
        s.body = wp.array(self.body, dtype=wp.int32, device=device)
        s.rest = wp.array(self.rest, dtype=wp.vec3d, device=device)
        s.vertices = wp.array(self.vertices, dtype=wp.int32, device=device)
        s.edges = wp.array(self.edges, dtype=wp.int32, device=device)
        s.faces = wp.array(self.faces, dtype=wp.int32, device=device)
        for name in ("vertex_areas", "edge_areas", "face_areas"):
            setattr(s, name, wp.array(getattr(self, name), dtype=wp.float64, device=device))
        s.d_hat, s.with_self, s.with_static = d_hat, with_self, len(self.static_points) > 0
        return s

    def crossed_faces(self, positions: Floats, *, with_self: bool) -> NDArray[np.int64]:
        """Return the triangles that cross another at positions of the bodies, shape (n, 3).

        Args:
            with_self: Compare the bodies with themselves and each other, not with what is static alone.
        """
        points = np.concatenate([positions, self.static_points])
        device, bodies = self.model.device, len(self.body_faces)
        # Group 0 is compared with all, others with themselves and 0 alone.
        group = np.zeros(len(self.faces), dtype=np.int32)
        if not with_self:
            group[:bodies] = np.arange(1, bodies + 1)
        x: wp.array = wp.array(points, dtype=wp.vec3d, device=device)
        table: wp.array = wp.array(self.faces, dtype=wp.int32, device=device)
        everything: wp.array = wp.array(
            np.arange(len(self.faces), dtype=np.int32), dtype=wp.int32, device=device
        )
        own = everything[:bodies]
        tree = wp.Bvh(*face_boxes(x, table, everything))
        hit = self_intersections(
            x,
            table,
            own,
            own,
            face_boxes(x, table, own),
            tree,
            everything,
            wp.array(group, dtype=wp.int32, device=device),
        )
        return np.flatnonzero(hit.numpy())

    def slopes_by_face(self, queries: Ints, partners: Ints, slopes: Floats) -> Floats:
        """Trace derivatives by the weights of pairs back to the areas of the triangles of the bodies.

        Args:
            queries: Vertex, or number of vertices + edge, of each pair, shape (k,).
            partners: Triangle or edge of each pair, shape (k,).
            slopes: Derivative by the weight, the smaller of both areas, shape (k,).

        Returns:
            Derivatives by area, shape (f,).
        """
        v = len(self.vertices)
        is_edge = queries >= v
        edge = np.where(is_edge, queries - v, 0)
        first = np.where(is_edge, self.edge_areas[edge], self.vertex_areas[np.where(is_edge, 0, queries)])
        second = np.where(
            is_edge,
            self.edge_areas[np.where(is_edge, partners, 0)],
            self.face_areas[np.where(is_edge, 0, partners)],
        )
        takes_first = first <= second
        of_vertex = _sum(queries, slopes, ~is_edge & takes_first, v)
        of_edge = _sum(edge, slopes, is_edge & takes_first, len(self.edges))
        of_edge += _sum(partners, slopes, is_edge & ~takes_first, len(self.edges))
        of_face = _sum(partners, slopes, ~is_edge & ~takes_first, len(self.faces))
        of_face += (of_vertex[self.vertices_of_face] + of_edge[self.edges_of_face]).sum(axis=1) / 3.0
        return of_face[: len(self.body_faces)]


def bodies_of(model: SoftBodyModel) -> Ints:
    """Return which connected part of the tets each vertex belongs to, shape (n,)."""
    rows, columns = model.node_pairs
    n = model.vertex_count
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n)).tocsr()
    return connected_components(graph, directed=False)[1].astype(np.int32)


def _sum(index: Ints, values: Floats, where: NDArray[np.bool_], count: int) -> Floats:
    return np.bincount(index[where], values[where], minlength=count).astype(np.float64)


def _checked(points: ArrayLike, faces: ArrayLike) -> tuple[Floats, Ints]:
    p, f = np.asarray(points, dtype=np.float64), np.asarray(faces, dtype=np.int32)
    if not len(p) and not len(f):
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32)
    if p.ndim != 2 or p.shape[1] != 3 or not np.isfinite(p).all():
        raise ValueError(f"points: expected finite (m, 3), got shape {p.shape}")
    if f.ndim != 2 or f.shape[1] != 3 or not len(f) or f.min() < 0 or f.max() >= len(p):
        raise ValueError(f"faces: expected (f, 3) with indices in 0..{len(p) - 1}, got shape {f.shape}")
    a, b, c = (p[f[:, k]] for k in range(3))
    double = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not (double > 0.0).all():
        raise ValueError(f"faces: {int((double == 0).sum())} triangles have no area")
    return p, f
