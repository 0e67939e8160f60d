"""Which tets of a tessellation belong to the solid: labels by winding number, made manifold by counted flips.

The boundary between tets inside and tets outside is closed whatever the labels are. It is manifold when,
around every edge and around every vertex, the tets inside form one group joined through faces and the tets
outside one group too. Where they form more, the smallest group changes its label.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.context import RunContext
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.delaunay import tet_neighbors
from pipeline.topology import boundary_faces, simplex_edges

Points = NDArray[np.float64]
Indices = NDArray[np.int32]
Flags = NDArray[np.bool_]

TURN_ROUNDS = 6
"""Rounds in which groups of both kinds may change; afterwards tets only leave, which ends for certain."""
LAST_ROUND = 60

_SPREAD = np.concatenate([np.full((1, 4), 0.25), np.full((4, 4), 0.1) + 0.6 * np.eye(4)])
"""Barycentric coordinates of the places that vote on a tet: its centroid, and one towards each corner."""


def make_occupancy(query: SurfaceQuery, surface_count: int) -> Callable[[Points, Indices], Flags]:
    """Return the rule that tells tets inside: (points, tets) -> (t,).

    Tets with all corners on the surface may lie across it: five places vote. Others are decided by their
    centroid. Tets whose corners are all interior points are inside.
    """

    def is_inside(points: Points, tets: Indices) -> Flags:
        on_surface = (tets < surface_count).sum(axis=1)
        inside = np.ones(len(tets), dtype=bool)
        some = (on_surface > 0) & (on_surface < 4)
        inside[some] = query.is_inside(points[tets[some]].mean(axis=1))
        thin = np.flatnonzero(on_surface == 4)
        places = np.einsum("qk,tki->tqi", _SPREAD, points[tets[thin]])
        votes = query.is_inside(places.reshape(-1, 3)).reshape(-1, len(_SPREAD))
        inside[thin] = 2 * votes.sum(axis=1) > len(_SPREAD)
        return inside

    return is_inside


def make_manifold(tets: Indices, inside: Flags, volume: Points, allowed: Flags, context: RunContext) -> Flags:
    """Change labels until the boundary is edge- and vertex-manifold; return the labels, shape (t,).

    Args:
        tets: All tets of the tessellation, shape (t, 4).
        inside: Labels, shape (t,).
        volume: Volume of each tet, shape (t,); the smaller group changes.
        allowed: Tets that may become inside, shape (t,).
        context: Counts the changes.
    """
    inside = inside.copy()
    start = inside.copy()
    neighbors = tet_neighbors(tets)
    for k in range(LAST_ROUND):
        turn = _extra_groups(
            _vertex_groups(tets, neighbors, inside), tets.ravel().astype(np.int64), inside, volume, 4
        )
        turn |= _extra_groups(*_edge_groups(tets, neighbors, inside), inside, volume, 6)
        if not turn.any():
            break
        if k < TURN_ROUNDS:
            change = turn & (allowed | inside)
            if not change.any():
                change = _surrounding(tets, turn) & inside
        else:
            # Tets only leave: the groups inside, or, around an extra outer group, all that touch it.
            change = turn & inside
            change |= _surrounding(tets, turn & ~inside) & inside
        inside[change] = ~inside[change]
    context.count("manifold_flips", (inside != start).sum(), "tets relabelled to make the boundary manifold")
    return inside


def boundary_is_manifold(tets: Indices) -> bool:
    """Tell whether the boundary of a set of tets is edge- and vertex-manifold."""
    faces, _ = boundary_faces(tets)
    if (simplex_edges(faces)[2] != 2).any():
        return False
    # Faces around a vertex, joined through edges at that vertex, form one fan.
    corner = faces.ravel()
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    order = np.lexsort((half.max(axis=1), half.min(axis=1)))
    first, second = order[0::2], order[1::2]
    rows, columns = [], []
    f, g = first % len(faces), second % len(faces)
    for end in (0, 1):
        vertex = half[first, end]
        rows.append(3 * f + np.argmax(faces[f] == vertex[:, None], axis=1))
        columns.append(3 * g + np.argmax(faces[g] == vertex[:, None], axis=1))
    graph = coo_matrix(
        (np.ones(2 * len(first)), (np.concatenate(rows), np.concatenate(columns))), shape=(len(corner),) * 2
    )
    fans = connected_components(graph, directed=False)[1]
    return len(np.unique(fans)) == len(np.unique(corner))


def _links(tets: Indices, neighbors: Indices, inside: Flags) -> tuple[NDArray, NDArray, NDArray]:
    """Return pairs of neighbours with the same label, and the corner of the first opposite their face."""
    first = np.repeat(np.arange(len(tets)), 4)
    corner = np.tile(np.arange(4), len(tets))
    second = neighbors.ravel()
    use = second > first
    use[use] &= inside[first[use]] == inside[second[use]]
    return first[use], corner[use], second[use]


def _vertex_groups(tets: Indices, neighbors: Indices, inside: Flags) -> NDArray[np.int64]:
    """Group the corners (tet, k) of all tets: same vertex, same label, joined through faces at the vertex."""
    first, opposite, second = _links(tets, neighbors, inside)
    rows, columns = [], []
    for k in range(4):
        use = opposite != k
        a, b = first[use], second[use]
        rows.append(4 * a + k)
        columns.append(4 * b + np.argmax(tets[b] == tets[a, k][:, None], axis=1))
    return _connect(rows, columns, 4 * len(tets))


def _edge_groups(
    tets: Indices, neighbors: Indices, inside: Flags
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group the edges (tet, k) of all tets likewise; return groups and edge indices, shape (6 t,)."""
    pairs = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
    _, edge, _ = simplex_edges(tets)
    first, opposite, second = _links(tets, neighbors, inside)
    rows, columns = [], []
    for k, pair in enumerate(pairs):
        use = (opposite != pair[0]) & (opposite != pair[1])
        a, b = first[use], second[use]
        rows.append(6 * a + k)
        columns.append(6 * b + np.argmax(edge[b] == edge[a, k][:, None], axis=1))
    return _connect(rows, columns, 6 * len(tets)), edge.ravel()


