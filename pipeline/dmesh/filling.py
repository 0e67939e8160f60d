"""Close what the greedy choice left open: specks, slits and small holes of surfaces, gaps of curves.

`zip_gaps` offers candidates with low minimum-ball probability among the vertices of open edges, `fill_holes`
triangulates remaining loops that the samples cover (an opening of the shape stays open), `close_curves` joins
ends in 2D. What is then still wrong is left to `curing`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.dmesh.extraction import face_normals, measure_support
from pipeline.dmesh.patches import (
    KnownEdges,
    Surface,
    crossing_patches,
    largest_gaps,
    lie_over,
    longest_edges,
    triangulate_loops,
)
from pipeline.dmesh.polygons import EdgeKeys, boundary_loops, polygon_triangles
from pipeline.dmesh.selection import select_faces
from pipeline.dmesh.tessellation import signed_distance
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.neighbors import nearest_neighbors
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import components, simplex_edges, unique_rows
from pipeline.types import Indices

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


def drop_specks(faces: Indices, least: int = 6) -> Indices:
    """Drop components, joined over edges, of fewer than `least` faces."""
    label = components(faces, 2)
    return faces[np.bincount(label)[label] >= least] if len(faces) else faces


def zip_gaps(surface: Surface, faces: Indices, rounds: int = 4) -> Indices:
    """Add faces among the vertices of open edges: two rounds that touch one such edge, then two edges."""
    for step in range(rounds):
        extra = gap_candidates(surface, faces, least_open=1 if step < 2 else 2)
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


def gap_candidates(
    surface: Surface, faces: Indices, least_open: int
) -> tuple[Indices, NDArray[np.float64]] | None:
    """Return supported triangles with `least_open` open edges and no full one, and their scores."""
    x = surface.points
    edges, _, uses = simplex_edges(faces)
    open_vertices = np.unique(edges[uses == 1])
    if len(open_vertices) < 3:
        return None
    k = min(14, len(open_vertices) - 1)
    near, distance = nearest_neighbors(x[open_vertices], k, device=surface.device)
    median = np.median(np.linalg.norm(x[edges[:, 0]] - x[edges[:, 1]], axis=1))
    longest = LONGEST_EDGE * median
    # An open edge and a vertex near one of its ends: every candidate has an open edge.
    ends = np.searchsorted(open_vertices, edges[uses == 1])
    sides = []
    for near_end, other in (ends.T, ends[:, ::-1].T):
        row, place = np.nonzero(distance[near_end] < longest)
        apex = near[near_end[row], place]
        sides.append(np.stack([near_end[row], other[row], apex], axis=1)[apex != other[row]])
    rows = open_vertices[np.concatenate(sides)]
    across = np.linalg.norm(x[rows[:, 1]] - x[rows[:, 2]], axis=1)
    base = np.linalg.norm(x[rows[:, 0]] - x[rows[:, 1]], axis=1)
    rows, _, _ = unique_rows(rows[np.maximum(across, base) < longest])
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
    support = surface.support.of(rows)
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
    loops = [loop for loop in boundary_loops(faces) if len(loop) <= largest]
    if not loops:
        return faces, np.zeros(0, dtype=np.int64)
    known = KnownEdges(surface, faces)
    large = covered and max(len(loop) for loop in loops) > SMALL_LOOP
    query = SurfaceQuery(surface.points, faces, surface.device) if large else None
    limit = surface.config.largest_gap

    def judged(rows: list[int]) -> list[tuple[NDArray[np.int32] | None, bool, set[int]]]:
        """Return the patch of each loop, whether it may be added, and the keys of its new edges."""
        patches = triangulate_loops(surface, [loops[i][::-1] for i in rows], known)
        fits = np.array([patch is not None for patch in patches])
        if covered:
            fits[fits] = largest_gaps(surface, [p for p in patches if p is not None]) <= limit
        if query is not None:
            wide = np.flatnonzero([ok and len(loops[i]) > SMALL_LOOP for ok, i in zip(fits, rows)])
            fits[wide] = ~lie_over(surface, query, [p for k in wide if (p := patches[k]) is not None])
        return list(zip(patches, fits.tolist(), known.new_edges(patches)))

    added: list[NDArray[np.integer]] = []
    failed: list[NDArray[np.int64]] = []
    for row, (patch, fits, keys) in enumerate(judged(list(range(len(loops))))):
        if known.meets(keys):
            ((patch, fits, keys),) = judged([row])
        if patch is None:
            failed.append(loops[row])
        elif fits:
            added.append(patch)
            known.add(keys)
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
    crossing = [longest_edges(x, rows) > limit for rows in corners]
    trial = [rows[~long] for rows, long in zip(corners, crossing)]
    together = np.concatenate([faces, *trial]).astype(np.int32)
    hit = self_intersecting_faces(x, together, np.arange(len(faces)), device)[len(faces) :]
    for long, part in zip(crossing, np.split(hit, np.cumsum([len(rows) for rows in trial])[:-1])):
        long[~long] = part
    known = KnownEdges(surface, faces)

    def judged(rows: list[int]) -> list[tuple[NDArray[np.int32] | None, bool, set[int]]]:
        """Return the patch of each loop, whether it may be added, and the keys of its new edges."""
        patches = triangulate_loops(surface, [loops[i] for i in rows], known, [crossing[i] for i in rows])
        found = [patch for patch in patches if patch is not None]
        fits = np.array([patch is not None for patch in patches])
        fits[fits] = (largest_gaps(surface, found) <= surface.config.largest_gap) & ~crossing_patches(
            surface, faces, found
        )
        return list(zip(patches, fits.tolist(), known.new_edges(patches)))

    added = np.zeros((0, 3), dtype=np.int32)
    for row, (patch, fits, keys) in enumerate(judged(list(range(len(loops))))):
        if known.meets(keys):
            ((patch, fits, keys),) = judged([row])
        if patch is not None and fits and not crossing_patches(surface, added, [patch])[0]:
            added = np.concatenate([added, patch])
            known.add(keys)
    return np.concatenate([faces, added]).astype(np.int32)


def fill_at_links(surface: Surface, faces: Indices, longest: int = SMALL_LOOP) -> Indices:
    """Close holes that a link of a junction line bounds: open edges lead from one of its ends to the other.

    Such a hole is no loop of open edges, as the faces of the other sheets use the link.
    """
    if surface.links is None or not len(surface.links):
        return faces
    known, following = KnownEdges(surface, faces), _open_edges(faces)
    for a, b in surface.links.tolist():
        if a not in following or b not in following:
            continue
        path = _shortest_path(following, a, b, longest)
        if path is None or len(path) < 3:
            continue
        (patch,) = triangulate_loops(surface, [np.array(path)], known)
        if patch is None or largest_gaps(surface, [patch])[0] > surface.config.largest_gap:
            continue
        if not crossing_patches(surface, faces, [patch])[0]:
            faces = np.concatenate([faces, patch]).astype(np.int32)
            known, following = KnownEdges(surface, faces), _open_edges(faces)
    return faces


def _open_edges(faces: Indices) -> dict[int, list[int]]:
    """Return the neighbours of each vertex over open edges."""
    edges, _, uses = simplex_edges(faces)
    following: dict[int, list[int]] = {}
    for p, q in edges[uses == 1].tolist():
        following.setdefault(p, []).append(q)
        following.setdefault(q, []).append(p)
    return following


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
