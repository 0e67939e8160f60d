"""Small tetrahedral meshes for the tests of this folder."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from pipeline.types import SurfaceMesh, TetMesh


def positive(points, tets):
    """Return tets with positive volume, flat ones left out."""
    tets = np.asarray(tets, dtype=np.int32)
    volume = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]])
    tets = np.where(volume[:, None] < 0, tets[:, [0, 2, 1, 3]], tets)
    return tets[np.abs(volume) > 1e-12]


def sphere_surface(count=1500):
    """Return a triangulated unit sphere (Fibonacci points, convex hull)."""
    points = fibonacci(count)
    hull = Delaunay(np.vstack([points, [[0, 0, 0]]])).convex_hull.astype(np.int32)
    normal = np.cross(points[hull[:, 1]] - points[hull[:, 0]], points[hull[:, 2]] - points[hull[:, 0]])
    turned = np.einsum("ij,ij->i", normal, points[hull[:, 0]]) < 0
    hull[turned] = hull[turned][:, [0, 2, 1]]
    return SurfaceMesh(points, hull)


def fibonacci(count):
    """Return nearly even points on the unit sphere, shape (count, 3)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    angle = np.pi * (1 + np.sqrt(5)) * k
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)


def ball(surface_count=200, inner_count=150, seed=0):
    """Return a Delaunay mesh of a ball with random inner points: closed, manifold, full of slivers."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(inner_count, 3))
    inner *= (0.85 * rng.random(inner_count) ** (1 / 3) / np.linalg.norm(inner, axis=1))[:, None]
    points = np.vstack([fibonacci(surface_count), inner])
    return TetMesh(points, positive(points, Delaunay(points).simplices))


def grid(n=3, jitter=0.0, seed=0):
    """Return a cube of n^3 cells cut into six tets each, inner points jittered (by <= 0.2 cells)."""
    axis = np.linspace(0, 1, n + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((points > 0) & (points < 1)).all(axis=1)
    rng = np.random.default_rng(seed)
    points[inside] += jitter / n * rng.uniform(-1, 1, size=(inside.sum(), 3))
    cell = np.arange((n + 1) ** 3).reshape(n + 1, n + 1, n + 1)
    step = np.eye(3, dtype=int)
    tets = []
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        corner = np.zeros((4, 3), dtype=int)
        for k, axis_ in enumerate(order):
            corner[k + 1] = corner[k] + step[axis_]
        tets.append(np.stack([cell[tuple(slice(c, c + n) for c in row)].ravel() for row in corner], axis=1))
    return TetMesh(points, positive(points, np.concatenate(tets)))
