"""Light of single pixels against the formula in the module."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels import shading

TINT = wp.vec3(0.5, 0.25, 0.125)


def lamps() -> shading.Lamps:
    lights = shading.Lamps()
    lights.view, lights.key, lights.up = (
        wp.vec3(0.0, -1.0, 0.0),
        wp.vec3(1.0, 0.0, 0.0),
        wp.vec3(0.0, 0.0, 1.0),
    )
    lights.ambient, lights.sky, lights.key_strength, lights.head_strength = 0.1, 0.2, 0.4, 0.3
    return lights


def ink(strength: float) -> shading.Ink:
    line = shading.Ink()
    line.color, line.strength, line.half_width = wp.vec3(0.0, 0.0, 0.0), strength, 1.0
    return line


def light(albedo, n, o) -> np.ndarray:
    """light = albedo (o (ambient + sky (1 + n.up) / 2) + key part + head part), lamps as above."""
    around = o * (0.1 + 0.2 * 0.5 * (1 + n[2]))
    direct = (0.35 + 0.65 * o) * 0.4 * max(n[0], 0) + (0.5 + 0.5 * o) * 0.3 * max(-n[1], 0)
    return np.asarray(albedo) * (around + direct)


def shade(edge_distance, strength, device, normal=(0.6, -0.8, 0.0), free=0.5) -> np.ndarray:
    """Two pixels: one on a face, one on nothing."""
    row = np.array([[edge_distance, 0.0]], dtype=np.float32)
    return shading.shade_faces(
        wp.array(np.array([[0, -1]], np.int32), dtype=wp.int32, device=device),
        wp.array(np.full((1, 2, 3), 1 / 3, np.float32), dtype=wp.vec3, device=device),
        wp.array(row, dtype=float, device=device),
        wp.array(np.tile(np.array(normal, np.float32), (1, 3, 1)), dtype=wp.vec3, device=device),
        wp.array(
            np.array([[[0.9, 0, 0], [0, 0.6, 0], [0, 0, 0.3]]], np.float32), dtype=wp.vec3, device=device
        ),
        wp.array(np.full((1, 3), free, np.float32), dtype=float, device=device),
        TINT,
        lamps(),
        ink(strength),
    ).numpy()[0]


ALBEDO = (0.3, 0.2, 0.1)  # the mean of the three corner colours


def test_light_follows_the_formula_and_nothing_is_transparent(device):
    found = shade(50.0, 0.0, device)
    np.testing.assert_allclose(found[0], [*light(ALBEDO, (0.6, -0.8, 0), 0.5), 1.0], rtol=1e-5)  # float32
    np.testing.assert_array_equal(found[1], np.zeros(4))


def test_a_back_face_turns_its_normal_and_takes_the_tint(device):
    found = shade(-50.0, 0.0, device, normal=(-0.6, 0.8, 0.0))
    tinted = np.array(ALBEDO) * [0.5, 0.25, 0.125]
    np.testing.assert_allclose(found[0, :3], light(tinted, (0.6, -0.8, 0), 0.6), rtol=1e-5)


@pytest.mark.parametrize(
    ("distance", "coverage"), [(0.0, 1.0), (0.5, 1.0), (1.0, 0.5), (1.5, 0.0), (9.0, 0.0)]
)
def test_an_edge_covers_its_share_of_the_pixel(distance, coverage, device):
    # Half width 1: full cover up to 1/2 pixel, none from 3/2; black ink of strength 0.8.
    found = shade(distance, 0.8, device)[0, :3]
    expected = (1 - 0.8 * coverage) * light(ALBEDO, (0.6, -0.8, 0), 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_points_are_lit_alike_for_both_signs_of_their_normal(sign, device):
    n = np.array([0.6, -0.8, 0.0])
    found = shading.shade_points(
        wp.array(np.array([[0, -1]], np.int32), dtype=wp.int32, device=device),
        wp.array(np.tile(n.astype(np.float32), (1, 2, 1)), dtype=wp.vec3, device=device),
        wp.array((sign * n[None]).astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(np.array([ALBEDO], np.float32), dtype=wp.vec3, device=device),
        wp.array(np.ones((1, 2), np.float32), dtype=float, device=device),
        lamps(),
    ).numpy()[0]
    np.testing.assert_allclose(found[0], [*light(ALBEDO, n, 1.0), 1.0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], np.zeros(4))
