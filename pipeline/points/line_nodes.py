"""Points on lines where three and more sheets of a sampled surface meet. 3D.

Next to a line where sheets meet, samples a and b have different planes; their intersection is the line. With
direction t = n_a x n_b, the foot of sample a on it is

    a + u (n_b - c n_a),    u = n_b . (b - a) / (1 - c^2),    c = n_a . n_b

Seen along t, the samples around a foot whose planes contain the line lie in rays that end on it: one per
sheet. A border shows one, a crease two, a junction three or more, also where two of the sheets lie in one
plane. A foot with three rays is a node; planes fitted to the sheets give its position and direction as
exactly as the samples know them. Sheets that only come near each other miss their common line.

All lengths are in units of the sample spacing h, so nothing depends on the shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points

LEAST_TURN = np.radians(20.0)
"""Angle between planes from which they define a line."""
FOOT_REACH = 1.5
"""Distance of a sample from its foot on the line, at most [h]."""
NEIGHBORS = 80
"""Samples around a foot that are looked at: some twenty on each of four sheets."""
NEAR_AXIS = 0.2
"""Samples nearer to the line, in units of the neighbourhood's radius, show no direction."""
CONTAINS = 0.3
"""Sine of the angle between a plane and the line or its ray below which the plane contains it."""
RAY_WIDTH = np.radians(25.0)
"""Gap between directions that separates two sheets."""
RAY_SAMPLES = 6
"""Samples of a sheet, at least."""
RAY_SHARE = 0.25
"""Samples of a sheet in units of those of the largest one, at least."""
LEAST_SINE = 0.3
"""Second singular value of the normals of the sheets at a line: less, and they are parallel."""
LARGEST_MISS = 0.2
"""Distance of the planes of the sheets from their common line, at most [h]: near layers miss each other by
more."""
LARGEST_REACH = 2.5
"""Distance of the sheets' second samples from the line, at most [h]: a sheet that ends before it is another
one's neighbour."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Feet:
    """Points on lines where two planes meet: position, direction (m, 3) and the sample spacing (m,)."""

    position: Points
    direction: Points
    spacing: NDArray[np.float64]

    def take(self, rows: NDArray) -> Feet:
        return Feet(self.position[rows], self.direction[rows], self.spacing[rows])


def find_nodes(samples: Points, planes: SamplePlanes, device: str = "cpu") -> Feet:
    """Find points where three and more sheets meet: at most one per cell of three quarters of the spacing.

    Args:
        samples: Positions, shape (m, 3).
        planes: Their planes, sharp up to the lines.
    """
    feet = _find_feet(samples, planes)
    return _find_nodes(_thin(feet), samples, planes, device) if len(feet.position) else feet


def _find_feet(samples: Points, planes: SamplePlanes) -> Feet:
    """Return the foot of every sample on the nearest line where its plane meets that of a neighbour."""
    position, direction, spacing = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros(0)]
    for start in range(0, len(samples), _CHUNK):
        part = np.arange(start, min(start + _CHUNK, len(samples)))
        table = planes.neighbors[part]
        cosine = np.einsum("nx,nkx->nk", planes.normals[part], planes.normals[table])
        i, k = np.nonzero((np.abs(cosine) < np.cos(LEAST_TURN)) & (table >= 0))
        a, b, c = part[i], table[i, k], cosine[i, k][:, None]
        n, m = planes.normals[a], planes.normals[b]
        # The foot is a + u (m - c n): within the plane of a, normal to the line.
        reach = np.einsum("ij,ij->i", m, samples[b] - samples[a])[:, None] / (1 - c**2)
        foot = samples[a] + reach * (m - c * n)
        h = np.maximum(planes.spacing[a], planes.typical_spacing / 2)
        own = np.linalg.norm(foot - samples[a], axis=1) / h
        other = np.linalg.norm(foot - samples[b], axis=1) / h
        ok = np.flatnonzero((own < FOOT_REACH) & (other < 2 * FOOT_REACH))
        order = ok[np.lexsort((own[ok] + other[ok], i[ok]))]
        best = order[np.unique(i[order], return_index=True)[1]]
        t = np.cross(n[best], m[best])
        position.append(foot[best])
        direction.append(t / np.linalg.norm(t, axis=1)[:, None])
        spacing.append(h[best])
    return Feet(np.concatenate(position), np.concatenate(direction), np.concatenate(spacing))


def _thin(feet: Feet) -> Feet:
    """Keep one foot per cell of three quarters of the median spacing."""
    cell = np.floor(feet.position / (0.75 * np.median(feet.spacing))).astype(np.int64)
    return feet.take(np.sort(np.unique(cell, axis=0, return_index=True)[1]))


def _find_nodes(feet: Feet, samples: Points, planes: SamplePlanes, device: str) -> Feet:
    """Return the feet at which three and more sheets end, moved to where planes fitted to the sheets meet."""
    rows, position, direction = [], [], []
    for start in range(0, len(feet.position), _CHUNK // 8):
        x = feet.position[start : start + _CHUNK // 8]
        near, distance = nearest_neighbors(samples, NEIGHBORS, queries=x, device=device)
        offset, normals = samples[near] - x[:, None], planes.normals[near]
        angle, _, rho, _ = around(feet.direction[start : start + len(x)], offset, normals)
        angle[rho < NEAR_AXIS * distance[:, -1:]] = np.nan
        for i in np.flatnonzero(_wide_gaps(angle) >= 3):
            known = np.flatnonzero(np.isfinite(angle[i]))
            sheets = [offset[i, known[g]] for g in rays(angle[i, known])]
            if len(sheets) < 3:
                continue
            h = feet.spacing[start + i]
            move, t, miss, sine = _common_line(sheets)
            if sine < LEAST_SINE or miss > LARGEST_MISS * h or np.linalg.norm(move) > FOOT_REACH * h:
                continue
            if max(_reach(points - move, t) for points in sheets) < LARGEST_REACH * h:
                rows.append(start + i)
                position.append(x[i] + move)
                direction.append(t)
    shape = (len(rows), 3)
    return Feet(np.reshape(position, shape), np.reshape(direction, shape), feet.spacing[rows])


def _wide_gaps(angle: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the gaps between directions of each row (n, k), NaN where there is none, that separate sheets."""
    ordered = np.sort(angle, axis=1)
    last = np.isfinite(angle).sum(axis=1) - 1
    around = ordered[:, 0] + 2 * np.pi - ordered[np.arange(len(angle)), last]
    return (np.diff(ordered, axis=1) > RAY_WIDTH).sum(axis=1) + (around > RAY_WIDTH)


