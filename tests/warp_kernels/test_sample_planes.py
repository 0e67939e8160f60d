"""Plane fits against numpy's eigenvalues, and the choice of the best patch next to a crease."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from scipy.spatial import cKDTree

from warp_kernels.sample_planes import best_patch, fit_planes


def _on_device(points: np.ndarray, k: int, device: str) -> tuple[wp.array, wp.array, np.ndarray]:
    near = cKDTree(points).query(points, k=k + 1)[1][:, 1:].astype(np.int32)
    vector = wp.vec2d if points.shape[1] == 2 else wp.vec3d
    return (
        wp.array(points, dtype=vector, device=device),
        wp.array(near, dtype=wp.int32, device=device),
        near,
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_fit_equals_eigenvectors_of_the_covariance(dimension: int, device: str) -> None:
    points = np.random.default_rng(0).normal(size=(200, dimension)) * [1.0, 0.5, 0.1][:dimension] + 5.0
    x, table, near = _on_device(points, 9, device)
    normals, centers, residuals = (a.numpy() for a in fit_planes(x, table, 9))
    groups = np.concatenate([points[:, None], points[near]], axis=1)
    mean = groups.mean(axis=1)
    offset = groups - mean[:, None]
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", offset, offset))
    np.testing.assert_allclose(centers, mean, atol=1e-12)
    np.testing.assert_allclose(residuals, np.sqrt(values[:, 0] / 10), atol=1e-9)
    # Eigenvectors are determined up to sign, to rounding over the relative gap of the eigenvalues.
    gap = (values[:, 1] - values[:, 0]) / values[:, -1]
    clear = gap > 1e-3
    assert clear.sum() > 100
    np.testing.assert_allclose(np.abs((normals * vectors[:, :, 0]).sum(axis=1))[clear], 1.0, atol=1e-9)


def test_fit_of_an_exact_plane_is_exact_at_any_scale(device: str) -> None:
    rng = np.random.default_rng(1)
    normal = np.array([1.0, 2.0, -2.0]) / 3
    u, v = np.array([2.0, 1.0, 2.0]) / 3, np.array([-2.0, 2.0, 1.0]) / 3
    for scale in (1e-6, 1e3):
        points = (rng.uniform(size=(100, 1)) * u + rng.uniform(size=(100, 1)) * v) * scale
        x, table, _ = _on_device(points, 8, device)
        normals, _, residuals = (a.numpy() for a in fit_planes(x, table, 8))
        np.testing.assert_allclose(np.abs(normals @ normal), 1.0, atol=1e-9)
        # The least eigenvalue of a plane is 0 up to rounding, its root up to 1e-8 of the extent.
        assert residuals.max() < 1e-7 * scale


@pytest.mark.parametrize("dimension", [2, 3])
def test_best_patch_is_sharp_next_to_a_right_angle(dimension: int, device: str) -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(4000 if dimension == 3 else 300, dimension))
    side = rng.integers(0, 2, len(points))
    points[np.arange(len(points)), side] = 0.0
    x, table, _ = _on_device(points, 20, device)
    fit = fit_planes(x, table, 14 if dimension == 3 else 6)
    patch = best_patch(x, table, 20, *fit, 1e-4).numpy()
    fitted = np.abs(fit[0].numpy())
    truth = np.eye(dimension)[side]
    plain = (fitted * truth).sum(axis=1) > 0.999
    sharp = (fitted[patch] * truth).sum(axis=1) > 0.999
    # A fit that reaches across the edge is off; the best patch leaves a fifth of those at most.
    assert plain.mean() < 0.99
    assert 1 - sharp.mean() <= min(0.2 * (1 - plain.mean()), 0.01)


def test_wrong_arguments_are_named(device: str) -> None:
    x = wp.zeros(3, dtype=wp.vec3d, device=device)
    table = wp.zeros((3, 2), dtype=wp.int32, device=device)
    with pytest.raises(ValueError, match="neighbors"):
        fit_planes(x, table, 5)
    with pytest.raises(TypeError, match="points"):
        fit_planes(wp.zeros(3, dtype=wp.vec3, device=device), table, 2)
