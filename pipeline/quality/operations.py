"""Changes of connectivity in parallel rounds: edge removal, surface flip, peel and collapse.

A round evaluates all candidate cavities at once, lets them compete (the candidate with the highest gain
holds the tets of its cavity, ties go to the lower number), applies the winners and rebuilds the
connectivity. It is the same on every device and in every run. Candidates that touch the boundary are also
checked against the reference surface, and hold the vertices whose boundary they change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.quality.connectivity import Connectivity, ragged
from pipeline.quality.mesh_state import SURFACE, MeshState
from warp_kernels.contest import contest
from warp_kernels.tet_cavity import CREATED, RING, edge_removals
from warp_kernels.tet_collapse import collapses

Points = NDArray[np.float64]
Indices = NDArray[np.int32]
Rows = NDArray[np.int64]

EDGE_REMOVAL, FLIP, PEEL, COLLAPSE = 0, 1, 2, 3
NAMES = ("edge_removals", "surface_flips", "peels", "collapses")


@dataclass(frozen=True)
class Limits:
    """What a change may do."""

    tolerance: float
    """Distance from the reference that new boundary faces may have (or as much as the old ones had)."""
    edge_removal: float = 0.25
    """Energy of a tet from which its edges are candidates."""
    peel: float = 0.5
    """Energy of a tet from which it may be peeled off the boundary."""
    collapse: float = 1.0
    """Energy of a tet from which its edges may collapse."""
    operations: tuple[str, ...] = NAMES
    """Operations that are used."""


@dataclass
class Candidates:
    """Changes that would lower the energy; ragged arrays as (candidate, entry) pairs."""

    gain: Points
    kind: Indices
    """EDGE_REMOVAL, FLIP, PEEL or COLLAPSE, shape (c,)."""
    cavity_owner: Rows
    cavity: Indices
    """Tets to remove."""
    created_owner: Rows
    created: Indices
    """Tets to make, shape (k, 4)."""
    lock_owner: Rows
    locks: Indices
    """Vertices whose boundary changes."""

    def take(self, keep: NDArray[np.bool_]) -> Candidates:
        """Return the candidates of a mask, renumbered."""
        index = np.cumsum(keep) - 1
        cavity, created, lock = keep[self.cavity_owner], keep[self.created_owner], keep[self.lock_owner]
        return Candidates(
            self.gain[keep],
            self.kind[keep],
            index[self.cavity_owner[cavity]],
            self.cavity[cavity],
            index[self.created_owner[created]],
            self.created[created],
            index[self.lock_owner[lock]],
            self.locks[lock],
        )


def improve_connectivity(state: MeshState, limits: Limits, rounds: int = 30) -> int:
    """Apply improving changes until none is left or `rounds` are over; return how many were applied."""
    fresh = np.ones(len(state.tets), dtype=bool)
    total = 0
    for _ in range(rounds):
        parts = [_edge_candidates(state, limits, fresh)]
        if "collapses" in limits.operations:
            parts.append(_collapse_candidates(state, limits, fresh))
        candidates = _join(parts)
        if not len(candidates.gain):
            break
        winners = select(candidates, len(state.tets), len(state.points), state.device)
        applied, fresh = _apply(state, candidates, winners)
        total += applied
        if not applied:
            break
    return total


def select(candidates: Candidates, tet_count: int, point_count: int, device: str) -> NDArray[np.bool_]:
    """Choose candidates that share no tet and no locked vertex, highest gain first, shape (c,)."""
    count = len(candidates.gain)
    owner = np.concatenate([candidates.cavity_owner, candidates.lock_owner]).astype(np.int32)
    place = np.concatenate([candidates.cavity, candidates.locks + tet_count]).astype(np.int32)
    # A removal leaves the volume alone, the other changes do not: they yield at equal gain.
    priority = np.where(candidates.kind <= FLIP, candidates.gain, 0.5 * candidates.gain)
    # The bits of positive floats are ordered like the floats; the lower half breaks ties.
    bits = np.maximum(priority, 1e-30).astype(np.float32).view(np.int32).astype(np.int64)
    key = (bits << 32) | (2**31 - 1 - np.arange(count, dtype=np.int64))
    state = np.zeros(count, dtype=np.int32)
    owners: wp.array = wp.array(owner, dtype=int, device=device)
    places: wp.array = wp.array(place, dtype=int, device=device)
    keys: wp.array = wp.array(key, dtype=wp.int64, device=device)
    taken = np.zeros(tet_count + point_count, dtype=bool)
    while (state == 0).any():
        running: wp.array = wp.array(state, dtype=int, device=device)
        beaten = contest(owners, places, keys, running, tet_count + point_count).numpy()
        state[(state == 0) & (beaten == 0)] = 1
        taken[place[state[owner] == 1]] = True
        state[owner[(state[owner] == 0) & taken[place]]] = 2
    return state == 1


def _edge_candidates(state: MeshState, limits: Limits, fresh: NDArray[np.bool_]) -> Candidates:
    c = state.connectivity
    wanted = np.zeros(len(c.edges), dtype=bool)
    wanted[c.tet_edges[state.value > limits.edge_removal].ravel()] = True
    new = np.zeros(len(c.edges), dtype=bool)
    new[c.tet_edges[fresh].ravel()] = True
    locked = np.zeros(len(c.edges), dtype=bool)
    rows = c.edge_rows(state.creases)
    locked[rows[rows >= 0]] = True
    rows = np.flatnonzero(wanted & new & ~locked)
    if not len(rows):
        return _no_candidates()
    edges = c.edges[rows]
    gain, ring, ends, removed, created = (
        a.numpy()
        for a in edge_removals(
            *state.device_mesh(), state.to_device(edges, wp.vec2i), state.parameters.to_struct()
        )
    )
    boundary = c.boundary_edge[rows]
    kind = np.where(boundary, np.where(ring == 1, PEEL, FLIP), EDGE_REMOVAL)
    possible = (gain > 0) & np.isin(kind, [NAMES.index(name) for name in limits.operations if name in NAMES])
    first = removed[:, 0]
    possible &= (kind != PEEL) | (state.value[first] > limits.peel)
    possible &= _one_label(state, removed)
    keep = np.flatnonzero(possible & boundary)
    if len(keep):
        possible[keep] = _flip_allowed(state, limits, edges[keep], ends[keep], kind[keep], first[keep])
    keep = np.flatnonzero(possible)
    gain, ring, kind, removed, created, ends = (a[keep] for a in (gain, ring, kind, removed, created, ends))
    edges = edges[keep]
    cavity = np.arange(RING) < ring[:, None]
    made = np.where(kind == EDGE_REMOVAL, 2 * (ring - 2), 2 * (ring - 1))
    new_tets = np.arange(CREATED) < made[:, None]
    flips = np.flatnonzero(kind != EDGE_REMOVAL)
    locks = np.concatenate([edges[flips], ends[flips]], axis=1)
    return Candidates(
        gain,
        kind.astype(np.int32),
        np.nonzero(cavity)[0],
        removed[cavity],
        np.nonzero(new_tets)[0],
        created[new_tets].reshape(-1, 4),
        np.repeat(flips, 4),
        locks.ravel().astype(np.int32),
    )


def _one_label(state: MeshState, removed: Indices) -> NDArray[np.bool_]:
    """True where all tets to remove, -1 padded, have the label of the first."""
    label = np.where(removed >= 0, state.labels[removed], state.labels[removed[:, :1]])
    return (label == label[:, :1]).all(axis=1)


def _flip_allowed(
    state: MeshState, limits: Limits, edges: Indices, ends: Indices, kind: NDArray, first: NDArray
) -> NDArray[np.bool_]:
    """Check flips of boundary edges, shape (k, 2), to the edges `ends`: topology, distance and folding."""
    c = state.connectivity
    row = c.edge_rows(ends)
    inner = (row >= 0) & ~c.boundary_edge[np.maximum(row, 0)]
    faces_of_tet = np.bincount(c.face_tets, minlength=len(state.tets))
    # A peel uncovers an edge that is inside the mesh now; a flip makes an edge that does not exist yet.
    allowed = np.where(kind == PEEL, inner & (faces_of_tet[first] == 2), row < 0)
    a, b, r0, r1 = (state.points[v] for v in (edges[:, 0], edges[:, 1], ends[:, 0], ends[:, 1]))
    old = np.stack([np.stack([a, b, r0], 1), np.stack([b, a, r1], 1)], 1)
    new = np.stack([np.stack([a, r1, r0], 1), np.stack([b, r0, r1], 1)], 1)
    normal = np.cross(new[:, :, 1] - new[:, :, 0], new[:, :, 2] - new[:, :, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=2), 1e-300)[:, :, None]
    # The two new triangles may not fold over each other.
    allowed &= np.einsum("ij,ij->i", normal[:, 0], normal[:, 1]) > 0.3
    rows = np.flatnonzero(allowed)
    before = state.reference.face_deviation(old[rows].reshape(-1, 3, 3)).reshape(-1, 2).max(axis=1)
    after = state.reference.face_deviation(new[rows].reshape(-1, 3, 3)).reshape(-1, 2).max(axis=1)
    allowed[rows] = after <= np.maximum(limits.tolerance, before)
    return allowed


def _collapse_candidates(state: MeshState, limits: Limits, fresh: NDArray[np.bool_]) -> Candidates:
    c = state.connectivity
    rows = np.unique(c.tet_edges[(state.value > limits.collapse) & fresh])
    if not len(rows):
        return _no_candidates()
    both = np.concatenate([c.edges[rows], c.edges[rows][:, ::-1]])
    on_boundary = np.tile(c.boundary_edge[rows], 2)
    kind = state.kind
    vanishing = kind[both[:, 0]]
    # Inner vertices go anywhere; surface vertices along the boundary only; curves and corners stay.
    allowed = (vanishing > SURFACE) | ((vanishing == SURFACE) & on_boundary)
    both, on_boundary = np.ascontiguousarray(both[allowed]), on_boundary[allowed]
    if not len(both):
        return _no_candidates()
    ends = np.concatenate([c.edges, c.edges[:, ::-1]])
    order = np.argsort(ends[:, 0].astype(np.int64) * c.point_count + ends[:, 1], kind="stable")
    start = np.zeros(c.point_count + 1, dtype=np.int32)
    np.cumsum(np.bincount(ends[:, 0], minlength=c.point_count), out=start[1:])
    gain = collapses(
        *state.device_mesh(),
        state.to_device(start, int),
        state.to_device(ends[order, 1], int),
        state.to_device(both, wp.vec2i),
        state.to_device(on_boundary.astype(np.int32), int),
        state.parameters.to_struct(),
    ).numpy()
    keep = np.flatnonzero(gain > 0)
    keep = keep[_collapse_allowed(state, limits, both[keep])]
    both, gain = both[keep], gain[keep]
    owner, entry = c.ragged_star(both[:, 0])
    tets = state.tets[entry // 4]
    stays = ~(tets == both[owner, 1][:, None]).any(axis=1)
    created = tets[stays].copy()
    created[np.arange(len(created)), entry[stays] % 4] = both[owner[stays], 1]
    surface = np.flatnonzero(kind[both[:, 0]] == SURFACE)
    # All vertices of the star: nothing else may change the boundary around the two vertices.
    lock_owner, lock_entry = c.ragged_star(both[surface, 0])
    pairs = np.unique(
        np.stack([np.repeat(surface[lock_owner], 4), state.tets[lock_entry // 4].ravel()], axis=1), axis=0
    )
    return Candidates(
        gain,
        np.full(len(gain), COLLAPSE, dtype=np.int32),
        owner,
        entry // 4,
        owner[stays],
        created,
        pairs[:, 0],
        pairs[:, 1].astype(np.int32),
    )


def _collapse_allowed(state: MeshState, limits: Limits, edges: Indices) -> NDArray[np.bool_]:
    """Check collapses v into u, shape (k, 2).

    One region, and new boundary faces near the reference, not turned.
    """
    allowed = np.ones(len(edges), dtype=bool)
    if not len(edges):
        return allowed
    c = state.connectivity
    owner, entry = c.ragged_star(edges[:, 0])
    label = state.labels[entry // 4]
    first = np.zeros(len(edges), dtype=np.int64)
    first[owner[::-1]] = label[::-1]
    allowed[owner[label != first[owner]]] = False
    rows = np.flatnonzero(state.kind[edges[:, 0]] == SURFACE)
    owner, entry = ragged(*c.vertex_faces(), edges[rows, 0])
    owner = rows[owner]
    faces = c.faces[entry // 3]
    stays = ~(faces == edges[owner, 1][:, None]).any(axis=1)
    owner, faces, entry = owner[stays], faces[stays], entry[stays]
    moved = faces.copy()
    moved[np.arange(len(moved)), entry % 3] = edges[owner, 1]
    old, new = state.points[faces], state.points[moved]
    n_old = np.cross(old[:, 1] - old[:, 0], old[:, 2] - old[:, 0])
    n_new = np.cross(new[:, 1] - new[:, 0], new[:, 2] - new[:, 0])
    size = np.linalg.norm(n_old, axis=1) * np.linalg.norm(n_new, axis=1)
    turned = np.einsum("ij,ij->i", n_old, n_new) < 0.7 * size
    allowed[owner[turned]] = False
    check = np.flatnonzero(allowed[owner])
    far = state.reference.face_deviation(new[check]) > limits.tolerance
    allowed[owner[check[far]]] = False
    return allowed


def _apply(
    state: MeshState, candidates: Candidates, winners: NDArray[np.bool_]
) -> tuple[int, NDArray[np.bool_]]:
    """Apply the winners; return how many, and the tets that are new or were wanted by others.

    Changes that are fine one by one may meet badly on the boundary. Then fewer are tried: a round in which
    no attempt leaves the boundary as it was in kind is counted as discarded.
    """
    before = state.connectivity
    euler = _boundary_euler(before)
    for attempt in _attempts(candidates, winners):
        chosen = candidates.take(attempt)
        removed = np.zeros(len(state.tets), dtype=bool)
        removed[chosen.cavity] = True
        label = np.zeros(len(chosen.gain), dtype=np.int32)
        label[chosen.cavity_owner] = state.labels[chosen.cavity]
        saved = state.tets, state.labels, state.value
        state.replace_tets(removed, chosen.created, label[chosen.created_owner])
        after = state.connectivity
        if after.defects <= before.defects and _boundary_euler(after) == euler:
            break
        state.tets, state.labels, state.value = saved
        state._connectivity = before
    else:
        state.count("discarded_rounds", 1)
        return 0, np.zeros(len(state.tets), dtype=bool)
    for kind, name in enumerate(NAMES):
        state.count(name, int((chosen.kind == kind).sum()))
    fresh = np.zeros(len(removed), dtype=bool)
    fresh[candidates.cavity[~attempt[candidates.cavity_owner]]] = True
    fresh = np.concatenate([fresh[~removed], np.ones(len(chosen.created), dtype=bool)])
    return len(chosen.gain), fresh


def _attempts(candidates: Candidates, winners: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Yield sets of winners to try: all, those inside, the better half, the other, and so on by halving."""
    rows = np.flatnonzero(winners)
    rows = rows[np.argsort(-candidates.gain[rows], kind="stable")]
    subsets = [rows, rows[candidates.kind[rows] == EDGE_REMOVAL]]
    size = (len(rows) + 1) // 2
    while 0 < size < len(rows):
        subsets += [rows[:size], rows[size : 2 * size]]
        size = (size + 1) // 2 if size > 1 else 0
    for k, subset in enumerate(subsets):
        if len(subset) and (k != 1 or len(subset) < len(rows)):
            attempt = np.zeros(len(winners), dtype=bool)
            attempt[subset] = True
            yield attempt


def _boundary_euler(c: Connectivity) -> int:
    return int(c.on_boundary.sum()) - int(c.boundary_edge.sum()) + len(c.faces)


def _no_candidates() -> Candidates:
    empty = np.zeros(0, dtype=np.int64)
    index = np.zeros(0, dtype=np.int32)
    return Candidates(np.zeros(0), index, empty, index, empty, np.zeros((0, 4), dtype=np.int32), empty, index)


def _join(parts: Sequence[Candidates]) -> Candidates:
    """Concatenate candidates."""
    shift = np.cumsum([0, *(len(p.gain) for p in parts[:-1])])

    def owners(name: str) -> Rows:
        return np.concatenate([getattr(p, name) + s for p, s in zip(parts, shift, strict=True)])

    def values(name: str) -> NDArray:
        return np.concatenate([getattr(p, name) for p in parts])

    return Candidates(
        values("gain"),
        values("kind"),
        owners("cavity_owner"),
        values("cavity"),
        owners("created_owner"),
        values("created"),
        owners("lock_owner"),
        values("locks"),
    )
