"""Candidate faces against brute force on clouds of graded density, and by sheet where two nearly touch."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pipeline.dmesh import extraction
from pipeline.dmesh.extraction import SupportMemory, extract_faces, find_candidates, measure_support
from pipeline.dmesh.selection import SelectionConfig
from pipeline.points.sample_planes import estimate_planes
from pipeline.points.thinning import thin_planes
from pipeline.types import Points


def graded_slab(seed: int) -> Points:
    """Return 220 points of a thin slab whose spacing grows tenfold along x."""
    x = np.random.default_rng(seed).uniform(size=(220, 3))
    x[:, 0] = np.expm1(np.log(10) * x[:, 0])
    x[:, 1] *= 0.3 * (1 + x[:, 0])
    x[:, 2] *= 0.05
    return x


def candidates_by_brute_force(points: Points, config: SelectionConfig) -> set[tuple[int, ...]]:
    """Try all pairs of neighbours with the formulas of the circumcentre and of the margin."""
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    near = np.argsort(distance, axis=1)[:, 1 : config.neighbors + 1]
    spacing = np.take_along_axis(distance, near[:, :6], axis=1).mean(axis=1)
    found = set()
    for i, row in enumerate(near):
        for a, b in combinations(row, 2):
            face = tuple(sorted((i, int(a), int(b))))
            p, u, v = points[face[0]], points[face[1]] - points[face[0]], points[face[2]] - points[face[0]]
            n = np.cross(u, v)
            o = ((u @ u) * np.cross(v, n) + (v @ v) * np.cross(n, u)) / (2 * n @ n)
            r = np.linalg.norm(o)
            others = np.delete(np.linalg.norm(points - p - o, axis=1), face)
            if r < config.largest_radius * spacing[list(face)].max() and (
                others.min() - r > config.least_margin * r
            ):
                found.add(face)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_candidate_is_lost_on_graded_clouds(seed: int, device: str) -> None:
    points, config = graded_slab(seed), SelectionConfig()
    faces, margin, _ = find_candidates(points, config, device)
    assert set(map(tuple, np.sort(faces, axis=1).tolist())) == candidates_by_brute_force(points, config)
    assert (margin > config.least_margin).all()


def test_two_sheets_half_a_spacing_apart_come_out_as_two(device: str) -> None:
    # Each sheet is the unit square with 3000 samples, 0.5 spacings apart. Without telling sheets half of the
    # faces join both, and the area is that of one.
    x = np.random.default_rng(0).uniform(size=(6000, 3))
    upper = np.arange(6000) % 2 == 1
    x[:, 2] = upper * 0.5 / np.sqrt(3000)
    planes = estimate_planes(x, device=device)
    rows, _ = thin_planes(x, planes, 2400, np.random.default_rng(0), device)
    faces, _ = extract_faces(x[rows], x, planes, SelectionConfig(), device)
    sheet = upper[rows][faces]
    assert (sheet == sheet[:, :1]).all(axis=1).mean() > 0.9
    corners = x[rows][faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1).sum() / 2
    # Two squares, less what filling has yet to close.
    assert 1.5 < area < 2.05


def test_support_is_measured_once_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    samples = np.column_stack([rng.random((3000, 2)), 0.01 * rng.normal(size=3000)])
    planes = estimate_planes(samples)
    points = np.column_stack([rng.random((60, 2)), np.zeros(60)])
    faces = np.array(list(combinations(range(12), 3)), dtype=np.int32)
    measured = []

    def counted(points: Points, faces: Points, **others: object) -> extraction.Support:
        measured.append(len(faces))
        return measure_support(points, faces, **others)

    monkeypatch.setattr(extraction, "measure_support", counted)
    memory = SupportMemory(points, samples, planes)
    memory.of(faces[40:90])
    order = rng.permutation(len(faces))
    known, expected = memory.of(faces[order]), measure_support(points, faces[order], samples, planes)
    memory.of(faces)
    assert measured == [50, len(faces) - 50]
    for name in ("offset", "gap", "agreement"):
        np.testing.assert_array_equal(getattr(known, name), getattr(expected, name))
