"""Derivatives of the tet energies by the first vertex: gradient and curvature against central differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import warp as wp

from pipeline.quality.energies import CONTINUATION, ENERGIES, EnergyParameters
from warp_kernels.tet_quality import QualityParameters, tet_derivatives, tet_energy

names = pytest.mark.parametrize("energy", list(ENERGIES))


@wp.kernel(enable_backward=False)
def derivatives_kernel(
    corners: wp.array2d[wp.vec3d],
    parameters: QualityParameters,
    energy: wp.array[wp.float64],
    value: wp.array[wp.float64],
    gradient: wp.array[wp.vec3d],
    curvature: wp.array[wp.mat33d],
):
    t = wp.tid()
    p0 = corners[t, 0]
    p1 = corners[t, 1]
    p2 = corners[t, 2]
    p3 = corners[t, 3]
    r = tet_derivatives(p0, p1, p2, p3, parameters)
    energy[t] = tet_energy(p0, p1, p2, p3, parameters)
    value[t] = r.value
    gradient[t] = r.gradient
    curvature[t] = r.curvature


def derivatives(corners, parameters, device="cpu"):
    """Return energy (t,), gradient (t, 3) and curvature (t, 3, 3) of tets, shape (t, 4, 3)."""
    count = len(corners)
    out = [wp.empty(count, dtype=d, device=device) for d in (wp.float64, wp.float64, wp.vec3d, wp.mat33d)]
    points = wp.array(np.ascontiguousarray(corners), dtype=wp.vec3d, ndim=2, device=device)
    wp.launch(
        derivatives_kernel, dim=count, inputs=[points, parameters.to_struct()], outputs=out, device=device
    )
    energy, value, gradient, curvature = (a.numpy() for a in out)
    np.testing.assert_allclose(value, energy, rtol=1e-14)
    return energy, gradient, curvature


def differences(corners, parameters, step):
    """Return central differences of energy (t, 3) and gradient (t, 3, 3) by the first vertex."""
    slopes, bends = [], []
    for axis in range(3):
        shift = np.zeros((4, 3))
        shift[0, axis] = step
        high, low = (derivatives(corners + s * shift, parameters) for s in (1, -1))
        slopes.append((high[0] - low[0]) / (2 * step))
        bends.append((high[1] - low[1]) / (2 * step))
    return np.stack(slopes, axis=1), np.stack(bends, axis=2)


def inverted(count=200, seed=0):
    """Return random tets of size 1 whose volume is clearly negative, some of them nearly flat."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(count, 4, 3))
    corners[::2, :, 2] *= 0.05
    volume = np.linalg.det(corners[:, 1:] - corners[:, :1])
    corners[volume > 0] = corners[volume > 0][:, [1, 0, 2, 3]]
    size = ((corners[:, 1:] - corners[:, :1]) ** 2).sum(axis=(1, 2)) ** 1.5
    # A step of 1e-5 must not leave the range of the barrier.
    return corners[np.abs(volume) > 1e-3 * size]


def upright(count=200, seed=1):
    """Return random tets of good volume."""
    rng = np.random.default_rng(seed)
    regular = np.array([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    corners = regular + 0.3 * rng.normal(size=(count, 4, 3))
    return corners[np.linalg.det(corners[:, 1:] - corners[:, :1]) > 4]


@names
@pytest.mark.parametrize("stage", CONTINUATION)
def test_gradient_of_the_barrier_is_its_derivative(energy, stage, device):
    parameters = replace(stage, energy=energy)
    corners = inverted()
    assert len(corners) > 100
    gradient = derivatives(corners, parameters, device)[1]
    slope, _ = differences(corners, parameters, 1e-5)
    # Truncation 1e-10 of the third derivative, rounding 1e-16 / 1e-5 of the value, both of the order of 1.
    np.testing.assert_allclose(gradient, slope, atol=1e-7 * np.abs(slope).max())


@names
def test_curvature_of_the_barrier_bounds_its_second_derivative(energy):
    parameters = EnergyParameters(energy=energy)
    corners = inverted()
    _, gradient, curvature = derivatives(corners, parameters)
    _, bend = differences(corners, parameters, 1e-5)
    bend = 0.5 * (bend + bend.swapaxes(1, 2))
    # The barrier alone is not convex. Its stated curvature is at least the true one in every direction ...
    assert (np.linalg.eigvalsh(curvature - bend) > 0).all()
    # ... so the energy after a Newton step, kept within half an edge as smoothing does, is below the start.
    step = -np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    shortest = np.linalg.norm(corners[:, 1:] - corners[:, :1], axis=2).min(axis=1)
    step *= np.minimum(1.0, 0.5 * shortest / np.linalg.norm(step, axis=1))[:, None]
    moved = corners.copy()
    moved[:, 0] += step
    assert (derivatives(moved, parameters)[0] < derivatives(corners, parameters)[0]).all()


@pytest.mark.parametrize("energy", ["amips", "mean_ratio"])
def test_curvature_of_the_mean_ratio_is_its_second_derivative(energy):
    parameters = EnergyParameters(energy=energy)
    corners = upright()
    curvature = derivatives(corners, parameters)[2]
    _, bend = differences(corners, parameters, 1e-5)
    np.testing.assert_allclose(curvature, bend, atol=1e-7 * np.abs(bend).max())


def angles(corners):
    """Return the six dihedral angles [deg] of tets, shape (t, 6)."""
    out = []
    for i, j, k, m in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2), (1, 2, 0, 3), (1, 3, 0, 2), (2, 3, 0, 1)):
        edge = corners[:, j] - corners[:, i]
        first, second = (np.cross(edge, corners[:, n] - corners[:, i]) for n in (k, m))
        cosine = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
        out.append(np.degrees(np.arccos(cosine)))
    return np.stack(out, axis=1)


@pytest.mark.parametrize("p", CONTINUATION)
def test_curvature_of_the_angles_is_gauss_newton(p):
    corners, step = upright(), 1e-5
    slopes = []
    for axis in range(3):
        shift = np.zeros((4, 3))
        shift[0, axis] = step
        slopes.append((angles(corners + shift) - angles(corners - shift)) / (2 * step))
    slope, a = np.stack(slopes, axis=2), angles(corners)
    bend = np.exp((p.low - a) / p.low_scale) / p.low_scale**2
    bend += np.exp((a - p.high) / p.high_scale) / p.high_scale**2
    expected = np.einsum("te,tei,tej->tij", bend, slope, slope)
    # The mean ratio enters as in amips, without its factor 3.
    expected += derivatives(corners, replace(p, energy="amips"))[2] / 3
    curvature = derivatives(corners, p)[2]
    # Per tet: the energies of the tets differ by many orders of magnitude.
    limit = 1e-6 * np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert (np.abs(curvature - expected) <= limit).all()
