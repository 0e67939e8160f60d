"""Interior points: a body-centred cubic lattice whose cells halve where the size field asks for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.sizing import SizeField

Points = NDArray[np.float64]

CELL_PER_EDGE = 1.12
"""Side of the lattice cube over the mean edge length of its tets."""
SURFACE_DISTANCE = 0.55
"""Interior points keep this many edge lengths away from the surface."""
POINT_DISTANCE = 0.7
"""Interior points keep this many edge lengths away from surface points."""

_CORNERS = np.stack(np.meshgrid([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], indexing="ij"), axis=-1).reshape(-1, 3)


def graded_lattice(size: SizeField, low: Points, high: Points) -> Points:
    """Return lattice points within a box: at each place those of the level whose cell fits the size there.

    Level l has cubes of side a / 2^l; a point of level l is used where 1.12 h lies within sqrt(2) of that
    side, and a cube is divided while a smaller size can occur in it.
    """
    largest, smallest = CELL_PER_EDGE * size.values.max(), CELL_PER_EDGE * size.values.min()
    levels = max(0, int(np.ceil(np.log2(largest / smallest))))
    side = largest
    count = np.ceil((high - low) / side).astype(int) + 1
    cells = (
        np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1).reshape(-1, 3) * side
        + low
    )
    chosen = []
    for level in range(levels + 1):
        lattice = np.concatenate([cells, cells + 0.5 * side])
        wanted = CELL_PER_EDGE * size(lattice)
        use = np.ones(len(lattice), dtype=bool)
        if level > 0:
            use &= wanted <= np.sqrt(2.0) * side
        if level < levels:
            use &= wanted > side / np.sqrt(2.0)
        chosen.append(lattice[use])
        # The field falls by at most grading * 1.5 sides from the middle of a cube to its corners.
        possible = CELL_PER_EDGE * (size(cells + 0.5 * side) - 1.5 * size.grading * side)
        cells = cells[possible <= side]
        side *= 0.5
        cells = (cells[:, None] + side * _CORNERS).reshape(-1, 3)
    return np.concatenate(chosen)


def interior_points(size: SizeField, query: SurfaceQuery, surface_points: Points) -> Points:
    """Return the lattice points inside the surface that keep clear of it and of its points, shape (m, 3)."""
    points = graded_lattice(size, surface_points.min(axis=0), surface_points.max(axis=0))
    spacing = size(points)
    distance, _ = cKDTree(surface_points).query(points)
    points, spacing = (
        points[distance > POINT_DISTANCE * spacing],
        spacing[distance > POINT_DISTANCE * spacing],
    )
    points = points[query.is_inside(points)]
    return points[query.closest(points).distance > SURFACE_DISTANCE * size(points)]
