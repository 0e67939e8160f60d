"""Costs of collapses against the quadric worked out in numpy, and the cases that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.edge_collapse import CollapseRule, collapse_costs, collapse_valid


def _costs(
    points: np.ndarray, faces: np.ndarray, edges: np.ndarray, uses: list[int], device: str, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = len(points)
    start = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=n))]).astype(np.int32)
    fan = (np.argsort(faces.ravel(), kind="stable") // 3).astype(np.int32)
    rule = CollapseRule()
    rule.shape_weight, rule.cos_turn, rule.largest_aspect, rule.largest_error = 0.0, 0.3, 10.0, 1e9
    offset = normal @ [0.0, 0.0, 0.5]
    quadrics = (
        wp.array(np.tile(np.outer(normal, normal), (n, 1, 1)), dtype=wp.mat33d, device=device),
        wp.array(np.tile(normal * offset, (n, 1)), dtype=wp.vec3d, device=device),
        wp.full(n, offset**2, dtype=wp.float64, device=device),
        wp.full(n, 1.0, dtype=wp.float64, device=device),
    )
    x = wp.array(points, dtype=wp.vec3d, device=device)
    pairs = wp.array(edges, dtype=wp.int32, device=device)
    cost, position = collapse_costs(x, pairs, quadrics, rule)
    allowed = collapse_valid(
        x,
        wp.array(faces, dtype=wp.int32, device=device),
        pairs,
        wp.array(uses, dtype=wp.int32, device=device),
        wp.array(start, dtype=wp.int32, device=device),
        wp.array(fan, dtype=wp.int32, device=device),
        wp.zeros(n, dtype=wp.int32, device=device),
        position,
        rule,
        wp.array(np.arange(len(edges)), dtype=wp.int32, device=device),
    )
    return np.where(allowed.numpy() > 0, cost.numpy(), np.inf), position.numpy()


OCTAHEDRON = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
OCTAHEDRON_FACES = np.array(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], dtype=np.int32
)


def test_cost_and_position_minimise_the_quadric(device: str) -> None:
    normal = np.array([0.0, 0.6, 0.8])
    cost, position = _costs(OCTAHEDRON, OCTAHEDRON_FACES, np.array([[0, 4]]), [2], device, normal)
    # E(x) = 2 (n.x - 0.4)^2 + pull |x - m|^2 with m = (0.5, 0, 0.5): n.m is 0.4 already.
    np.testing.assert_allclose(position[0], [0.5, 0.0, 0.5], atol=1e-9)
    assert cost[0] == pytest.approx(0.0, abs=1e-12)
    cost, position = _costs(OCTAHEDRON, OCTAHEDRON_FACES, np.array([[0, 2]]), [2], device, normal)
    middle, pull = np.array([0.5, 0.5, 0.0]), 0.002 * 2 + 1e-9
    t = 2 * (0.4 - normal @ middle) / (2 + pull)
    np.testing.assert_allclose(position[0], middle + t * normal, atol=1e-9)
    assert cost[0] == pytest.approx(2 * (normal @ position[0] - 0.4) ** 2, abs=1e-12)


def test_a_tetrahedron_cannot_shrink(device: str) -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=np.int32)
    # The link condition holds, but two faces back to back would be left.
    cost, _ = _costs(points, faces, np.array([[0, 1]]), [2], device, np.array([0.0, 0, 1]))
    assert cost[0] > 1e299


def test_link_condition_refuses_a_bottleneck(device: str) -> None:
    # A prism without lids: 2 is a common neighbour of 0 and 1, but on no face of the edge 0 1.
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0, 0, 2], [1, 0, 2], [0.5, 1, 2]])
    faces = np.array([[0, 1, 3], [1, 4, 3], [1, 2, 4], [2, 5, 4], [2, 0, 5], [0, 3, 5]], dtype=np.int32)
    cost, _ = _costs(points, faces, np.array([[0, 1]]), [1], device, np.array([0.0, 0, 1]))
    assert cost[0] > 1e299
