"""Samples are brought into the normal frame, duplicates merged, degenerate clouds refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.points.normalization import normalize_samples
from pipeline.types import PointCloud


def test_longest_side_is_one_and_undo_inverts() -> None:
    points = np.random.default_rng(0).uniform(-3, 5, size=(100, 3)) * [1, 10, 2] + 1e3
    samples = normalize_samples(PointCloud(points))
    size = np.ptp(samples.points, axis=0)
    assert size.max() == pytest.approx(1.0, abs=1e-12)
    back = samples.normalization.undo(samples.points)
    np.testing.assert_allclose(back[np.lexsort(back.T)], points[np.lexsort(points.T)], rtol=1e-14)


def test_duplicates_are_merged_with_their_first_normal() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    normals = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    samples = normalize_samples(PointCloud(points, normals))
    assert samples.duplicates == 2
    assert samples.normals is not None
    found = {tuple(p): tuple(n) for p, n in zip(samples.normalization.undo(samples.points), samples.normals)}
    assert found == {tuple(points[i]): tuple(normals[i]) for i in (0, 1, 3, 4)}


def test_the_order_of_the_input_does_not_matter() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3))
    shuffled = np.random.default_rng(1).permutation(points)
    one, two = normalize_samples(PointCloud(points)), normalize_samples(PointCloud(shuffled))
    np.testing.assert_array_equal(one.points, two.points)


def test_what_is_near_is_near_in_memory() -> None:
    points = np.random.default_rng(0).uniform(size=(4096, 3))
    ordered = normalize_samples(PointCloud(points)).points
    step = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    # 4096 points in the unit cube lie 1/16 apart; random pairs of them 0.66 (Robbins' constant).
    assert np.median(step) < 2 / 16


LINE = np.linspace(0, 1, 20)[:, None] * [1.0, 2.0, 3.0]
BAD = {
    "all 10 points are equal": np.ones((10, 3)),
    "3 distinct points of 5": np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]),
    "on one straight line": LINE + 7,
    "in one plane": np.column_stack([np.random.default_rng(0).uniform(size=(30, 2)), np.full(30, 4.0)]),
    "2 distinct points of 2": LINE[:2, :2],
    "20 points lie on one straight line": LINE[:, :2],
}


@pytest.mark.parametrize("message", BAD)
def test_degenerate_clouds_are_refused_with_cause_and_remedy(message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        normalize_samples(PointCloud(BAD[message]))
    assert len(str(caught.value)) > len(message) + 40


def test_a_thin_but_solid_cloud_is_accepted() -> None:
    points = np.random.default_rng(1).uniform(size=(100, 3)) * [1, 1, 1e-6]
    assert len(normalize_samples(PointCloud(points)).points) == 100
