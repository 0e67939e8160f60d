"""The minimum-ball tessellation: which candidate faces exist, with what probability, and its gradient.

`minimum_ball` and `signed_distance` are the numpy doors. `MinimumBallTessellation` keeps everything on the
device and
allocates nothing between refreshes: `refresh` searches (neighbours, candidates, nearest other point),
`probability` and `gradient` evaluate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.dmesh.candidate_faces import CandidateWorkspace
from pipeline.dmesh.point_features import PointFeatures
from pipeline.errors import InputError
from pipeline.points.neighbors import PointCells, checked_points, to_device
from pipeline.types import Indices, Points
from warp_kernels import minimum_ball as kernels
from warp_kernels.minimum_ball_search import nearest_other

SATURATION = 10.0
"""|sharpness d / scale| from which a probability counts as 0 or 1, which it is within 4.6e-5."""


@dataclass(frozen=True)
class MinimumBalls:
    """Smallest balls through all vertices of faces."""

    center: Points
    """Shape (f, d); the first vertex of a face without a ball (coinciding or collinear vertices)."""
    radius: NDArray[np.float64]
    """Shape (f,); inf for a face without a ball."""


def minimum_ball(points: Points, faces: Indices, device: str = "cpu") -> MinimumBalls:
    """Compute the minimum ball of each face: the midpoint of a segment, the in-plane circumcentre of a
    triangle.

    Args:
        points: Positions, shape (n, d).
        faces: Vertex indices, shape (f, d).

    Raises:
        InputError: Wrong shape, an index out of range, or coordinates that are not finite.
    """
    p, f = _checked_faces(points, faces)
    x, face = to_device(p, device), _faces_to_device(f, device)
    center = wp.empty(len(f), dtype=x.dtype, device=device)
    radius = wp.empty(len(f), dtype=wp.float64, device=device)
    kernels.minimum_ball(x, face, center, radius)
    return MinimumBalls(center.numpy().reshape(-1, p.shape[1]), radius.numpy())


def signed_distance(
    points: Points,
    faces: Indices,
    *,
    reach: float | None = None,
    neighbors: tuple[Indices, NDArray[np.float64]] | None = None,
    device: str = "cpu",
) -> tuple[NDArray[np.float64], Indices]:
    """Compute d = min_{q not in face} |q - c| - r for each face: positive where the minimum ball is empty.

    Args:
        points: Positions, shape (n, d).
        faces: Vertex indices, shape (f, d).
        reach: Only |d| <= reach [unit of the points] matters: a larger d is given as inf, a smaller one as
            -inf, which is faster. None: exact everywhere.
        neighbors: Nearest neighbours of each point, ascending, and their distances, shape (n, k) each, as
            `nearest_neighbors` gives them: with them most faces need no search.

    Returns:
        Signed distance, shape (f,), and the nearest other point, shape (f,), -1 where d is infinite. A face
        without a ball gets -inf, a face of a cloud without other points inf.

    Raises:
        InputError: Wrong shape, an index out of range, or coordinates that are not finite.
    """
    p, f = _checked_faces(points, faces)
    if not len(f):
        return np.zeros(0), np.zeros(0, dtype=np.int32)
    x, face = to_device(p, device), _faces_to_device(f, device)
    cells = PointCells(x)
    scale = wp.full(len(p), 1.0, dtype=wp.float64, device=device)
    if neighbors is None:
        neighbors = np.empty((len(p), 0), dtype=np.int32), np.empty((len(p), 0))
    lists: wp.array = wp.array(neighbors[0], dtype=wp.int32, device=device)
    covered: wp.array = wp.array(neighbors[1], dtype=wp.float64, device=device)
    nearest = wp.empty(len(f), dtype=wp.int32, device=device)
    distance = wp.empty(len(f), dtype=wp.float64, device=device)
    limit = -1.0 if reach is None else float(reach)
    nearest_other(cells.cells, x, face, scale, limit, lists, covered, nearest)
    kernels.signed_distance(x, face, nearest, distance)
    return distance.numpy(), np.maximum(nearest.numpy(), -1)


def minimum_ball_share(points: Points, faces: Indices, device: str = "cpu") -> float:
    """Return the share of faces whose minimum ball holds no other point: those that the points alone tell."""
    margin, _ = signed_distance(points, faces, reach=0.0, device=device)
    return float((margin >= 0.0).mean()) if len(faces) else 1.0


class MinimumBallTessellation:
    """Candidate faces of points on a device, their nearest other points, probabilities and gradients.

    Attributes:
        faces: Candidates, shape (f,) of vec2i or vec3i; those with a point deep inside their ball are left
            out as far as neighbour lists show.
        nearest: Nearest other point of each ball, or FREE (probability 1) or CLOSED (0), shape (f,).
    """

    def __init__(self, features: PointFeatures, neighbors: int = 8, sharpness: float = 32.0) -> None:
        """Allocate for a fixed number of points.

        Args:
            features: The points; their grid is chosen now.
            neighbors: Nearest points that are joined to each point.
            sharpness: Slope of the sigmoid in units of 1 / scale.
        """
        if neighbors < features.dimension - 1:
            raise InputError(f"neighbors: expected at least {features.dimension - 1}, got {neighbors}")
        self.neighbors, self.sharpness = neighbors, sharpness
        device = features.device
        self.cells = PointCells(features.points, per_cell=max(3.0, neighbors / 4.0))
        self._index = wp.empty((features.count, neighbors), dtype=wp.int32, device=device)
        self._distance = wp.empty((features.count, neighbors), dtype=wp.float64, device=device)
        self._workspace = CandidateWorkspace(features.count, neighbors, features.dimension, device)
        self.faces = self._workspace.faces[:0]
        self._nearest = wp.empty(1, dtype=wp.int32, device=device)

    @property
    def reach(self) -> float:
        """|d| / scale beyond which a probability is saturated."""
        return SATURATION / self.sharpness

    @property
    def nearest(self) -> wp.array:
        return self._nearest[: self.faces.shape[0]]

    @property
    def neighbor_index(self) -> wp.array:
        """Nearest neighbours of each point at the last refresh, shape (n, neighbors)."""
        return self._index

    def refresh(self, features: PointFeatures, slack: float = 0.0) -> None:
        """Find candidates and nearest other points for the present positions.

        Args:
            slack: Motion that the result must survive, in units of scale: faces are kept when a signed
                distance within `reach + slack` is possible.
        """
        self.cells.update(features.points)
        self.cells.nearest(self.neighbors, out=(self._index, self._distance))
        reach = self.reach + slack
        self.faces = self._workspace.find(features.points, features.scale, self._index, reach)
        total = self.faces.shape[0]
        if total > self._nearest.shape[0]:
            self._nearest = wp.empty(total + total // 4, dtype=wp.int32, device=self.faces.device)
        if total:
            nearest_other(
                self.cells.cells,
                features.points,
                self.faces,
                features.scale,
                reach,
                self._index,
                self._distance,
                self.nearest,
            )

    def probability(self, features: PointFeatures, out: wp.array) -> None:
        """Write the probability of each face, shape (f,)."""
        kernels.face_probability(
            features.points,
            features.real_values,
            features.scale,
            self.faces,
            self.nearest,
            self.sharpness,
            out,
        )

    def gradient(self, features: PointFeatures, prob_gradient: wp.array) -> None:
        """Add the gradient of a loss to the features, given dL/dprob of each face, shape (f,)."""
        kernels.face_probability_gradient(
            features.points,
            features.real_values,
            features.scale,
            self.faces,
            self.nearest,
            self.sharpness,
            prob_gradient,
            features.points_gradient,
            features.real_gradient,
        )


def _checked_faces(points: Points, faces: Indices) -> tuple[Points, Indices]:
    p = checked_points("points", points)
    d = p.shape[1]
    f = np.asarray(faces)
    if f.size == 0:
        return p, np.zeros((0, d), dtype=np.int32)
    if f.ndim != 2 or f.shape[1] != d or f.dtype.kind not in "iu":
        raise InputError(f"faces: expected integers (f, {d}), got {f.dtype} {f.shape}")
    if f.min() < 0 or f.max() >= len(p):
        raise InputError(f"faces: expected indices from 0 to {len(p) - 1}, got {f.min()} to {f.max()}")
    return p, np.ascontiguousarray(f, dtype=np.int32)


def _faces_to_device(faces: Indices, device: str) -> wp.array:
    return wp.array(faces, dtype=wp.vec2i if faces.shape[1] == 2 else wp.vec3i, device=device)
