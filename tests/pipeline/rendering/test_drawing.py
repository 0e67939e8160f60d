"""2D drawings as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from pipeline.rendering.drawing import MAX_MARKS, draw_plane


def numbers(text: str) -> np.ndarray:
    path = ElementTree.fromstring(text).find("path").get("d")
    return np.array(re.findall(r"-?\d+\.\d+", path), dtype=float).reshape(-1, 2)


def test_segments_keep_their_shape_with_y_up():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]])
    found = numbers(draw_plane(points, np.array([[0, 1], [1, 2]]), size=(400, 400)))
    # 400 * 0.9 / 2 = 180 per unit, centred at (200, 200); y points down in SVG.
    expected = [[20, 290], [380, 290], [380, 290], [380, 110]]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_every_point_is_marked_and_a_large_cloud_is_thinned():
    assert len(numbers(draw_plane(np.random.default_rng(0).random((50, 2))))) == 50
    assert len(numbers(draw_plane(np.random.default_rng(0).random((3 * MAX_MARKS, 2))))) == MAX_MARKS


def test_nothing_and_one_point_are_drawings_too():
    ElementTree.fromstring(draw_plane(np.zeros((0, 2))))
    np.testing.assert_allclose(numbers(draw_plane(np.ones((1, 2)))), [[320, 240]])
