"""Fidelity inside the energy: the boundary of the mesh is fitted to the reference surface in both directions.

A reference sample s has the closest point x = sum_i lambda_i p_i on a boundary triangle of the mesh; a
sample x of such a triangle has the closest point s on the reference. In both cases, with d = |x - s| and n
= (x - s) / d, the distance after displacements d_i of the vertices is d + n . sum_i lambda_i d_i to first
order (the barycentric coordinates are constants of the derivative: envelope theorem). The fidelity energy
is

    sum over samples of w (u + 0.05 u^2),  u = distance^2 / scale^2

a least-squares fit that counts distances beyond `scale` more, up to a cap (a surface finer than the mesh
must not tear at it). Each vertex sees its own part of the linearised energy as a quadratic, `Pull`; half
steps of all vertices together are a damped Jacobi iteration on a mass matrix, which converges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.quality.mesh_state import SURFACE, MeshState
from pipeline.quality.reference import FACE_SAMPLES, ReferenceSurface
from pipeline.quality.smoothing import Pull
from pipeline.surface_query import SurfaceQuery

Points = NDArray[np.float64]

MESH_SAMPLES = np.concatenate([FACE_SAMPLES, np.eye(3)])
"""Barycentric coordinates of the samples of a boundary triangle: centroid, edge midpoints, vertices."""
MESH_WEIGHTS = np.array([1.0, 0.8, 0.8, 0.8, 0.2, 0.2, 0.2]) / 4.0

SAMPLES_PER_FACE = 8
"""Reference samples per boundary triangle of the mesh."""
_NEAR = 0.2
"""Share of the scale: where all faces of a vertex are nearer than that, the vertex only slides."""
_STEEP = 10.0
"""Largest factor by which a far sample counts more than a near one."""


@dataclass(frozen=True)
class Deviation:
    """Distances between the boundary of a mesh and its reference, in the unit of the points."""

    to_reference: float
    """Mean over samples of the mesh."""
    to_mesh: float
    """Mean over samples of the reference."""
    largest: float
    """Largest of all samples."""

    @property
    def mean(self) -> float:
        """The larger of the two means."""
        return max(self.to_reference, self.to_mesh)


class Fidelity:
    """Samples of a reference surface, and the pull they exert on a mesh.

    Attributes:
        gaps: Largest distance found at each boundary triangle by the last `pull`, shape (b,).
    """

    def __init__(self, reference: ReferenceSurface, face_count: int, rng: np.random.Generator) -> None:
        """Draw samples for a mesh of about `face_count` boundary triangles."""
        self.reference = reference
        count = int(np.clip(SAMPLES_PER_FACE * face_count, 2_000, 400_000))
        self.samples = reference.samples(count, rng)
        self.gaps = np.zeros(0)

    def pull(self, state: MeshState, scale: float, weight: float) -> tuple[Pull, Deviation]:
        """Linearise the fidelity energy at the mesh.

        `scale` is the distance that counts 1, times `weight`.
        """
        faces, points, n = state.connectivity.faces, state.points, len(state.points)
        hit = SurfaceQuery(points, faces, device=state.device).closest(self.samples)
        corners = points[faces]
        mine = np.einsum("sc,fcd->fsd", MESH_SAMPLES, corners).reshape(-1, 3)
        theirs = self.reference.query.closest(mine)
        # Reference samples and mesh samples share the weight of four samples per triangle in equal parts.
        share = np.concatenate(
            [
                np.full(len(self.samples), 2.0 * len(faces) / len(self.samples)),
                np.tile(2.0 * MESH_WEIGHTS, len(faces)),
            ]
        )
        rows = np.concatenate([faces[hit.face], np.repeat(faces, len(MESH_SAMPLES), axis=0)])
        barycentric = np.concatenate([hit.barycentric, np.tile(MESH_SAMPLES, (len(faces), 1))])
        gap = np.concatenate([hit.point - self.samples, mine - theirs.point])
        distance = np.linalg.norm(gap, axis=1)
        area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area /= np.maximum(np.linalg.norm(area, axis=1), 1e-300)[:, None]
        flat = np.concatenate([area[hit.face], np.repeat(area, len(MESH_SAMPLES), axis=0)])
        touching = distance < 1e-9
        direction = np.where(touching[:, None], flat, gap / np.maximum(distance, 1e-300)[:, None])
        u = (distance / scale) ** 2
        w = weight * share * np.minimum(1.0 + 0.1 * u, _STEEP) / np.maximum(1.0, u / 400.0) / scale**2

        weighted = w[:, None] * barycentric
        matrix = np.zeros((n, 3, 3))
        slope = np.zeros((n, 3))
        index = rows.ravel()
        second = (weighted * barycentric).ravel()
        first = (weighted * distance[:, None]).ravel()
        wide = np.repeat(direction, 3, axis=0)
        for i in range(3):
            slope[:, i] = np.bincount(index, first * wide[:, i], minlength=n)
            for j in range(i, 3):
                entry = np.bincount(index, second * wide[:, i] * wide[:, j], minlength=n)
                matrix[:, i, j] = matrix[:, j, i] = entry
        matrix[state.kind < SURFACE] = 0.0
        slope[state.kind < SURFACE] = 0.0
        to_mesh, to_reference = np.split(distance, [len(self.samples)])
        self.gaps = to_reference.reshape(len(faces), -1).max(axis=1)
        np.maximum.at(self.gaps, hit.face, to_mesh)
        deviation = Deviation(
            _area_mean(to_reference.reshape(len(faces), -1) @ MESH_WEIGHTS, corners),
            float(to_mesh.mean()),
            float(distance.max()),
        )
        free = np.zeros(n, dtype=bool)
        free[faces[self.gaps > _NEAR * scale].ravel()] = True
        return Pull(matrix, slope, free), deviation


def keep_offsets(state: MeshState) -> None:
    """Remember how far surface vertices are off the reference, so that sliding keeps them there."""
    rows = np.flatnonzero(state.kind == SURFACE)
    place, normal = state.reference.project(state.points[rows])
    state.offset[rows] = np.einsum("ij,ij->i", state.points[rows] - place, normal)


def _area_mean(values: Points, corners: Points) -> float:
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return float(np.average(values, weights=area)) if area.sum() > 0 else float(values.mean())
