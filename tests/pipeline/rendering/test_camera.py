"""The three-quarter view frames every point, tightly."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.rendering.camera import three_quarter_view

SHAPES = {
    "cube": np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float),
    "pole": np.array([[0, 0, 0], [0, 0, 9.0]]),
    "plate": np.array([[0, 0, 0], [40.0, 0, 0], [0, 30.0, 0], [40, 30, 0.1]]),
    "far": np.random.default_rng(0).normal(size=(100, 3)) + np.array([1e6, -1e6, 3e5]),
    "small": 1e-7 * np.random.default_rng(1).normal(size=(100, 3)),
    "point": np.array([[1.0, 2.0, 3.0]]),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [(640, 480), (300, 600)])
def test_all_points_are_in_the_picture_and_touch_the_margin(name, size):
    points = SHAPES[name]
    view = three_quarter_view(points, aspect=size[0] / size[1], margin=0.05)
    at, depth = view.project(points, *size)
    assert (depth > 0).all()
    share = at / size
    assert share.min() >= 0.05 - 1e-6
    assert share.max() <= 0.95 + 1e-6
    if len(points) > 1:
        # One of the two directions is filled to the margins. Centring is iterated: one per cent is left over.
        assert (share.max(axis=0) - share.min(axis=0)).max() == pytest.approx(0.9, abs=0.01)


def test_axes_are_orthonormal_and_up_leans_up():
    view = three_quarter_view(SHAPES["cube"])
    axes = np.stack([view.right, view.up, -view.forward])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert view.up[2] > 0
    assert view.right[2] == 0


def test_the_camera_stands_in_front_above_and_to_the_right():
    points = SHAPES["cube"]
    eye = three_quarter_view(points).eye - points.mean(axis=0)
    assert eye[1] < 0
    assert eye[0] > 0
    assert eye[2] > 0


def test_a_scaled_and_moved_shape_gives_the_same_picture():
    points = SHAPES["cube"]
    at, _ = three_quarter_view(points).project(points, 640, 480)
    other = 3.0 * points + [10.0, -5.0, 2.0]
    found, _ = three_quarter_view(other).project(other, 640, 480)
    np.testing.assert_allclose(found, at, atol=1e-6)
