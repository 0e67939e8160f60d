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
    np.testing.assert_allclose(samples.normalization.undo(samples.points), points, rtol=1e-14)


def test_duplicates_are_merged_in_input_order_with_their_first_normal() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    normals = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    samples = normalize_samples(PointCloud(points, normals))
    assert samples.duplicates == 2
    np.testing.assert_allclose(samples.normalization.undo(samples.points), points[[0, 1, 3, 4]], atol=1e-12)
    np.testing.assert_array_equal(samples.normals, normals[[0, 1, 3, 4]])


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
