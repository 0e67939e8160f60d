"""Colour conversions and the quality scale."""

from __future__ import annotations

import numpy as np

from pipeline.rendering.colormap import (
    QUALITY_STOPS,
    REGULAR_DIHEDRAL,
    hex_to_rgb,
    quality_colors,
    to_linear,
    to_srgb,
)


def test_srgb_and_linear_are_inverse():
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=1e-6)  # the two branches meet at 1e-7


def test_middle_grey_is_the_known_value():
    # IEC 61966-2-1: sRGB 0.5 is 0.2140 in linear light.
    np.testing.assert_allclose(to_linear((0.5,)), 0.21404, atol=1e-5)


def test_hex_colours_are_read():
    np.testing.assert_allclose(hex_to_rgb("#ff8000"), (1.0, 128 / 255, 0.0))


def test_the_scale_starts_and_ends_with_its_stops_and_clamps():
    colors = quality_colors(np.array([-5.0, 0.0, REGULAR_DIHEDRAL, 180.0]))
    bad, good = hex_to_rgb(QUALITY_STOPS[0][1]), hex_to_rgb(QUALITY_STOPS[-1][1])
    np.testing.assert_allclose(colors, [bad, bad, good, good], atol=1e-12)


def test_worse_is_redder_and_better_is_bluer():
    colors = quality_colors(np.array([5.0, 65.0]))
    assert colors[0, 0] > colors[0, 2]
    assert colors[1, 2] > colors[1, 0]


def test_the_regular_tet_has_the_angle_of_the_scale():
    p = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    n1, n2 = np.cross(p[1] - p[0], p[2] - p[0]), np.cross(p[3] - p[0], p[1] - p[0])
    cosine = -(n1 @ n2) / np.linalg.norm(n1) / np.linalg.norm(n2)
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)), REGULAR_DIHEDRAL)
