"""Zipping from open edges: which triangles are offered, which are taken, and what stays open."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pipeline.dmesh.filling import LONGEST_EDGE, gap_candidates, zip_gaps
from pipeline.dmesh.patches import Surface
from pipeline.dmesh.selection import SelectionConfig
from pipeline.metrics.surface import surface_summary
from pipeline.points.sample_planes import estimate_planes
from pipeline.topology import boundary_edges, simplex_edges
from pipeline.types import SurfaceMesh

SIDE = 9


def _sheet(slit: float = 0.0, gap_without_samples: bool = False) -> tuple[Surface, np.ndarray]:
    """A square sheet of unit cells, cut along its middle row but for its ends, the cut `slit` wide."""
    i, j = (x.ravel() for x in np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"))
    points = np.column_stack([i, j, np.zeros(len(i))]).astype(float)
    points[i > SIDE // 2, 0] += slit
    a = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + SIDE, a + SIDE + 1], 1), np.stack([a, a + SIDE + 1, a + 1], 1)])
    row, column = np.tile(a // SIDE, 2), np.tile(a % SIDE, 2)
    cut = (row == SIDE // 2) & (column > 0) & (column < SIDE - 2)
    rng = np.random.default_rng(0)
    samples = np.column_stack([rng.uniform(0, [SIDE - 1 + slit, SIDE - 1], (6000, 2)), np.zeros(6000)])
    if gap_without_samples:
        middle = SIDE // 2 + 0.5 * (1 + slit)
        samples = samples[np.abs(samples[:, 0] - middle) > 0.45 * (1 + slit)]
    samples[:, 2] = 1e-3 * np.sin(samples[:, 0])
    points[:, 2] = 1e-3 * np.sin(points[:, 0])
    surface = Surface(points, samples, estimate_planes(samples), SelectionConfig())
    return surface, faces[~cut].astype(np.int32)


def _sides(faces: np.ndarray) -> list[set[frozenset[int]]]:
    return [{frozenset(pair) for pair in combinations(face, 2)} for face in faces.tolist()]


def _edges(pairs: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in pairs.tolist()}


@pytest.mark.parametrize("least_open", [1, 2])
def test_the_triangles_on_open_edges_are_offered_and_no_others(least_open: int) -> None:
    surface, faces = _sheet()
    x, h = surface.points, surface.planes.typical_spacing
    offered = gap_candidates(surface, faces, least_open)
    assert offered is not None
    edges, _, uses = simplex_edges(faces)
    free, full = _edges(edges[uses == 1]), _edges(edges[uses == 2])
    for sides in _sides(offered[0]):
        assert len(sides & free) >= least_open
        assert not sides & full
    # Every triangle over the gap whose three sides are cell sides or diagonals, by brute force: samples cover
    # all of the sheet, so those are supported.
    vertices = np.unique(boundary_edges(faces))
    inner = vertices[(x[vertices, 0] >= SIDE // 2) & (x[vertices, 0] <= SIDE // 2 + 1)]
    wanted = set()
    for face in combinations(inner.tolist(), 3):
        (sides,) = _sides(np.array([face]))
        length = max(np.linalg.norm(x[p] - x[q]) for p, q in map(tuple, sides))
        flat = abs(np.linalg.det(x[list(face)][1:, :2] - x[face[0], :2])) < 0.5
        if length < 1.5 and not flat and len(sides & free) >= least_open and not sides & full:
            wanted.add(frozenset(face))
    assert h < 0.2
    assert len(wanted) >= 4
    assert wanted <= {frozenset(face) for face in offered[0].tolist()}


def test_a_slit_is_zipped_shut() -> None:
    surface, faces = _sheet()
    zipped = zip_gaps(surface, faces)
    np.testing.assert_array_equal(zipped[: len(faces)], faces)
    summary = surface_summary(SurfaceMesh(surface.points, zipped))
    assert (summary["boundary_loops"], summary["euler_characteristic"]) == (1, 1)
    assert summary["nonmanifold_edges"] == 0
    # Equal area: no face lies over another one.
    assert summary["area"] == pytest.approx((SIDE - 1) ** 2, rel=1e-5)


def test_an_opening_without_samples_is_not_zipped() -> None:
    # 1.5 cells wide: shorter than the longest edge, so that the samples alone tell.
    covered, faces = _sheet(slit=0.5)
    assert len(zip_gaps(covered, faces)) > len(faces)
    surface, faces = _sheet(slit=0.5, gap_without_samples=True)
    assert len(zip_gaps(surface, faces)) == len(faces)


def test_a_gap_wider_than_the_longest_edge_is_not_bridged() -> None:
    # Samples cover it: the length alone tells.
    surface, faces = _sheet(slit=LONGEST_EDGE)
    edges = simplex_edges(zip_gaps(surface, faces))[0]
    length = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
    own = simplex_edges(faces)[0]
    longest = np.linalg.norm(surface.points[own[:, 0]] - surface.points[own[:, 1]], axis=1)
    median = np.median(longest)
    assert (length[length > 1.5 * median].size) == (longest > 1.5 * median).sum()


def test_a_closed_surface_offers_nothing(icosphere) -> None:
    points, faces = icosphere(2)
    samples = np.random.default_rng(0).normal(size=(4000, 3))
    samples /= np.linalg.norm(samples, axis=1)[:, None]
    surface = Surface(points, samples, estimate_planes(samples), SelectionConfig())
    assert gap_candidates(surface, faces, 1) is None
    assert zip_gaps(surface, faces) is faces