def _connect(rows: list[NDArray], columns: list[NDArray], size: int) -> NDArray[np.int64]:
    """Label the components of a graph of `size` nodes, shape (size,)."""
    pairs = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_matrix((np.ones(len(pairs[0]), bool), pairs), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _extra_groups(
    group: NDArray[np.int64], entity: NDArray[np.int64], inside: Flags, volume: Points, width: int
) -> Flags:
    """Return the tets of the groups to change: of an entity with several groups of one label, the smallest.

    With two groups inside and two outside (an edge that pinches), only the smallest of the four changes.
    """
    groups = int(group.max()) + 1
    owner = np.zeros(groups, dtype=np.int64)
    owner[group] = entity
    label = np.zeros(groups, dtype=np.int64)
    label[group] = np.repeat(inside, width)
    weight = np.bincount(group, np.repeat(volume, width), groups)
    key = 2 * owner + label
    crowded = np.bincount(key)[key] > 1
    candidates = np.flatnonzero(crowded)
    order = candidates[np.lexsort((weight[candidates], owner[candidates]))]
    smallest = order[np.concatenate([[True], owner[order][1:] != owner[order][:-1]])] if len(order) else order
    chosen = np.zeros(groups, dtype=bool)
    chosen[smallest] = True
    return np.asarray(chosen[group].reshape(-1, width).any(axis=1))


def _surrounding(tets: Indices, some: Flags) -> Flags:
    """Return the tets that share a vertex with some of them."""
    touched = np.zeros(int(tets.max()) + 1, dtype=bool)
    touched[tets[some]] = True
    return np.asarray(touched[tets].any(axis=1))
