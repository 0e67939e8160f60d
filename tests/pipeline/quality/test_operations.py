"""Changes of connectivity: ring triangulations, competition, and what must not change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import warp as wp
from scipy.spatial import Delaunay

from pipeline.metrics.tet import signed_volumes
from pipeline.quality.connectivity import Connectivity
from pipeline.quality.energies import CONTINUATION, EnergyParameters, quality_energy
from pipeline.quality.mesh_state import make_state
from pipeline.quality.operations import (
    COLLAPSE,
    EDGE_REMOVAL,
    NAMES,
    Candidates,
    Limits,
    _apply,
    _edge_candidates,
    _join,
    improve_connectivity,
    select,
)
from tests.pipeline.quality.small_tets import ball, grid, positive
from warp_kernels.tet_cavity import edge_removals


def spindle(n, closed=True, seed=0):
    """Return points and the tets around the edge 0 1 with a ring of n vertices (n - 1 tets if open)."""
    rng = np.random.default_rng(seed)
    angle = (np.arange(n) + 0.2 * rng.uniform(-1, 1, n)) * (2 * np.pi / n if closed else 2.5 / n)
    radius = 1 + 0.3 * rng.uniform(-1, 1, n)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.2 * rng.uniform(-1, 1, n)], axis=1)
    points = np.vstack([[0, 0, -0.4], [0, 0, 0.4], ring])
    links = [(2 + i, 2 + (i + 1) % n) for i in range(n if closed else n - 1)]
    return points, np.array([(0, 1, a, b) for a, b in links], dtype=np.int32)


def triangulations(i, j):
    """Yield all triangulations of the polygon i .. j as lists of (i, k, j)."""
    if j - i < 2:
        yield []
        return
    for k in range(i + 1, j):
        for left, right in itertools.product(triangulations(i, k), triangulations(k, j)):
            yield [*left, (i, k, j), *right]


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("seed", [0, 1])
def test_edge_removal_finds_the_best_triangulation_of_the_ring(n, seed, device):
    points, tets = spindle(n, seed=seed)
    parameters = EnergyParameters()
    old = quality_energy(points, tets, parameters=parameters)[0]
    c = Connectivity(tets, len(points))
    gain, ring, ends, removed, created = (
        a.numpy()
        for a in edge_removals(
            wp.array(points, dtype=wp.vec3d, device=device),
            wp.array(tets, dtype=wp.vec4i, device=device),
            wp.array(c.star_start, dtype=int, device=device),
            wp.array(c.star, dtype=int, device=device),
            wp.array(old, dtype=wp.float64, device=device),
            wp.array([[0, 1]], dtype=wp.vec2i, device=device),
            parameters.to_struct(),
        )
    )
    # All triangulations (Catalan number) of the ring from ends[0] on.
    best, worst = np.inf, np.inf
    start = int(ends[0][0]) - 2
    order = [2 + (start + k) % n for k in range(n)]
    for triangles in triangulations(0, n - 1):
        new = []
        for i, k, j in triangles:
            a, b, d = order[i], order[k], order[j]
            new += [(0, a, b, d), (1, d, b, a)]
        value = quality_energy(points, np.array(new), parameters=parameters)[0]
        if value.sum() < best:
            best, worst = value.sum(), value.max()
    # It is refused without a gain, or where the worst tet would become worse (and is not good anyway).
    wanted = best < old.sum() - 1e-3 * min(old.sum(), 1) and worst <= max(old.max(), 0.5)
    assert (gain[0] > 0) == wanted
    if wanted:
        np.testing.assert_allclose(gain[0], old.sum() - best, rtol=1e-9)
        assert ring[0] == n
        assert set(removed[0, :n]) == set(range(n))
        made = created[0][: 2 * (n - 2)]
        value = quality_energy(points, made, parameters=parameters)[0]
        np.testing.assert_allclose(value.sum(), best, rtol=1e-9)
        assert (signed_volumes(points, made) > 0).all()


def test_some_rings_are_removed_and_some_are_not():
    # The comparison above means something only where both happen.
    total = [quality_energy(*spindle(n, seed=s))[0].max() for n in range(3, 10) for s in range(2)]
    assert min(total) < 5 < max(total)


def test_three_thin_tets_around_an_edge_become_two():
    points, tets = spindle(3)
    points[0, 2], points[1, 2] = -1.2, 1.2
    points[2:, 2] = 0
    points[:2, :2] = 0.9 * points[2, :2]
    state = make_state(points, tets, crease_edges=np.zeros((0, 2), dtype=np.int32))
    volume = signed_volumes(points, tets).sum()
    state.set_parameters(EnergyParameters())
    assert improve_connectivity(state, Limits(1.0)) == 1
    assert len(state.tets) == 2
    np.testing.assert_allclose(signed_volumes(state.points, state.tets).sum(), volume, rtol=1e-12)
    assert state.counts["edge_removals"] == 1


def test_flat_tet_on_the_boundary_is_peeled():
    mesh = grid(2)
    c = Connectivity(mesh.tets, len(mesh.points))
    # Two boundary triangles in one plane: a flat tet on top of them is a 2-2 flip of the surface.
    row = np.flatnonzero(c.boundary_edge)
    for edge in c.edges[row]:
        pair = c.faces[np.isin(c.faces, edge).sum(axis=1) == 2]
        normal = np.cross(*(mesh.points[pair[0]][1:] - mesh.points[pair[0]][0]))
        corners = [int(np.setdiff1d(f, edge)[0]) for f in pair]
        if abs(normal @ (mesh.points[corners[1]] - mesh.points[edge[0]])) < 1e-12:
            break
    points = mesh.points.copy()
    tet = np.array([[edge[0], edge[1], corners[0], corners[1]]])
    # Lift the new surface edge a little: a sliver with two boundary faces.
    points[corners] += 1e-3 * normal / np.linalg.norm(normal)
    if signed_volumes(points, tet)[0] < 0:
        tet = tet[:, [1, 0, 2, 3]]
    tets = np.concatenate([mesh.tets, tet]).astype(np.int32)
    state = make_state(points, tets, crease_edges=np.zeros((0, 2), dtype=np.int32))
    assert state.connectivity.defects == 0
    improve_connectivity(state, Limits(0.01, operations=("peels",)), rounds=1)
    assert state.counts["peels"] >= 1
    assert state.connectivity.defects == 0
    assert not (np.sort(state.tets, axis=1) == np.sort(tet)).all(axis=1).any()


@pytest.mark.parametrize("operation", NAMES)
def test_every_operation_lowers_the_energy_and_keeps_the_topology(operation):
    mesh = ball()
    state = make_state(mesh.points, mesh.tets, crease_angle=120)
    worst, total = state.value.max(), state.value.sum()
    applied = improve_connectivity(state, Limits(0.02, operations=(operation,)))
    assert applied == state.counts.get(operation, 0)
    assert applied > 0 or operation == "peels"
    assert applied == 0 or state.value.sum() < total
    assert state.value.max() <= worst
    assert (signed_volumes(state.points, state.tets) > 0).all()
    c = state.connectivity
    assert c.defects == 0
    assert c.on_boundary.sum() - c.boundary_edge.sum() + len(c.faces) == 2
    # The stored energies are those of the tets.
    value = quality_energy(state.points, state.tets, parameters=state.parameters)[0]
    np.testing.assert_allclose(state.value, value, rtol=1e-12)


@pytest.mark.parametrize("parameters", CONTINUATION)
def test_slivers_of_a_random_cloud_are_never_turned_over(parameters):
    inverted, applied = 0, 0
    for seed in range(2):
        points = np.random.default_rng(seed).random((300, 3))
        state = make_state(points, positive(points, Delaunay(points).simplices))
        state.set_parameters(parameters)
        applied += improve_connectivity(state, Limits(0.02))
        inverted += (signed_volumes(state.points, state.tets) <= 0).sum()
    # A random cloud is full of slivers of any flatness, most of all along its hull.
    assert inverted == 0
    assert applied > 50


def test_inner_changes_keep_the_volume_and_the_boundary():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    faces = {tuple(sorted(f)) for f in state.connectivity.faces.tolist()}
    improve_connectivity(state, Limits(0.0, operations=("edge_removals",)))
    assert {tuple(sorted(f)) for f in state.connectivity.faces.tolist()} == faces
    np.testing.assert_allclose(signed_volumes(state.points, state.tets).sum(), mesh.volumes.sum(), rtol=1e-12)


def test_regions_are_not_mixed():
    mesh = ball()
    labels = (mesh.points[mesh.tets].mean(axis=1)[:, 0] > 0).astype(np.int32)
    state = make_state(mesh.points, mesh.tets, labels)
    volume = [signed_volumes(state.points, state.tets)[state.labels == k].sum() for k in range(2)]
    interface = Connectivity(mesh.tets[labels == 0], len(mesh.points)).faces
    improve_connectivity(state, Limits(0.0, operations=("edge_removals", "collapses")))
    after = [signed_volumes(state.points, state.tets)[state.labels == k].sum() for k in range(2)]
    np.testing.assert_allclose(after, volume, rtol=1e-12)
    kept = Connectivity(state.tets[state.labels == 0], len(mesh.points)).faces
    assert {tuple(sorted(f)) for f in kept.tolist()} == {tuple(sorted(f)) for f in interface.tolist()}


def test_crease_edges_stay():
    mesh = grid(3)
    state = make_state(mesh.points, mesh.tets)
    state.value[:] = 1e3
    improve_connectivity(state, Limits(1.0))
    assert (state.connectivity.edge_rows(state.creases) >= 0).all()


def _candidates(rng, count, tets):
    size = rng.integers(1, 6, count)
    owner = np.repeat(np.arange(count), size)
    cavity = np.concatenate([rng.choice(tets, s, replace=False) for s in size]).astype(np.int32)
    empty = np.zeros(0, dtype=np.int64)
    kind = rng.choice([EDGE_REMOVAL, COLLAPSE], count).astype(np.int32)
    gain = rng.integers(1, 8, count).astype(float)
    return Candidates(
        gain, kind, owner, cavity, empty, np.zeros((0, 4), np.int32), empty, np.zeros(0, np.int32)
    )


def _with_a_bad_one(state):
    """Return good separate candidates and, with the highest gain, one that would leave a hole inside."""
    good = _edge_candidates(state, Limits(0.0, operations=("edge_removals",)), np.ones(len(state.tets), bool))
    inner = ~np.isin(state.tets, np.unique(state.connectivity.faces)).any(axis=1)
    hole = np.flatnonzero(inner)[:1].astype(np.int32)
    owner, empty = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    none, index = np.zeros((0, 4), dtype=np.int32), np.zeros(0, dtype=np.int32)
    kind = np.array([EDGE_REMOVAL], dtype=np.int32)
    bad = Candidates(np.array([1e9]), kind, owner, hole, empty, none, empty, index)
    return bad, _join([bad, good])


def test_one_change_that_breaks_the_boundary_does_not_stop_the_others():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    _, candidates = _with_a_bad_one(state)
    winners = select(candidates, len(state.tets), len(state.points), state.device)
    assert winners[0]
    assert winners.sum() > 10
    before = len(state.connectivity.faces)
    applied, fresh = _apply(state, candidates, winners)
    # Halving sets the half with the bad one apart: at least a quarter of the winners is left.
    assert winners.sum() // 4 <= applied < winners.sum()
    assert len(state.connectivity.faces) == before
    assert len(fresh) == len(state.tets)
    assert "discarded_rounds" not in state.counts


def test_round_in_which_nothing_fits_is_counted():
    mesh = ball()
    state = make_state(mesh.points, mesh.tets)
    bad, _ = _with_a_bad_one(state)
    applied, _ = _apply(state, bad, np.ones(1, dtype=bool))
    assert applied == 0
    assert state.counts == {"discarded_rounds": 1}
    np.testing.assert_array_equal(state.tets, mesh.tets)


def test_competition_equals_the_serial_greedy_choice(device):
    rng = np.random.default_rng(5)
    for _ in range(10):
        candidates = _candidates(rng, 60, 80)
        priority = np.where(candidates.kind == COLLAPSE, 0.5, 1.0) * candidates.gain
        taken, expected = set(), np.zeros(60, dtype=bool)
        for c in sorted(range(60), key=lambda c: (-priority[c], c)):
            mine = set(candidates.cavity[candidates.cavity_owner == c].tolist())
            if not mine & taken:
                taken |= mine
                expected[c] = True
        np.testing.assert_array_equal(select(candidates, 80, 0, device), expected)
