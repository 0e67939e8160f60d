"""Rows of vertex indices as sets: unique rows by one key, and by columns where a key has no room."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.topology import rows_by_label, unique_rows


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("largest", [5, 2**15 - 1, 2**22])
def test_unique_rows_are_those_of_numpy_whatever_their_order_within(width, largest):
    rng = np.random.default_rng(width)
    rows = rng.integers(0, largest + 1, (300, width)).astype(np.int32)
    rows = np.concatenate([rows, rows[:, ::-1], rng.integers(0, 3, (50, width))])
    unique, inverse, count = unique_rows(rows)
    expected, expected_count = np.unique(np.sort(rows, axis=1), axis=0, return_counts=True)
    np.testing.assert_array_equal(unique, expected)
    np.testing.assert_array_equal(count, expected_count)
    np.testing.assert_array_equal(unique[inverse], np.sort(rows, axis=1))


def test_no_rows_have_no_unique_ones():
    unique, inverse, count = unique_rows(np.zeros((0, 3), dtype=np.int32))
    assert [a.shape for a in (unique, inverse, count)] == [(0, 3), (0,), (0,)]


def test_rows_by_label_is_a_stable_sort_with_empty_labels():
    labels = np.random.default_rng(3).integers(0, 40, 200) * 2
    rows, start = rows_by_label(labels, 90)
    np.testing.assert_array_equal(rows, np.argsort(labels, kind="stable"))
    np.testing.assert_array_equal(np.diff(start), np.bincount(labels, minlength=90))
