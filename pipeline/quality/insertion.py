"""Vertex insertion on edges of bad tets: many separate places at once, each kept only where the energy falls.

An edge is split at its middle, the new vertex and all vertices of the tets around the edge are smoothed,
and the energy of every tet that can have changed (the region) is compared with what it was. Regions that
share no tet do not know of each other, so they are tried together and judged one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.quality.connectivity import Connectivity, ragged
from pipeline.quality.mesh_state import CURVE, INTERIOR, SURFACE, MeshState
from pipeline.quality.operations import Candidates, select
from pipeline.quality.smoothing import smooth

Indices = NDArray[np.int32]
Rows = NDArray[np.int64]

_PAIRS = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
_SWEEPS = 4


@dataclass
class _Regions:
    """The edges to split and what may change around each; ragged arrays as (edge, entry) pairs."""

    edges: Rows
    """Rows of the edges in the connectivity."""
    ring_owner: Rows
    ring: Indices
    """Tets of each edge."""
    vertex_owner: Rows
    vertices: Indices
    """Vertices of those tets: they are smoothed."""
    tet_owner: Rows
    tets: Indices
    """Tets of those vertices."""

    def take(self, keep: NDArray[np.bool_]) -> _Regions:
        index = np.cumsum(keep) - 1
        ring, vertex, tet = keep[self.ring_owner], keep[self.vertex_owner], keep[self.tet_owner]
        return _Regions(
            self.edges[keep],
            index[self.ring_owner[ring]],
            self.ring[ring],
            index[self.vertex_owner[vertex]],
            self.vertices[vertex],
            index[self.tet_owner[tet]],
            self.tets[tet],
        )


def insert_vertices(state: MeshState, threshold: float, batches: int = 12) -> int:
    """Split edges of tets whose energy is above `threshold` where that lowers the energy; return how many.

    Each bad tet offers its three longest edges, one after the other. At most `batches` sets of separate
    regions are tried.
    """
    inserted = 0
    for _ in range(batches):
        edges, priority = _offered_edges(state, threshold)
        if not len(edges):
            break
        regions = _regions(state.connectivity, edges)
        winners = _separate(state, regions, priority)
        ends = state.connectivity.edges[edges[winners]]
        gained = _try(state, regions.take(winners))
        inserted += int(gained.sum())
        state.remember_failures(ends[~gained], priority[winners][~gained])
    if inserted:
        state.count("insertions", inserted)
    return inserted


def split_far_faces(
    state: MeshState,
    gaps: NDArray[np.float64],
    tolerance: float,
    budget: int,
    cap: float,
    slack: float = 20.0,
) -> int:
    """Split the longest edges of boundary triangles that are far from the reference; return how many.

    Args:
        gaps: Distance between each boundary triangle and the reference, shape (b,).
        tolerance: Distance above which a triangle is split; the farthest first.
        budget: Largest number of edges to split.
        cap: Energy that a tet of the region may get (or as much as the worst one had).
        slack: Energy by which a region may rise.
    """
    c = state.connectivity
    far = np.flatnonzero(gaps > tolerance)
    if not len(far) or budget <= 0:
        return 0
    corners = state.points[c.faces[far]]
    side = np.argmax(np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2), axis=1)
    ends = np.stack([c.faces[far, side], c.faces[far, (side + 1) % 3]], axis=1)
    row = c.edge_rows(ends)
    one = ~state.between_regions()[row]
    far, row = far[one], row[one]
    edges, inverse = np.unique(row, return_inverse=True)
    priority = np.zeros(len(edges))
    np.maximum.at(priority, inverse, gaps[far])
    first = np.sort(np.argsort(-priority, kind="stable")[:budget])
    edges, priority = edges[first], priority[first]
    regions = _regions(c, edges)
    split = int(_try(state, regions.take(_separate(state, regions, priority)), slack, cap).sum())
    state.count("refinements", split)
    return split


def _offered_edges(state: MeshState, threshold: float) -> tuple[Rows, NDArray[np.float64]]:
    """Return the longest edge (of the three longest) of each bad tet at which no trial has failed.

    A failure counts until the tet gets worse. Also returned: the energy of the worst tet at each edge.
    """
    c = state.connectivity
    bad = np.flatnonzero(state.value > threshold)
    if not len(bad):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    pairs = state.tets[bad][:, _PAIRS]
    length = np.linalg.norm(state.points[pairs[:, :, 0]] - state.points[pairs[:, :, 1]], axis=2)
    order = np.argsort(-length, axis=1, kind="stable")[:, :3]
    rows = np.take_along_axis(c.tet_edges[bad], order, axis=1)
    past = np.full(len(c.edges), -1.0)
    row = c.edge_rows(state.failed)
    np.maximum.at(past, row[row >= 0], state.failed_energy[row >= 0])
    open_ = state.value[bad, None] > past[rows] * (1.0 + 1e-9)
    open_ &= ~state.between_regions()[rows]
    first = np.argmax(open_, axis=1)
    has = open_.any(axis=1)
    row, value = rows[np.arange(len(rows)), first][has], state.value[bad][has]
    edges, inverse = np.unique(row, return_inverse=True)
    priority = np.zeros(len(edges))
    np.maximum.at(priority, inverse, value)
    return edges.astype(np.int64), priority


def _regions(c: Connectivity, edges: Rows) -> _Regions:
    ring_owner, ring = ragged(*c.edge_tets, edges)
    n = c.point_count
    vertex = np.unique(np.repeat(ring_owner, 4) * n + c.tets[ring].ravel())
    vertex_owner, vertices = vertex // n, vertex % n
    owner, entry = c.ragged_star(vertices)
    t = len(c.tets)
    tet = np.unique(vertex_owner[owner] * t + entry // 4)
    return _Regions(
        edges,
        ring_owner,
        ring.astype(np.int32),
        vertex_owner,
        vertices.astype(np.int32),
        (tet // t).astype(np.int64),
        (tet % t).astype(np.int32),
    )


def _separate(state: MeshState, regions: _Regions, priority: NDArray) -> NDArray[np.bool_]:
    empty, index = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    candidates = Candidates(
        priority,
        np.zeros(len(priority), dtype=np.int32),
        regions.tet_owner,
        regions.tets,
        empty,
        np.zeros((0, 4), dtype=np.int32),
        empty,
        index,
    )
    return select(candidates, len(state.tets), len(state.points), state.device)


def _try(
    state: MeshState, regions: _Regions, slack: float | None = None, cap: float = 0.0
) -> NDArray[np.bool_]:
    """Split the edges of separate regions, smooth, and keep what gained.

    The regions are taken out of the mesh, so that a trial costs what its regions cost.

    Returns:
        Which edges stay split, shape (k,).
    """
    c = state.connectivity
    count, n = len(regions.edges), len(state.points)
    ends, owner = c.edges[regions.edges], regions.ring_owner
    place, kind, offset = _middles(state, regions.edges)
    vertex = (n + np.arange(count)).astype(np.int32)
    ring = state.tets[regions.ring]
    # Each half keeps one end of the edge and takes the new vertex for the other.
    halves = [np.where(ring == ends[owner, k][:, None], vertex[owner][:, None], ring) for k in (1, 0)]
    split = np.zeros(len(state.tets), dtype=bool)
    split[regions.ring] = True
    kept = np.flatnonzero(~split[regions.tets])
    rest = regions.tets[kept]
    tet_owner = np.concatenate([regions.tet_owner[kept], owner, owner])
    tets = np.concatenate([state.tets[rest], *halves])
    used, local = np.unique(tets, return_inverse=True)

    def gather(of_mesh: NDArray, of_new: NDArray) -> NDArray:
        old = used < n
        return np.concatenate([of_mesh[used[old]], of_new[used[~old] - n]])

    trial = replace(
        state,
        points=gather(state.points, place),
        tets=local.reshape(-1, 4).astype(np.int32),
        labels=np.zeros(len(tets), dtype=np.int32),
        kind=gather(state.kind, kind),
        offset=gather(state.offset, offset),
        creases=state.creases[:0],
        _connectivity=None,
    )
    trial.evaluate()
    vertex_owner = np.full(n + count, -1)
    vertex_owner[regions.vertices] = regions.vertex_owner
    vertex_owner[vertex] = np.arange(count)
    vertex_owner = vertex_owner[used]
    for _ in range(_SWEEPS):
        smooth(trial, active=vertex_owner >= 0)

    before = state.value[regions.tets]
    old = np.bincount(regions.tet_owner, before, minlength=count)
    new = np.bincount(tet_owner, trial.value, minlength=count)
    limit = old - 0.05 * np.minimum(old, 2.0) if slack is None else old + slack
    worst = _worst(count, tet_owner, trial.value)
    gained = (new < limit) & (worst <= np.maximum(_worst(count, regions.tet_owner, before), cap))
    if not gained.any():
        return gained

    number = np.concatenate([np.arange(n), n + np.cumsum(gained) - 1]).astype(np.int32)
    state.points = np.concatenate([state.points, place[gained]])
    state.kind = np.concatenate([state.kind, kind[gained]])
    state.offset = np.concatenate([state.offset, offset[gained]])
    moved = np.flatnonzero((vertex_owner >= 0) & gained[vertex_owner])
    state.points[number[used[moved]]] = trial.points[moved]
    state.value[rest] = np.where(gained[tet_owner[: len(rest)]], trial.value[: len(rest)], state.value[rest])
    mine = gained[owner]
    removed = np.zeros(len(state.tets), dtype=bool)
    removed[regions.ring[mine]] = True
    made = number[np.concatenate([half[mine] for half in halves])]
    state.replace_tets(removed, made, np.tile(state.labels[regions.ring[mine]], 2))
    _split_creases(state, ends[gained], number[vertex[gained]])
    return gained


def _middles(
    state: MeshState, edges: Rows
) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64]]:
    """Return place, kind and offset of a vertex at the middle of each edge."""
    c = state.connectivity
    ends = c.edges[edges]
    crease = np.isin(edges, c.edge_rows(state.creases))
    kind = np.where(c.boundary_edge[edges], np.where(crease, CURVE, SURFACE), INTERIOR).astype(np.int8)
    place = 0.5 * (state.points[ends[:, 0]] + state.points[ends[:, 1]])
    offset = 0.5 * (state.offset[ends[:, 0]] + state.offset[ends[:, 1]])
    surface, curve = np.flatnonzero(kind == SURFACE), np.flatnonzero(kind == CURVE)
    nearest, normal = state.reference.project(place[surface])
    place[surface] = nearest + offset[surface, None] * normal
    place[curve] = state.curves.project(place[curve])[0]
    return place, kind, offset


def _split_creases(state: MeshState, ends: Indices, middle: Indices) -> None:
    """Put the new vertices into the crease edges that were split; ends (k, 2), middle (k,)."""
    if not len(state.creases):
        return
    keys, n = np.sort(state.creases, axis=1).astype(np.int64), len(state.points)
    crease = keys[:, 0] * n + keys[:, 1]
    split = ends[:, 0].astype(np.int64) * n + ends[:, 1]
    hit = np.isin(split, crease)
    halves = [np.stack([ends[hit, k], middle[hit]], axis=1) for k in range(2)]
    state.creases = np.concatenate([state.creases[~np.isin(crease, split)], *halves]).astype(np.int32)


def _worst(count: int, owner: Rows, value: NDArray) -> NDArray[np.float64]:
    worst = np.zeros(count)
    np.maximum.at(worst, owner, value)
    return worst
