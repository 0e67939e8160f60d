"""Triangle pairs whose intersection is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.surface import self_intersecting_faces

A = [[0.0, 0, 0], [2, 0, 0], [0, 2, 0]]
CASES = {
    "pierces": ([[0.5, 0.5, -1], [0.5, 0.6, 1], [0.7, 0.5, 1]], True),
    "above": ([[0.5, 0.5, 0.1], [0.5, 0.6, 1], [0.7, 0.5, 1]], False),
    "beside": ([[3.0, 3, -1], [3, 3.1, 1], [3.1, 3, 1]], False),
    "one plane, overlapping": ([[0.2, 0.2, 0], [3, 0.3, 0], [0.3, 3, 0]], True),
    "one plane, inside": ([[0.2, 0.2, 0], [0.4, 0.2, 0], [0.2, 0.4, 0]], True),
    "one plane, apart": ([[2.0, 2, 0], [3, 2, 0], [2, 3, 0]], False),
    "parallel": ([[0.0, 0, 1], [2, 0, 1], [0, 2, 1]], False),
    "touches at a corner": ([[0.5, 0.5, 0], [0.5, 0.6, 1], [0.7, 0.5, 1]], False),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("turn", range(3))
def test_separate_triangles(case: str, turn: int, device: str) -> None:
    other, expected = CASES[case]
    points = np.array(A + other)
    # A generic rotation, so that nothing is axis-aligned: the verdict does not depend on it.
    points = points @ np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] if turn == 2 else points
    faces = np.array([np.roll([0, 1, 2], turn), np.roll([3, 4, 5], turn)])
    if turn == 2 and case.startswith(("one plane", "touches")):
        pytest.skip("exact contact does not survive rounding of a rotation")
    assert self_intersecting_faces(points, faces, device=device).tolist() == [expected] * 2


def test_triangles_with_a_common_vertex(device: str) -> None:
    points = np.array([*A, [1.0, 1.0, -0.5], [1.0, 0.5, 1.0], [-1, -1, 1.0]])
    # The edge 3 4 passes through the first triangle at about (1, 0.83, 0).
    assert self_intersecting_faces(points, np.array([[0, 1, 2], [0, 3, 4]]), device=device).all()
    assert not self_intersecting_faces(points, np.array([[0, 1, 2], [0, 4, 5]]), device=device).any()


def test_neighbours_across_an_edge_do_not_count(device: str) -> None:
    points = np.array([*A, [0.3, 0.3, 0.0]])
    assert not self_intersecting_faces(points, np.array([[0, 1, 2], [0, 1, 3]]), device=device).any()


def test_queries_restrict_the_test_but_mark_both(device: str) -> None:
    pierce = CASES["pierces"][0]
    points = np.array(A + pierce + [[x + 10, y, z] for x, y, z in A + pierce])
    faces = np.arange(12).reshape(4, 3)
    hit = self_intersecting_faces(points, faces, queries=np.array([3]), device=device)
    assert hit.tolist() == [False, False, True, True]


def test_no_faces(device: str) -> None:
    assert self_intersecting_faces(
        np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), device=device
    ).shape == (0,)


def test_faces_of_different_groups_are_not_compared(device: str) -> None:
    points = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0.1]], float)
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    for groups, expected in (([1, 2], False), ([1, 1], True), ([0, 2], True)):
        hit = self_intersecting_faces(points, faces, device=device, groups=np.array(groups))
        assert hit.tolist() == [expected] * 2
