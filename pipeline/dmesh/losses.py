"""Loss terms of the differentiable mesh: the expected Chamfer distance, both ways."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.dmesh.point_features import PointFeatures
from pipeline.points.neighbors import PointCells, to_device
from pipeline.types import Points
from warp_kernels import chamfer as kernels
from warp_kernels import chamfer_lists as lists

PLACES = {
    2: np.array([[5 / 6, 1 / 6, 0], [1 / 2, 1 / 2, 0], [1 / 6, 5 / 6, 0]]),
    3: np.array([[2 / 3, 1 / 6, 1 / 6], [1 / 6, 2 / 3, 1 / 6], [1 / 6, 1 / 6, 2 / 3], [1 / 3, 1 / 3, 1 / 3]]),
}
"""Barycentric weights of the places of a face that look for their nearest target."""


class FacesAndCells(Protocol):
    """What the loss looks at: faces that may exist, and their points in a grid."""

    faces: wp.array
    cells: PointCells


class ExpectedChamfer:
    """Expected distance from targets to faces and from faces to targets, with its gradient.

    Between two calls of `refresh` the lists (faces near a target, target of a place, area of a face) are
    fixed; distances and closest points are exact in every evaluation.
    """

    def __init__(
        self,
        targets: Points,
        normals: Points | None,
        fallback: float,
        *,
        near_vertices: int = 6,
        least_probability: float = 1e-3,
        device: str = "cpu",
    ) -> None:
        """Copy the targets to the device.

        Args:
            targets: Samples, shape (m, d).
            normals: Their unit normals, shape (m, d); faces then go to the planes of targets.
            fallback: Distance that a target pays where no face exists.
            near_vertices: The faces of this many nearest points are looked at for each target.
            least_probability: Faces below it are left out of the lists.
        """
        self.fallback, self.near_vertices = float(fallback), near_vertices
        self.least_probability, self.device = least_probability, device
        self._all = np.ascontiguousarray(targets, dtype=np.float64)
        d = self._all.shape[1]
        self.cells = PointCells(self._all, device=device)
        self._targets = to_device(self._all, device)
        rows = np.zeros((0, d)) if normals is None else np.ascontiguousarray(normals, dtype=np.float64)
        self._normals = to_device(rows, device)
        self._places: wp.array = wp.array(PLACES[d], dtype=wp.vec3d, device=device)
        self._batch = self._targets

    def refresh(
        self,
        features: PointFeatures,
        tessellation: FacesAndCells,
        prob: wp.array,
        batch: NDArray[np.int64] | None = None,
    ) -> None:
        """Rebuild the lists for the present faces and probabilities (f,).

        Args:
            batch: Targets that count until the next refresh, indices; all if None.
        """
        faces, points = tessellation.faces, features.points
        count = faces.shape[0]
        self._batch = self._targets if batch is None else to_device(self._all[batch], self.device)
        m = self._batch.shape[0]
        near, _ = tessellation.cells.nearest(self.near_vertices, self._batch)
        start, face_of = lists.faces_of_vertices(faces, features.count)
        self._layer = wp.empty((m, kernels.LAYERS), dtype=wp.int32, device=self.device)
        lists.nearest_faces(
            points, faces, prob, self.least_probability, self._batch, near, start, face_of, self._layer
        )
        s = self._places.shape[0]
        places = wp.empty((count, s), dtype=points.dtype, device=self.device)
        lists.face_places(points, faces, self._places, places)
        index, _ = self.cells.nearest(1, places.reshape((count * s,)))
        self._nearest_target = index.reshape((count, s))
        self._weight = lists.face_weights(points, faces, prob, self.least_probability)
        self._target_loss = wp.zeros(m, dtype=wp.float64, device=self.device)
        self._face_loss = wp.zeros(count, dtype=wp.float64, device=self.device)

    def evaluate(
        self,
        features: PointFeatures,
        tessellation: FacesAndCells,
        prob: wp.array,
        prob_gradient: wp.array,
    ) -> None:
        """Add the gradient to `features.points_gradient` and `prob_gradient` (f,); the value stays there."""
        kernels.targets_to_faces(
            features.points,
            tessellation.faces,
            prob,
            self._batch,
            self._layer,
            self.fallback,
            1.0 / max(self._batch.shape[0], 1),
            self._target_loss,
            features.points_gradient,
            prob_gradient,
        )
        kernels.faces_to_targets(
            features.points,
            tessellation.faces,
            prob,
            self._places,
            self._targets,
            self._normals,
            self._nearest_target,
            self._weight,
            self._face_loss,
            features.points_gradient,
            prob_gradient,
        )

    def value(self) -> tuple[float, float]:
        """Read back the last value: targets to faces, faces to targets [unit of the points]."""
        return float(self._target_loss.numpy().sum()), float(self._face_loss.numpy().sum())
