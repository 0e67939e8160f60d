"""Closed triangle meshes and samples of surfaces for the tests of this folder, as factories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.types import Indices, Points


def icosphere(level: int) -> tuple[Points, Indices]:
    """Return an icosahedron subdivided `level` times onto the unit sphere, facing outward."""
    g = (1 + 5**0.5) / 2
    points = np.array(
        [
            [-1, g, 0],
            [1, g, 0],
            [-1, -g, 0],
            [1, -g, 0],
            [0, -1, g],
            [0, 1, g],
            [0, -1, -g],
            [0, 1, -g],
            [g, 0, -1],
            [g, 0, 1],
            [-g, 0, -1],
            [-g, 0, 1],
        ],
        dtype=float,
    )
    faces = np.array(
        [
            [0, 11, 5],
            [0, 5, 1],
            [0, 1, 7],
            [0, 7, 10],
            [0, 10, 11],
            [1, 5, 9],
            [5, 11, 4],
            [11, 10, 2],
            [10, 7, 6],
            [7, 1, 8],
            [3, 9, 4],
            [3, 4, 2],
            [3, 2, 6],
            [3, 6, 8],
            [3, 8, 9],
            [4, 9, 5],
            [2, 4, 11],
            [6, 2, 10],
            [8, 6, 7],
            [9, 8, 1],
        ]
    )
    points /= np.linalg.norm(points[0])
    for _ in range(level):
        half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        edges, inverse = np.unique(np.sort(half, axis=1), axis=0, return_inverse=True)
        middle = points[edges].mean(axis=1)
        m = len(points) + inverse.reshape(3, -1)
        points = np.vstack([points, middle / np.linalg.norm(middle, axis=1)[:, None]])
        a, b, c = faces.T
        faces = np.concatenate(
            [
                np.stack(t, axis=1)
                for t in ((a, m[0], m[2]), (b, m[1], m[0]), (c, m[2], m[1]), (m[0], m[1], m[2]))
            ]
        )
    return points, faces.astype(np.int32)


def sphere_samples(count: int, seed: int = 0) -> Points:
    """Return random points on the unit sphere."""
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None]


def cube_samples(count: int, seed: int = 0) -> Points:
    """Return random points on the surface of the cube [-0.5, 0.5]^3."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.5, 0.5, (count, 3))
    axis = rng.integers(0, 3, count)
    x[np.arange(count), axis] = rng.choice([-0.5, 0.5], count)
    return x


@pytest.fixture(name="icosphere")
def _icosphere() -> Callable[[int], tuple[Points, Indices]]:
    return icosphere


@pytest.fixture(name="sphere_samples")
def _sphere_samples() -> Callable[..., Points]:
    return sphere_samples


@pytest.fixture(name="cube_samples")
def _cube_samples() -> Callable[..., Points]:
    return cube_samples
