"""Splitting of edges, and samples added on the faces."""

from __future__ import annotations

import numpy as np

from pipeline.dmesh.densification import add_samples, split_edges
from pipeline.dmesh.extraction import face_normals
from pipeline.points.jets import SmoothSurface
from pipeline.points.sample_planes import estimate_planes
from pipeline.topology import orient_faces, simplex_edges
from pipeline.types import Indices, Points

OCTAHEDRON = np.array(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], dtype=np.int32
)
CORNERS = np.concatenate([np.eye(3)[[0, 0, 1, 1, 2, 2]] * np.array([[1.0], [-1.0]] * 3)])


def aspect_ratios(points: Points, faces: Indices) -> np.ndarray:
    """Longest edge times perimeter over 4 sqrt(3) area: 1 for an equilateral triangle."""
    side = np.linalg.norm(points[faces] - points[np.roll(faces, 1, axis=1)], axis=2)
    return side.max(axis=1) * side.sum(axis=1) / (4 * np.sqrt(3) * face_normals(points, faces)[1])


def test_splitting_keeps_a_closed_surface_closed_oriented_and_where_it_is() -> None:
    points, faces = split_edges(CORNERS, OCTAHEDRON, 301)
    assert len(points) == 301
    edges, _, uses = simplex_edges(faces)
    assert (uses == 2).all()
    assert len(points) - len(edges) + len(faces) == 2
    np.testing.assert_array_equal(orient_faces(faces)[0], faces)
    # On the octahedron |x| + |y| + |z| = 1, volume 4/3.
    np.testing.assert_allclose(np.abs(points).sum(axis=1), 1, atol=1e-12)
    volume = np.linalg.det(points[faces]).sum() / 6
    np.testing.assert_allclose(volume, 4 / 3, rtol=1e-12)


def test_splitting_keeps_shapes_bounded_and_sizes_even() -> None:
    points, faces = split_edges(CORNERS, OCTAHEDRON, 1000)
    # Rivara: no angle below half of the smallest angle of the start, 30 degrees; the worst such triangle has
    # sides 1, 1, sqrt(3).
    assert aspect_ratios(points, faces).max() < (2 + np.sqrt(3)) / np.sqrt(3) + 1e-9
    area = face_normals(points, faces)[1]
    assert area.max() / area.min() < 8.001


def test_an_edge_of_three_faces_is_split_on_all_of_them() -> None:
    points = np.array([[0, 0, 0], [0, 0, 2.0], [1, 0, 1], [-1, 0.5, 1], [-1, -0.5, 1]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], dtype=np.int32)
    points, faces = split_edges(points, faces, 6)
    np.testing.assert_allclose(points[5], [0, 0, 1])
    assert len(faces) == 6
    assert np.isin(faces, 5).any(axis=1).all()


def test_samples_are_added_on_the_smooth_surface(device: str) -> None:
    samples = np.random.default_rng(3).normal(size=(3000, 3))
    samples /= np.linalg.norm(samples, axis=1)[:, None]
    points, faces = split_edges(CORNERS, OCTAHEDRON, 500)
    points /= np.linalg.norm(points, axis=1)[:, None]
    smooth = SmoothSurface(samples, estimate_planes(samples, device=device), device)
    more, planes = add_samples(points, faces, smooth)
    assert len(more) > 3000 + 3.8 * len(faces)
    np.testing.assert_array_equal(more[:3000], samples)
    assert len(planes.normals) == len(planes.spacing) == len(planes.neighbors) == len(more)
    # Faces of 500 vertices are up to 0.005 inside; a spacing is 0.065.
    assert np.abs(np.linalg.norm(more, axis=1) - 1).mean() < 2e-4
    cosine = np.abs(np.einsum("ij,ij->i", planes.normals, more))
    assert np.quantile(cosine, 0.01) > 0.995
