"""The expected Chamfer loss on decided faces: what it lowers, what it keeps, and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import warp as wp

from pipeline.context import RunContext
from pipeline.dmesh.descent import LAST_BOUND, SOFTNESS, STEP_BOUND, DecidedFaces, descend
from pipeline.dmesh.losses import ExpectedChamfer
from pipeline.dmesh.point_features import PointFeatures
from pipeline.dmesh.refinement import closest_on_faces
from pipeline.metrics.surface import self_intersecting_faces


def test_a_sphere_of_few_faces_comes_nearer_to_its_samples(
    icosphere: Callable, sphere_samples: Callable, device: str
) -> None:
    # Vertices on the sphere leave the sagitta on one side of every face; moved out, they halve it.
    points, faces = icosphere(2)
    samples = sphere_samples(20000)
    moved = descend(points, faces, samples, samples, 100, RunContext(device=device))
    before = closest_on_faces(points, faces, samples, device).distance.mean()
    after = closest_on_faces(moved, faces, samples, device).distance.mean()
    assert after < 0.6 * before
    assert np.linalg.norm(moved, axis=1).mean() > 1
    assert not self_intersecting_faces(moved, faces, device=device).any()


def test_a_flat_sheet_on_its_samples_stays_flat(device: str) -> None:
    i, j = (x.ravel() for x in np.meshgrid(np.arange(6), np.arange(6), indexing="ij"))
    points = np.column_stack([i, j, np.zeros(36)]).astype(float)
    a = (np.arange(5)[:, None] * 6 + np.arange(5)).ravel()
    faces = np.concatenate([np.stack([a, a + 6, a + 7], 1), np.stack([a, a + 7, a + 1], 1)]).astype(np.int32)
    rng = np.random.default_rng(0)
    samples = np.column_stack([rng.uniform(0, 5, (4000, 2)), np.zeros(4000)])
    normals = np.tile([0.0, 0, 1], (4000, 1))
    moved = descend(points, faces, samples, normals, 30, RunContext(device=device))
    # The distance has a kink at 0, around which a vertex steps to and fro by no more than the last bound.
    np.testing.assert_allclose(moved[:, 2], 0.0, atol=SOFTNESS * STEP_BOUND * LAST_BOUND)


def test_the_gradient_on_decided_faces_is_that_of_the_mean_distance(
    icosphere: Callable, sphere_samples: Callable
) -> None:
    # With every face certain the first half of the loss is mean |x - y(x)|, y the closest point of the mesh.
    points, faces = icosphere(1)
    points = points * 0.9
    samples = sphere_samples(300)
    direction = np.random.default_rng(1).normal(size=points.shape)

    def distance(x: np.ndarray) -> float:
        return float(closest_on_faces(x, faces, samples).distance.mean())

    features = PointFeatures(points)
    decided = DecidedFaces(features, faces)
    loss = ExpectedChamfer(samples, None, 10.0)
    certain = wp.ones(len(faces), dtype=wp.float64)
    loss.refresh(features, decided, certain)
    loss._weight.zero_()
    loss.evaluate(features, decided, certain, wp.zeros(len(faces), dtype=wp.float64))
    slope = float((features.points_gradient.numpy() * direction).sum())
    h = 1e-6
    np.testing.assert_allclose(loss.value()[0], distance(points), rtol=1e-10)
    expected = (distance(points + h * direction) - distance(points - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
