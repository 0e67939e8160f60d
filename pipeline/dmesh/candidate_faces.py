"""Which faces may exist: points joined with their nearest neighbours, or with pairs of them."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.types import Indices
from warp_kernels import candidate_faces as kernels


def candidate_faces(neighbor_index: NDArray[np.int32], *, dimension: int = 3, device: str = "cpu") -> Indices:
    """Join every point with its neighbours, each face once.

    Args:
        neighbor_index: Nearest neighbours of each point, itself left out, shape (n, k); -1 where missing.
        dimension: 2 for segments, 3 for triangles.

    Returns:
        Vertex indices, ascending within a row, rows unique, shape (f, dimension).

    Raises:
        InputError: Wrong shape, or an index outside -1..n-1.
    """
    index = np.ascontiguousarray(neighbor_index, dtype=np.int32)
    if dimension not in (2, 3):
        raise InputError(f"dimension: expected 2 or 3, got {dimension}")
    if index.ndim != 2:
        raise InputError(f"neighbor_index: expected shape (n, k), got {index.shape}")
    if index.size and (index.min() < -1 or index.max() >= len(index)):
        raise InputError(f"neighbor_index: expected values from -1 to {len(index) - 1}")
    n, k = index.shape
    if n == 0 or k < dimension - 1:
        return np.zeros((0, dimension), dtype=np.int32)
    workspace = CandidateWorkspace(n, k, dimension, device)
    neighbor: wp.array = wp.array(index, dtype=wp.int32, device=device)
    unused = wp.empty(0, dtype=wp.vec2d if dimension == 2 else wp.vec3d, device=device)
    return workspace.find(unused, wp.empty(0, dtype=wp.float64, device=device), neighbor, -1.0).numpy()


class CandidateWorkspace:
    """Work arrays for candidate faces on a device, kept between calls; the face buffer grows when needed."""

    def __init__(self, count: int, k: int, dimension: int, device: str) -> None:
        """Allocate for `count` points with `k` joined neighbours each."""
        self.k, self.dimension = k, dimension
        self.mask = wp.empty((count, kernels.mask_words(k, dimension)), dtype=wp.uint32, device=device)
        self.count = wp.empty(count, dtype=wp.int32, device=device)
        self.end_of = wp.empty(count, dtype=wp.int32, device=device)
        self.faces = wp.empty(1, dtype=wp.vec2i if dimension == 2 else wp.vec3i, device=device)

    def find(self, points: wp.array, scale: wp.array, neighbor: wp.array, reach: float) -> wp.array:
        """Return the candidate faces (f,) as a view of the buffer.

        Args:
            points: Positions, shape (n,); may be empty when `reach` is negative.
            scale: Length per point, shape (n,).
            neighbor: Nearest neighbours, shape (n, at least k).
            reach: Leave out faces with a point deeper inside their ball than `reach` times their scale, as
                far as the lists show; negative keeps every face.
        """
        kernels.mark_faces(points, scale, neighbor, self.k, reach, self.mask, self.count, self.end_of)
        total = int(self.end_of[-1:].numpy()[0])
        if total > self.faces.shape[0]:
            self.faces = wp.empty(total + total // 4, dtype=self.faces.dtype, device=self.faces.device)
        faces = self.faces[:total]
        if total:
            kernels.write_faces(points, neighbor, self.k, self.mask, self.end_of, faces)
        return faces
