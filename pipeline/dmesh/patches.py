"""Patches over loops of open edges: triangulations of least cost, and what speaks against them.

All loops of a surface are worked on at once, by their number of edges: garments have thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.dmesh.extraction import CHANCE_GAP, PLACES, SupportMemory, face_normals
from pipeline.dmesh.polygons import EdgeKeys, cheapest_triangulations, polygon_triangles
from pipeline.dmesh.selection import SelectionConfig
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.sample_planes import SamplePlanes
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import simplex_edges
from pipeline.types import Indices, Points

EXPLAINED = 0.1
"""Distance of samples from the surface, in edges, below which a larger loop around them is no hole: its
triangles would lie over a sheet that is there."""
_TRIANGLES_AT_ONCE = 1 << 18
"""Triangles of polygons of one size that are looked at together."""


@dataclass(frozen=True)
class Surface:
    """What filling looks at: vertices, the samples and how they lie."""

    points: Points
    samples: Points
    planes: SamplePlanes
    config: SelectionConfig
    device: str = "cpu"
    links: NDArray[np.int64] | None = None
    """Edges on junction lines, shape (m, 2)."""

    def on_junction(self, edges: Indices) -> NDArray[np.bool_]:
        """Mark edges (e, 2) that lie on a junction line and may have any number of faces."""
        if self.links is None:
            return np.zeros(len(edges), dtype=bool)
        key = EdgeKeys(len(self.points))
        return np.asarray(np.isin(key.of(edges), key.of(self.links.astype(np.int32))))

    @cached_property
    def support(self) -> SupportMemory:
        """How the samples support triangles that are offered again from round to round."""
        return SupportMemory(self.points, self.samples, self.planes, self.device, self.links)

    @cached_property
    def tree(self) -> cKDTree:
        """The samples, for the many small queries of single loops."""
        return cKDTree(self.samples)


class KnownEdges:
    """The edges of a mesh, and those that patches add to it."""

    def __init__(self, surface: Surface, faces: Indices) -> None:
        self.key = EdgeKeys(len(surface.points))
        self._keys = np.sort(self.key.of(simplex_edges(faces)[0]))
        self._added: set[int] = set()

    def holds(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mark the keys of edges that are known."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = np.asarray(self._keys[place] == keys)
        if self._added:
            known |= np.fromiter((key in self._added for key in keys.tolist()), dtype=bool)
        return known

    def new_edges(self, patches: Sequence[NDArray[np.int32] | None]) -> list[set[int]]:
        """Return the keys of the edges of each patch that are not known yet."""
        faces, start = _joined(patches)
        keys = self.key.of(faces[:, [0, 1, 0, 2, 1, 2]].reshape(-1, 2))
        fresh = np.flatnonzero(~self.holds(keys))
        listed = keys[fresh].tolist()
        return [set(listed[i:j]) for i, j in pairwise(np.searchsorted(fresh, 3 * start).tolist())]

    def meets(self, keys: set[int]) -> bool:
        """Whether a patch that was added has one of these edges."""
        return not self._added.isdisjoint(keys)

    def add(self, keys: set[int]) -> None:
        self._added |= keys


def triangulate_loops(
    surface: Surface,
    loops: Sequence[NDArray[np.integer]],
    known: KnownEdges,
    crossing: Sequence[NDArray[np.bool_]] | None = None,
) -> list[NDArray[np.int32] | None]:
    """Return the triangulation of each closed polygon with the least cost, shape (n - 2, 3), None where there
    is none.

    The cost of a triangle is its area, up to five times where its normal disagrees with that of the nearest
    sample, plus a share of its longest squared edge. A chord that is an edge of the mesh already is not used,
    nor a triangle that is marked in `crossing`.

    Args:
        loops: Vertices of each polygon in order, shape (n,).
        known: Edges of the mesh.
        crossing: A mask over the rows of `polygon_triangles` for each loop.
    """
    patches: list[NDArray[np.int32] | None] = [None] * len(loops)
    size = np.array([len(loop) for loop in loops])
    for n in np.unique(size).tolist():
        corners = polygon_triangles(n)
        rows = np.flatnonzero(size == n)
        step = max(1, _TRIANGLES_AT_ONCE // len(corners))
        for part in (rows[i : i + step] for i in range(0, len(rows), step)):
            group = np.stack([loops[i] for i in part]).astype(np.int32)
            triangles = group[:, corners].reshape(-1, 3)
            allowed = np.ones(len(triangles), dtype=bool)
            if crossing is not None:
                allowed = ~np.concatenate([crossing[i] for i in part])
            costs = np.full(len(triangles), np.inf)
            costs[allowed] = _triangle_costs(surface, triangles[allowed])
            cost = costs.reshape(len(part), -1)
            best = cheapest_triangulations(n, corners, cost, _used_chords(group, known))
            for i, polygon, chosen in zip(part.tolist(), group, best):
                if chosen[0] >= 0:
                    patches[i] = polygon[corners[chosen]]
    return patches


def _triangle_costs(surface: Surface, faces: Indices) -> NDArray[np.float64]:
    x = surface.points
    normal, area = face_normals(x, faces)
    near = surface.tree.query(x[faces].mean(axis=1))[1]
    agreement = np.abs(np.einsum("ij,ij->i", normal, surface.planes.normals[near]))
    return np.asarray(area * (1 + 4 * (1 - agreement)) + 0.1 * longest_edges(x, faces) ** 2)


def _used_chords(polygons: Indices, known: KnownEdges) -> NDArray[np.bool_]:
    """Mark the chords of polygons (l, n) that are edges already, shape (l, n, n), first corner lower."""
    count, n = polygons.shape
    used = np.zeros((count, n, n), dtype=bool)
    a, b = np.triu_indices(n, 2)
    a, b = a[b - a < n - 1], b[b - a < n - 1]
    ends = np.stack([polygons[:, a], polygons[:, b]], axis=2).reshape(-1, 2)
    used[:, a, b] = known.holds(known.key.of(ends)).reshape(count, -1)
    return used


def _joined(patches: Sequence[NDArray[np.int32] | None]) -> tuple[Indices, NDArray[np.int64]]:
    """Return the faces of all patches, and where each patch starts and the last one ends."""
    start = np.cumsum([0, *(0 if patch is None else len(patch) for patch in patches)])
    rows = [np.zeros((0, 3), dtype=np.int32), *(patch for patch in patches if patch is not None)]
    return np.concatenate(rows).astype(np.int32), start


def largest_gaps(surface: Surface, patches: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Return the largest gap (see `Support`) of each patch."""
    if not len(patches):
        return np.zeros(0)
    faces, start = _joined(patches)
    places = _places(surface, faces)
    distance, near = surface.tree.query(places)
    typical = np.maximum(surface.planes.spacing[near], surface.planes.typical_spacing)
    gap = distance / typical / CHANCE_GAP[3]
    return np.asarray(np.maximum.reduceat(gap, start[:-1] * (len(places) // len(faces))))


def _places(surface: Surface, faces: Indices) -> Points:
    return np.einsum("wk,fkx->fwx", PLACES[3], surface.points[faces]).reshape(-1, 3)


def lie_over(
    surface: Surface, query: SurfaceQuery, patches: Sequence[NDArray[np.int32]]
) -> NDArray[np.bool_]:
    """Mark patches that cross themselves or a surface that explains the samples nearest to them already."""
    over = np.zeros(len(patches), dtype=bool)
    if not len(patches):
        return over
    joined, start = _joined(patches)
    nearest = surface.tree.query(_places(surface, joined))[1].reshape(len(joined), -1)
    near = [np.unique(nearest[i:j]) for i, j in pairwise(start)]
    sides = _sides(surface.points, joined)
    distance = query.closest(surface.samples[np.concatenate(near)])
    ends = np.cumsum([len(rows) for rows in near])
    for i, part in enumerate(np.split(distance.distance, ends[:-1])):
        edge = np.median(sides[start[i] : start[i + 1]])
        over[i] = np.quantile(part, 0.9) <= EXPLAINED * edge
    rows = np.flatnonzero(over)
    over[rows] = crossing_patches(surface, query.faces, [patches[i] for i in rows.tolist()])
    return over


def crossing_patches(
    surface: Surface, faces: Indices, patches: Sequence[NDArray[np.int32]]
) -> NDArray[np.bool_]:
    """Mark patches that cross the faces or themselves; patches are not compared with each other."""
    crossing = np.zeros(len(patches), dtype=bool)
    if not len(patches):
        return crossing
    x = surface.points
    joined, start = _joined(patches)
    low, high = x[joined].min(axis=(0, 1)), x[joined].max(axis=(0, 1))
    inside = np.ones(len(faces), dtype=bool)
    for k in range(3):
        a, b, c = (x[faces[:, i], k] for i in range(3))
        inside &= np.minimum(np.minimum(a, b), c) <= high[k]
        inside &= np.maximum(np.maximum(a, b), c) >= low[k]
    near = faces[inside]
    owner = np.repeat(np.arange(len(patches)), np.diff(start))
    hit = self_intersecting_faces(
        x,
        np.concatenate([near, joined]).astype(np.int32),
        np.arange(len(near), len(near) + len(joined)),
        surface.device,
        groups=np.concatenate([np.zeros(len(near), dtype=np.int32), owner + 1]),
    )
    np.logical_or.at(crossing, owner, hit[len(near) :])
    return crossing


def _sides(points: Points, faces: Indices) -> NDArray[np.float64]:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.stack([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=1)


def longest_edges(points: Points, faces: Indices) -> NDArray[np.float64]:
    """Return the longest edge of triangles, shape (f,)."""
    a, b, c = _sides(points, faces).T
    return np.asarray(np.maximum(np.maximum(a, b), c))
