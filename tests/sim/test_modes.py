"""Lowest modes against dense eigenvalues, closed forms of bars and beams, and invariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.material import Material
from sim.model import SoftBodyModel
from sim.modes import lowest_modes, mass_scaled, rest_stiffness


def test_modes_are_those_of_a_dense_solver(box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
    modes = lowest_modes(model, 12)
    dense = np.linalg.eigvalsh(mass_scaled(model, rest_stiffness(model)).toarray())
    np.testing.assert_allclose(modes.frequencies[6:], np.sqrt(dense[6:12]) / (2.0 * np.pi), rtol=1e-8)
    u = modes.shapes.reshape(12, -1)
    gram = (u * np.repeat(model.masses, 3)) @ u.T
    np.testing.assert_allclose(gram, np.eye(12), atol=1e-8)


@pytest.mark.parametrize("count", [6, 7, 10])
def test_free_body_has_six_zero_modes(count: int, box: Callable) -> None:
    points, tets = box((4, 2, 2), (2.0, 1.0, 1.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets)
    modes = lowest_modes(model, count)
    assert modes.zero_count == 6
    assert (modes.frequencies[:6] == 0.0).all()
    assert (modes.frequencies[6:] > 0.0).all()
    # They are rigid motions: u = a + w x r, in which six patterns span everything.
    turns = np.cross(np.eye(3)[None], points[:, None, :]).transpose(0, 2, 1)
    rigid = np.concatenate([np.tile(np.eye(3), (len(points), 1, 1)), turns], axis=2)
    rigid = rigid.reshape(-1, 6)
    zero = modes.shapes[:6].reshape(6, -1).T
    fit = rigid @ np.linalg.lstsq(rigid, zero, rcond=None)[0]
    np.testing.assert_allclose(fit, zero, atol=1e-5 * np.abs(zero).max())


def test_two_bodies_have_twelve(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    both = np.concatenate([points, points + 3.0])
    model = SoftBodyModel.from_arrays(both, np.concatenate([tets, tets + len(points)]))
    assert lowest_modes(model, 14).zero_count == 12


def test_axial_frequencies_of_a_clamped_bar(box: Callable) -> None:
    # f_n = (2 n - 1) / (4 L) sqrt(E / rho) with nu = 0, motion along the axis only.
    length, modulus, density = 1.0, 1.0e6, 1000.0
    points, tets = box((40, 1, 1), (length, 0.1, 0.1))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, 0.0, density))
    free = np.zeros_like(points)
    free[points[:, 0] > 1e-9, 0] = 1.0
    found = lowest_modes(model, 3, free=free).frequencies
    exact = (2.0 * np.arange(1, 4) - 1.0) / (4.0 * length) * np.sqrt(modulus / density)
    # Lumped linear elements: relative error (k h)^2 / 24 = 0.06 % in the third.
    np.testing.assert_allclose(found, exact, rtol=0.002)


def test_bending_frequency_of_a_clamped_beam_converges(box: Callable) -> None:
    # f_1 = 1.8751^2 / (2 pi) sqrt(E I / (rho A L^4)); linear tets are too stiff in bending by an error that
    # falls with h^2, so that the limit is extrapolated from two meshes. Shear and rotation of the sections
    # take 1.2 % at L / h = 8.
    length, height, modulus, density = 1.0, 0.125, 1.0e7, 1000.0
    bernoulli = 1.87510407**2 / (2.0 * np.pi) * np.sqrt(modulus * height**2 / 12.0 / (density * length**4))
    found = []
    for cells in ((24, 3, 3), (48, 6, 6)):
        points, tets = box(cells, (length, height, height))
        model = SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, 0.0, density))
        free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
        found.append((lowest_modes(model, 1, free=free, tolerance=1e-5).frequencies[0] / bernoulli) ** 2)
    coarse, fine = found
    assert coarse > fine > 1.0
    limit = fine - (coarse - fine) / 3.0
    assert np.sqrt(limit) == pytest.approx(0.988, rel=0.02)


@pytest.mark.parametrize("count", [0, 82])
def test_count_out_of_range_is_refused(count: int, box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((2, 2, 2)))
    with pytest.raises(ValueError, match="1 to 81"):
        lowest_modes(model, count)


def test_one_sliver_does_not_hide_the_modes(box: Callable) -> None:
    # A vertex of the inside moved to a hundred-thousandth of its height above a face: eigenvalues of that tet
    # grow as 1 / height, so that they would lift a bound of zero taken from the largest above true modes.
    points, tets = box((8, 2, 2), (4.0, 1.0, 1.0))
    before = lowest_modes(SoftBodyModel.from_arrays(points, tets), 8)
    inner = int(np.flatnonzero(np.isclose(points, [2.0, 0.5, 0.5]).all(axis=1))[0])
    moved = points.copy()
    moved[inner] = [1.5 + 1e-7, 0.5, 0.5]
    after = lowest_modes(SoftBodyModel.from_arrays(moved, tets), 8)
    assert after.zero_count == 6
    np.testing.assert_allclose(after.frequencies[6:], before.frequencies[6:], rtol=0.05)