def _common_line(sheets: list[Points]) -> tuple[Points, Points, float, float]:
    """Intersect planes fitted to sheets in the least squares sense.

    Returns:
        The point of the line nearest to the origin, its direction, by how much a plane misses it, at most,
        and how well the planes define it: the smaller of the two singular values of their normals.
    """
    n, height = [], []
    for points in sheets:
        middle = points.mean(axis=0)
        _, vector = np.linalg.eigh((points - middle).T @ (points - middle))
        n.append(vector[:, 0])
        height.append(vector[:, 0] @ middle)
    u, size, vt = np.linalg.svd(np.array(n))
    move = vt[:2].T @ ((u[:, :2].T @ np.array(height)) / np.maximum(size[:2], 1e-12))
    miss = np.abs(np.array(n) @ move - height).max()
    return move, vt[2], float(miss), float(size[1])


def _reach(points: Points, axis: Points) -> float:
    """Return the distance of the second nearest point from an axis through the origin."""
    return float(np.sort(np.linalg.norm(points - np.outer(points @ axis, axis), axis=1))[1])


def around(
    axis: Points, offset: NDArray[np.float64], normals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Describe offsets (n, k, 3) by cylindrical coordinates around axes (n, 3).

    Returns:
        The angle where the plane with this normal contains the axis, else NaN; the angle, the distance from
        the axis, and the place along it.
    """
    helper = np.where(np.abs(axis[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u, axis=1)[:, None]
    v = np.cross(axis, u)
    x, y, z = (np.einsum("nkx,nx->nk", offset, w) for w in (u, v, axis))
    nx, ny, nz = (np.einsum("nkx,nx->nk", normals, w) for w in (u, v, axis))
    rho = np.hypot(x, y)
    contains = (np.abs(nz) < CONTAINS) & (np.abs(x * nx + y * ny) < CONTAINS * rho)
    angle = np.arctan2(y, x)
    return np.where(contains, angle, np.nan), angle, rho, z


def rays(angle: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the rows of each group of directions that wide gaps separate and that holds enough of them."""
    if len(angle) < RAY_SAMPLES:
        return []
    order = np.argsort(angle, kind="stable")
    a = angle[order]
    cut = np.flatnonzero(np.diff(a, append=a[0] + 2 * np.pi) > RAY_WIDTH)
    if not len(cut):
        return []
    rolled = np.roll(order, -(int(cut[-1]) + 1))
    groups = np.split(rolled, (cut[:-1] - cut[-1]) % len(a))
    least = max(RAY_SAMPLES, RAY_SHARE * max(len(g) for g in groups))
    return [g for g in groups if len(g) >= least]
