"""The surface that a mesh must keep: projection onto it, distance of faces from it, and its sharp curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.topology import unique_rows

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

FACE_SAMPLES = np.array([[1, 1, 1], [1.5, 1.5, 0], [0, 1.5, 1.5], [1.5, 0, 1.5]]) / 3.0
"""Barycentric coordinates of the centroid and the edge midpoints of a triangle."""
_QUARTERS = [(i, j, 4 - i - j) for i in range(4) for j in range(5 - i)]
DENSE_SAMPLES = np.array([place for place in _QUARTERS if max(place) < 4]) / 4.0
"""Barycentric coordinates of the quarter points of a triangle, without its vertices.

A long edge that runs across a ridge between two valleys is near the surface at its middle."""


class ReferenceSurface:
    """A triangle surface with the queries of the optimiser."""

    def __init__(self, points: Points, faces: Indices, device: str = "cpu") -> None:
        """Prepare the queries; points (n, 3), faces (f, 3)."""
        self.points, self.faces = points, faces
        self.query = SurfaceQuery(points, faces, device=device)
        self.area_vectors = 0.5 * np.cross(
            points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
        )
        self.areas = np.linalg.norm(self.area_vectors, axis=1)
        self.normals = self.area_vectors / np.maximum(self.areas, 1e-300)[:, None]

    def project(self, points: Points) -> tuple[Points, Points]:
        """Return the closest points, shape (m, 3), and the normals of their faces, shape (m, 3)."""
        if not len(points):
            return points.copy(), points.copy()
        hit = self.query.closest(points)
        return hit.point, self.normals[hit.face]

    def face_deviation(self, corners: Points, short: float = 0.0) -> Points:
        """Return the largest distance of the samples of triangles, corners (k, 3, 3), shape (k,).

        `DENSE_SAMPLES`; for triangles without an edge longer than `short` those of `FACE_SAMPLES` will do.
        """
        is_long = np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2).max(axis=1) > short
        result = np.zeros(len(corners))
        for rows, places in ((is_long, DENSE_SAMPLES), (~is_long, FACE_SAMPLES)):
            if rows.any():
                samples = np.einsum("sc,kcd->ksd", places, corners[rows]).reshape(-1, 3)
                distance = self.query.closest(samples).distance
                result[rows] = distance.reshape(-1, len(places)).max(axis=1)
        return result

    def samples(self, count: int, rng: np.random.Generator) -> Points:
        """Return points spread evenly by area, shape (count, 3).

        One per equal share of the total area, jittered.
        """
        total = np.cumsum(self.areas)
        place = (np.arange(count) + rng.random(count)) / count * total[-1]
        face = np.minimum(np.searchsorted(total, place), len(self.faces) - 1)
        u, v = rng.random((2, count))
        fold = u + v > 1
        u[fold], v[fold] = 1 - u[fold], 1 - v[fold]
        corner = self.points[self.faces[face]]
        return (
            corner[:, 0]
            + u[:, None] * (corner[:, 1] - corner[:, 0])
            + v[:, None] * (corner[:, 2] - corner[:, 0])
        )


class Curves:
    """Straight segments that crease vertices slide along."""

    def __init__(self, points: Points, edges: Indices) -> None:
        """Take the segments `edges`, shape (s, 2), of `points`, shape (n, 3); long ones are cut."""
        start, along = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
        length = np.linalg.norm(along, axis=1)
        start, along, length = start[length > 0], along[length > 0], length[length > 0]
        pieces = np.ceil(length / np.median(length)).astype(int) if len(length) else np.zeros(0, dtype=int)
        owner = np.repeat(np.arange(len(pieces)), pieces)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self.along = along[owner] / pieces[owner, None]
        self.start = start[owner] + number[:, None] * self.along
        self.squared = np.einsum("ij,ij->i", self.along, self.along)
        self.reach = 0.5 * float(np.sqrt(self.squared.max(initial=0.0)))
        self.tree = cKDTree(self.start + 0.5 * self.along) if len(owner) else None

    def project(self, points: Points) -> tuple[Points, Points]:
        """Return the closest points and the unit tangents there, shape (m, 3) each."""
        place, tangent = points.copy(), np.zeros_like(points)
        if self.tree is None or not len(points):
            return place, tangent
        rows, count = np.arange(len(points)), min(8, self.tree.n)
        while len(rows):
            found = self.tree.query(points[rows], k=count)
            middle, piece = (np.reshape(a, (-1, count)) for a in found)
            p = points[rows, None, :] - self.start[piece]
            u = np.clip(np.einsum("mkd,mkd->mk", p, self.along[piece]) / self.squared[piece], 0.0, 1.0)
            gap = u[:, :, None] * self.along[piece] - p
            distance = np.linalg.norm(gap, axis=2)
            best = np.argmin(distance, axis=1)
            pick = np.arange(len(rows)), best
            place[rows] = points[rows] + gap[pick]
            tangent[rows] = self.along[piece[pick]] / np.sqrt(self.squared[piece[pick]])[:, None]
            # A piece whose middle is farther than this cannot be nearer; otherwise look at more of them.
            unsure = middle[:, -1] < distance[pick] + self.reach
            rows, count = rows[unsure & (count < self.tree.n)], min(4 * count, self.tree.n)
        return place, tangent


def sharp_edges(points: Points, faces: Indices, angle: float) -> Indices:
    """Return the edges, shape (s, 2), of two triangles whose normals differ by more than `angle` [deg]."""
    edges, inverse, count = unique_rows(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2))
    normal = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-300)[:, None]
    order = np.argsort(inverse, kind="stable")
    first = np.cumsum(count) - count
    pair = np.flatnonzero(count == 2)
    left, right = order[first[pair]] // 3, order[first[pair] + 1] // 3
    cosine = np.einsum("ij,ij->i", normal[left], normal[right])
    return edges[pair[cosine < np.cos(np.radians(angle))]]
