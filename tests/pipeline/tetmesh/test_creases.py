"""Creases: found, linked into chains, and sampled."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.tetmesh.creases import find_creases, spread_on_creases
from tests.pipeline.tetmesh.small_surfaces import ball, box


def on_box_edges(points):
    """Tell which points lie on an edge of the unit cube: two coordinates at 0 or 1."""
    return (np.isclose(points, 0) | np.isclose(points, 1)).sum(axis=1) >= 2


def test_a_cube_has_twelve_creases_and_eight_corners():
    mesh = box([0, 0, 0], [1, 1, 1], 2)
    graph = find_creases(mesh.points, mesh.faces, 40.0)
    assert len(graph.edges) == 12 * 4
    assert graph.is_corner.sum() == 8
    assert on_box_edges(mesh.points[graph.edges].reshape(-1, 3)).all()


def test_a_smooth_sphere_has_none():
    mesh = ball(levels=3)
    graph = find_creases(mesh.points, mesh.faces, 40.0)
    assert len(graph.edges) == 0
    assert spread_on_creases(
        mesh.points, graph, lambda p: np.full(len(p), 0.1), np.random.default_rng(0)
    ).shape == (0, 3)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_points_lie_on_the_creases_with_the_spacing_asked_for(steps):
    mesh = box([0, 0, 0], [1, 1, 1], 3)
    graph = find_creases(mesh.points, mesh.faces, 40.0)
    points = spread_on_creases(
        mesh.points, graph, lambda p: np.full(len(p), 1.0 / steps), np.random.default_rng(0)
    )
    assert on_box_edges(points).all()
    assert len(points) == 8 + 12 * (steps - 1)
    corners = (np.isclose(points, 0) | np.isclose(points, 1)).all(axis=1)
    assert corners.sum() == 8


def test_a_closed_crease_without_corners_is_followed_all_around():
    # A cylinder: two circles of 64 edges turn by 90 degrees; the wall turns by 5.6 degrees per face.
    n = 64
    angle = 2 * np.pi * np.arange(n) / n
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([np.c_[ring, np.zeros(n)], np.c_[ring, np.ones(n)], [[0, 0, 0], [0, 0, 1]]])
    k, j = np.arange(n), (np.arange(n) + 1) % n
    faces = np.concatenate(
        [
            np.stack([k, j, n + j], 1), np.stack([k, n + j, n + k], 1),
            np.stack([np.full(n, 2 * n), j, k], 1), np.stack([np.full(n, 2 * n + 1), n + k, n + j], 1),
        ]
    ).astype(np.int32)  # fmt: skip
    graph = find_creases(points, faces, 40.0)
    assert len(graph.edges) == 2 * n
    assert not graph.is_corner.any()
    spread = spread_on_creases(
        points, graph, lambda p: np.full(len(p), 2 * np.pi / 16), np.random.default_rng(0)
    )
    assert len(spread) == 2 * 16
    np.testing.assert_allclose(
        np.linalg.norm(spread[:, :2], axis=1), 1.0, atol=1.3e-3
    )  # sag of a chord: 1.2e-3


def test_corners_nearer_than_the_merge_distance_become_one():
    mesh = box([0, 0, 0], [1, 1, 0.02], 0)
    graph = find_creases(mesh.points, mesh.faces, 40.0)
    points = spread_on_creases(mesh.points, graph, lambda p: np.full(len(p), 0.25), np.random.default_rng(0))
    gap = np.linalg.norm(points[:, None] - points[None], axis=2) + 10 * np.eye(len(points))
    assert gap.min() >= 0.45 * 0.25


def test_short_noise_is_no_crease():
    # One vertex of a fine sphere pulled out makes a tent of sharp edges shorter than an edge length.
    mesh = ball(levels=4)
    points = mesh.points.copy()
    points[100] *= 1.08
    graph = find_creases(points, mesh.faces, 40.0)
    assert len(graph.edges) > 0
    assert (
        len(spread_on_creases(points, graph, lambda p: np.full(len(p), 0.5), np.random.default_rng(0))) == 0
    )
