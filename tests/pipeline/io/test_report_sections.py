"""Sections of the report: worst elements, motions, comparison with a baseline, before and after."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from pipeline.io import report_motion, report_worst
from pipeline.io.baseline_files import write_comparison
from pipeline.io.report_comparison import before_after, comparison
from pipeline.io.report_contents import Contents
from pipeline.io.report_motion import LEVELS, motion_shapes
from pipeline.io.report_results import files
from pipeline.io.report_worst import close_up, worst_elements
from pipeline.metrics.baseline import Comparison, Row
from pipeline.metrics.tet import tet_quality
from pipeline.rendering.colormap import hex_to_rgb
from pipeline.topology import boundary_faces
from pipeline.types import Frame, Motion, Obstacle, SimReport, TetMesh


def contents_of(folder, mesh=None, report=None, stages=None) -> Contents:
    contents = Contents(folder, {"stages": stages or {}})
    if mesh is not None:
        contents.artifacts["sim_mesh"] = mesh
    if report is not None:
        contents.artifacts["sim_report"] = report
    return contents


def with_sliver(box: TetMesh) -> tuple[TetMesh, int]:
    """The box with its inner point moved towards a face of one of its tets; returns the row of the worst."""
    inner = int(np.flatnonzero(~np.isin(np.arange(len(box.points)), boundary_faces(box.tets)[0]))[0])
    row = int(np.flatnonzero((box.tets == inner).any(axis=1))[0])
    face = box.points[np.setdiff1d(box.tets[row], [inner])].mean(axis=0)
    points = box.points.copy()
    points[inner] = face + 0.02 * (points[inner] - face)
    worst = int(tet_quality(points, box.tets)["min_dihedral_angle"].argmin())
    return TetMesh(points, box.tets, frame=box.frame), worst


def test_the_worst_tet_is_named_with_index_position_and_angle(tmp_path, make_box, monkeypatch):
    monkeypatch.setattr(report_worst, "SIZE", (40, 30))
    monkeypatch.setattr(report_worst, "OVERVIEW", (40, 30))
    mesh, row = with_sliver(make_box(2))
    mesh = TetMesh(mesh.points * 100, mesh.tets, frame=Frame(0.01, "y"))
    angle = tet_quality(mesh.points, mesh.tets)["min_dihedral_angle"]
    assert angle[row] < 5.0 < np.sort(angle)[len(angle) // 2]
    text = worst_elements(contents_of(tmp_path, mesh))
    assert f"1: tet {row:,}</b>" in text
    assert f"smallest dihedral angle {angle[row]:.3g}°" in text
    x, y, z = mesh.points[mesh.tets[row]].mean(axis=0)
    found = re.findall(r"at \(([^)]*)\) (\w+)", text)[0]
    assert found[1] == "cm"
    # In the coordinates of the file, to the four digits that are shown.
    shown = [float(v.replace("\N{MINUS SIGN}", "-")) for v in found[0].split(", ")]
    np.testing.assert_allclose(shown, [x, y, z], rtol=1e-3)


def test_what_validation_names_as_worst_is_among_them(tmp_path, make_box, monkeypatch):
    monkeypatch.setattr(report_worst, "SIZE", (40, 30))
    monkeypatch.setattr(report_worst, "OVERVIEW", (40, 30))
    box = make_box(2, seed=1)
    order = np.argsort(tet_quality(box.points, box.tets)["min_dihedral_angle"])
    best, other = int(order[-1]), int(order[-2])  # not among the worst angles
    step = {"tet": best, "metric": "explicit time step [s]", "value": 1.25e-4, "position": [0, 0, 0]}
    second = step | {"tet": other}  # of each number, the worst alone
    squeezed = {"tet": best, "metric": "smallest volume ratio", "value": 0.31}
    drop = {"worst": [squeezed]}
    report = SimReport((), {"worst_elements": [step, second]}, {"drop": drop, "odd": 3})
    text = worst_elements(contents_of(tmp_path, box, report))
    assert f"5: tet {best:,}</b>" in text
    assert "worst explicit time step [s], 0.000125; worst smallest volume ratio in drop, 0.31" in text
    assert f"tet {other:,}</b>" not in text
    damaged = SimReport((), {"worst_elements": [step | {"tet": 10**9}, step | {"value": None}, {}]})
    assert "5: tet" not in worst_elements(contents_of(tmp_path, box, damaged))


def test_the_element_is_seen_in_red_even_inside_the_body(make_box):
    mesh, row = with_sliver(make_box(2))
    angle = tet_quality(mesh.points, mesh.tets)["min_dihedral_angle"]
    for element in (row, 0):
        pixels = close_up(mesh.points, mesh.tets, element, angle, (80, 60)).astype(float) / 255
        hue = pixels[..., :3] / np.maximum(pixels[..., :3].sum(axis=-1, keepdims=True), 1e-9)
        red = np.array(hex_to_rgb(report_worst.RED)) / sum(hex_to_rgb(report_worst.RED))
        is_red = (np.abs(hue - red).max(axis=-1) < 0.15) & (pixels[..., 3] > 0.9)
        assert is_red.mean() > 0.01


def test_motions_are_scaled_as_the_mesh_and_true_to_a_pixel(tmp_path, make_box):
    box = make_box(2, seed=2)
    times = np.array([0.0, 0.3, 0.5])
    frames = np.array([box.points - t * np.array([0, 0, 1]) for t in times])
    report = SimReport((), motions={"drop": Motion(times, frames)})
    (shape,) = motion_shapes(contents_of(tmp_path, TetMesh(box.points, box.tets), report))
    assert shape["timed"] is False
    timed = SimReport((), {}, {"drop": {"series": {"time": [0.0, 0.5]}}}, {}, report.motions)
    assert motion_shapes(contents_of(tmp_path, box, timed))[0]["timed"] is True
    assert (shape["label"], shape["times"]) == ("Drop", times.tolist())
    levels = np.frombuffer(base64.b64decode(shape["frames"]), "<u2").reshape(3, -1, 3)
    low, high = np.array(shape["low"]), np.array(shape["high"])
    shown = low + (high - low) * levels / LEVELS
    np.testing.assert_allclose(low, -high, atol=1e-12)  # in the middle of the view
    size = np.linalg.norm(np.ptp(box.points, axis=0))
    skin = np.unique(boundary_faces(box.tets)[0])
    expected = frames[:, skin] / size
    np.testing.assert_allclose(
        np.diff(shown, axis=0), np.diff(expected, axis=0), atol=(high - low).max() / LEVELS
    )
    faces = np.frombuffer(base64.b64decode(shape["faces"]), "<u4").reshape(-1, 3)
    np.testing.assert_array_equal(skin[faces], boundary_faces(box.tets)[0])


def test_what_the_body_touches_is_drawn_by_its_sharp_edges(tmp_path, make_box):
    box = make_box(1)
    way = np.array([[0, 0, 0], [0, 0, -0.5]])
    plate = Obstacle(box.points, boundary_faces(box.tets)[0], way)
    motion = Motion([0.0, 1.0], np.array([box.points, box.points]), {"plate": plate})
    (shape,) = motion_shapes(contents_of(tmp_path, box, SimReport((), motions={"press": motion})))
    (drawn,) = shape["obstacles"]
    lines = np.frombuffer(base64.b64decode(drawn["lines"]), "<f4").reshape(-1, 2, 3)
    offsets = np.frombuffer(base64.b64decode(drawn["offsets"]), "<f4").reshape(-1, 3)
    size = np.linalg.norm(np.ptp(box.points, axis=0))
    assert len(lines) == 12  # of 18: no diagonal of a side
    np.testing.assert_allclose(np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1), 1 / size, rtol=1e-6)
    np.testing.assert_allclose(offsets, way / size, rtol=1e-6)
    # In the coordinates of the body, which fills the same cube.
    np.testing.assert_allclose(lines.min(axis=(0, 1)), shape["low"], atol=1e-6)


def test_large_motions_are_thinned_and_the_page_says_so(tmp_path, make_box, monkeypatch):
    monkeypatch.setattr(report_motion, "MAX_TRIANGLES", 300)
    monkeypatch.setattr(report_motion, "MAX_BYTES", 6 * 200 * 5)
    box = make_box(8)
    times = np.linspace(0, 1, 20)
    frames = np.array([box.points * (1 + t) for t in times])
    report = SimReport((), motions={"press": Motion(times, frames)})
    (shape,) = motion_shapes(contents_of(tmp_path, box, report))
    faces = np.frombuffer(base64.b64decode(shape["faces"]), "<u4").reshape(-1, 3)
    assert 0 < len(faces) <= 300
    assert "thinned" in shape["note"]
    levels = np.frombuffer(base64.b64decode(shape["frames"]), "<u2").reshape(len(shape["times"]), -1, 3)
    assert levels.nbytes <= report_motion.MAX_BYTES
    assert (shape["times"][0], shape["times"][-1]) == (0.0, 1.0)
    # Merged vertices move with the body: the box of each frame grows as the body does.
    spans = np.ptp(levels.astype(float), axis=1) * (np.array(shape["high"]) - shape["low"]) / LEVELS
    np.testing.assert_allclose(
        spans / spans[0], 1.0 + np.array(shape["times"])[:, None] * [1, 1, 1], rtol=1e-3
    )


def test_numbers_of_near_tets_share_a_label():
    places = np.array([[10.0, 10.0], [200.0, 50.0], [15.0, 12.0], [200.0, 90.0]])
    assert report_worst._labels(places) == [
        (10.0, 10.0, "1, 3"),
        (200.0, 50.0, "2"),
        (200.0, 90.0, "4"),
    ]


def test_a_motion_of_another_mesh_is_said(tmp_path, make_box):
    report = SimReport((), motions={"drop": Motion([0.0, 1.0], np.zeros((2, 5, 3)))})
    with pytest.raises(ValueError, match="drop moves 5 points, the mesh has 8"):
        motion_shapes(contents_of(tmp_path, make_box(1), report))


def test_the_comparison_shows_the_worse_first(tmp_path):
    rows = (
        Row("quality.mean_ratio.mean", "same", 0.9, 0.9),
        Row("volume", "better", 2.0, 1.0),
        Row("quality.min_dihedral_angle.min", "worse", 3.5, 21.0, 0.4, "tet 12 <b>at</b> (0, 1, 2)"),
        Row("pieces", "missing", None, 1.0),
    )
    assert comparison(contents_of(tmp_path)) == ""
    write_comparison(tmp_path / "comparison.json", Comparison(rows), "mesh")
    text = comparison(contents_of(tmp_path))
    assert "2 worse, 1 better, 1 others" in text
    order = ["min dihedral angle, min", "pieces", "volume", "mean ratio, mean"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "tet 12 &lt;b&gt;at&lt;/b&gt; (0, 1, 2)" in text
    write_comparison(tmp_path / "comparison.json", Comparison(rows[:2]), "mesh")
    assert "Nothing is worse; 1 better, 1 others" in comparison(contents_of(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", '{"metrics": 3}', '{"metrics": [3]}'])
def test_a_damaged_comparison_is_an_error_of_its_section(tmp_path, content):
    (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(ValueError):
        comparison(contents_of(tmp_path))


def test_before_and_after_optimize_stand_side_by_side(tmp_path):
    readiness = {
        "before": {"element_time_step": 1e-5, "note": "x", "gone": 3},
        "after": {"element_time_step": 4e-5, "note": "y", "new": 2},
    }
    text = before_after(contents_of(tmp_path, stages={"optimize": {"readiness": readiness}}))
    assert re.findall(r'<td class="n">([^<]*)</td>', text) == ["1·10⁻⁵", "4·10⁻⁵", "4"]
    for other in (
        {},
        {"optimize": {}},
        {"optimize": {"readiness": 3}},
        {"optimize": {"readiness": {"before": {}}}},
    ):
        assert before_after(contents_of(tmp_path, stages=other)) == ""


def test_every_file_is_a_download_and_the_asset_comes_first(tmp_path):
    names = {
        "validate": ["validate/sim_report.json", "validate/frames_drop.npz"],
        "export": ["export/asset.json", "export/asset.usdc", "export/asset_animation.usdc"],
    }
    stages = {}
    for stage, paths in names.items():
        for path in paths:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text("x")
        stages[stage] = {"outputs": dict.fromkeys(paths, "0")}
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    text = files(contents_of(tmp_path, stages=stages))
    links = re.findall(r'href="\.\./([^"]*)" download', text)
    first, *others = sorted(names["export"], key=lambda name: not name.endswith("asset.usdc"))
    assert links == [first, *others, *names["validate"], "manifest.json"]
