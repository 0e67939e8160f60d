"""Quality energies: gradient, invariance, barrier, behaviour near degenerate tets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.metrics.tet import dihedral_angles
from pipeline.quality.energies import (
    CONTINUATION,
    ENERGIES,
    EnergyParameters,
    matched,
    odt_energy,
    quality_energy,
)
from tests.pipeline.quality.small_tets import grid

REGULAR = np.array([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
TET = np.array([[0, 1, 2, 3]])
names = pytest.mark.parametrize("energy", list(ENERGIES))


def _value(points, energy, **parameters):
    return quality_energy(points, TET, energy, parameters)[0].sum()


def _difference(points, energy, step):
    gradient = np.zeros_like(points)
    for index in np.ndindex(points.shape):
        shift = np.zeros_like(points)
        shift[index] = step
        gradient[index] = (_value(points + shift, energy) - _value(points - shift, energy)) / (2 * step)
    return gradient


@names
def test_gradient_is_the_derivative(energy, device):
    rng = np.random.default_rng(1)
    for _ in range(5):
        points = REGULAR + 0.5 * rng.normal(size=(4, 3))
        if np.linalg.det(points[1:] - points[0]) < 0.5:
            points = REGULAR + 0.2 * rng.normal(size=(4, 3))
        gradient = quality_energy(points, TET, energy, device=device)[1]
        # Central differences with step 1e-5: truncation 1e-10 of the third derivative, rounding about 1e-10.
        expected = _difference(points, energy, 1e-5)
        np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())


@names
def test_gradient_is_the_derivative_of_a_sliver(energy):
    sliver = np.array([[-1, 0, 0], [0, -1, 0.02], [1, 0, 0], [0, 1, 0.02]])
    gradient = quality_energy(sliver, TET, energy)[1]
    expected = _difference(sliver, energy, 1e-7)
    # The energy bends over lengths of 1e-3 here: truncation (1e-7 / 1e-3)^2, rounding 1e-16 E / step.
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())


@names
def test_energy_and_gradient_are_finite_at_and_past_inversion(energy):
    for height in (1e-3, 1e-6, 1e-9, 1e-12, 0.0, -1e-12, -1e-3, -0.5):
        points = np.array([[-1, 0, 0], [0, -1, height], [1, 0, 0], [0, 1, height]])
        value, gradient = quality_energy(points, TET, energy)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
    value, gradient = quality_energy(np.zeros((4, 3)), TET, energy)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@names
def test_inverted_tets_are_worse_than_flat_ones_and_are_pushed_open(energy):
    points = np.array([[-1, 0, 0], [0, -1, -0.1], [1, 0, 0], [0, 1, -0.1]])
    value, gradient = quality_energy(points, TET, energy)
    step = 1e-3 * gradient / np.abs(gradient).max()
    assert value[0] > _value(points * [1, 1, 0], energy)
    assert _value(points - step, energy) < value[0]


def _heights(energy):
    """Return values of a tet from a sliver over flat to inverted, by ever smaller height."""
    values = []
    for height in (1e-2, 1e-4, 1e-6, 0.0, -1e-6, -1e-3, -0.5):
        points = np.array([[-1, 0, 0], [0, -1, height], [1, 0, 0], [0, 1, height]])
        values.append(quality_energy(points, TET, parameters=energy)[0][0])
    return np.array(values)


@pytest.mark.parametrize("stage", CONTINUATION)
@names
def test_inverted_is_worse_than_flat_is_worse_than_any_sliver(energy, stage):
    parameters = replace(stage, energy=energy)
    values = _heights(parameters)
    assert (np.diff(values) > 0).all()
    # All kinds around the limit: four points near a plane, half of them also near a line.
    rng = np.random.default_rng(3)
    points = rng.normal(size=(4000, 4, 3))
    points[:, :, 2] *= 10.0 ** rng.uniform(-8, -3, size=(4000, 1))
    points[1::2, :, 1] *= 1e-2
    tets = np.arange(16000).reshape(-1, 4)
    value = quality_energy(points.reshape(-1, 3), tets, parameters=parameters)[0]
    edges = points[:, 1:] - points[:, :1]
    v = np.linalg.det(edges)
    corners = points[:, [0, 0, 0, 1, 1, 2]] - points[:, [1, 2, 3, 2, 3, 3]]
    flatness = v / (corners**2).sum(axis=(1, 2)) ** 1.5
    sliver, flat, inverted = flatness > 1.001e-7, (flatness > 0) & (flatness < 0.999e-7), flatness < 0
    assert min(sliver.sum(), flat.sum(), inverted.sum()) > 100
    assert value[sliver].max() < value[flat].min()
    assert value[flat].max() < value[inverted].min()


def test_numbers_whose_barrier_overflows_are_refused():
    with pytest.raises(ValueError, match="low_scale"):
        EnergyParameters(low_scale=0.01)
    with pytest.raises(ValueError, match="power"):
        EnergyParameters(energy="mean_ratio", power=100)


@names
def test_regular_tet_is_the_minimum(energy):
    value, gradient = quality_energy(REGULAR, TET, energy)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    rng = np.random.default_rng(2)
    for _ in range(20):
        assert _value(REGULAR + 0.1 * rng.normal(size=(4, 3)), energy) >= value[0]


def test_energies_of_a_known_tet():
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    q = 9 / (12 * 0.5 ** (2 / 3))
    slanted = np.degrees(np.arccos(1 / np.sqrt(3)))
    angles = np.array([90, 90, 90, slanted, slanted, slanted])
    dihedral = (np.exp((30 - angles) / 5) + np.exp((angles - 140) / 5)).sum() + 0.5 * (q - 1)
    np.testing.assert_allclose(_value(corner, "dihedral"), dihedral, rtol=1e-12)
    np.testing.assert_allclose(_value(corner, "amips", weight=1.0), 3 * q - 3, rtol=1e-12)
    np.testing.assert_allclose(_value(corner, "mean_ratio", weight=1.0, power=6.0), q**6 - 1, rtol=1e-12)


@names
def test_energy_does_not_depend_on_place_size_or_numbering(energy):
    rng = np.random.default_rng(4)
    points = REGULAR + 0.3 * rng.normal(size=(4, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    first, second = (quality_energy(p, TET, energy) for p in (points, 3.0 * points @ rotation.T + 1.0))
    np.testing.assert_allclose(second[0], first[0], rtol=1e-10)
    np.testing.assert_allclose(second[1], first[1] @ rotation.T / 3.0, atol=1e-9 * np.abs(first[1]).max())
    other = quality_energy(points, np.array([[2, 3, 0, 1]]), energy)
    np.testing.assert_allclose(other[0], first[0], rtol=1e-12)
    np.testing.assert_allclose(other[1], first[1], atol=1e-10 * np.abs(first[1]).max())


def test_gradient_is_the_sum_over_tets():
    points = np.concatenate([REGULAR, [[2.0, 2, -3]]])
    tets = np.array([[0, 1, 2, 3], [0, 2, 1, 4]])
    value, gradient = quality_energy(points, tets)
    parts = [quality_energy(points, tets[[k]]) for k in range(2)]
    np.testing.assert_allclose(value, [p[0][0] for p in parts])
    np.testing.assert_allclose(gradient, parts[0][1] + parts[1][1])


def test_no_tets_have_no_energy():
    value, gradient = quality_energy(REGULAR, np.zeros((0, 4), dtype=np.int32))
    assert value.shape == (0,)
    np.testing.assert_array_equal(gradient, 0)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="amips"):
        quality_energy(REGULAR, TET, "odt")
    with pytest.raises(ValueError, match="low_scale"):
        EnergyParameters(low_scale=0)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        quality_energy(REGULAR, np.array([[0, 1, 2, 4]]))


@names
@pytest.mark.parametrize("angle", [20.0, 35.0])
def test_matched_energies_agree_at_a_tet_of_that_angle(energy, angle):
    # The regular tet squeezed between two opposite edges until its smallest angle is the one asked for.
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        points = REGULAR * [1, 1, middle]
        low, high = (middle, high) if dihedral_angles(points, TET).min() < angle else (low, middle)
    for parameters in CONTINUATION:
        wanted = quality_energy(points, TET, parameters=parameters)[0]
        other = matched(parameters, energy, angle)
        assert other.energy == energy
        # 1e-9: 60 halvings find the height to rounding.
        np.testing.assert_allclose(quality_energy(points, TET, parameters=other)[0], wanted, rtol=1e-9)


def test_odt_energy_is_the_error_of_interpolating_the_square():
    mesh = grid(2, jitter=0.2)
    corners = mesh.points[mesh.tets]
    # Four places a, b, b, b integrate quadratics exactly (Hammer and Stroud 1956).
    b = (5.0 - np.sqrt(5.0)) / 20.0
    places = np.einsum("qc,tcd->tqd", np.full((4, 4), b) + (1.0 - 4.0 * b) * np.eye(4), corners)
    volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6.0
    square = (corners**2).sum(axis=2).mean(axis=1) - (places**2).sum(axis=2).mean(axis=1)
    # 1e-12: sums of a few dozen products.
    np.testing.assert_allclose(odt_energy(mesh.points, mesh.tets)[0], volume * square, rtol=1e-12)


def test_odt_gradient_is_the_derivative(device):
    mesh = grid(2, jitter=0.2)
    gradient = odt_energy(mesh.points, mesh.tets, device=device)[1]
    step = 1e-4
    expected = np.zeros_like(gradient)
    for index in np.ndindex(gradient.shape):
        shift = np.zeros_like(gradient)
        shift[index] = step
        ahead, behind = (odt_energy(mesh.points + s * shift, mesh.tets)[0].sum() for s in (1, -1))
        expected[index] = (ahead - behind) / (2 * step)
    # A polynomial of degree five: truncation step^2, rounding 1e-16 / step.
    np.testing.assert_allclose(gradient, expected, atol=1e-7 * np.abs(expected).max())


def test_odt_energy_of_a_sliver_vanishes():
    for height in (1e-2, 1e-4):
        sliver = np.array([[-1, 0, 0], [0, -1, height], [1, 0, 0], [0, 1, height]])
        if np.linalg.det(sliver[1:] - sliver[0]) < 0:
            sliver = sliver[[0, 2, 1, 3]]
        # V L / 20 with V = 2 height / 3 and L between 16 and 16.01: that is why optimize does not descend it.
        assert 0 < odt_energy(sliver, TET)[0][0] < height
