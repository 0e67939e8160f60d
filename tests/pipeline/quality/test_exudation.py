"""Exudation: margins linear in the weights, exact gradients, triangulations that keep every vertex."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from scipy.spatial import Delaunay, cKDTree

from pipeline.metrics.tet import signed_volumes
from pipeline.quality.exudation import RegularTriangulation, exude, facet_energy, regular_triangulation
from tests.pipeline.quality.small_tets import ball
from warp_kernels.tet_exudation import NO_FLIP, facet_margins, tet_badnesses


def cloud(count=60, seed=0):
    """Return points in a cube, random weights below the square of the nearest distance, and that distance."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3))
    scale = cKDTree(points).query(points, k=2)[0][:, 1]
    return points, 0.99 * scale**2 * rng.random(count), scale


def margins(points, weights, mesh, device):
    """Return the facets as (tet, corner), and margin, slope, apex, change and flip of each."""
    tet, corner = np.nonzero(mesh.neighbors > np.arange(len(mesh.tets))[:, None])
    facets = np.stack([tet, corner], axis=1).astype(np.int32)
    place = wp.array(points, dtype=wp.vec3d, device=device)
    tets = wp.array(mesh.tets, dtype=wp.vec4i, device=device)
    parts = facet_margins(
        place,
        wp.array(weights, dtype=wp.float64, device=device),
        tets,
        wp.array(mesh.neighbors, dtype=wp.vec4i, device=device),
        tet_badnesses(place, tets),
        wp.array(facets, dtype=wp.vec2i, device=device),
    )
    return facets, *(a.numpy() for a in parts)


def badness(points, tet):
    """Return the badness of one tet by plane angles at its edges."""
    p = points[np.asarray(tet)]
    angles = []
    for i in range(4):
        for j in range(i):
            k, m = (c for c in range(4) if c not in (i, j))
            axis = (p[j] - p[i]) / np.linalg.norm(p[j] - p[i])
            u, v = (q - p[i] - np.dot(q - p[i], axis) * axis for q in (p[k], p[m]))
            angles.append(np.degrees(np.arccos(np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v))))
    return np.exp((20.0 - min(angles)) / 6.0)


def test_margin_and_its_slope_are_exact(device):
    points, weights, _ = cloud()
    mesh = regular_triangulation(points, weights)
    facets, margin, slope, apex, _, _ = margins(points, weights, mesh, device)
    rng = np.random.default_rng(1)
    lift = np.einsum("ij,ij->i", points, points) - weights
    for f in rng.choice(len(facets), 40, replace=False):
        corners = mesh.tets[facets[f, 0]]
        lam = np.linalg.solve(np.vstack([points[corners].T, np.ones(4)]), np.append(points[apex[f]], 1.0))
        expected = lift[apex[f]] - lam @ lift[corners]
        # Slivers divide by their volume: relative to the largest coordinate.
        np.testing.assert_allclose(slope[f], lam, atol=1e-9 * np.abs(lam).max())
        np.testing.assert_allclose(margin[f], expected, atol=1e-9 * np.abs(lam).max())
    # Linear in the weights: the difference over any direction is the slope times it.
    direction = rng.normal(size=len(points))
    moved = margins(points, weights + direction, mesh, device)[1]
    predicted = np.einsum("fi,fi->f", slope, direction[mesh.tets[facets[:, 0]]]) - direction[apex]
    size = 1.0 + np.abs(slope).sum(axis=1)
    np.testing.assert_allclose((moved - margin) / size, predicted / size, atol=1e-6)


def test_gradient_of_the_energy_is_exact(device):
    points, weights, scale = cloud(seed=2)
    weights *= 0.5
    mesh = regular_triangulation(points, weights)
    inside = np.ones(len(mesh.tets), dtype=bool)
    energy = facet_energy(points, weights, mesh, inside, scale, device)
    assert np.abs(energy.gradient).max() > 0
    rng = np.random.default_rng(3)
    for _ in range(5):
        direction = rng.normal(size=len(points)) * scale**2
        # Central differences: the square of 1e-6 over the sigmoid's width of 0.02 (in scale^2).
        h = 1e-6
        plus, minus = (
            facet_energy(points, weights + s * h * direction, mesh, inside, scale, device).value
            for s in (1, -1)
        )
        slope = energy.gradient @ direction
        np.testing.assert_allclose((plus - minus) / (2 * h), slope, rtol=1e-6, atol=1e-6 * np.abs(slope))


