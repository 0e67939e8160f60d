"""Size field: the edge length wanted at every place, on a regular grid, interpolated linearly.

At surface samples the size is the smallest of local thickness, local gap and radius of curvature, each
times a factor, clipped to a band around a base size. It spreads into space with bounded growth,

    h(x) = min over samples s of  h_s + grading * |x - x_s|_1,

which running minima along each axis evaluate exactly on a grid (the city-block cone is separable). The base
size follows from the number of tets: a body-centred cubic lattice of edge length h has 8.5 tets per h^3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.sampling import SurfaceSamples

Points = NDArray[np.float64]

TETS_PER_CUBE = 8.5
"""Tets per edge length cubed: 12 in a lattice cube of side 1.12 h."""
THICKNESS_FACTOR = 0.4
"""Edge length over local thickness: a plate gets two to three layers where the budget allows."""
CURVATURE_FACTOR = 0.8
"""Edge length over radius of curvature."""
FINEST, COARSEST = 0.3, 1.5
"""Band of the first size field, in base sizes."""
FARTHEST = 0.3
"""Largest thickness, gap and radius considered, in diagonals."""
SMALLEST, LARGEST = 1e-3, 0.15
"""Smallest and largest edge length, in diagonals."""
FEWEST_CELLS, MOST_CELLS = 24, 96
"""Cells of the grid along the longest side of the bounding box."""
NEIGHBORS = 12
FIT_STEPS = 12
"""Secant steps that fit the base size; two to four are usual."""


def grid_cells(tet_count: float) -> int:
    """Return the cells along a side for a number of tets: about two per edge of a compact body."""
    return int(np.clip(3.5 * tet_count ** (1.0 / 3.0), FEWEST_CELLS, MOST_CELLS))


def local_sizes(samples: SurfaceSamples, query: SurfaceQuery) -> Points:
    """Return the edge length that local thickness, gap and curvature ask for at samples, shape (s,).

    Thickness and gap are the lengths of rays along the normal, inward and outward; the radius of curvature is
    the distance to a neighbour over the difference of normals. Low quantiles over neighbours make them
    robust.
    """
    x, n = samples.points, samples.normals
    lift = 1e-4 * n
    thickness = query.ray_distance(x - lift, -n, FARTHEST)
    gap = query.ray_distance(x + lift, n, FARTHEST)
    k = min(NEIGHBORS, len(x))
    distance, neighbor = cKDTree(x).query(x, k=k)
    turn = np.linalg.norm(n[neighbor] - n[:, None], axis=2)
    # A turn of more than about 40 degrees between neighbours is a crease or another sheet, not curvature.
    smooth = (turn > 1e-3) & (turn < 0.7)
    radius = np.where(smooth, distance / np.where(smooth, turn, 1.0), FARTHEST)
    radius = np.median(radius[:, 1:], axis=1) if k > 1 else np.full(len(x), FARTHEST)
    low = THICKNESS_FACTOR * np.minimum(
        np.quantile(thickness[neighbor], 0.25, axis=1), np.quantile(gap[neighbor], 0.25, axis=1)
    )
    return np.minimum(low, CURVATURE_FACTOR * np.minimum(radius, FARTHEST))


class SizeField:
    """Edge lengths on a grid around a surface; call it with points (m, 3)."""

    def __init__(
        self,
        samples: Points,
        wanted: Points,
        query: SurfaceQuery,
        volume: float,
        grading: float,
        cells: int = 64,
    ) -> None:
        """Prepare the grid.

        Args:
            samples: Surface samples, shape (s, 3), in coordinates whose bounding box has diagonal 1.
            wanted: Edge length asked for at each sample, shape (s,).
            query: The surface.
            volume: Volume it encloses as far as known; guards against a grid too coarse for thin bodies.
            grading: Growth of the edge length per length along each axis.
            cells: Cells of the grid along its longest side.
        """
        self.samples, self.wanted, self.grading = samples, wanted, grading
        self.low, self.high, self.largest = FINEST, COARSEST, LARGEST
        margin = 2.0 / cells
        origin, top = samples.min(axis=0) - margin, samples.max(axis=0) + margin
        self.cell = float((top - origin).max()) / cells
        self.origin = origin
        self.shape = tuple(int(n) for n in np.ceil((top - origin) / self.cell).astype(int) + 1)
        self.occupancy = self._inside_nodes(query).astype(np.float64)
        self.grid_volume = float(self.occupancy.sum()) * self.cell**3
        if self.grid_volume < 0.5 * volume:
            # Thinner than a cell: the nodes at the samples stand for the body.
            self.occupancy[self._nodes()] = 1.0
            self.occupancy *= volume / (self.occupancy.sum() * self.cell**3)
        self.base = 0.0
        self._neighbors: NDArray[np.int64] | None = None
        self.values = np.full(self.shape, self.largest)

    def __call__(self, points: Points) -> Points:
        """Interpolate the size field at points (m, 3)."""
        return map_coordinates(self.values, ((points - self.origin) / self.cell).T, order=1, mode="nearest")

    def fit(self, tet_count: float) -> None:
        """Choose the base size so that the estimated number of tets is `tet_count`, within 0.1 %.

        The number goes with the base to the minus third power where no size is clipped: secants of the
        logarithms start with that slope.
        """
        volume = float(self.occupancy.sum()) * self.cell**3
        base = self.base or (TETS_PER_CUBE * volume / tet_count) ** (1.0 / 3.0)
        slope: float = -3.0
        last: tuple[float, float] | None = None
        for _ in range(FIT_STEPS):
            base = float(np.clip(base, 1e-3, 3.0))
            self.set_base(base)
            excess = float(np.log(max(self.estimate(), 1e-3) / tet_count))
            if abs(excess) < 1e-3:
                break
            if last is not None and base != last[0]:
                slope = float(np.clip((excess - last[1]) / np.log(base / last[0]), -4.0, -0.3))
            last = base, excess
            base *= float(np.exp(-excess / slope))

    def estimate(self) -> float:
        """Estimate the number of tets of the present field."""
        return TETS_PER_CUBE * float((self.occupancy / self.values**3).sum()) * self.cell**3

    def set_base(self, base: float) -> None:
        """Set the base size and spread the clipped sizes over the grid."""
        self.base = base
        field = np.full(self.shape, min(self.largest, self.high * base))
        np.minimum.at(field, self._nodes(), self.sample_sizes(base))
        self.values = _grow(field, self.grading * self.cell)

    def sample_sizes(self, base: float) -> Points:
        """Return the edge lengths at the samples for a base size, shape (s,)."""
        return np.clip(self.wanted, self.low * base, min(self.largest, self.high * base))

    def _inside_nodes(self, query: SurfaceQuery) -> NDArray[np.bool_]:
        """Tell grid nodes inside: every second one is asked, and those between two that differ."""
        shape = tuple((n + 2) // 2 for n in self.shape)
        coarse = np.stack(np.meshgrid(*(2 * np.arange(n) for n in shape), indexing="ij"), axis=-1)
        inside = query.is_inside(coarse.reshape(-1, 3) * self.cell + self.origin).reshape(shape)
        count = inside.astype(np.int8)
        for axis in range(3):
            # Between two nodes lies their sum: 8 or 0 after three axes says that all around agree.
            after = np.concatenate([np.delete(count, 0, axis), np.take(count, [-1], axis)], axis)
            sides = list(count.shape)
            sides[axis] *= 2
            count = np.stack([2 * count, count + after], axis=axis + 1).reshape(sides)
        count = count[tuple(slice(n) for n in self.shape)]
        result = count == 8
        mixed = np.argwhere((count > 0) & ~result)
        result[tuple(mixed.T)] = query.is_inside(mixed * self.cell + self.origin)
        return result

    def _nodes(self) -> tuple[NDArray[np.int64], ...]:
        index = np.round((self.samples - self.origin) / self.cell).astype(np.int64)
        return tuple(index.T)


class AdaptedSizeField(SizeField):
    """A size field that keeps the ratios of measured sizes: the base only scales them."""

    @classmethod
    def adapt(cls, field: SizeField, deviation: Points, exponent: float) -> AdaptedSizeField:
        """Shrink the sizes where the deviation, shape (s,), is above its mean, let them grow where below.

        The deviation of a smooth surface from a mesh of edge length h is proportional to curvature times h^2.
        """
        adapted = cls.__new__(cls)
        if field._neighbors is None:
            tree, count = cKDTree(field.samples), min(24, len(field.samples))
            field._neighbors = np.asarray(tree.query(field.samples, k=count)[1])
        adapted.__dict__.update(field.__dict__)
        present = field(field.samples)
        neighbor = field._neighbors
        local = np.quantile(deviation[neighbor], 0.8, axis=1)
        local = np.maximum(local, 0.5 * deviation[neighbor].max(axis=1))
        mean = max(float(np.exp(np.log(np.maximum(local, 1e-9)).mean())), 1e-9)
        factor = np.clip((mean / np.maximum(local, 1e-9)) ** exponent, 0.5, 1.5)
        adapted.wanted = present * factor
        return adapted

    def sample_sizes(self, base: float) -> Points:
        return np.clip(base * self.wanted, SMALLEST, self.largest)

    def set_base(self, base: float) -> None:
        self.base = base
        field = np.full(self.shape, self.largest)
        np.minimum.at(field, self._nodes(), self.sample_sizes(base))
        self.values = _grow(field, self.grading * self.cell)


def _grow(field: Points, slope: float) -> Points:
    """Return the largest field below `field` that grows by at most `slope` per cell along each axis."""
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = -1
        ramp = slope * np.arange(field.shape[axis]).reshape(shape)
        field = np.minimum.accumulate(field - ramp, axis=axis) + ramp
        field = np.flip(np.minimum.accumulate(np.flip(field, axis) - ramp, axis=axis) + ramp, axis)
    return field
