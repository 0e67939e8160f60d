"""Summary of surfaces whose topology and measures are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.metrics.surface import aspect_ratios, surface_summary, vertex_fans
from pipeline.types import SurfaceMesh

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def test_a_tetrahedron_is_watertight_with_its_volume() -> None:
    s = surface_summary(SurfaceMesh(TETRAHEDRON + 100, FACES))
    assert s["watertight"]
    assert s["oriented"]
    assert (s["vertices"], s["faces"], s["components"], s["euler_characteristic"]) == (4, 4, 1, 2)
    assert s["volume"] == pytest.approx(1 / 6, rel=1e-12)
    assert s["area"] == pytest.approx(1.5 + np.sqrt(3) / 2, rel=1e-12)
    json.dumps(s)


def test_an_open_tetrahedron_has_one_loop() -> None:
    s = surface_summary(SurfaceMesh(TETRAHEDRON, FACES[:3]))
    assert not s["watertight"]
    assert s["volume"] is None
    assert (s["boundary_edges"], s["boundary_loops"], s["nonmanifold_vertices"]) == (3, 1, 0)


def test_a_turned_face_is_not_oriented() -> None:
    faces = FACES.copy()
    faces[0] = faces[0][[0, 2, 1]]
    s = surface_summary(SurfaceMesh(TETRAHEDRON, faces))
    assert s["watertight"]
    assert not s["oriented"]
    assert s["volume"] is None


def test_a_third_face_on_an_edge_is_not_manifold() -> None:
    points = np.vstack([TETRAHEDRON, [[1.0, 1.0, 1.0]]])
    s = surface_summary(SurfaceMesh(points, np.vstack([FACES, [[0, 1, 4]]])))
    assert s["nonmanifold_edges"] == 1
    assert not s["watertight"]


def test_two_tetrahedra_at_a_corner_pinch_it() -> None:
    points = np.vstack([TETRAHEDRON, -TETRAHEDRON[1:]])
    other = np.where(FACES > 0, FACES + 3, 0)[:, [0, 2, 1]]
    s = surface_summary(SurfaceMesh(points, np.vstack([FACES, other])))
    assert (s["components"], s["nonmanifold_vertices"], s["nonmanifold_edges"]) == (2, 1, 0)
    assert vertex_fans(np.vstack([FACES, other])).tolist() == [2, 1, 1, 1, 1, 1, 1]


def test_aspect_ratio_of_known_triangles() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, np.sqrt(3) / 2, 0], [0, 1, 0], [2, 0, 0]])
    got = aspect_ratios(points, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    # Right isosceles: sqrt(2) (2 + sqrt(2)) / (4 sqrt(3) / 2).
    np.testing.assert_allclose(got[:2], [1.0, np.sqrt(2) * (2 + np.sqrt(2)) / (2 * np.sqrt(3))], rtol=1e-12)
    assert got[2] == np.inf


def test_curves_count_ends_and_junctions() -> None:
    points = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 2]])
    square = surface_summary(SurfaceMesh(points, np.array([[0, 1], [1, 2], [2, 3], [3, 0]])))
    assert square["watertight"]
    assert square["length"] == 4.0
    assert square["vertices"] == 4
    tail = surface_summary(SurfaceMesh(points, np.array([[0, 1], [1, 2], [2, 3], [3, 0], [2, 4]])))
    assert (tail["ends"], tail["junctions"], tail["watertight"]) == (1, 1, False)


@pytest.mark.parametrize("width", [2, 3])
def test_nothing_is_not_watertight(width: int) -> None:
    empty = SurfaceMesh(np.zeros((0, width)), np.zeros((0, width), dtype=np.int32))
    s = surface_summary(empty)
    assert not s["watertight"]
    assert s["faces"] == 0
    assert s["components"] == 0
    json.dumps(s)
