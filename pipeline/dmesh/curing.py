"""Make an oriented surface manifold and free of intersections: remove what is wrong, fill the hole again.

Wrong are faces at an edge of three and more faces, at an edge that cannot be oriented, the smaller fans of a
pinched vertex, intersecting faces, and the rim of a loop that could not be filled. A patch that stays wrong
grows from round to round. What is open then is zipped once more, as the edges that were in the way are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from pipeline.dmesh.filling import close_slits, drop_specks, fill_holes, zip_gaps
from pipeline.dmesh.patches import Surface
from pipeline.dmesh.placement import cell_sum
from pipeline.metrics.surface import fan_vertices, self_intersecting_faces
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import orient_faces, simplex_edges
from pipeline.types import Indices, Points

RAGGED = 0.1
"""Share of open edges above which only intersecting faces are taken out: sheets too near each other, or
noise, leave slits all over, and patches that grow around what cannot be oriented would take whole sheets
away."""
_FIRST_ROUNDS = 2
"""Times that intersecting faces of filled loops are removed before other defects are judged."""
_RAGGED_LOOP = 8
"""Edges of the loops that are then filled."""
_PATIENCE = 3
"""Times that a spot is wrong before the faces around it are removed as well: a thin tip would be eaten up,
and most spots come right when they are filled again."""
_ZIP_ROUNDS = 2
"""Rounds of the cure after the second zip: holes are filled once, and stay where that is wrong."""
LOST = 0.002
"""Share of the samples that may be left bare by patches that grow; where it is more, they do not grow."""
PINCH_SHIFT = 0.25
"""How far a vertex that is split from another one moves towards the middle of its fan."""
_LEAST_PART = 12
"""Faces of a part of the result, at least: a thin tip that was cut off and closed is no shape of its own."""
_FAR = 3.0
"""Distance from the surface, in units of the sample spacing, at which a sample is bare."""
_PROBES = 20000
"""Samples that are looked at for this."""


@dataclass(frozen=True)
class Cured:
    """A cured surface, and what happened on the way."""

    faces: Indices
    """Oriented faces."""
    removed: int = 0
    """Faces removed around defects; most were filled again."""
    specks: int = 0
    """Faces of parts too small to be a surface."""
    filled: int = 0
    """Faces added to close holes that samples cover."""
    is_ragged: bool = False
    """More than `RAGGED` of the edges were open."""


def cure(surface: Surface, faces: Indices, rounds: int = 16) -> Cured:
    """Make a surface manifold off its junctions and free of self-intersections, and close its small holes
    that samples cover.

    Where more than `RAGGED` of the edges are open, intersecting faces are removed once, and only loops of few
    edges are filled; what cannot be oriented stays, and nothing is zipped again. Where sheets nearly touch,
    filling covered loops comes first, and narrow loops that are left are closed in the end. Where patches
    that grow from round to round would leave samples bare, the faces that are wrong are taken out and nothing
    around them.
    """
    if not len(faces):
        return Cured(faces)
    layered = surface.planes.layered
    first = _fill_first(surface, faces) if layered else Cured(faces)
    is_ragged = _open_share(first.faces) > RAGGED
    if is_ragged:
        shape = _cure_ragged(surface, first.faces)
        zipped = Cured(shape.faces)
    else:
        shape = _cure_shape(surface, first.faces, rounds)
        zipped = _zip_again(surface, shape.faces)
    closed = close_slits(surface, zipped.faces) if layered else zipped.faces
    kept = drop_specks(closed, _LEAST_PART)
    steps = (first, shape, zipped)
    return Cured(
        kept,
        sum(step.removed for step in steps),
        sum(step.specks for step in steps) + len(closed) - len(kept),
        sum(step.filled for step in steps) + len(closed) - len(zipped.faces),
        is_ragged,
    )


def _cure_ragged(surface: Surface, faces: Indices) -> Cured:
    """Remove intersecting faces once, and fill small loops."""
    bad = self_intersecting_faces(surface.points, faces, device=surface.device)
    kept = drop_specks(faces[~bad])
    filled = fill_holes(surface, orient_along_tree(kept)[0], _RAGGED_LOOP)[0]
    removed = int(bad.sum())
    return Cured(filled, removed, len(faces) - removed - len(kept), len(filled) - len(kept))


def _cure_shape(surface: Surface, faces: Indices, rounds: int) -> Cured:
    """Remove and fill by rounds, with patches that grow unless that leaves samples bare."""
    result = _cure_in_rounds(surface, faces, rounds, grows=True)
    if result.removed:
        bare = _bare_samples(surface, result.faces) - _bare_samples(surface, faces)
        if bare > LOST:
            gentle = _cure_in_rounds(surface, faces, rounds, grows=False)
            if _bare_samples(surface, gentle.faces) < _bare_samples(surface, result.faces):
                return gentle
    return result


def _open_share(faces: Indices) -> float:
    return float((simplex_edges(faces)[2] == 1).mean()) if len(faces) else 0.0


def _fill_first(surface: Surface, faces: Indices) -> Cured:
    """Fill the loops of a surface with slits all over before its defects are judged.

    What a slit leaves open looks like a defect, and removing around it takes sheets away that the samples
    show. Faces of the filled loops that intersect are removed, and their holes filled again.
    """
    removed = specks = 0
    start = len(faces)
    faces, _ = fill_holes(surface, orient_along_tree(faces)[0])
    filled = len(faces) - start
    for _ in range(_FIRST_ROUNDS):
        bad = self_intersecting_faces(surface.points, faces, device=surface.device)
        kept = drop_specks(faces[~bad])
        removed += int(bad.sum())
        specks += len(faces) - int(bad.sum()) - len(kept)
        faces, _ = fill_holes(surface, orient_along_tree(kept)[0])
        filled += len(faces) - len(kept)
    return Cured(faces, removed, specks, filled)


def _zip_again(surface: Surface, faces: Indices) -> Cured:
    """Zip the open edges of a cured surface, and take out what is wrong then."""
    zipped = zip_gaps(surface, faces)
    if len(zipped) == len(faces):
        return Cured(faces)
    added = np.arange(len(faces), len(zipped))
    bad = self_intersecting_faces(surface.points, zipped, added, surface.device)
    bad[: len(faces)] = False
    cured = _cure_in_rounds(surface, zipped[~bad], _ZIP_ROUNDS, grows=False)
    filled = cured.filled + len(added) - int(bad.sum())
    return Cured(cured.faces, cured.removed, cured.specks, filled)


def _cure_in_rounds(surface: Surface, faces: Indices, rounds: int, grows: bool) -> Cured:
    """Take out what is wrong and fill again; without growth, holes stay where filling brings it back."""
    removed = specks = filled = 0
    heat = np.zeros(len(surface.points), dtype=np.int64)
    stuck = np.zeros(0, dtype=np.int64)
    faces = orient_along_tree(faces)[0]
    # Faces that were there after a removal do not intersect each other: only new ones are asked.
    untested = np.arange(len(faces))

    def fill(faces: Indices) -> tuple[Indices, NDArray[np.int64], NDArray[np.int64]]:
        closed, failed = fill_holes(surface, faces)
        return closed, failed, np.arange(len(faces), len(closed))

    for step in range(rounds):
        bad, where = defects(surface, faces, untested)
        where = np.union1d(where, stuck) if grows else where
        if not bad.any() and not len(where):
            faces, stuck, untested = fill(faces)
            filled += len(untested)
            if (not len(stuck) or not grows) and not defects(surface, faces, untested)[0].any():
                break
            continue
        heat[where] += 1
        if grows:
            bad |= grown_patch(faces, where, heat)
        whole = unpinch(faces[~bad], np.unique(faces[bad]))
        kept = drop_specks(whole)
        removed += len(faces) - len(whole)
        specks += len(whole) - len(kept)
        faces = orient_along_tree(kept)[0]
        untested = np.zeros(0, dtype=np.int64)
        if grows or step < rounds // 2:
            faces, stuck, untested = fill(faces)
            filled += len(untested)
    else:
        if not grows:
            before = len(faces)
            faces = _without_defects(surface, faces)
            removed += before - len(faces)
    return Cured(orient_faces(faces)[0], removed, specks, filled)


def _without_defects(surface: Surface, faces: Indices) -> Indices:
    """Take out what is wrong until nothing is; holes stay."""
    while (bad := defects(surface, faces)[0]).any():
        faces = orient_along_tree(unpinch(faces[~bad], np.unique(faces[bad])))[0]
    return faces


def grown_patch(faces: Indices, where: NDArray[np.int64], heat: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the faces around spots that stayed wrong, in one more ring every third time."""
    hot = where[heat[where] > _PATIENCE]
    patch = np.zeros(len(faces), dtype=bool)
    if len(hot):
        patch = _ring(faces, hot)
        for _ in range(int(heat[hot].max() - _PATIENCE) // 3):
            patch |= _ring(faces, np.unique(faces[patch]))
    return patch


def _bare_samples(surface: Surface, faces: Indices) -> float:
    """Return the share of samples that are far from the faces."""
    if not len(faces):
        return 1.0
    rows = slice(None, None, max(1, len(surface.samples) // _PROBES))
    query = SurfaceQuery(surface.points, faces, surface.device)
    distance = query.closest(surface.samples[rows]).distance
    spacing = np.maximum(surface.planes.spacing[rows], surface.planes.typical_spacing)
    return float((distance > _FAR * spacing).mean())


def defects(
    surface: Surface, faces: Indices, untested: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Mark faces at edges of three and more faces that lie on no junction line, at edges that cannot be
    oriented, and intersecting ones.

    Args:
        faces: Oriented triangles, shape (f, 3).
        untested: Faces outside of which none intersects another one; all faces if None.

    Returns:
        The mask of bad faces, shape (f,), and the vertices of the spots; pinched vertices are cured by
        `unpinch`.
    """
    points, device = surface.points, surface.device
    edges, face_edges, uses = simplex_edges(faces)
    sign = np.array([1, -1, 1]) * np.where(faces[:, [0, 0, 1]] < faces[:, [1, 2, 2]], 1, -1)
    turn = np.bincount(face_edges.ravel(), sign.ravel(), len(uses))
    wrong = ((uses > 2) | (uses == 2) & (turn != 0)) & ~surface.on_junction(edges)
    bad = wrong[face_edges].any(axis=1) | self_intersecting_faces(points, faces, untested, device)
    if untested is None:
        bad |= _in_smaller_fans(faces, np.ones(len(points), dtype=bool))
    elif len(untested):
        own = np.zeros(len(points), dtype=bool)
        own[faces[untested]] = True
        near = np.flatnonzero(own[faces].any(axis=1))
        bad[near] |= _in_smaller_fans(faces[near], own)
    return bad, np.unique(faces[bad])


def _in_smaller_fans(faces: Indices, judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark faces in a fan of a judged vertex that has a larger one; all faces of such a vertex are given."""
    fan, vertex = fan_vertices(faces)
    pinched = (np.bincount(vertex, minlength=len(judged)) > 1) & judged
    corner_size = np.bincount(fan.ravel())[fan]
    largest = np.zeros(len(judged), dtype=np.int64)
    np.maximum.at(largest, faces.ravel(), corner_size.ravel())
    return np.asarray((pinched[faces] & (corner_size < largest[faces])).any(axis=1))


def unpinch(faces: Indices, doubtful: NDArray[np.integer] | None = None) -> Indices:
    """Remove the smaller fans of vertices that have more than one (of equal fans the later one).

    Args:
        doubtful: Vertices that may have more than one; all if None.
    """
    rows = np.arange(len(faces)) if doubtful is None else np.flatnonzero(_ring(faces, doubtful))
    while len(rows):
        fan, vertex = fan_vertices(faces[rows])
        if doubtful is not None:
            # Other vertices show a part of their faces here.
            own = np.isin(vertex, doubtful)
        else:
            own = np.ones(len(vertex), dtype=bool)
        size = np.bincount(fan.ravel())
        order = np.lexsort((np.arange(len(size)), -size, vertex))
        best = np.zeros(len(size), dtype=bool)
        first = np.ones(len(order), dtype=bool)
        first[1:] = vertex[order][1:] != vertex[order][:-1]
        best[order[first]] = True
        lost = ~(best | ~own)[fan].all(axis=1)
        if not lost.any():
            break
        doubtful = np.unique(faces[rows[lost]])
        faces = np.delete(faces, rows[lost], axis=0)
        rows = np.flatnonzero(_ring(faces, doubtful))
    return faces


def split_pinches(points: Points, faces: Indices) -> tuple[Points, Indices, int]:
    """Give every fan of a pinched vertex but the largest a vertex of its own, a little inside the fan.

    Returns:
        All vertices, the new ones last, the faces, and the number of new vertices.
    """
    fan, vertex = fan_vertices(faces)
    size = np.bincount(fan.ravel())
    order = np.lexsort((np.arange(len(size)), -size, vertex))
    later = order[1:][vertex[order][1:] == vertex[order][:-1]]
    if not len(later):
        return points, faces, 0
    renamed = vertex.copy()
    renamed[later] = len(points) + np.arange(len(later))
    center = (
        cell_sum(fan.ravel(), np.repeat(points[faces].mean(axis=1), 3, axis=0), len(size)) / size[:, None]
    )
    apart = points[vertex[later]] + PINCH_SHIFT * (center[later] - points[vertex[later]])
    return np.concatenate([points, apart]), renamed[fan].astype(np.int32), len(later)


def _ring(faces: Indices, vertices: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the faces that have one of the vertices."""
    marked = np.zeros(max(int(faces.max(initial=-1)), int(np.max(vertices, initial=-1))) + 1, dtype=bool)
    marked[vertices] = True
    return np.asarray(marked[faces].any(axis=1))


def orient_along_tree(faces: Indices) -> tuple[Indices, NDArray[np.bool_]]:
    """Orient triangles along spanning trees over edges of two faces that enter doubtful faces last.

    Doubtful are faces with a vertex on an open edge or on an edge of three faces: what makes a surface
    impossible to orient is among them. A tree that went through such a spot would turn everything behind it,
    and the edges that disagree would run across the whole surface; this way they stay at the spot.
    (`topology.orient_faces` gives up on the whole component.)

    Returns:
        Oriented faces, and a mask of faces at an edge that disagrees, shape (f,).
    """
    f = len(faces)
    edges, face_edges, uses = simplex_edges(faces)
    if not f:
        return faces.copy(), np.zeros(0, dtype=bool)
    sign = np.array([1, -1, 1]) * np.where(faces[:, [0, 0, 1]] < faces[:, [1, 2, 2]], 1, -1)
    order = np.argsort(face_edges.ravel(), kind="stable")
    start = np.concatenate([[0], np.cumsum(uses)])[:-1]
    two = np.flatnonzero(uses == 2)
    a, b = order[start[two]], order[start[two] + 1]
    left, right = a // 3, b // 3
    differs = sign.ravel()[a] == sign.ravel()[b]
    doubtful = np.asarray(np.isin(faces, edges[uses != 2]).any(axis=1))
    weight = 1.0 + doubtful[left] + doubtful[right]
    # Two faces may share two edges; the lower weight is kept, and both edges are checked in the end.
    first = np.unique(left * f + right, return_index=True)[1]
    pair = np.stack([left[first], right[first]])
    tree = minimum_spanning_tree(coo_matrix((weight[first], pair), shape=(f, f)))
    part = connected_components(tree, directed=False)[1]
    root = np.full(part.max() + 1, f, dtype=np.int64)
    np.minimum.at(root, part, np.arange(f))
    # All trees hang on one extra node, so that a single search reaches them.
    branch = tree.tocoo()
    row = np.concatenate([branch.row, np.full(len(root), f)])
    column = np.concatenate([branch.col, root])
    graph = coo_matrix((np.ones(len(row)), (row, column)), shape=(f + 1, f + 1)).tocsr()
    parent = breadth_first_order(graph, f, directed=False)[1].astype(np.int64)
    parent[f] = f
    # Whether a face is turned against its parent: look the pair up among the linked ones.
    key = np.minimum(left, right) * (f + 1) + np.maximum(left, right)
    by_key = np.argsort(key, kind="stable")
    child, up = np.arange(f), parent[:f]
    wanted = np.minimum(child, up) * (f + 1) + np.maximum(child, up)
    flip = np.zeros(f + 1, dtype=bool)
    if len(key):
        found = by_key[np.minimum(np.searchsorted(key[by_key], wanted), len(key) - 1)]
        flip[:f] = (key[found] == wanted) & differs[found]
    while (parent != parent[parent]).any():
        flip ^= flip[parent]
        parent = parent[parent]
    result = faces.copy()
    result[flip[:f]] = result[flip[:f]][:, [0, 2, 1]]
    wrong = np.zeros(len(edges), dtype=bool)
    wrong[two] = differs ^ flip[left] ^ flip[right]
    return result, np.asarray(wrong[face_edges].any(axis=1))
