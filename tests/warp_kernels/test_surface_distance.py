"""Distances of surface primitives against independent references, and the safe share of a motion."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
import warp as wp
from scipy.optimize import lsq_linear

from warp_kernels import surface_contact
from warp_kernels.surface_candidates import Candidates


def make_pairs(count: int, is_edges: bool, device: str, thickness: float = 1e9) -> Candidates:
    pairs = Candidates()
    corners = np.arange(4 * count, dtype=np.int32).reshape(-1, 4)
    pairs.corners = wp.array(corners, dtype=wp.vec4i, device=device)
    pairs.is_edges = wp.array(np.full(count, is_edges), dtype=wp.bool, device=device)
    pairs.thickness = wp.array(np.full(count, thickness), dtype=wp.float64, device=device)
    pairs.weight = wp.array(np.ones(count), dtype=wp.float64, device=device)
    pairs.threshold = wp.zeros(count, dtype=wp.float64, device=device)
    return pairs


def distances(x: np.ndarray, is_edges: bool, device: str) -> np.ndarray:
    """Return the distance of each pair of corners (k, 4, 3)."""
    pairs = make_pairs(len(x), is_edges, device)
    energy, distance = (wp.zeros(len(x), dtype=wp.float64, device=device) for _ in range(2))
    points = wp.array(x.reshape(-1, 3), dtype=wp.vec3d, device=device)
    surface_contact.pair_energy(points, pairs, 1.0, energy, distance)
    return distance.numpy().copy()


def edge_reference(x: np.ndarray) -> float:
    # |x0 + p u - x2 - q v| over the square of p and q: least squares with bounds.
    u, v = x[1] - x[0], x[3] - x[2]
    found = lsq_linear(np.stack([u, -v], axis=1), x[2] - x[0], bounds=(0.0, 1.0), tol=1e-14)
    return float(np.sqrt(2.0 * found.cost))


def cases(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return corners in general position, flat ones, and ones with equal points, (k, 4, 3)."""
    x = rng.normal(size=(count, 4, 3))
    x[: count // 4, :, 2] *= 1e-3
    x[count // 4 : count // 3, 1] = x[count // 4 : count // 3, 0] + 1e-6 * rng.normal(size=3)
    return x


def test_distance_of_vertex_and_triangle(device: str) -> None:
    x = cases(np.random.default_rng(0), 400)
    nearest = trimesh.triangles.closest_point(x[:, 1:], x[:, 0])
    expected = np.linalg.norm(nearest - x[:, 0], axis=1)
    # The reference loses digits in flat triangles: its own rounding is 1e-9.
    np.testing.assert_allclose(distances(x, False, device), expected, rtol=1e-8, atol=1e-9)


def test_distance_of_edges(device: str) -> None:
    x = cases(np.random.default_rng(1), 200)
    x[-20:, 3] = x[-20:, 2] + x[-20:, 1] - x[-20:, 0]  # parallel
    expected = [edge_reference(corners) for corners in x]
    # The reference stops at 1e-7 of the length.
    np.testing.assert_allclose(distances(x, True, device), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("is_edges", [False, True], ids=["vertex-face", "edge-edge"])
def test_distances_are_those_of_ipctk(is_edges: bool, device: str) -> None:
    ipctk = pytest.importorskip("ipctk")
    x = cases(np.random.default_rng(2), 300)
    function = ipctk.edge_edge_distance if is_edges else ipctk.point_triangle_distance
    expected = np.sqrt([function(*corners) for corners in x])
    np.testing.assert_allclose(distances(x, is_edges, device), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("is_edges", [False, True], ids=["vertex-face", "edge-edge"])
def test_no_pair_meets_within_the_safe_share(is_edges: bool, device: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        x, move = rng.normal(size=(1, 4, 3)), 3.0 * rng.normal(size=(1, 4, 3))
        bound = wp.array([1.0], dtype=wp.float64, device=device)
        at, dx = (wp.array(v.reshape(-1, 3), dtype=wp.vec3d, device=device) for v in (x, move))
        surface_contact.safe_share(at, dx, make_pairs(1, is_edges, device), bound)
        share = float(bound.numpy()[0])
        assert 0.0 < share <= 1.0
        # A tenth of the distance is kept at every moment of the way, not at its end alone.
        way = x + share * np.linspace(0.0, 1.0, 400)[:, None, None] * move
        d = distances(way, is_edges, device)
        assert d.min() >= 0.0999 * d[0]


@pytest.mark.parametrize("is_edges", [False, True], ids=["vertex-face", "edge-edge"])
def test_safe_share_is_close_below_the_time_of_impact_of_ipctk(is_edges: bool, device: str) -> None:
    ipctk = pytest.importorskip("ipctk")
    rng = np.random.default_rng(4)
    ccd = ipctk.TightInclusionCCD()
    meeting = 0
    for _ in range(200):
        x, move = rng.normal(size=(4, 3)), 3.0 * rng.normal(size=(4, 3))
        check = ccd.edge_edge_ccd if is_edges else ccd.point_triangle_ccd
        has_met, impact = check(*x, *(x + move))
        bound = wp.array([1.0], dtype=wp.float64, device=device)
        at, dx = (wp.array(v, dtype=wp.vec3d, device=device) for v in (x, move))
        surface_contact.safe_share(at, dx, make_pairs(1, is_edges, device), bound)
        share = float(bound.numpy()[0])
        if has_met:
            meeting += 1
            assert share <= impact + 1e-5  # tolerance of the peer
            # A tenth of the distance is left, which a motion mostly along the surfaces uses up slowly.
            assert share >= 0.5 * impact
    assert meeting > 10
