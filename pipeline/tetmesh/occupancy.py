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
from pipeline.topology import TET_FACES, boundary_faces, simplex_edges, unique_rows

Points = NDArray[np.float64]
Indices = NDArray[np.int32]
Flags = NDArray[np.bool_]

TURN_ROUNDS = 6
"""Rounds in which groups of both kinds may change; afterwards tets only leave, which ends for certain."""
LAST_ROUND = 60

MARGIN, DISTANCE_ERROR = 1e-3, 1e-6
"""Overlap, relative and in diagonals, by which balls without surface are joined; distances err by 2e-8."""

_SPREAD = np.concatenate([np.full((1, 4), 0.25), np.full((4, 4), 0.1) + 0.6 * np.eye(4)])
"""Barycentric coordinates of the places that vote on a tet: its centroid, and one towards each corner."""


def make_occupancy(
    query: SurfaceQuery, surface_count: int, is_closed: bool
) -> Callable[[Points, Indices], Flags]:
    """Return the rule that tells tets inside: (points, tets) -> (t,).

    Tets with all corners on the surface may lie across it: the majority of five places decides. Others are
    decided by their centroid. Tets whose corners are all interior points are inside.

    Args:
        query: The surface.
        surface_count: Points on the surface; those that follow are interior points.
        is_closed: Whether no part of the surface has open edges; then the winding number changes nowhere
            but at the surface, and few places need to be asked.
    """

    def is_inside(points: Points, tets: Indices) -> Flags:
        on_surface = (tets < surface_count).sum(axis=1)
        center = points[tets].mean(axis=1)
        clear = np.zeros(len(tets))
        some = np.flatnonzero(on_surface)
        clear[some] = query.closest(center[some]).distance
        inside = np.ones(len(tets), dtype=bool)
        if is_closed:
            group = _joined(tet_neighbors(tets), center, clear)
            _, asked, group = np.unique(group[some], return_index=True, return_inverse=True)
            inside[some] = query.is_inside(center[some[asked]])[group]
        else:
            inside[some] = query.is_inside(center[some])
        thin = np.flatnonzero(on_surface == 4)
        # Where the surface is farther from the centroid than the other places are, all lie on one side.
        reach = 0.6 * np.linalg.norm(points[tets[thin]] - center[thin][:, None], axis=2).max(axis=1)
        thin = thin[clear[thin] < (1.0 + MARGIN) * reach + DISTANCE_ERROR]
        votes = inside[thin].astype(np.int64)
        undecided = np.arange(len(thin))
        for first, last in ((1, 3), (3, 5)):
            places = np.einsum("qk,tki->tqi", _SPREAD[first:last], points[tets[thin[undecided]]])
            votes[undecided] += query.is_inside(places.reshape(-1, 3)).reshape(-1, 2).sum(axis=1)
            # Three equal votes are a majority of five.
            undecided = undecided[votes[undecided] % last != 0]
        inside[thin] = votes >= 3
        return inside

    return is_inside


def _joined(neighbors: Indices, center: Points, clear: Points) -> NDArray[np.int64]:
    """Group tets, shape (t,): neighbours whose centroids lie in balls without surface that overlap.

    Args:
        neighbors: The tet across each face, shape (t, 4).
        center: Centroids, shape (t, 3).
        clear: Distance of each centroid from the surface, shape (t,).
    """
    first = np.repeat(np.arange(len(center)), 4)
    second = neighbors.ravel()
    use = second > first
    first, second = first[use], second[use]
    # Mirror images across a flat surface touch: the margin is far above the errors of the distances.
    reach = (1.0 - MARGIN) * (clear[first] + clear[second]) - DISTANCE_ERROR
    use = np.linalg.norm(center[first] - center[second], axis=1) < reach
    return _connect([first[use]], [second[use]], len(center))


def make_manifold(
    tets: Indices,
    inside: Flags,
    volume: Points,
    allowed: Flags,
    context: RunContext,
    neighbors: Indices | None = None,
) -> Flags:
    """Change labels until the boundary is edge- and vertex-manifold; return the labels, shape (t,).

    Only the tets around places that are not manifold are looked at, after the first round only where labels
    changed.

    Args:
        tets: All tets of the tessellation, shape (t, 4).
        inside: Labels, shape (t,).
        volume: Volume of each tet, shape (t,); the smaller group changes.
        allowed: Tets that may become inside, shape (t,).
        context: Counts the changes.
        neighbors: The tet across each face, shape (t, 4), where it is known already.
    """
    inside, start = inside.copy(), inside
    stars = _Stars(tets)
    neighbors = tet_neighbors(tets) if neighbors is None else neighbors
    region: Indices | None = None
    for k in range(LAST_ROUND):
        pinched = _pinched_vertices(tets, neighbors, inside, stars, region)
        if not pinched.any():
            break
        some = stars.around(pinched)
        local, near = tets[some], _renumber(neighbors[some], some, len(tets))
        label, size = inside[some], volume[some]
        edges, edge_of_tet, _ = simplex_edges(local)
        turn = _extra_groups(
            _vertex_groups(local, near, label), local.ravel().astype(np.int64), pinched, label, size
        )
        turn |= _extra_groups(
            _edge_groups(local, near, label, edge_of_tet),
            edge_of_tet.ravel(),
            np.asarray(pinched[edges].all(axis=1)),
            label,
            size,
        )
        turned = some[turn]
        if k < TURN_ROUNDS:
            change = turned[allowed[turned] | inside[turned]]
            if not len(change):
                change = stars.touching(turned)
                change = change[inside[change]]
        else:
            # Tets only leave: the groups inside, or, around an extra outer group, all that touch it.
            change = np.union1d(turned, stars.touching(turned[~inside[turned]]))
            change = change[inside[change]]
        inside[change] = ~inside[change]
        region = np.unique(tets[change])
    context.count("manifold_flips", (inside != start).sum(), "tets relabelled to make the boundary manifold")
    return inside


