"""Junction lines from samples: found where three and more sheets meet, nowhere else, and where they end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pipeline.points.feature_lines import FeatureLines, find_junction_lines, planes_beside_lines
from pipeline.points.sample_planes import SamplePlanes, estimate_planes
from pipeline.types import Points

TURN = Rotation.from_rotvec([0.4, -0.7, 0.3]).as_matrix()


def pages(angles: list[float], count: int, seed: int = 0) -> Points:
    """Sheets of width 1 and height 2 that leave the z axis in the given directions [deg]."""
    rng = np.random.default_rng(seed)
    a = np.radians(rng.choice(angles, count))
    r, z = rng.uniform(0, 1, count), rng.uniform(-1, 1, count)
    return np.column_stack([r * np.cos(a), r * np.sin(a), z])


def cube(count: int) -> Points:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (count, 3))
    x[np.arange(count), rng.integers(0, 3, count)] = rng.choice([-1.0, 1.0], count)
    return x


def traced(samples: Points, device: str) -> tuple[FeatureLines, SamplePlanes]:
    planes = estimate_planes(samples, device=device)
    return find_junction_lines(samples, planes, device), planes


BOOKS = [[0, 180, 90], [0, 120, 240], [20, 75, 140], [0, 90, 180, 270], [0, 60, 180, 240]]


@pytest.mark.parametrize("angles", BOOKS)
@pytest.mark.parametrize("count", [3000, 20000])
def test_the_line_where_sheets_meet_is_traced_to_its_ends(
    angles: list[float], count: int, device: str
) -> None:
    samples = pages(angles, count)
    lines, planes = traced(samples @ TURN.T, device)
    assert len(lines) == 1
    x = lines.lines[0] @ TURN
    h = planes.typical_spacing
    # The planes are exact away from the line, so the line is; its ends are known to the spacing.
    np.testing.assert_allclose(x[:, :2], 0, atol=0.1 * h)
    assert abs(x[:, 2].min() + 1) < 1.5 * h
    assert abs(x[:, 2].max() - 1) < 1.5 * h


def test_a_closed_curved_junction_is_one_closed_line(device: str) -> None:
    # A cylinder of radius 1 with a disc inside: they meet in a circle.
    rng = np.random.default_rng(0)
    angle, z = rng.uniform(0, 2 * np.pi, 15000), rng.uniform(-1, 1, 15000)
    wall = np.column_stack([np.cos(angle), np.sin(angle), z])
    r = np.sqrt(rng.uniform(0, 1, 3750))
    disc = np.column_stack([r * np.cos(angle[:3750]), r * np.sin(angle[:3750]), 0 * r])
    lines, planes = traced(np.concatenate([wall, disc]) @ TURN.T, device)
    assert len(lines) == 1
    x = lines.lines[0] @ TURN
    np.testing.assert_array_equal(x[0], x[-1])
    h = planes.typical_spacing
    assert np.abs(np.linalg.norm(x[:, :2], axis=1) - 1).max() < 0.25 * h
    assert np.abs(x[:, 2]).max() < 0.25 * h
    length = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
    assert length == pytest.approx(2 * np.pi, rel=0.02)


def test_lines_that_cross_have_their_corner_in_common(device: str) -> None:
    # Three squares of half width 1 through each other: six lines from the centre.
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (20000, 3))
    x[np.arange(len(x)), rng.integers(0, 3, len(x))] = 0
    lines, planes = traced(x @ TURN.T, device)
    assert len(lines) == 6
    ends = np.array([[line[0], line[-1]] for line in lines.lines]).reshape(-1, 3)
    corner, uses = np.unique(ends, axis=0, return_counts=True)
    assert sorted(uses) == [1] * 6 + [6]
    np.testing.assert_allclose(corner[uses == 6], 0, atol=0.1 * planes.typical_spacing)


def test_a_fin_in_the_middle_of_a_plate_ends_where_it_ends(device: str) -> None:
    rng = np.random.default_rng(0)
    plate = np.column_stack([rng.uniform(-1, 1, (16000, 2)), np.zeros(16000)])
    fin = np.column_stack([np.zeros(2000), rng.uniform(-0.5, 0.5, 2000), rng.uniform(0, 0.5, 2000)])
    lines, planes = traced(np.concatenate([plate, fin]), device)
    assert len(lines) == 1
    h = planes.typical_spacing
    np.testing.assert_allclose(np.sort(lines.lines[0][[0, -1], 1]), [-0.5, 0.5], atol=1.5 * h)


def test_creases_corners_and_near_sheets_are_no_junctions(device: str) -> None:
    assert not len(traced(cube(20000), device)[0])
    # Two folds, one inside the other, three quarters of a spacing apart: four sheets that do not meet.
    samples = pages([0, 70], 20000)
    h = estimate_planes(samples, device=device).typical_spacing
    samples[::2] += 0.75 * h * np.array([np.cos(np.radians(35)), np.sin(np.radians(35)), 0])
    assert not len(traced(samples, device)[0])


def test_samples_beside_a_line_take_planes_of_their_sheet(device: str) -> None:
    samples = pages([0, 180, 90], 20000)
    lines, planes = traced(samples, device)
    better = planes_beside_lines(samples, planes, lines)
    on_plate = np.abs(samples[:, 1]) < 1e-9
    expected = np.where(on_plate[:, None], [0.0, 1, 0], [1.0, 0, 0])

    def wrong(p: SamplePlanes) -> int:
        return int((np.abs(np.einsum("ij,ij->i", p.normals, expected)) < 0.99).sum())

    beside = cKDTree(lines.lines[0]).query(samples)[0] < 2 * planes.typical_spacing
    assert wrong(planes) > 0.05 * beside.sum()
    assert wrong(better) < 0.1 * wrong(planes)


def test_few_or_flat_points_have_no_lines(device: str) -> None:
    assert not len(traced(pages([0, 90, 180], 200), device)[0])
    flat = np.random.default_rng(0).uniform(size=(2000, 2))
    assert not len(traced(np.column_stack([flat, 0.1 * flat[:, 0]]), device)[0])
