"""The widest angular gap against directions that are known."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.angular_gap import MOST_NEIGHBORS, angular_gaps


def _gap(angles: list[float], device: str, columns: int = 8) -> tuple[float, np.ndarray]:
    """Return gap and middle of the origin, with neighbours at these angles in the plane z = 0."""
    ring = [[np.cos(a), np.sin(a), 0.3] for a in angles]
    points = np.array([[0.0, 0, 0], *ring])
    table = np.full((len(points), columns), -1, dtype=np.int32)
    table[0, : len(angles)] = np.arange(1, len(points))
    gap, middle = angular_gaps(
        wp.array(points, dtype=wp.vec3d, device=device),
        wp.array(np.tile([0.0, 0, 1], (len(points), 1)), dtype=wp.vec3d, device=device),
        wp.array(table, dtype=wp.int32, device=device),
    )
    return float(gap.numpy()[0]), middle.numpy()[0]


def test_gap_lies_between_the_directions_that_are_farthest_apart(device: str) -> None:
    gap, middle = _gap([0.1, 2.0, 1.0, -1.5], device)
    # Sorted: -1.5, 0.1, 1.0, 2.0; from 2.0 on to -1.5 + 2 pi.
    assert gap == pytest.approx(2 * np.pi - 3.5, abs=1e-12)
    turn = 2.0 + gap / 2
    np.testing.assert_allclose(middle, [np.cos(turn), np.sin(turn), 0], atol=1e-12)


def test_one_neighbour_leaves_the_whole_turn_and_none_as_well(device: str) -> None:
    gap, middle = _gap([0.7], device)
    assert gap == pytest.approx(2 * np.pi)
    np.testing.assert_allclose(middle, [-np.cos(0.7), -np.sin(0.7), 0], atol=1e-12)
    assert _gap([], device)[0] == pytest.approx(2 * np.pi)


def test_more_neighbours_than_fit_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"at most {MOST_NEIGHBORS}"):
        _gap([0.0], device, columns=MOST_NEIGHBORS + 1)
