"""Gain of a flip against distances worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from pipeline.dmesh.flipping import flip_edges
from warp_kernels.edge_flip import FlipRule, flip_gains

# A unit square with the corner heights of a saddle; the diagonal 0 1 is a ridge, the diagonal 2 3 a valley.
SADDLE = np.array([[0.0, 0, 0.5], [1, 1, 0.5], [0, 1, 0], [1, 0, 0]])


def _gain(samples: np.ndarray, turn: float, device: str) -> float:
    rule = FlipRule()
    rule.cos_turn = np.cos(np.radians(turn))
    rule.largest_aspect = 4.0
    got = flip_gains(
        wp.array(SADDLE, dtype=wp.vec3d, device=device),
        wp.array([[0, 1, 2, 3]], dtype=wp.int32, device=device),
        wp.array([[0, 1]], dtype=wp.int32, device=device),
        wp.array(samples, dtype=wp.vec3d, device=device),
        wp.array([0, len(samples), len(samples)], dtype=wp.int32, device=device),
        rule,
    )
    return float(got.numpy()[0])


def test_gain_of_a_sample_on_the_other_diagonal(device: str) -> None:
    # The sample lies on the new edge 2 3; its distance from the old faces is that from the plane
    # x / 2 - y / 2 - z + 1 / 2 = 0, which is 0.5 / sqrt(1.5).
    assert _gain(np.array([[0.5, 0.5, 0.0]]), 50.0, device) == pytest.approx(1 / 6, rel=1e-12)


def test_a_flip_that_turns_too_far_is_refused(device: str) -> None:
    # Old normals (-1, 1, 2) and (1, -1, 2), new ones (1, 1, 2) and (-1, -1, 2): cosine 4 / 6, 48.2 degrees.
    assert _gain(np.array([[0.5, 0.5, 0.0]]), 48.0, device) == 0.0


def test_flipping_finds_the_diagonal_of_the_samples(device: str) -> None:
    flat = SADDLE * [1, 1, 0.2]
    rng = np.random.default_rng(0)
    u = rng.uniform(size=(200, 2))
    # Height of the surface with the diagonal 2 3, where x + y = 1: both planes through it.
    height = 0.1 * np.abs(u.sum(axis=1) - 1)
    samples = np.column_stack([u, height])
    faces, flipped = flip_edges(
        flat, np.array([[0, 1, 2], [1, 0, 3]], dtype=np.int32), samples, device=device
    )
    assert flipped == 1
    assert sorted(map(sorted, faces.tolist())) == [[0, 2, 3], [1, 2, 3]]