def test_without_weights_it_is_the_delaunay_triangulation():
    points = cloud()[0]
    mesh = regular_triangulation(points, np.zeros(len(points)))
    expected = {tuple(sorted(t)) for t in Delaunay(points).simplices.tolist()}
    assert {tuple(sorted(t)) for t in mesh.tets.tolist()} == expected


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_facet_is_regular_and_no_vertex_is_lost(seed, device):
    points, weights, _ = cloud(200, seed)
    mesh = regular_triangulation(points, weights)
    assert len(np.unique(mesh.tets)) == len(points)
    assert (signed_volumes(points, mesh.tets) > 0).all()
    for tet, corner in [(0, 0), (3, 1), (5, 2), (7, 3)]:
        other = mesh.neighbors[tet, corner]
        if other >= 0:
            assert set(np.delete(mesh.tets[tet], corner)) <= set(mesh.tets[other])
    margin = margins(points, weights, mesh, device)[1]
    # Rounding of the hull: heights are of the order of 1.
    assert margin.min() > -1e-10


def test_change_of_a_flip_is_what_the_flip_changes(device):
    points = np.array([[0, 0, 0], [1, 0, 0], [0.2, 1, 0], [0.4, 0.3, 0.6], [0.45, 0.35, -0.7]])
    two = RegularTriangulation(
        np.array([[0, 1, 2, 3], [1, 0, 2, 4]], dtype=np.int32),
        np.array([[-1, -1, -1, 1], [-1, -1, -1, 0]], dtype=np.int32),
    )
    around = [(3, 4, a, b) for a, b in ((0, 1), (1, 2), (2, 0))]
    gain = sum(badness(points, t) for t in around) - sum(badness(points, t) for t in two.tets)
    _, _, _, apex, change, flip = margins(points, np.zeros(5), two, device)
    assert apex.tolist() == [4]
    assert flip[0] != NO_FLIP
    np.testing.assert_allclose(change, gain, rtol=1e-9)
    # And back: a facet of the three tets around the edge 3 4.
    tets = np.array(around, dtype=np.int32)
    tets = np.where((signed_volumes(points, tets) < 0)[:, None], tets[:, [1, 0, 2, 3]], tets)
    neighbors = np.full((3, 4), -1, dtype=np.int32)
    for t in range(3):
        for k in range(4):
            face = set(np.delete(tets[t], k))
            for u in range(3):
                if u != t and face <= set(tets[u]):
                    neighbors[t, k] = u
    _, _, _, _, change, flip = margins(points, np.zeros(5), RegularTriangulation(tets, neighbors), device)
    assert (flip != NO_FLIP).all()
    np.testing.assert_allclose(change, -gain, rtol=1e-9)


def test_slivers_of_a_ball_get_fewer():
    points = ball(surface_count=150, inner_count=500, seed=4).points
    asked = []

    def everywhere(places):
        asked.append(len(places))
        return np.ones(len(places), dtype=bool)

    result = exude(points, everywhere, steps=15)
    start, best = result.history[0], min(result.history, key=lambda h: h["badness"])
    assert best["below_10"] <= 0.75 * start["below_10"]
    assert len(np.unique(result.tets)) == len(points)
    np.testing.assert_allclose(
        signed_volumes(points, result.tets).sum(),
        np.abs(signed_volumes(points, Delaunay(points).simplices)).sum(),
        rtol=1e-9,
    )
    # Only new tets are asked for.
    assert asked[-1] < 0.5 * asked[0]


def test_bound_is_checked():
    with pytest.raises(ValueError, match="bound"):
        exude(np.random.default_rng(0).random((10, 3)), lambda p: np.ones(len(p), dtype=bool), bound=1.0)
