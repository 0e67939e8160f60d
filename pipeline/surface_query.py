"""Questions to a triangle surface: the closest point on it, and how often it winds around a point.

Coordinates are centred and scaled to the unit box before anything becomes float32, so that an object far from
the origin, or in millimetres, is searched as precisely as any other; answers come back in the caller's
coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.errors import InvalidMeshError
from warp_kernels.mesh_query import FACES_PER_LEAF, WindingTree, closest_point, ray_distance, winding_number

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

ACCURACY = 5.0
"""Clusters farther than this many radii are expanded: errors of at most 1e-2, 1e-3 on average."""

FINE_ACCURACY = 8.0
"""Radii where a point is close to the level."""
COARSE_ACCURACY, COARSE_ERROR = 2.0, 0.08
"""Radii of the first look at which side of a level a point is on, and its largest error where the surface
winds once; where it winds several times the error grows with their number."""


@dataclass(frozen=True)
class ClosestPoints:
    """Nearest points on a surface, one row per query."""

    face: Indices
    """Nearest face, shape (m,)."""
    barycentric: Points
    """Coordinates of the point in its face, shape (m, 3)."""
    point: Points
    """Shape (m, 3)."""
    distance: Points
    """Shape (m,)."""


class SurfaceQuery:
    """A triangle surface prepared for many queries; it may be open, self-intersecting, in several parts."""

    def __init__(self, points: Points, faces: Indices, device: str = "cpu") -> None:
        """Build the search structures.

        Args:
            points: Vertices, shape (n, 3).
            faces: Vertex indices, shape (f, 3).
            device: Warp device.

        Raises:
            InvalidMeshError: Wrong shape, no faces, or a vertex index out of range.
        """
        points = np.ascontiguousarray(points, dtype=np.float64)
        faces = np.ascontiguousarray(faces, dtype=np.int32)
        if points.ndim != 2 or points.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise InvalidMeshError(
                f"surface: expected (n, 3) and (f, 3), got {points.shape} and {faces.shape}"
            )
        if not len(faces):
            raise InvalidMeshError("surface: expected at least one face, got none")
        if faces.min() < 0 or faces.max() >= len(points):
            raise InvalidMeshError(f"surface: faces name a vertex outside 0..{len(points) - 1}")
        self.points, self.faces, self.device = points, faces, device
        used = points[np.unique(faces)]
        self._origin = 0.5 * (used.min(axis=0) + used.max(axis=0))
        extent = float(np.ptp(used, axis=0).max())
        self._scale = 2.0 / extent if extent > 0 else 1.0
        unit = (points - self._origin) * self._scale
        self._unit_points: wp.array = wp.array(unit, dtype=wp.vec3d, device=device)
        self._unit_faces: wp.array = wp.array(faces, dtype=wp.int32, device=device)
        self._mesh = wp.Mesh(
            points=wp.array(unit.astype(np.float32), dtype=wp.vec3, device=device),
            indices=wp.array(faces.ravel(), dtype=wp.int32, device=device),
        )
        self._unit_corners = unit[faces]
        self._tree: WindingTree | None = None

    def closest(self, queries: Points) -> ClosestPoints:
        """Find the nearest point of the surface to each query, shape (m, 3)."""
        face, barycentric, point, distance = closest_point(
            self._mesh, self._unit_points, self._unit_faces, self._to_unit(queries)
        )
        return ClosestPoints(
            face.numpy(),
            barycentric.numpy(),
            point.numpy() / self._scale + self._origin,
            distance.numpy() / self._scale,
        )

    def winding_number(self, queries: Points, accuracy: float = ACCURACY) -> Points:
        """Evaluate the generalised winding number at queries, shape (m, 3).

        It is 1 inside a closed outward surface; open and self-intersecting ones give fractions and larger
        numbers. `accuracy=np.inf` sums every triangle.
        """
        if self._tree is None:
            self._tree = _winding_tree(self._unit_corners, self.device)
        return winding_number(self._tree, self._to_unit(queries), accuracy).numpy()

    def is_inside(self, queries: Points, level: float = 0.5) -> NDArray[np.bool_]:
        """Tell where the winding number is above a level, shape (m,): quickly, with care near the level."""
        value = self.winding_number(queries, COARSE_ACCURACY)
        close = np.abs(value - level) < COARSE_ERROR
        value[close] = self.winding_number(np.asarray(queries)[close], FINE_ACCURACY)
        return value > level

    def ray_distance(self, origins: Points, directions: Points, limit: float) -> Points:
        """Return the distance from each origin (m, 3) to the first face along its unit direction (m, 3).

        Where none is met within `limit`, the limit. Searched in float32: good for sizes, not for positions.
        """
        unit = self._to_unit(origins).numpy().astype(np.float32)
        hit = ray_distance(
            self._mesh,
            wp.array(unit, dtype=wp.vec3, device=self.device),
            wp.array(np.asarray(directions, dtype=np.float32), dtype=wp.vec3, device=self.device),
            limit * self._scale,
        )
        return hit.numpy().astype(np.float64) / self._scale

    def _to_unit(self, queries: Points) -> wp.array:
        queries = np.asarray(queries, dtype=np.float64)
        if queries.ndim != 2 or queries.shape[1] != 3:
            raise ValueError(f"queries: expected (m, 3), got {queries.shape}")
        return wp.array((queries - self._origin) * self._scale, dtype=wp.vec3d, device=self.device)


def _winding_tree(corners: Points, device: str) -> WindingTree:
    """Cluster triangles, corners (f, 3, 3), into a complete binary tree by halving along the longest side."""
    face_count = len(corners)
    leaf_count = 1 << int(np.ceil(np.log2(max(1.0, face_count / FACES_PER_LEAF))))
    corners = corners[_split_order(corners.mean(axis=1), leaf_count)]
    slots = leaf_count * FACES_PER_LEAF
    # Faces are spread evenly over the leaves; empty slots repeat one point, whose solid angle is 0.
    slot = (np.arange(face_count) * slots) // face_count
    padded = np.zeros((slots, 3, 3))
    padded[slot] = corners
    area_vector = np.zeros((slots, 3))
    area_vector[slot] = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centroid = padded.mean(axis=1)
    # A floor keeps the centre of a cluster of faces without area at their centroid.
    weight = np.zeros(slots)
    weight[slot] = np.linalg.norm(area_vector[slot], axis=1) + 1e-18

    tree_center = np.zeros((2 * leaf_count, 3))
    tree_radius = np.full(2 * leaf_count, -1.0)
    tree_vector = np.zeros((2 * leaf_count, 3))
    tree_moment = np.zeros((2 * leaf_count, 3, 3))
    outer = centroid[:, :, None] * area_vector[:, None, :]
    width, first = slots // leaf_count, leaf_count
    while True:
        shape = (first, width)
        total = weight.reshape(shape).sum(axis=1)
        center = (weight[:, None] * centroid).reshape(*shape, 3).sum(axis=1)
        center /= np.where(total > 0, total, 1.0)[:, None]
        vector = area_vector.reshape(*shape, 3).sum(axis=1)
        reach = np.linalg.norm(padded.reshape(first, 3 * width, 3) - center[:, None], axis=2)
        reach = np.where(np.repeat(weight.reshape(shape) > 0, 3, axis=1), reach, -1.0).max(axis=1)
        rows = slice(first, 2 * first)
        tree_center[rows], tree_radius[rows], tree_vector[rows] = center, reach, vector
        tree_moment[rows] = outer.reshape(*shape, 3, 3).sum(axis=1) - center[:, :, None] * vector[:, None, :]
        if first == 1:
            break
        first, width = first // 2, width * 2

    tree: Any = WindingTree()
    tree.leaf_count = leaf_count
    tree.corners = wp.array(padded, dtype=wp.vec3d, device=device)
    tree.center = wp.array(tree_center, dtype=wp.vec3d, device=device)
    tree.radius = wp.array(tree_radius, dtype=wp.float64, device=device)
    tree.area_vector = wp.array(tree_vector, dtype=wp.vec3d, device=device)
    tree.area_moment = wp.array(tree_moment, dtype=wp.mat33d, device=device)
    return tree


def _split_order(points: Points, leaf_count: int) -> NDArray[np.int64]:
    """Order points (m, 3) so that runs of them are compact: halved along their longest side, again and again.

    Runs end where the leaves of a complete binary tree do, over which the points are spread evenly.
    """
    count = len(points)
    rank = np.empty((count, 3), dtype=np.int64)
    for axis in range(3):
        rank[np.argsort(points[:, axis], kind="stable"), axis] = np.arange(count)
    order = np.arange(count)
    node_count = 1
    while node_count < leaf_count:
        node = (np.arange(count) * node_count) // count
        start = np.flatnonzero(np.concatenate([[True], node[1:] != node[:-1]]))
        placed = points[order]
        extent = np.maximum.reduceat(placed, start) - np.minimum.reduceat(placed, start)
        longest = np.repeat(extent.argmax(axis=1), np.diff(np.append(start, count)))
        # Ranks are distinct integers: one sort orders all nodes, each along its own axis.
        order = order[np.argsort(node * count + rank[order, longest])]
        node_count *= 2
    return order
