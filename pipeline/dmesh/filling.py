"""Close what the greedy choice left open: specks, slits and small holes of surfaces, gaps of curves.

`zip_gaps` offers candidates with low minimum-ball probability among the vertices of open edges, `fill_holes`
triangulates remaining loops that the samples cover (an opening of the shape stays open), `close_curves` joins
ends in 2D. What is then still wrong is left to `curing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.dmesh.extraction import CHANCE_GAP, PLACES, face_normals, measure_support
from pipeline.dmesh.polygons import EdgeKeys, boundary_loops, cheapest_triangulation, polygon_triangles
from pipeline.dmesh.selection import SelectionConfig, select_faces
from pipeline.dmesh.tessellation import signed_distance
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import components, simplex_edges, unique_rows
from pipeline.types import Indices, Points

LONGEST_EDGE = 2.2
"""Longest edge of a filling face in units of the median edge: a slit must not become a long sliver."""
LARGEST_LOOP = 60
"""Edges of a loop that is still triangulated as one polygon."""
SMALL_LOOP = 8
"""Edges of a loop up to which samples near it are reason enough to fill it."""
LARGEST_SLIT = 128
"""Edges of a narrow loop that is still triangulated between sheets."""
WIDEST_SLIT = 3.0
"""Width of such a loop, at most, in units of the median edge: an opening is wider."""
EXPLAINED = 0.1
"""Distance of samples from the surface, in edges, below which a larger loop around them is no hole: its
triangles would lie over a sheet that is there."""


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
    def tree(self) -> cKDTree:
        """The samples, for the many small queries of single loops."""
        return cKDTree(self.samples)


def drop_specks(faces: Indices, least: int = 6) -> Indices:
    """Drop components, joined over edges, of fewer than `least` faces."""
    label = components(faces, 2)
    return faces[np.bincount(label)[label] >= least] if len(faces) else faces


def zip_gaps(surface: Surface, faces: Indices, rounds: int = 4) -> Indices:
    """Add faces among the vertices of open edges: two rounds that touch one such edge, then two edges."""
    for step in range(rounds):
        extra = _gap_candidates(surface, faces, least_open=1 if step < 2 else 2)
        if extra is None:
            break
        candidates, score = extra
        rule = replace(surface.config, fold_angle=30.0)
        before = len(faces)
        for _ in range(4):
            ok = select_faces(
                surface.points,
                candidates,
                score,
                rule,
                chosen=faces,
                least_open=0 if step < 2 else 2,
                links=surface.links,
                device=surface.device,
            )
            if not ok.any():
                break
            faces = np.concatenate([faces, candidates[ok]])
            candidates, score = candidates[~ok], score[~ok]
        if len(faces) == before and step >= 2:
            break
    return faces


def close_curves(surface: Surface, faces: Indices, rounds: int = 2) -> Indices:
    """Join open ends of curves (2D) that the samples link: longer segments, with less strict support."""
    x = surface.points
    for step in range(rounds):
        degree = np.bincount(faces.ravel(), minlength=len(x))
        ends = np.flatnonzero(degree < 2)
        if len(ends) < 2:
            break
        near, _ = nearest_neighbors(x[ends], min(4 + 4 * step, len(ends) - 1), device=surface.device)
        rows, _, _ = unique_rows(
            np.stack([ends.repeat(near.shape[1]), ends[near.ravel()]], axis=1).astype(np.int32)
        )
        rows = rows[~np.isin(EdgeKeys(len(x)).of(rows), EdgeKeys(len(x)).of(faces))]
        support = measure_support(x, rows, surface.samples, surface.planes, surface.device)
        length = np.linalg.norm(x[rows[:, 0]] - x[rows[:, 1]], axis=1)
        margin = 2 * signed_distance(x, rows, device=surface.device)[0] / length
        ok = (support.offset < 0.25 * length) & (support.gap < surface.config.largest_gap)
        ok &= margin > surface.config.least_margin
        score = -length / surface.planes.typical_spacing - 3 * support.offset / length
        chosen = select_faces(x, rows[ok], score[ok], surface.config, chosen=faces, device=surface.device)
        faces = np.concatenate([faces, rows[ok][chosen]])
    return faces


def _gap_candidates(
    surface: Surface, faces: Indices, least_open: int
) -> tuple[Indices, NDArray[np.float64]] | None:
    """Return supported triangles with `least_open` open edges and no full one, and their scores."""
    x = surface.points
    edges, _, uses = simplex_edges(faces)
    open_vertices = np.unique(edges[uses == 1])
    if len(open_vertices) < 3:
        return None
    k = min(14, len(open_vertices) - 1)
    near, _ = nearest_neighbors(x[open_vertices], k, device=surface.device)
    s, t = np.triu_indices(k, 1)
    local = np.stack(
        [np.repeat(np.arange(len(near)), len(s)), near[:, s].ravel(), near[:, t].ravel()], axis=1
    )
    rows, _, _ = unique_rows(open_vertices[local])
    length = np.linalg.norm(x[rows] - x[rows[:, [1, 2, 0]]], axis=2).max(axis=1)
    median = np.median(np.linalg.norm(x[edges[:, 0]] - x[edges[:, 1]], axis=1))
    rows = rows[length < LONGEST_EDGE * median]
    key = EdgeKeys(len(x))
    mine = key.of(rows[:, [0, 1, 0, 2, 1, 2]].reshape(-1, 2)).reshape(-1, 3)
    is_open = np.isin(mine, key.of(edges[uses == 1])).sum(axis=1)
    full = (uses > 1) & ~surface.on_junction(edges)
    is_full = np.isin(mine, key.of(edges[full])).any(axis=1)
    rows = rows[(is_open >= least_open) & ~is_full]
    rows = rows[~np.isin(key.of_faces(rows), key.of_faces(faces))]
    rows = rows[face_normals(x, rows)[1] > 1e-6 * median**2]
    if not len(rows):
        return None
    support = measure_support(x, rows, surface.samples, surface.planes, surface.device, surface.links)
    radius = np.linalg.norm(x[rows] - x[rows[:, [1, 2, 0]]], axis=2).max(axis=1) / np.sqrt(3)
    h = surface.planes.typical_spacing
    ok = (support.offset < 0.25 * radius) & (support.gap < 2.8) & (support.agreement > 0.75)
    score = -radius / h - 3 * support.offset / radius - 2 * (1 - support.agreement)
    return rows[ok], score[ok]


def fill_holes(
    surface: Surface, faces: Indices, largest: int = LARGEST_LOOP, covered: bool = True
) -> tuple[Indices, NDArray[np.int64]]:
    """Triangulate loops of open edges.

    Args:
        faces: Oriented triangles without edges of three faces.
        largest: Edges of a loop at most.
        covered: Fill only where samples cover the hole.

    Returns:
        All faces (the new ones last), and the vertices of loops of at most `largest` edges that could not be
        filled although samples cover them.
    """
    x = surface.points
    key = EdgeKeys(len(x))
    known = set(key.of(simplex_edges(faces)[0]).tolist())
    query = None
    added: list[NDArray[np.integer]] = []
    failed: list[NDArray[np.int64]] = []
    for loop in boundary_loops(faces):
        if len(loop) > largest:
            continue
        patch = triangulate_loop(surface, loop[::-1], known, key)
        if patch is None:
            failed.append(loop)
            continue
        if covered and _largest_gap(surface, patch) > surface.config.largest_gap:
            continue
        if covered and len(loop) > SMALL_LOOP:
            query = query or SurfaceQuery(x, faces, surface.device)
            if _lies_over(surface, query, patch):
                continue
        added.append(patch)
        known.update(key.of(simplex_edges(patch)[0]).tolist())
    if added:
        faces = np.concatenate([faces, *added]).astype(np.int32)
    return faces, np.concatenate(failed) if failed else np.zeros(0, dtype=np.int64)


def close_slits(surface: Surface, faces: Indices) -> Indices:
    """Close narrow loops that samples cover by triangles that cross nothing.

    Between sheets that nearly touch the cheapest patch of a loop often passes through the other sheet, and
    another one does not. Triangles span at most `WIDEST_SLIT` edges, so that no lid comes over an opening.

    Args:
        faces: Oriented triangles, manifold and free of intersections, as the result is.
    """
    x, device = surface.points, surface.device
    edges = simplex_edges(faces)[0]
    limit = WIDEST_SLIT * np.median(np.linalg.norm(x[edges[:, 0]] - x[edges[:, 1]], axis=1))
    loops = [loop[::-1].astype(np.int32) for loop in boundary_loops(faces) if len(loop) <= LARGEST_SLIT]
    if not loops:
        return faces
    # The faces ask, so that triangles of one polygon are not compared with each other.
    corners = [loop[polygon_triangles(len(loop))] for loop in loops]
    short = [_longest_edge(x, rows) <= limit for rows in corners]
    trial = [rows[ok] for rows, ok in zip(corners, short)]
    together = np.concatenate([faces, *trial]).astype(np.int32)
    hit = self_intersecting_faces(x, together, np.arange(len(faces)), device)[len(faces) :]
    key = EdgeKeys(len(x))
    known = set(key.of(edges).tolist())
    for loop, ok, part in zip(loops, short, np.split(hit, np.cumsum([len(rows) for rows in trial])[:-1])):
        crossing = ~ok
        crossing[ok] = part
        patch = triangulate_loop(surface, loop, known, key, crossing)
        if patch is None or _largest_gap(surface, patch) > surface.config.largest_gap:
            continue
        if not _crosses(surface, faces, patch):
            faces = np.concatenate([faces, patch]).astype(np.int32)
            known.update(key.of(simplex_edges(patch)[0]).tolist())
    return faces


def fill_at_links(surface: Surface, faces: Indices, longest: int = SMALL_LOOP) -> Indices:
    """Close holes that a link of a junction line bounds: open edges lead from one of its ends to the other.

    Such a hole is no loop of open edges, as the faces of the other sheets use the link.
    """
    if surface.links is None or not len(surface.links):
        return faces
    key = EdgeKeys(len(surface.points))
    edges, following = _open_edges(faces)
    for a, b in surface.links.tolist():
        if a not in following or b not in following:
            continue
        path = _shortest_path(following, a, b, longest)
        if path is None or len(path) < 3:
            continue
        known = set(key.of(edges).tolist()) - set(key.of(np.array([[a, b]])).tolist())
        patch = triangulate_loop(surface, np.array(path), known, key)
        if patch is None or _largest_gap(surface, patch) > surface.config.largest_gap:
            continue
        if not _crosses(surface, faces, patch):
            faces = np.concatenate([faces, patch]).astype(np.int32)
            edges, following = _open_edges(faces)
    return faces


def _open_edges(faces: Indices) -> tuple[Indices, dict[int, list[int]]]:
    """Return all edges, and the neighbours of each vertex over open ones."""
    edges, _, uses = simplex_edges(faces)
    following: dict[int, list[int]] = {}
    for p, q in edges[uses == 1].tolist():
        following.setdefault(p, []).append(q)
        following.setdefault(q, []).append(p)
    return edges, following


def _shortest_path(following: dict[int, list[int]], start: int, end: int, longest: int) -> list[int] | None:
    """Return the vertices from start to end over at most `longest` steps, not the one step between them."""
    paths = [[start]]
    seen = {start}
    for _ in range(longest):
        longer = []
        for path in paths:
            for v in following.get(path[-1], []):
                if v == end and len(path) > 1:
                    return [*path, v]
                if v not in seen and v != end:
                    seen.add(v)
                    longer.append([*path, v])
        paths = longer
    return None


def _lies_over(surface: Surface, query: SurfaceQuery, faces: Indices) -> bool:
    """Whether triangles cross a surface that explains the samples nearest to them already."""
    places = np.einsum("wk,fkx->fwx", PLACES[3], surface.points[faces]).reshape(-1, 3)
    near = np.unique(surface.tree.query(places)[1])
    corners = surface.points[faces]
    edge = np.median(np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2))
    distance = query.closest(surface.samples[near]).distance
    if np.quantile(distance, 0.9) > EXPLAINED * edge:
        return False
    return _crosses(surface, query.faces, faces)


def _crosses(surface: Surface, faces: Indices, patch: NDArray[np.int32]) -> bool:
    """Whether a patch of a few triangles crosses the faces or itself."""
    x = surface.points
    corners = x[faces]
    low, high = x[patch].min(axis=(0, 1)), x[patch].max(axis=(0, 1))
    near = ((corners.min(axis=1) <= high) & (corners.max(axis=1) >= low)).all(axis=1)
    together = np.concatenate([faces[near], patch]).astype(np.int32)
    new = np.arange(len(together) - len(patch), len(together))
    return bool(self_intersecting_faces(x, together, new, surface.device)[new].any())


def _largest_gap(surface: Surface, faces: Indices) -> float:
    """Return the largest gap (see `Support`) of a few triangles."""
    places = np.einsum("wk,fkx->fwx", PLACES[3], surface.points[faces]).reshape(-1, 3)
    distance, near = surface.tree.query(places)
    typical = np.maximum(surface.planes.spacing[near], surface.planes.typical_spacing)
    return float((distance / typical / CHANCE_GAP[3]).max())


def triangulate_loop(
    surface: Surface,
    loop: NDArray[np.integer],
    known: set[int],
    key: EdgeKeys,
    crossing: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32] | None:
    """Return the triangulation of a closed polygon with the least cost, shape (n - 2, 3), None where there is
    none.

    The cost of a triangle is its area, up to five times where its normal disagrees with that of the nearest
    sample, plus a share of its longest squared edge. A chord that is an edge of the mesh already is not used,
    nor a triangle that is marked in `crossing`, a mask over the rows of `polygon_triangles`.
    """
    n = len(loop)
    x = surface.points[loop]
    corners = polygon_triangles(n)
    normal, area = face_normals(x, corners)
    near = surface.tree.query(x[corners].mean(axis=1))[1]
    agreement = np.abs(np.einsum("ij,ij->i", normal, surface.planes.normals[near]))
    cost = area * (1 + 4 * (1 - agreement)) + 0.1 * _longest_edge(x, corners) ** 2
    if crossing is not None:
        cost[crossing] = np.inf
    chord = np.stack(np.triu_indices(n, 1), axis=1)
    steps = chord[:, 1] - chord[:, 0]
    chord = chord[(steps > 1) & (steps < n - 1)]
    used = np.array([k in known for k in key.of(loop[chord].astype(np.int32)).tolist()], dtype=np.bool_)
    rows = cheapest_triangulation(n, corners, cost, chord[used])
    return None if rows is None else loop[corners[rows]].astype(np.int32)


def _longest_edge(points: Points, faces: Indices) -> NDArray[np.float64]:
    corners = points[faces]
    return np.asarray(np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2).max(axis=1))
