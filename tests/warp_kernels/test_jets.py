"""Jets of samples and their blend, on surfaces that a quadratic holds exactly or to known order."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray

from warp_kernels.jets import Jet, JetRule, blend_jets, fit_jets

Array = NDArray[np.float64]


def rule() -> JetRule:
    made = JetRule()
    made.width, made.cosine, made.band = wp.float64(1.5), wp.float64(0.5), wp.float64(0.1)
    made.slope_ridge, made.bend_ridge = wp.float64(1e-12), wp.float64(1e-12)
    return made


def vectors(x: Array, device: str) -> wp.array:
    return wp.array(x, dtype=wp.vec3d, device=device)


def paraboloid(device: str, bend: tuple[float, float, float]) -> tuple[Array, wp.array, wp.array]:
    """The jet at the origin of z = a x + c_11 x^2 / 2 + c_12 x y + c_22 y^2 / 2 + 0.1 y, spacing 0.5."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([np.zeros((1, 2)), rng.uniform(-0.6, 0.6, (12, 2))])
    x, y = xy.T
    z = 0.2 * x + 0.1 * y + bend[0] * x**2 / 2 + bend[1] * x * y + bend[2] * y**2 / 2
    points = np.column_stack([xy, z])
    normals = np.tile([0.0, 0.0, 1.0], (13, 1))
    near = np.full((13, 12), -1, dtype=np.int32)
    near[0] = np.arange(1, 13)
    tilted, jets = fit_jets(
        vectors(points, device),
        vectors(normals, device),
        wp.full(13, 0.5, dtype=wp.float64, device=device),
        wp.array(near, dtype=wp.int32, device=device),
        rule(),
    )
    return points, tilted, jets


def test_the_jet_of_a_quadratic_is_the_quadratic(device: str) -> None:
    _, tilted, jets = paraboloid(device, (0.3, -0.2, 0.5))
    # z = b . u + u C u / 2 in spacings of 0.5: b is the slope, C half the second derivatives. The frame of
    # the normal (0, 0, 1) is turned: slope and bend are compared as invariants.
    slope_1, slope_2, c_11, c_12, c_22 = jets.numpy()[0]
    assert slope_1**2 + slope_2**2 == pytest.approx(0.2**2 + 0.1**2, rel=1e-6)
    assert c_11 + c_22 == pytest.approx(0.5 * 0.8, rel=1e-6)
    assert c_11 * c_22 - c_12**2 == pytest.approx(0.25 * (0.3 * 0.5 - 0.2**2), rel=1e-6)
    np.testing.assert_allclose(tilted.numpy()[0], np.array([-0.2, -0.1, 1]) / np.sqrt(1.05), atol=1e-7)


def test_a_sample_without_neighbours_keeps_its_plane(device: str) -> None:
    tilted, jets = fit_jets(
        vectors(np.zeros((1, 3)), device),
        vectors(np.array([[0.6, 0.0, 0.8]]), device),
        wp.full(1, 1.0, dtype=wp.float64, device=device),
        wp.full((1, 4), -1, dtype=wp.int32, device=device),
        rule(),
    )
    assert not jets.numpy().any()
    np.testing.assert_allclose(tilted.numpy()[0], [0.6, 0, 0.8], atol=1e-15)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_place_goes_to_the_jet_along_its_normal(device: str, side: float) -> None:
    # z = u^2 / 2 + v^2 / 2 at the origin, spacing 1; the place (0.1, 0, 0.02) lies 0.02 - 0.005 above it.
    jet = wp.array([[0.0, 0.0, 1.0, 0.0, 1.0]], dtype=Jet, device=device)
    moved, normals, spread = blend_jets(
        vectors(np.array([[0.1, 0.0, 0.02]]), device),
        vectors(np.array([[0.0, 0.0, side]]), device),
        vectors(np.zeros((1, 3)), device),
        vectors(np.array([[0.0, 0.0, 1.0]]), device),
        wp.full(1, 1.0, dtype=wp.float64, device=device),
        jet,
        wp.zeros((1, 1), dtype=wp.int32, device=device),
        rule(),
    )
    x, _, z = moved.numpy()[0]
    # Two Newton steps leave the square of the first error, (0.015 * slope)^2.
    assert z == pytest.approx(x**2 / 2, abs=1e-6)
    assert x == pytest.approx(0.1 + 0.015 * 0.1, abs=1e-4)
    np.testing.assert_allclose(
        normals.numpy()[0], side * np.array([-x, 0, 1]) / np.sqrt(1 + x * x), atol=2e-4
    )
    assert spread.numpy()[0] == pytest.approx(0.0, abs=1e-12)


def test_a_jet_across_a_crease_has_no_say(device: str) -> None:
    moved, _, spread = blend_jets(
        vectors(np.array([[0.1, 0.0, 0.02]]), device),
        vectors(np.array([[1.0, 0.0, 0.0]]), device),
        vectors(np.zeros((1, 3)), device),
        vectors(np.array([[0.0, 0.0, 1.0]]), device),
        wp.full(1, 1.0, dtype=wp.float64, device=device),
        wp.zeros(1, dtype=Jet, device=device),
        wp.zeros((1, 1), dtype=wp.int32, device=device),
        rule(),
    )
    assert np.isinf(spread.numpy()[0])
    np.testing.assert_array_equal(moved.numpy()[0], [0.1, 0.0, 0.02])
