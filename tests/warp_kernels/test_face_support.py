"""Support of faces against the same sums in numpy, 2D and 3D."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.face_support import face_support


@pytest.mark.parametrize("d", [2, 3])
def test_support_is_that_of_the_equations(d: int, device: str) -> None:
    rng = np.random.default_rng(d)
    faces, k, s, m = 5, 4, 3, 30
    vector = wp.vec2d if d == 2 else wp.vec3d

    def unit(count: int) -> np.ndarray:
        v = rng.normal(size=(count, d))
        return v / np.linalg.norm(v, axis=1)[:, None]

    samples, normals, spacing = rng.normal(size=(m, d)), unit(m), rng.uniform(0.1, 2, m)
    places, own = rng.normal(size=(faces * k, d)), unit(faces)
    distance = np.linalg.norm(places[:, None] - samples, axis=2)
    near = np.argsort(distance, axis=1)[:, :s].astype(np.int32)
    distance = np.take_along_axis(distance, near, axis=1)
    near[3, 2] = -1  # fewer than s samples
    result = face_support(
        *(wp.array(a, dtype=vector, device=device) for a in (places, own, samples, normals)),
        wp.array(spacing, dtype=wp.float64, device=device),
        0.5,
        wp.array(near, dtype=wp.int32, device=device),
        wp.array(distance, dtype=wp.float64, device=device),
    )
    height = np.abs(np.einsum("qsx,qsx->qs", places[:, None] - samples[near], normals[near]))
    cosine = np.abs(np.einsum("qsx,qx->qs", normals[near], own.repeat(k, axis=0)))
    height[near < 0], cosine[near < 0] = np.inf, 0
    gap = distance[:, 0] / np.maximum(spacing[near[:, 0]], 0.5)
    expected = (
        height.min(axis=1).reshape(faces, k).mean(axis=1),
        gap.reshape(faces, k).max(axis=1),
        cosine.max(axis=1).reshape(faces, k).mean(axis=1),
    )
    for found, wanted in zip(result, expected):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)
