"""Samples of a surface, and points spread over it with a prescribed spacing.

Weighted Lloyd iteration on samples: every site moves to the centroid of the samples nearest to it, weighted
by 1 / h^4, the density that makes a two-dimensional centroidal Voronoi tessellation have cells of size h, and
beyond it: over-relaxation reaches in a third of the steps what plain steps do.
Where two sheets are nearer than the spacing, positions alone would join samples of both: the distance is
taken in (x, 0.5 h n), so that samples with opposite normals are one spacing further apart.

Source: Du, Faber, Gunzburger 1999, Centroidal Voronoi Tessellations (density and spacing, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import area_vectors

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

TRIANGLE_AREA = np.sqrt(3.0) / 2.0
"""Area per site of a regular triangulation with edge length 1."""
NORMAL_WEIGHT = 0.5
"""Length, in spacings, that a unit difference of normals counts for."""
OVERSHOOT = 1.8
"""Length of a Lloyd step, in distances to the centroid; below 2, where it would stop converging."""
CLEAR_OF_FIXED = 0.7
"""New sites keep this many spacings away from fixed ones at the start."""


@dataclass(frozen=True)
class SurfaceSamples:
    """Samples spread evenly by area."""

    points: Points
    """Shape (s, 3)."""
    normals: Points
    """Unit face normals, or normals interpolated over smooth regions, shape (s, 3)."""
    face: NDArray[np.int64]
    """Face of each sample, shape (s,)."""
    area: float
    """Area of the whole surface."""

    def thinned(self, step: int) -> SurfaceSamples:
        """Return every `step`-th sample."""
        return SurfaceSamples(self.points[::step], self.normals[::step], self.face[::step], self.area)

    def some(self, count: int) -> Points:
        """Return at most `count` of the points, as even as all: they are stored face after face."""
        rows = np.linspace(0, len(self.points), min(count, len(self.points)), endpoint=False)
        return self.points[rows.astype(np.int64)]


def sample_faces(
    points: Points, faces: Indices, corner_normals: Points, count: int, rng: np.random.Generator
) -> SurfaceSamples:
    """Spread `count` samples over triangles: equal steps of accumulated area, a random place within the face.

    Args:
        points: Vertices, shape (n, 3).
        faces: Vertex indices, shape (f, 3).
        corner_normals: Normal at each corner of each face, shape (f, 3, 3).
        count: Number of samples.
        rng: Random generator.
    """
    area = np.linalg.norm(area_vectors(points, faces), axis=1)
    cumulated = np.cumsum(area)
    step = (np.arange(count) + rng.random(count)) * (cumulated[-1] / count)
    face = np.minimum(np.searchsorted(cumulated, step), len(faces) - 1)
    root, v = np.sqrt(rng.random(count)), rng.random(count)
    weight = np.stack([1.0 - root, root * (1.0 - v), root * v], axis=1)
    position = np.einsum("sk,ski->si", weight, points[faces[face]])
    normal = np.einsum("sk,ski->si", weight, corner_normals[face])
    length = np.linalg.norm(normal, axis=1)
    return SurfaceSamples(
        position, normal / np.where(length > 0, length, 1.0)[:, None], face, float(cumulated[-1])
    )


def corner_normals(points: Points, faces: Indices, crease_angle: float) -> Points:
    """Return a normal for each corner of each face, shape (f, 3, 3), smooth except across creases.

    The normals of the faces around a vertex are averaged, weighted by area, over those that turn by less than
    `crease_angle` [degrees] from the face's own.
    """
    vector = area_vectors(points, faces)
    length = np.linalg.norm(vector, axis=1)
    unit = vector / np.where(length > 0, length, 1.0)[:, None]
    # Corner (f, k) sums the area vectors of the faces at its vertex that pass the angle test.
    vertex = faces.ravel()
    order = np.argsort(vertex, kind="stable")
    degree = np.bincount(vertex, minlength=len(points))
    start = np.concatenate([[0], np.cumsum(degree)])
    repeats = degree[vertex]
    row = np.repeat(np.arange(len(vertex)), repeats)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    other = order[start[vertex[row]] + offset] // 3
    near = np.einsum("ri,ri->r", unit[row // 3], unit[other]) > np.cos(np.radians(crease_angle))
    row, other = row[near], other[near]
    total: Points = np.stack(
        [np.bincount(row, vector[other, k], len(vertex)) for k in range(3)], axis=1
    ).astype(np.float64)
    norm = np.linalg.norm(total, axis=1)
    total = np.where(
        norm[:, None] > 0, total / np.where(norm > 0, norm, 1.0)[:, None], np.repeat(unit, 3, axis=0)
    )
    return total.reshape(-1, 3, 3)


def spread_points(
    samples: SurfaceSamples,
    size: Callable[[Points], Points],
    query: SurfaceQuery,
    fixed: Points,
    iterations: int,
    rng: np.random.Generator,
) -> Points:
    """Spread sites over the surface with spacing `size`; return the fixed points followed by the others.

    Args:
        samples: Samples of the surface, at least about ten per site.
        size: Size field: points (m, 3) -> spacing (m,).
        query: The surface, onto which sites are projected.
        fixed: Points that belong to the result and stay, shape (c, 3).
        iterations: Lloyd steps.
        rng: Random generator.
    """
    spacing = size(samples.points)
    density = 1.0 / spacing**2
    count = int(np.ceil(samples.area / len(spacing) * density.sum() / TRIANGLE_AREA))
    count = int(np.clip(count, 4, len(spacing)))
    sites = samples.points[_systematic(samples.points, density, count, rng)]
    if len(fixed):
        distance, _ = cKDTree(fixed).query(sites)
        sites = np.concatenate([fixed, sites[distance > CLEAR_OF_FIXED * size(sites)]])
    weight = 1.0 / spacing**4
    feature = np.concatenate([samples.points, NORMAL_WEIGHT * spacing[:, None] * samples.normals], axis=1)
    _, nearest = cKDTree(samples.points).query(sites)
    site_feature = feature[nearest]
    site_feature[:, :3] = sites
    fixed_count = len(fixed)
    for k in range(iterations):
        _, owner = cKDTree(site_feature).query(feature)
        total = np.bincount(owner, weight, len(site_feature))
        mean: Points = np.stack(
            [np.bincount(owner, weight * feature[:, i], len(site_feature)) for i in range(6)], axis=1
        ).astype(np.float64)
        moved = total > 0
        mean[moved] /= total[moved][:, None]
        site_feature[moved, 3:] = mean[moved, 3:]
        moved[:fixed_count] = False
        length = OVERSHOOT if k < iterations - 1 else 1.0
        site_feature[moved, :3] += length * (mean[moved, :3] - site_feature[moved, :3])
        if k % 5 == 4 or k == iterations - 1:
            site_feature[fixed_count:, :3] = query.closest(site_feature[fixed_count:, :3]).point
    return site_feature[:, :3].copy()


def thin_points(points: Points, radius: Points, priority: Points) -> NDArray[np.bool_]:
    """Choose a maximal subset with no two points nearer than the smaller of their radii.

    Args:
        points: Shape (n, 3).
        radius: Shape (n,).
        priority: The higher one wins, shape (n,); ties go to the lower index.

    Returns:
        Kept points, shape (n,).
    """
    n = len(points)
    if n < 2:
        return np.ones(n, dtype=bool)
    # Within its own radius each: one long radius must not pair up everything else.
    near = cKDTree(points).query_ball_point(points, radius)
    owner = np.repeat(np.arange(n), [len(rows) for rows in near])
    pairs = np.stack([owner, np.concatenate(near).astype(np.int64)], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    gap = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    pairs = pairs[gap < np.minimum(radius[pairs[:, 0]], radius[pairs[:, 1]])]
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((np.arange(n), -priority))] = np.arange(n)
    winner = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    loser = pairs.sum(axis=1) - winner
    kept, open_points = np.zeros(n, dtype=bool), np.ones(n, dtype=bool)
    # Each round keeps the points that beat all their open neighbours: a parallel maximal independent set.
    while open_points.any():
        live = open_points[winner] & open_points[loser]
        winner, loser = winner[live], loser[live]
        best = open_points.copy()
        best[loser] = False
        kept |= best
        open_points &= ~best
        open_points[loser[best[winner]]] = False
    return kept


def _systematic(points: Points, density: Points, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw distinct indices in proportion to a density: equal steps of its sum along a curve.

    Neighbours on the curve (Morton's, through all points) are neighbours in space, so the draws are even
    there too.
    """
    low = points.min(axis=0)
    cell = ((points - low) * (1023.0 / max(float(np.ptp(points, axis=0).max()), 1e-300))).astype(np.int64)
    code = np.zeros(len(points), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = np.argsort(code, kind="stable")
    cumulated = np.cumsum(density[order])
    step = (np.arange(count) + rng.random()) * (cumulated[-1] / count)
    return np.unique(order[np.minimum(np.searchsorted(cumulated, step), len(order) - 1)])
