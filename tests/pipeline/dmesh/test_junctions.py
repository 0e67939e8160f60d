"""Junction lines: found where three sheets meet, nowhere on a closed shape, kept as edges of three faces."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dmesh.junctions import find_junctions
from pipeline.dmesh.placement import PlacementConfig, relax_vertices
from pipeline.errors import StageError
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.border_samples import find_border_samples
from pipeline.points.sample_planes import estimate_planes
from pipeline.points.thinning import thin
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


def cube(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (count, 3))
    axis = rng.integers(0, 3, count)
    x[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    return x


def placed(samples: np.ndarray, count: int, device: str):  # type: ignore[no-untyped-def]
    planes = estimate_planes(samples, device=device)
    start, _ = thin(samples, count, planes.typical_spacing, np.random.default_rng(0), device)
    border = find_border_samples(samples, planes)
    x = relax_vertices(samples[start], samples, planes, border, PlacementConfig(), device)
    return x, find_junctions(x, samples, planes, device)


def test_a_junction_line_is_found(device: str) -> None:
    x, found = placed(sheets_in_a_tee(20000), 3000, device)
    on_line = np.hypot(x[:, 0], x[:, 2]) < 1e-3
    inside = on_line & (np.abs(x[:, 1]) < 0.9)
    assert found.mask[inside].mean() > 0.6
    assert not found.mask[np.hypot(x[:, 0], x[:, 2]) > 0.1].any()
    assert found.mask[found.links].all()


def test_creases_and_corners_are_no_junctions(device: str) -> None:
    _, found = placed(cube(20000), 3000, device)
    assert not found.mask.any()
    assert not len(found.links)


def test_three_sheets_meet_in_edges_of_three_faces() -> None:
    mesh = reconstruct(PointCloud(sheets_in_a_tee(20000)))
    edges, _, uses = simplex_edges(mesh.faces)
    ends = mesh.points[edges[uses > 2]]
    # The line runs from y = -1 to 1; edges of three faces lie on it, over most of its length.
    np.testing.assert_allclose(ends[..., [0, 2]], 0, atol=0.01)
    assert np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum() > 0.5 * 2
    assert uses.max() == 3
    assert not self_intersecting_faces(mesh.points, mesh.faces).any()


def test_other_topologies_on_request() -> None:
    cloud = PointCloud(sheets_in_a_tee(20000))
    mesh = reconstruct(cloud, ReconstructConfig(topology="manifold"))
    assert simplex_edges(mesh.faces)[2].max() == 2
    with pytest.raises(StageError, match=r"open edges.*topology=any"):
        reconstruct(cloud, ReconstructConfig(topology="closed"))
    with pytest.raises(ValueError, match="topology"):
        ReconstructConfig(topology="round")
