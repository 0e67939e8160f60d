"""Damaged surfaces and clouds are repaired when asked, and what was done is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io.formats import read_any, read_points, read_surface
from pipeline.io.geometry import Geometry
from pipeline.io.surface_repair import repair_raw
from pipeline.types import PointCloud, SurfaceMesh

CORNERS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (5, 5, 5)]


def write(path: Path, points: list[tuple], faces: list[str]) -> Path:
    lines = [f"v {x} {y} {z}" for x, y, z in points] + [f"f {face}" for face in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_defect_of_a_surface_is_counted(tmp_path: Path) -> None:
    points = [*CORNERS, ("nan", 0, 0)]
    faces = [
        "1 2 3 4",
        "1 2 3",
        "3 1 2",
        "4 3 2 1",
        "1 2 6",
    ]  # the third and fourth repeat, the fifth is not finite
    path = write(tmp_path / "bad.obj", points, faces)
    with pytest.raises(InputError, match="NaN"):
        read_any(path)
    context = RunContext()
    mesh = read_any(path, context=context, repair=True)
    assert isinstance(mesh, SurfaceMesh)
    np.testing.assert_array_equal(mesh.points, CORNERS[:4])
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    wanted = {"faces_not_finite": 1, "faces_duplicate": 2, "unused_points": 2, "polygons_split": 1}
    assert context.counts == wanted


def test_faces_that_name_no_point_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "bad.off"
    path.write_text("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 9\n")
    with pytest.raises(InputError, match="outside"):
        read_surface(path)
    context = RunContext()
    assert len(read_surface(path, context=context, repair=True).faces) == 1
    assert context.counts == {"faces_outside": 1, "unused_points": 1}


def test_normals_and_colours_stay_with_their_points() -> None:
    points = np.array([[0.0, 0, 0], [np.nan, 0, 0], [2, 0, 0]])
    rows = np.arange(9.0).reshape(3, 3)
    raw = repair_raw(Geometry(points, normals=rows, colors=10 * rows))
    assert raw.points[:, 0].tolist() == [0.0, 2.0]
    assert raw.normals is not None
    assert raw.colors is not None
    np.testing.assert_array_equal(raw.normals, rows[[0, 2]])
    np.testing.assert_array_equal(raw.colors, 10 * rows[[0, 2]])


def test_texture_coordinates_stay_with_their_corners() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, np.inf]])
    raw = Geometry.of_triangles(points, [[0, 1, 3], [2, 0, 1]])
    raw.texture_coordinates = np.arange(12.0).reshape(6, 2)
    mended = repair_raw(raw)
    assert np.asarray(mended.face_vertices).tolist() == [2, 0, 1]
    np.testing.assert_array_equal(mended.texture_coordinates, raw.texture_coordinates[3:])


def test_points_that_are_not_finite_are_dropped(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    points[[3, 8]] = np.inf
    np.save(tmp_path / "cloud.npy", points)
    context = RunContext()
    cloud = read_points(tmp_path / "cloud.npy", context=context, repair=True)
    assert isinstance(cloud, PointCloud)
    np.testing.assert_array_equal(cloud.points, np.delete(points, [3, 8], axis=0))
    assert context.counts == {"points_not_finite": 2}


def test_what_is_good_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "good.obj", CORNERS[:4], ["1 2 3", "1 3 4"])
    context = RunContext()
    mesh = read_any(path, context=context, repair=True)
    assert isinstance(mesh, SurfaceMesh)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert context.counts == {}


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", np.full((5, 3), np.nan))
    with pytest.raises(InputError, match="no point is left after repair"):
        read_any(tmp_path / "cloud.npy", repair=True)
    path = write(tmp_path / "bad.obj", [*CORNERS[:3], ("inf", 0, 0)], ["1 2 4"])
    with pytest.raises(InputError, match="no face is left after repair"):
        read_any(path, repair=True)
