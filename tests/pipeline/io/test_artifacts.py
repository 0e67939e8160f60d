"""Artifacts come back exactly, and the same artifact gives the same bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import meshio
import numpy as np
import pytest

from pipeline.errors import InputError, InvalidMeshError
from pipeline.io.artifacts import load_artifact, save_artifact
from pipeline.io.assets import Asset
from pipeline.types import Check, Frame, Motion, Obstacle, PointCloud, SimReport, SurfaceMesh

FRAME = Frame(0.0254, "y")


def assert_same(value, back):
    assert type(back) is type(value)
    assert back.frame == value.frame
    for name, array in vars(value).items():
        if isinstance(array, np.ndarray):
            assert getattr(back, name).dtype == array.dtype
            np.testing.assert_array_equal(getattr(back, name), array)
        else:
            assert getattr(back, name) == array


def samples(make_box, make_surface):
    rng = np.random.default_rng(1)
    box = make_box(2, seed=1, labelled=True)
    return {
        "point_cloud": PointCloud(rng.normal(size=(9, 3)), frame=FRAME),
        "plane_cloud": PointCloud(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), rng.random((9, 3))),
        "surface_mesh": replace(make_surface(4), frame=FRAME),
        "curve": SurfaceMesh(rng.random((3, 2)), [[0, 1], [1, 2]]),
        "no_faces": SurfaceMesh(np.zeros((1, 3)), np.zeros((0, 3), dtype=np.int32)),
        "tet_mesh": make_box(1),
        "sim_mesh": replace(box, crease_edges=np.array([[0, 1], [1, 4]], dtype=np.int32), frame=FRAME),
    }


def test_geometry_comes_back_exactly(tmp_path, make_box, make_surface):
    for name, value in samples(make_box, make_surface).items():
        files = save_artifact(name, value, tmp_path)
        assert all(file.is_file() for file in files)
        assert_same(value, load_artifact(name, tmp_path))


def test_the_same_artifact_gives_the_same_bytes(tmp_path, make_box, make_surface):
    for name, value in samples(make_box, make_surface).items():
        first, second = (save_artifact(name, value, tmp_path / folder) for folder in ("a", "b"))
        for a, b in zip(first, second):
            assert a.read_bytes() == b.read_bytes(), a.name


def test_files_beside_the_archive(tmp_path, make_box, make_surface):
    assert [p.name for p in save_artifact("surface_mesh", make_surface(1), tmp_path)] == [
        "surface_mesh.npz",
        "surface_mesh.ply",
    ]
    box = make_box(1, seed=2)
    assert [p.name for p in save_artifact("tet_mesh", box, tmp_path)] == ["tet_mesh.npz", "tet_mesh.msh"]
    files = save_artifact("sim_mesh", box, tmp_path, cell_data={"mean_ratio": box.volumes})
    assert [p.name for p in files] == ["sim_mesh.npz", "sim_mesh.msh", "sim_mesh.vtu"]
    mesh = meshio.read(tmp_path / "sim_mesh.vtu")
    np.testing.assert_array_equal(mesh.points, box.points)
    np.testing.assert_array_equal(mesh.cell_data["mean_ratio"][0], box.volumes)


def test_report_comes_back_from_valid_json(tmp_path):
    report = SimReport(
        checks=(
            Check("a", 1.5, 1.0, "min", "m", "why"),
            Check("b", math.nan, 1.0, "max"),
            Check("c", 1.0, math.inf, "max"),
        ),
        metrics={
            "x": np.float32(0.5),
            "list": np.arange(3),
            "flag": np.bool_(True),
            "none": None,
            "low": -math.inf,
        },
        scenarios={"drop": {"series": [1.0, 2.5], "name": "drop"}},
        material={"youngs_modulus": 1e6},
    )
    (path,) = save_artifact("sim_report", report, tmp_path)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = load_artifact("sim_report", tmp_path)
    assert back.checks[0] == report.checks[0]
    assert math.isnan(back.checks[1].value)
    assert back.checks[2] == report.checks[2]
    assert back.metrics == {"x": 0.5, "list": [0, 1, 2], "flag": True, "none": None, "low": -math.inf}
    assert (back.scenarios, back.material, back.passed) == (report.scenarios, report.material, False)


def test_motions_stand_beside_the_report_that_names_them(tmp_path):
    plate = Obstacle(np.eye(3), [[0, 1, 2]], np.random.default_rng(1).random((3, 3)))
    obstacles = {"upper plate": plate, "a.points": plate}
    motion = Motion([0.0, 0.5, 2.0], np.random.default_rng(0).random((3, 5, 3)), obstacles)
    report = SimReport((), motions={"drop": motion})
    files = save_artifact("sim_report", report, tmp_path)
    assert [file.name for file in files] == ["sim_report.json", "frames_drop.npz"]
    back = load_artifact("sim_report", tmp_path).motions["drop"]
    np.testing.assert_array_equal(back.times, motion.times)
    np.testing.assert_array_equal(back.points, motion.points)
    assert back.points.dtype == np.float32
    for name, obstacle in motion.obstacles.items():
        for part in ("points", "faces", "offsets"):
            np.testing.assert_array_equal(
                getattr(back.obstacles[name], part), getattr(obstacle, part), strict=True
            )
    assert list(back.obstacles) == ["upper plate", "a.points"]
    # Two reports in one folder do not share a file.
    other = save_artifact("other", report, tmp_path)
    assert not set(other) & set(files)


def test_last_good_state_stands_beside_the_report(tmp_path):
    state = {name: np.random.default_rng(0).random((5, 3)) for name in ("positions", "velocities")}
    files = save_artifact("sim_report", SimReport((), last_states={"drop": state}), tmp_path)
    assert [file.name for file in files] == ["sim_report.json", "diverged_drop.npz"]
    back = load_artifact("sim_report", tmp_path).last_states["drop"]
    assert set(back) == set(state)
    for name, values in state.items():
        np.testing.assert_array_equal(back[name], values)


def test_a_report_reaches_for_no_file_outside_its_folder(tmp_path):
    inner = tmp_path / "inner"
    motion = Motion([0.0, 1.0], np.zeros((2, 4, 3)))
    save_artifact("sim_report", SimReport((), motions={"drop": motion}), inner)
    (inner / "frames_drop.npz").replace(tmp_path / "frames_drop.npz")
    document = inner / "sim_report.json"
    document.write_text(document.read_text().replace("frames_drop.npz", "../frames_drop.npz"))
    assert load_artifact("sim_report", inner).motions == {}


@pytest.mark.parametrize(
    ("times", "points"),
    [
        ([0.0, 0.0], np.zeros((2, 1, 3))),
        ([0.0, 1.0], np.zeros((1, 1, 3))),
        ([0.0, np.nan], np.zeros((2, 1, 3))),
        ([0.0, 1.0], np.full((2, 1, 3), np.inf)),
        ([0.0], np.zeros((1, 3))),
    ],
)
def test_a_motion_needs_increasing_times_and_finite_positions(times, points):
    with pytest.raises(InvalidMeshError, match="motion"):
        Motion(times, points)


def test_an_obstacle_has_a_place_at_every_frame_and_faces_of_its_own():
    points, faces, way = np.eye(3), [[0, 1, 2]], np.zeros((2, 3))
    with pytest.raises(InvalidMeshError, match="plate has 2 frames, the body 3"):
        Motion([0.0, 1.0, 2.0], np.zeros((3, 1, 3)), {"plate": Obstacle(points, faces, way)})
    for wrong in ((np.full((3, 3), np.nan), faces, way), (points, [[0, 1, 3]], way), (points, faces, [0.0])):
        with pytest.raises(InvalidMeshError, match="obstacle"):
            Obstacle(*wrong)


def test_asset_comes_back_with_its_files(tmp_path):
    (tmp_path / "asset.msh").touch()
    asset = Asset({"msh": tmp_path / "asset.msh"}, 2.0, 0.002, {"tets": 3}, {"density": 1000.0}, True)
    assert save_artifact("asset", asset, tmp_path) == [tmp_path / "asset.json", tmp_path / "asset.msh"]
    assert load_artifact("asset", tmp_path) == asset


def test_missing_and_damaged_artifacts(tmp_path):
    with pytest.raises(InputError, match="holds no sim_mesh"):
        load_artifact("sim_mesh", tmp_path)
    (tmp_path / "sim_mesh.npz").write_bytes(b"PK")
    (tmp_path / "sim_report.json").write_text('{"checks": [')
    for name in ("sim_mesh", "sim_report"):
        with pytest.raises(InputError, match=name):
            load_artifact(name, tmp_path)


def test_other_things_are_refused(tmp_path):
    with pytest.raises(TypeError, match="got dict"):
        save_artifact("thing", {}, tmp_path)
