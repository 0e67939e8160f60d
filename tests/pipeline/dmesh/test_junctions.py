"""Junctions: vertices on lines, clearance from them, and edges of three faces in the result."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.dmesh.junctions import Junctions, lay_vertices
from pipeline.errors import StageError
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.feature_lines import FeatureLines
from pipeline.stages.reconstruct import ReconstructConfig, reconstruct
from pipeline.topology import simplex_edges
from pipeline.types import PointCloud


def sheets_in_a_tee(count: int) -> np.ndarray:
    """A square in z = 0, and on its middle line x = 0 a sheet that stands up."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (count, 3))
    flat = rng.random(count) < 2 / 3
    x[flat, 2] = 0
    x[~flat, 0] = 0
    x[~flat, 2] = np.abs(x[~flat, 2])
    return x


def test_vertices_are_laid_along_lines() -> None:
    t = np.linspace(0, 1, 41)[:, None]
    along, up = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    angle = np.linspace(0, 2 * np.pi, 81)
    ring = np.column_stack([np.cos(angle), np.sin(angle) + 5, 0 * angle])
    ring[-1] = ring[0]
    x, laid = lay_vertices(FeatureLines([t * along, t * up, ring]), 0.1)
    # Ten edges on each straight line and one corner for both; a closed line has as many vertices as edges.
    around = round(np.linalg.norm(np.diff(ring, axis=0), axis=1).sum() / 0.1)
    assert laid.count == len(x) == 11 + 10 + around
    assert len(laid.links) == 10 + 10 + around
    length = np.linalg.norm(x[laid.links[:, 0]] - x[laid.links[:, 1]], axis=1)
    np.testing.assert_allclose(length, 0.1, rtol=0.01)
    uses = np.bincount(laid.links.ravel())
    assert sorted(uses[uses != 2]) == [1, 1]
    np.testing.assert_array_equal(x[uses == 1], [along, up])


def test_vertices_keep_clear_of_lines() -> None:
    t = np.linspace(0, 1, 11)[:, None]
    x, laid = lay_vertices(FeatureLines([t * [1.0, 0, 0]]), 0.1)
    others = np.array([[0.55, 0.05, 0], [0.55, 0.07, 0], [0.5, 0, -0.2], [-0.05, 0, 0]])
    keep = laid.clear(np.concatenate([x, others]), 0.1)
    assert keep[: len(x)].all()
    assert keep[len(x) :].tolist() == [False, True, True, False]
    assert Junctions.none().clear(others, 0.1).all()


def test_a_face_across_a_line_is_found() -> None:
    x, laid = lay_vertices(FeatureLines([np.array([[0.0, 0, 0], [1, 0, 0]])]), 1.0)
    points = np.concatenate([x, [[0.5, 0.5, 0], [0.5, -0.5, 0], [0.5, 1, 0], [0.5, -0.5, 1]]])
    faces = np.array([[0, 2, 3], [0, 1, 2], [0, 2, 4], [1, 2, 5]], dtype=np.int32)
    # From (0.5, 0.5, 0) to (0.5, -0.5, 1) the edge passes half a length above the line.
    assert laid.crossed_by(points, faces).tolist() == [True, False, False, False]


@pytest.mark.parametrize("count", [4000, 20000])
def test_three_sheets_meet_in_edges_of_three_faces(count: int) -> None:
    mesh = reconstruct(PointCloud(sheets_in_a_tee(count)))
    edges, _, uses = simplex_edges(mesh.faces)
    ends = mesh.points[edges[uses > 2]]
    # The line runs from y = -1 to 1; edges of three faces lie on it, over all of its length.
    np.testing.assert_allclose(ends[..., [0, 2]], 0, atol=1e-3)
    assert np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum() == pytest.approx(2, rel=0.02)
    assert uses.max() == 3
    assert not self_intersecting_faces(mesh.points, mesh.faces).any()


def test_other_topologies_on_request() -> None:
    cloud = PointCloud(sheets_in_a_tee(4000))
    context = RunContext()
    mesh = reconstruct(cloud, ReconstructConfig(topology="manifold"), context=context)
    assert context.counts["cut_junctions"] == 1
    assert simplex_edges(mesh.faces)[2].max() == 2
    # The sheets of areas 4 and 2 are there, but for a slit of an edge's width where they meet.
    edge = np.sqrt(4 / np.sqrt(3) * 6 / len(mesh.faces))
    assert 6 - 2 * 1.5 * edge < surface_summary(mesh)["area"] < 6
    with pytest.raises(StageError, match=r"open edges.*topology=any"):
        reconstruct(cloud, ReconstructConfig(topology="closed"))
    with pytest.raises(ValueError, match="topology"):
        ReconstructConfig(topology="round")
