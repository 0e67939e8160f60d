"""Fidelity inside the energy: the boundary of the mesh is fitted to the reference surface in both directions.

A reference sample s has the closest point x = sum_i lambda_i p_i on a boundary triangle of the mesh; a
sample x of such a triangle has the closest point s on the reference. In both cases, with d = |x - s| and n
= (x - s) / d, the distance after displacements d_i of the vertices is d + n . sum_i lambda_i d_i to first
order (the barycentric coordinates are constants of the derivative: envelope theorem). The fidelity energy
is

    sum over samples of w (u + 0.05 u^2),  u = distance^2 / scale^2

a least-squares fit that counts distances beyond `scale` more, up to a cap (a surface finer than the mesh
must not tear at it). With barycentric coordinates, directions and weights held the energy is quadratic in all
vertices, `Fit`. Each vertex sees its own part of it, `Pull`; shortened steps of all vertices together are a
damped Jacobi iteration on a mass matrix, which converges. Closest points are searched once for several steps:
what a vertex moves along the surface changes the distances to planes only in second order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.quality.mesh_state import SURFACE, MeshState
from pipeline.quality.reference import FACE_SAMPLES, ReferenceSurface
from pipeline.quality.smoothing import Pull
from pipeline.surface_query import SurfaceQuery

Points = NDArray[np.float64]

MESH_SAMPLES = np.concatenate([FACE_SAMPLES, np.eye(3)])
"""Barycentric coordinates of the samples of a boundary triangle: centroid, edge midpoints, vertices."""
MESH_WEIGHTS = np.array([1.0, 0.8, 0.8, 0.8, 0.2, 0.2, 0.2]) / 4.0

SAMPLES_PER_FACE = 5
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


@dataclass(frozen=True)
class Fit:
    """The fidelity energy linearised at a mesh: sum over s of w_s (n_s . (x_s - closest_s))^2."""

    deviation: Deviation
    gaps: Points
    """Largest distance found at each boundary triangle, shape (b,)."""
    _free: NDArray[np.bool_]
    _held: NDArray[np.bool_]
    _matrix: Points
    _jacobian: csr_array
    """Derivative of the distances by the vertices, shape (s, 3 n): rows are n_s times the barycentrics."""
    _constant: Points
    _weight: Points

    def pull(self, points: Points) -> Pull:
        """Return the pull on the vertices where they are now, shape (n, 3)."""
        distance = self._jacobian @ points.ravel() - self._constant
        slope = (self._jacobian.T @ (self._weight * distance)).reshape(-1, 3)
        slope[self._held] = 0.0
        return Pull(self._matrix, slope, self._free)


class Fidelity:
    """Samples of a reference surface, for the fit of a mesh to it."""

    def __init__(self, reference: ReferenceSurface, face_count: int, rng: np.random.Generator) -> None:
        """Draw samples for a mesh of about `face_count` boundary triangles."""
        self.reference = reference
        count = int(np.clip(SAMPLES_PER_FACE * face_count, 2_000, 400_000))
        self.samples = reference.samples(count, rng)

    def fit(self, state: MeshState, scale: float, weight: float) -> Fit:
        """Search closest points and linearise the fidelity energy; a distance of `scale` counts `weight`."""
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

        matrix = np.zeros((n, 3, 3))
        second = (w[:, None] * barycentric**2).ravel()
        wide = np.repeat(direction, 3, axis=0)
        for i in range(3):
            for j in range(i, 3):
                entry = np.bincount(rows.ravel(), second * wide[:, i] * wide[:, j], minlength=n)
                matrix[:, i, j] = matrix[:, j, i] = entry
        # Corners and curves are not pulled.
        held = state.kind < SURFACE
        matrix[held] = 0.0
        jacobian = csr_array(
            (
                (barycentric[:, :, None] * direction[:, None, :]).ravel(),
                (3 * rows[:, :, None] + np.arange(3)).ravel(),
                np.arange(0, 9 * len(rows) + 1, 9),
            ),
            shape=(len(rows), 3 * n),
        )
        to_mesh, to_reference = np.split(distance, [len(self.samples)])
        gaps = to_reference.reshape(len(faces), -1).max(axis=1)
        np.maximum.at(gaps, hit.face, to_mesh)
        deviation = Deviation(
            _area_mean(to_reference.reshape(len(faces), -1) @ MESH_WEIGHTS, corners),
            float(to_mesh.mean()),
            float(distance.max()),
        )
        free = np.zeros(n, dtype=bool)
        free[faces[gaps > _NEAR * scale].ravel()] = True
        return Fit(deviation, gaps, free, held, matrix, jacobian, jacobian @ points.ravel() - distance, w)


def keep_offsets(state: MeshState) -> None:
    """Remember how far surface vertices are off the reference, so that sliding keeps them there."""
    rows = np.flatnonzero(state.kind == SURFACE)
    place, normal = state.reference.project(state.points[rows])
    state.offset[rows] = np.einsum("ij,ij->i", state.points[rows] - place, normal)


def _area_mean(values: Points, corners: Points) -> float:
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return float(np.average(values, weights=area)) if area.sum() > 0 else float(values.mean())
