"""Sheets that nearly touch are told apart at any scale, and one bent sheet is not split."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.points.sample_planes import estimate_planes
from pipeline.points.sheets import are_layered, nearest_on_sheet, neighbors_on_sheet
from pipeline.points.thinning import thin, thin_planes
from pipeline.types import Points

SPACING = 1 / 50
"""Root of the area per sample of the sheets below."""


def two_sheets(gap: float, seed: int = 0) -> tuple[Points, NDArray[np.bool_]]:
    """Return 2500 random samples on each of two parallel unit squares, and which lie on the upper one."""
    x = np.random.default_rng(seed).uniform(size=(5000, 3))
    upper = np.arange(5000) % 2 == 1
    x[:, 2] = np.where(upper, gap * SPACING, 0.0)
    return x, upper


def cylinder(radius: float, seed: int = 0) -> Points:
    """Return samples with the same spacing on a cylinder of a radius in units of the spacing."""
    r = radius * SPACING
    count = int(2 * np.pi * r / SPACING**2)
    angle, z = np.random.default_rng(seed).uniform(size=(2, count))
    angle *= 2 * np.pi
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


@pytest.mark.parametrize("gap", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_two_sheets_are_layered_and_one_is_not(gap: float, scale: float, device: str) -> None:
    points, upper = two_sheets(gap)
    assert estimate_planes(scale * points, device=device).layered
    assert not estimate_planes(scale * points[upper], device=device).layered


@pytest.mark.parametrize("radius", [5.0, 20.0])
def test_bending_is_not_taken_for_sheets(radius: float, device: str) -> None:
    # On a circle the heights of a pair over its two tangent planes cancel exactly.
    points = cylinder(radius)
    normals = points * [1, 1, 0] / np.linalg.norm(points[:, :2], axis=1)[:, None]
    table = estimate_planes(points, normals, device).neighbors
    assert not are_layered(points, normals, table, device)
    assert not estimate_planes(points, device=device).layered


def test_normals_ignore_the_sheet_beside(device: str) -> None:
    # Samples of a plane, a plane: what stays of the second sheet 0.4 spacings away is the error. A fit over
    # both is off by about the gap over the radius of 14 neighbours, 1.5 spacings, over the root of 14: 4 deg.
    points, _ = two_sheets(0.4)
    normals = estimate_planes(points, device=device).normals
    turn = np.degrees(np.arccos(np.minimum(np.abs(normals[:, 2]), 1)))
    assert np.median(turn) < 0.5


def test_neighbours_stay_on_their_sheet(device: str) -> None:
    points, upper = two_sheets(0.7)
    normals = np.tile([0.0, 0.0, 1.0], (len(points), 1))
    near, distance = neighbors_on_sheet(points, normals, 6, device)
    found = near >= 0
    # Of the 18 nearest, nine lie on the own sheet on average; fewer than six do rarely.
    assert found.mean() > 0.98
    length = np.linalg.norm(points[near] - points[:, None], axis=2)
    np.testing.assert_allclose(distance[found], length[found], rtol=1e-12)
    # Across, height > 0.25 |d| holds up to |d| = 2.8 spacings; 18 neighbours lie within 1.7 on average.
    assert (upper[near] == upper[:, None])[found].mean() > 0.999


def test_nearest_vertex_is_on_the_sheet_of_the_sample(device: str) -> None:
    points, upper = two_sheets(0.4)
    normals = np.tile([0.0, 0.0, 1.0], (len(points), 1))
    rows, _ = thin(points, 500, SPACING, np.random.default_rng(0), device, normals)
    found = nearest_on_sheet(points[rows], normals[rows], points, normals, device)
    # Heights count tenfold: 4 spacings to the other sheet; a vertex of the own one is about 2.5 away.
    assert (upper[rows][found] == upper).mean() > 0.99


def test_each_sheet_is_thinned_by_itself(device: str) -> None:
    points, upper = two_sheets(0.4)
    planes = estimate_planes(points, device=device)
    rows, radius = thin_planes(points, planes, 1000, np.random.default_rng(0), device)
    for side in (upper, ~upper):
        assert abs(int(side[rows].sum()) - 500) < 40
        kept, all_ = points[rows][side[rows]], points[side]
        gap = np.linalg.norm(all_[:, None] - kept, axis=2).min(axis=1)
        # A maximal set leaves no sample farther than the radius from a kept one, but for turned normals.
        assert (gap <= radius * (1 + 1e-5)).mean() > 0.97
