"""Vertices for a hollow interior: long edges inside are split until they suit the boundary around them.

A mesh whose tets reach from boundary to boundary has too few vertices for good tets, and inserting one by one
where that lowers the energy stalls early, since every new vertex alone costs more than it gains. Here the
length of the boundary edges spreads inwards, growing with the distance, and inner edges much longer than what
is wanted at their middle are halved, the longest of each neighbourhood first. Changes of connectivity and
smoothing round the tets after each pass; no tet ever turns over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.quality.connectivity import Connectivity, ragged
from pipeline.quality.mesh_state import INTERIOR, MeshState
from pipeline.quality.operations import Candidates, Limits, improve_connectivity, select
from pipeline.quality.smoothing import smooth

_GROWTH = 0.5
"""Growth of the wanted length per distance from the boundary."""
_PASSES = 12
_SWEEPS = 2


def wanted_lengths(points: NDArray[np.float64], c: Connectivity) -> NDArray[np.float64]:
    """Return the edge length that suits each vertex, shape (n,).

    On the boundary that is the mean of its boundary edges. Inside it is the smallest over all boundary
    vertices of their length plus `_GROWTH` times the way along edges.
    """
    ends = c.edges
    length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    shell = c.boundary_edge
    both, twice = ends[shell].ravel(), np.repeat(length[shell], 2)
    total = np.bincount(both, twice, minlength=c.point_count)
    wanted = np.full(c.point_count, np.inf)
    count = np.bincount(both, minlength=c.point_count)
    wanted[count > 0] = total[count > 0] / count[count > 0]
    while True:
        before = wanted.copy()
        np.minimum.at(wanted, ends[:, 0], before[ends[:, 1]] + _GROWTH * length)
        np.minimum.at(wanted, ends[:, 1], before[ends[:, 0]] + _GROWTH * length)
        if np.array_equal(wanted, before):
            return wanted


def fill_hollow(state: MeshState, limits: Limits, ratio: float = 1.4, share: float = 0.3) -> int:
    """Halve long inner edges, in passes, until few are left; return how many were halved.

    Args:
        limits: Limits of the changes of connectivity between the passes.
        ratio: Length over the wanted one from which an edge is long.
        share: Share of the inner edges that must be long: a mesh with fewer has an interior of its own.
    """
    total = 0
    rows, excess, inner = _long_edges(state, ratio)
    if len(rows) <= share * inner:
        return 0
    for _ in range(_PASSES):
        total += _halve(state, rows, excess)
        improve_connectivity(state, limits)
        for _ in range(_SWEEPS):
            smooth(state)
        rows, excess, _ = _long_edges(state, ratio)
        if not len(rows):
            break
    state.count("interior_splits", total)
    return total


def _long_edges(state: MeshState, ratio: float) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return the inner edges that are too long, by how much, and the number of all inner edges."""
    c = state.connectivity
    wanted = wanted_lengths(state.points, c)
    first, second = wanted[c.edges[:, 0]], wanted[c.edges[:, 1]]
    length = np.linalg.norm(state.points[c.edges[:, 0]] - state.points[c.edges[:, 1]], axis=1)
    # The wanted length at the middle, as it spreads from either end.
    middle = np.minimum(0.5 * (first + second), np.minimum(first, second) + 0.5 * _GROWTH * length)
    inner = ~c.boundary_edge & ~state.between_regions()
    excess = length / (ratio * middle)
    rows = np.flatnonzero(inner & (excess > 1.0))
    return rows, excess[rows], int(inner.sum())


def _halve(state: MeshState, rows: NDArray[np.int64], priority: NDArray[np.float64]) -> int:
    """Put a vertex on the middle of edges that share no tet, the highest priority first; return how many."""
    c = state.connectivity
    owner, ring = ragged(*c.edge_tets, rows)
    empty, index = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    none = np.zeros((0, 4), dtype=np.int32)
    kind = np.zeros(len(rows), dtype=np.int32)
    candidates = Candidates(priority, kind, owner, ring.astype(np.int32), empty, none, empty, index)
    winners = select(candidates, len(state.tets), len(state.points), state.device)
    number = np.cumsum(winners) - 1 + len(state.points)
    ring, owner = ring[winners[owner]], owner[winners[owner]]
    ends, tets, middle = c.edges[rows[owner]], state.tets[ring], number[owner].astype(np.int32)
    halves = [np.where(tets == ends[:, k, None], middle[:, None], tets) for k in range(2)]
    chosen = c.edges[rows[winners]]
    state.points = np.concatenate([state.points, state.points[chosen].mean(axis=1)])
    state.kind = np.concatenate([state.kind, np.full(len(chosen), INTERIOR, dtype=np.int8)])
    state.offset = np.concatenate([state.offset, np.zeros(len(chosen))])
    removed = np.zeros(len(state.tets), dtype=bool)
    removed[ring] = True
    state.replace_tets(removed, np.concatenate(halves), np.tile(state.labels[ring], 2))
    return len(chosen)
