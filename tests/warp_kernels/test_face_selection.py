"""The choice in rounds equals the serial greedy loop, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dmesh.selection import SelectionConfig, select_faces


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _in_sector(u: np.ndarray, w: np.ndarray, normal: np.ndarray, d: np.ndarray) -> bool:
    size = 0.03 * np.linalg.norm(d)
    return bool(
        np.cross(u, d) @ normal > size * np.linalg.norm(u)
        and np.cross(d, w) @ normal > size * np.linalg.norm(w)
    )


def _fits(
    x: np.ndarray, face: np.ndarray, chosen: list[np.ndarray], rule: SelectionConfig, least_open: int
) -> bool:
    fold, coplanar = np.cos(np.radians([rule.fold_angle, rule.coplanar_angle]))
    normal = _unit(np.cross(x[face[1]] - x[face[0]], x[face[2]] - x[face[0]]))
    open_edges = 0
    for k in range(3):
        a, b, c = np.roll(face, -k)
        u, w = x[b] - x[a], x[c] - x[a]
        along = _unit(u)
        rise = _unit(w - w @ along * along)
        on_edge = 0
        for g in chosen:
            if a not in g:
                continue
            _, g1, g2 = np.roll(g, -int(np.flatnonzero(g == a)[0]))
            p, q = x[g1] - x[a], x[g2] - x[a]
            if b in (g1, g2):
                on_edge += 1
                far = p if g2 == b else q
                if rise @ _unit(far - far @ along * along) > fold:
                    return False
            other = _unit(np.cross(p, q))
            if abs(normal @ other) < coplanar:
                continue
            if any(_in_sector(u, w, normal, d) for d in (_unit(p) + _unit(q), p, q)):
                return False
            if any(_in_sector(p, q, other, d) for d in (_unit(u) + _unit(w), u, w)):
                return False
        if on_edge >= 2:
            return False
        open_edges += on_edge
    return open_edges >= least_open


@pytest.mark.parametrize("least_open", [0, 1])
def test_triangles_equal_the_serial_loop(least_open: int, device: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(size=(30, 2)), 0.05 * rng.normal(size=(30, 1))], axis=1)
    faces = np.unique(np.sort(rng.integers(0, 30, (700, 3)), axis=1), axis=0)
    faces = faces[(np.diff(faces, axis=1) > 0).all(axis=1)].astype(np.int32)
    score = rng.normal(size=len(faces))
    old, candidates, score = faces[:1], faces[1:], score[1:]
    rule = SelectionConfig()
    chosen, expected = [old[0]], np.zeros(len(candidates), dtype=bool)
    for f in np.argsort(-score, kind="stable"):
        if _fits(x, candidates[f], chosen, rule, least_open):
            chosen.append(candidates[f])
            expected[f] = True
    assert expected.sum() > (8 if least_open == 0 else 2)
    got = select_faces(x, candidates, score, rule, chosen=old, least_open=least_open, device=device)
    np.testing.assert_array_equal(got, expected)


def test_segments_have_degree_two_at_most_and_do_not_fold(device: str) -> None:
    x = np.array([[0.0, 0], [1, 0], [0, 1], [-1, 0.1], [2, 0.1]])
    segments = np.array([[0, 1], [0, 2], [0, 3], [0, 4]], dtype=np.int32)
    # 0 4 folds onto 0 1 (3 degrees), 0 3 would be the third at vertex 0.
    got = select_faces(x, segments, np.array([4.0, 3, 2, 5]), SelectionConfig(), device=device)
    assert got.tolist() == [False, True, False, True]


def test_no_candidates(device: str) -> None:
    none = select_faces(
        np.zeros((3, 3)), np.zeros((0, 3), np.int32), np.zeros(0), SelectionConfig(), device=device
    )
    assert none.shape == (0,)
