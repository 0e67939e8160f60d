"""Shapes that tests of the pipeline share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.types import SurfaceMesh, TetMesh


def sphere(count: int = 400) -> NDArray[np.float64]:
    """Points of a golden spiral on the unit sphere."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def box() -> SurfaceMesh:
    """The unit cube, two triangles a side."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    faces += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    return SurfaceMesh(corners, np.array(faces))


def with_sliver(mesh: TetMesh) -> TetMesh:
    """The point in the middle moved almost into a face of a tet around it."""
    middle = int(np.argmin(np.linalg.norm(mesh.points - mesh.points.mean(axis=0), axis=1)))
    tet = mesh.tets[(mesh.tets == middle).any(axis=1)][0]
    face = mesh.points[tet[tet != middle]].mean(axis=0)
    points = mesh.points.copy()
    points[middle] += 0.97 * (face - points[middle])
    return TetMesh(points, mesh.tets)


def renumbered(mesh: TetMesh, seed: int) -> TetMesh:
    """The same mesh with its points, its tets and the corners of each tet in another order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(mesh.points))
    rank = np.argsort(order)
    even = np.array([[0, 1, 2, 3], [1, 2, 0, 3], [3, 0, 2, 1], [1, 0, 3, 2]])
    tets = rank[mesh.tets][rng.permutation(len(mesh.tets))]
    tets = np.take_along_axis(tets, even[rng.integers(4, size=len(tets))], axis=1)
    return TetMesh(mesh.points[order], tets.astype(np.int32))
