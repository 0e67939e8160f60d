"""Vertex placement: Lloyd relaxation with a quadric per cell, taken from sharp sample planes. 2D and 3D.

Samples p_i with normals n_i are assigned to their nearest vertex. The first rounds move each vertex to the
centroid c of its cell; later rounds minimise over the cell

    sum (n_i . (x - p_i))^2 + sum_border (b_i . (x - p_i))^2 + lambda m |x - c|^2

(m samples, b_i border conormals) and limit |x - c| to 1.5 times the root mean square radius of the cell. On a
smooth part this is the centroid lifted onto the surface; next to a crease, corner or border the planes pull
the vertex onto it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.points.border_samples import BorderSamples
from pipeline.points.denoising import Noise
from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.points.sheets import nearest_on_sheet
from pipeline.types import Points

REACH = 1.5
"""Largest distance from the centroid in units of the root mean square radius of the cell."""

_BENT = 0.125
"""Deviation of the shape from a plane within half a spacing, at most, in units of the noise."""
LEAST_PER_VERTEX = 1.4
"""Samples per vertex, at least, of vertices that are samples: thinning has to even out their distances."""
SPARSE, DENSE = 5_000, 10_000
"""Samples of a cloud up to which a vertex has one sample more, and from which on it has not: cells as wide as
thin parts take them for one sheet."""
LEAST_VERTICES = 64
"""Vertices placed at least, or all samples where there are fewer."""


@dataclass
class PlacementConfig:
    """How many vertices are placed before faces are chosen, and how they relax."""

    samples_per_vertex: float = 4.0
    """Samples behind one vertex, at least, one more in sparse clouds; fewer make planes uncertain."""
    oversampling: float = 3.0
    """Faces before coarsening, at most, in units of `max_faces`."""
    iterations: int = 15
    """Lloyd rounds."""
    plain_iterations: int = 5
    """Rounds that go to the centroid only."""
    centroid_weight: float = 0.02
    """lambda: pull towards the centroid relative to the planes."""
    samples_per_sheet_vertex: float = 3.5
    """Samples behind one vertex, at most, where sheets nearly touch."""
    noise_spacing: float = 8.5
    """Vertex spacing, at least, in units of the noise that was removed from the samples."""
    noise_centroid_weight: float = 0.1
    """lambda where noise was removed."""

    def __post_init__(self) -> None:
        if not self.samples_per_vertex >= 1:
            raise ValueError(f"samples_per_vertex: expected at least 1, got {self.samples_per_vertex}")
        if not self.oversampling >= 1:
            raise ValueError(f"oversampling: expected at least 1, got {self.oversampling}")
        if not 0 <= self.plain_iterations <= self.iterations:
            raise ValueError(
                f"plain_iterations: expected 0 to iterations = {self.iterations}, got {self.plain_iterations}"
            )
        for name in ("samples_per_sheet_vertex", "centroid_weight", "noise_spacing", "noise_centroid_weight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")

    def for_noise(self, noise: Noise) -> PlacementConfig:
        """Return the settings for samples from which noise was removed.

        The vertex spacing s is `noise_spacing` times the noise, less where the shape deviates within s / 2
        from a plane by more than an eighth of the noise: there what noise does matters less than what is
        missed. An equilateral lattice has one vertex per sqrt(3) / 2 s^2.
        """
        spacing = 2 * noise.radius(self.noise_spacing / 2, _BENT) / noise.spacing
        needed = np.sqrt(3) / 2 * spacing**2
        return replace(
            self,
            samples_per_vertex=max(self.samples_per_vertex, float(needed)),
            centroid_weight=self.noise_centroid_weight,
        )

    def for_sheets(self, sample_count: int, max_faces: int) -> PlacementConfig:
        """Return the settings for clean samples of sheets that nearly touch.

        Vertices are samples and stay where they are, exactly on their sheet: a relaxed vertex between two
        sheets belongs to neither. They are as dense as the samples show the sheets, however few faces are
        wanted in the end, and denser where more are wanted.
        """
        by_faces = sample_count / max(max_faces / 2, 1)
        per_vertex = float(np.clip(by_faces, LEAST_PER_VERTEX, self.samples_per_sheet_vertex))
        return replace(
            self, samples_per_vertex=per_vertex, oversampling=np.inf, iterations=0, plain_iterations=0
        )


def vertex_count(sample_count: int, max_faces: int, dimension: int, config: PlacementConfig) -> int:
    """Return how many vertices to place: a closed surface has twice as many faces, a curve equally many."""
    more = float(np.interp(sample_count, (SPARSE, DENSE), (1.0, 0.0)))
    by_samples = sample_count / (config.samples_per_vertex + more)
    by_faces = config.oversampling * max_faces / (2 if dimension == 3 else 1)
    return int(np.clip(min(by_samples, by_faces), min(LEAST_VERTICES, sample_count), sample_count))


def relax_vertices(
    vertices: Points,
    samples: Points,
    planes: SamplePlanes,
    border: BorderSamples,
    config: PlacementConfig,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
    fixed: int = 0,
) -> Points:
    """Relax vertices over the samples; a vertex that loses all samples is dropped.

    Args:
        vertices: Start, shape (n, d): a thinned subset of the samples.
        samples: Positions, shape (m, d).
        fixed: How many of the first vertices stay where they are, and are never dropped.
        progress: Called with the round, their number and the root mean square move.
    """
    plane_rows = Quadrics.of_planes(planes.normals, samples)
    border_rows = Quadrics.of_planes(border.conormals, samples[border.index])
    x = vertices.copy()
    near = nearest_neighbors(samples, 1, queries=x, device=device)[0][:, 0]
    normals = np.ascontiguousarray(planes.normals[near])
    for step in range(config.iterations):
        n = len(x)
        if planes.layered:
            cell = nearest_on_sheet(x, normals, samples, planes.normals, device)
            distance = np.linalg.norm(samples - x[cell], axis=1)
        else:
            nearest, far = nearest_neighbors(x, 1, queries=samples, device=device)
            cell, distance = nearest[:, 0].astype(np.int64), far[:, 0]
        count = np.bincount(cell, minlength=n).astype(np.float64)
        count_1 = np.maximum(count, 1)
        centroid = cell_sum(cell, samples, n) / count_1[:, None]
        if step < config.plain_iterations:
            moved = centroid
        else:
            q = plane_rows.sum_over(cell, n) + border_rows.sum_over(cell[border.index], n)
            moved = q.minimize(centroid, config.centroid_weight * count_1)
            radius = REACH * np.sqrt(np.bincount(cell, distance**2, n) / count_1)
            offset = moved - centroid
            length = np.linalg.norm(offset, axis=1)
            moved = centroid + offset * np.minimum(1, radius / np.maximum(length, 1e-300))[:, None]
        moved[:fixed] = x[:fixed]
        alive = count > 0
        alive[:fixed] = True
        change = np.sqrt(((moved - x)[alive] ** 2).sum(axis=1).mean())
        x = moved[alive]
        if planes.layered:
            moment = plane_rows.sum_over(cell, n).matrix[alive]
            normals = np.ascontiguousarray(np.linalg.eigh(moment)[1][:, :, -1])
        if progress is not None:
            progress(step + 1, config.iterations, float(change))
    return x


@dataclass(frozen=True)
class Quadrics:
    """Sums of squared distances to planes, one row each: x^T A x - 2 b^T x + c."""

    matrix: NDArray[np.float64]
    """A, shape (n, d, d)."""
    vector: NDArray[np.float64]
    """b, shape (n, d)."""
    constant: NDArray[np.float64]
    """c, shape (n,)."""

    @classmethod
    def of_planes(
        cls, normals: Points, points: Points, weight: NDArray[np.float64] | float = 1.0
    ) -> Quadrics:
        """One quadric per plane through `points` with unit `normals`, both (n, d)."""
        offset = np.einsum("ij,ij->i", normals, points)
        w = np.broadcast_to(np.asarray(weight, dtype=np.float64), offset.shape)
        scaled = normals * w[:, None]
        return cls(scaled[:, :, None] * normals[:, None, :], scaled * offset[:, None], w * offset**2)

    def sum_over(self, group: NDArray[np.integer], count: int) -> Quadrics:
        """Add the rows of each group 0..count-1."""
        n, d = self.vector.shape
        flat = cell_sum(group, self.matrix.reshape(n, d * d), count)
        return Quadrics(
            flat.reshape(count, d, d),
            cell_sum(group, self.vector, count),
            np.bincount(group, self.constant, count).astype(np.float64),
        )

    def __add__(self, other: Quadrics) -> Quadrics:
        return Quadrics(
            self.matrix + other.matrix, self.vector + other.vector, self.constant + other.constant
        )

    def minimize(self, anchor: Points, weight: NDArray[np.float64]) -> Points:
        """Return the minimiser of each quadric plus weight |x - anchor|^2, shape (n, d)."""
        d = anchor.shape[1]
        matrix = self.matrix + weight[:, None, None] * np.eye(d)
        vector = self.vector + weight[:, None] * anchor
        return np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], dtype=np.float64)


def cell_sum(cell: NDArray[np.integer], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sum rows of `values` (m, k) by cell: shape (count, k)."""
    return np.stack([np.bincount(cell, values[:, k], count) for k in range(values.shape[1])], axis=1)
