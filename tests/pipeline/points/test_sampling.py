"""Samples lie on the surface, uniform by area, with the normals of their faces."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.points.sampling import sample_surface
from pipeline.types import Frame, SurfaceMesh


def two_triangles() -> SurfaceMesh:
    # Areas 1/2 and 3/2, in the planes z = 0 and x = 0, and a third without area.
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]], dtype=float)
    return SurfaceMesh(np.vstack([points, [2, 0, 0]]), [[0, 1, 4], [0, 1, 2], [0, 2, 3]], Frame(0.01, "y"))


def test_samples_lie_in_their_triangles_with_their_normals():
    cloud = sample_surface(two_triangles(), 1000)
    x, y, z = cloud.points.T
    flat = z == 0
    np.testing.assert_array_equal(cloud.normals[flat], np.tile([0.0, 0.0, 1.0], (flat.sum(), 1)))
    np.testing.assert_array_equal(cloud.normals[~flat], np.tile([1.0, 0.0, 0.0], ((~flat).sum(), 1)))
    assert (x[flat] >= 0).all()
    assert (y[flat] >= 0).all()
    assert (x[flat] + y[flat] <= 1 + 1e-15).all()
    assert (x[~flat] == 0).all()
    assert (z[~flat] / 3 + y[~flat] <= 1 + 1e-15).all()
    assert cloud.frame == Frame(0.01, "y")


def test_samples_are_uniform_by_area():
    n = 40_000
    cloud = sample_surface(two_triangles(), n, seed=3)
    flat = cloud.points[:, 2] == 0
    # A share of p = 1/4 of n has standard deviation sqrt(p (1 - p) / n); five of them. The mean of the
    # samples is the centroid up to five standard deviations of 1/sqrt(18) per coordinate.
    assert abs(flat.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)
    centroid = cloud.points[flat].mean(axis=0)
    np.testing.assert_allclose(centroid, [1 / 3, 1 / 3, 0], atol=5 / np.sqrt(18 * flat.sum()))


def test_segments_in_the_plane():
    # A square walked counterclockwise: normals point outwards.
    square = SurfaceMesh([[0, 0], [1, 0], [1, 1], [0, 1]], [[0, 1], [1, 2], [2, 3], [3, 0]])
    cloud = sample_surface(square, 500)
    outward = cloud.points - 0.5
    # The points lie on the sides by interpolation: a few roundings.
    np.testing.assert_allclose(np.einsum("ij,ij->i", cloud.normals, outward), 0.5, rtol=1e-15)


def test_the_seed_decides():
    a, b, c = (sample_surface(two_triangles(), 10, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.points, b.points)
    assert (a.points != c.points).any()


def test_nothing_to_sample():
    with pytest.raises(InputError, match="no area"):
        sample_surface(SurfaceMesh(np.zeros((3, 3)), [[0, 1, 2]]), 5)
    with pytest.raises(InputError, match="at least 1"):
        sample_surface(two_triangles(), 0)