class _Stars:
    """The tets around each vertex."""

    def __init__(self, tets: Indices) -> None:
        self.tets = tets
        corner = tets.ravel()
        self.owner = np.argsort(corner, kind="stable") // 4
        self.start = np.concatenate([[0], np.cumsum(np.bincount(corner))])

    def around(self, vertices: Flags | Indices) -> NDArray[np.int64]:
        """Return the tets around some vertices, given by flag or by index, in order."""
        rows = np.flatnonzero(vertices) if vertices.dtype == bool else vertices
        count = self.start[rows + 1] - self.start[rows]
        first = np.repeat(self.start[rows] - np.cumsum(count) + count, count)
        return np.unique(self.owner[first + np.arange(len(first))])

    def touching(self, some: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tets that share a vertex with some tets."""
        return self.around(np.unique(self.tets[some]))


def _renumber(neighbors: Indices, some: NDArray[np.int64], count: int) -> Indices:
    """Return neighbours within a selection of tets; -1 for those that are not in it."""
    index = np.full(count + 1, -1, dtype=np.int32)
    index[some] = np.arange(len(some))
    return index[neighbors]


def _pinched_vertices(
    tets: Indices, neighbors: Indices, inside: Flags, stars: _Stars, region: Indices | None
) -> Flags:
    """Tell vertices at which the boundary is not manifold, and both ends of such edges, (n,).

    Args:
        tets: All tets, shape (t, 4); `neighbors` are those across their faces.
        inside: Labels, shape (t,).
        stars: The tets around each vertex.
        region: Vertices to look at; all if None.
    """
    pinched = np.zeros(len(stars.start) - 1, dtype=bool)
    some = np.arange(len(tets)) if region is None else stars.around(region)
    some = some[inside[some]]
    across = neighbors[some]
    row, corner = np.nonzero((across < 0) | ~inside[across])
    faces = tets[some[row][:, None], TET_FACES[corner]]
    bad = ~pinched
    if region is not None:
        bad[:] = False
        bad[region] = True
    edges, vertices = _unfit(faces)
    # The faces around other vertices are not complete here.
    pinched[edges[bad[edges].any(axis=1)]] = True
    pinched[vertices[bad[vertices]]] = True
    return pinched


def boundary_is_manifold(tets: Indices) -> bool:
    """Tell whether the boundary of a set of tets is edge- and vertex-manifold."""
    edges, vertices = _unfit(boundary_faces(tets)[0])
    return not len(edges) and not len(vertices)


def _unfit(faces: Indices) -> tuple[Indices, Indices]:
    """Return edges without exactly two faces (e, 2), and vertices whose faces form several fans (v,)."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, edge, count = unique_rows(half)
    order = np.argsort(edge, kind="stable")
    begin = (np.cumsum(count) - count)[count == 2]
    first, second = order[begin], order[begin + 1]
    # Corners of faces, joined through the edges of two faces that meet there.
    rows, columns = [], []
    f, g = first % len(faces), second % len(faces)
    for end in (0, 1):
        vertex = half[first, end]
        rows.append(3 * f + np.argmax(faces[f] == vertex[:, None], axis=1))
        columns.append(3 * g + np.argmax(faces[g] == vertex[:, None], axis=1))
    fan = _connect(rows, columns, faces.size)
    corner = faces.ravel()
    _, one = np.unique(fan, return_index=True)
    fans = np.bincount(corner[one])
    return edges[count != 2], np.flatnonzero(fans > 1).astype(np.int32)


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
    tets: Indices, neighbors: Indices, inside: Flags, edge: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Group the edges (tet, k) of all tets likewise, shape (6 t,); `edge` numbers them, shape (t, 6)."""
    pairs = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
    first, opposite, second = _links(tets, neighbors, inside)
    rows, columns = [], []
    for k, pair in enumerate(pairs):
        use = (opposite != pair[0]) & (opposite != pair[1])
        a, b = first[use], second[use]
        rows.append(6 * a + k)
        columns.append(6 * b + np.argmax(edge[b] == edge[a, k][:, None], axis=1))
    return _connect(rows, columns, 6 * len(tets))


def _connect(rows: list[NDArray], columns: list[NDArray], size: int) -> NDArray[np.int64]:
    """Label the components of a graph of `size` nodes, shape (size,)."""
    pairs = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_matrix((np.ones(len(pairs[0]), bool), pairs), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _extra_groups(
    group: NDArray[np.int64], entity: NDArray[np.int64], whole: Flags, inside: Flags, volume: Points
) -> Flags:
    """Return the tets of the groups to change: of an entity with several groups of one label, the smallest.

    With two groups inside and two outside (an edge that pinches), only the smallest of the four changes.
    Entities that are not `whole`, of which some tets are missing, are left alone.
    """
    width = len(group) // len(inside)
    groups = int(group.max()) + 1
    owner = np.zeros(groups, dtype=np.int64)
    owner[group] = entity
    label = np.zeros(groups, dtype=np.int64)
    label[group] = np.repeat(inside, width)
    weight = np.bincount(group, np.repeat(volume, width), groups)
    key = 2 * owner + label
    crowded = (np.bincount(key)[key] > 1) & whole[owner]
    candidates = np.flatnonzero(crowded)
    order = candidates[np.lexsort((weight[candidates], owner[candidates]))]
    smallest = order[np.concatenate([[True], owner[order][1:] != owner[order][:-1]])] if len(order) else order
    chosen = np.zeros(groups, dtype=bool)
    chosen[smallest] = True
    return np.asarray(chosen[group].reshape(-1, width).any(axis=1))
