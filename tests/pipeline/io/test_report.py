"""The report page: complete, well-formed, offline, safe against hostile text, and always there."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.io import report_pictures, report_worst
from pipeline.io.artifacts import save_artifact
from pipeline.io.report import comparison_text, write_report
from pipeline.io.report_contents import collect
from pipeline.io.report_page import verdict
from pipeline.io.report_plots import histogram, line_plot, nice_ticks, number
from pipeline.io.report_scene import MAX_POINTS, cluster_faces, scene, shape
from pipeline.rendering.png import SIGNATURE
from pipeline.topology import boundary_faces
from pipeline.types import Check, Frame, PointCloud, SimReport, SurfaceMesh, TetMesh

VOID = {"meta", "img", "input", "br", "link", "hr"}
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>&"\''
PASSING = (
    Check("min_dihedral_angle", 21.5, 8.0, "min", "deg", "Smallest dihedral angle of all tets."),
    Check("stable_time_step", 3e-5, 1e-5, "min", "s"),
)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(report_pictures, "SIZE", (96, 72))
    monkeypatch.setattr(report_worst, "SIZE", (48, 36))
    monkeypatch.setattr(report_worst, "OVERVIEW", (48, 36))


class Reader(HTMLParser):
    """Checks that elements nest and collects text, tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def section(page: Path, key: str) -> list[str]:
    """Pictures of one section, as they stand in the page."""
    text = page.read_text(encoding="utf-8").split(f'<section id="{key}">')[1].split("</section>")[0]
    return re.findall(r'(?:src|href)="(data:image/png[^"]*)"', text)


def cube(cells: int = 2, frame: Frame | None = None) -> TetMesh:
    """A unit cube of cells^3 cells with six tets each."""
    axis = np.linspace(0.0, 1.0, cells + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    n = cells + 1
    start = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ [
        n * n,
        n,
        1,
    ]
    rows = []
    for order, odd in (("012", 0), ("120", 0), ("201", 0), ("021", 1), ("210", 1), ("102", 1)):
        path = [start]
        for axis_name in order:
            path.append(path[-1] + (n * n, n, 1)[int(axis_name)])
        rows.append(np.stack([path[0], path[2], path[1], path[3]] if odd else path, axis=1))
    return TetMesh(points, np.concatenate(rows).astype(np.int32), frame=frame or Frame())


def entry(**changes) -> dict:
    base = {"status": "done", "version": 1, "seconds": 2.5, "device": "cpu", "seed": 0, "error": None}
    return base | {"config": {"iterations": 50}, "outputs": {}, "counts": {"tets": 48}} | changes


def make_run(folder: Path, checks=PASSING, **stages) -> Path:
    """A run folder with every artifact; `stages` replaces manifest entries, None drops one."""
    mesh = cube()
    faces, _ = boundary_faces(mesh.tets)
    rng = np.random.default_rng(0)
    save_artifact(
        "point_cloud", PointCloud(rng.random((300, 3)), rng.normal(size=(300, 3))), folder / "input"
    )
    save_artifact("surface_mesh", SurfaceMesh(mesh.points, faces), folder / "reconstruct")
    save_artifact("tet_mesh", mesh, folder / "tetrahedralize")
    save_artifact("sim_mesh", cube(3), folder / "optimize")
    time = np.linspace(0, 1, 50)
    drop = {
        "height": 0.25,
        "settled": True,
        "series": {"time": time.tolist(), "lowest_point": (time**2).tolist()},
    }
    material = {"name": "rubber", "youngs_modulus": 2e6, "density": 1100.0}
    report = SimReport(tuple(checks), {"tets": 162}, {"drop": drop, "stretch": {"force": 12.5}}, material)
    save_artifact("sim_report", report, folder / "validate")
    lines = [{"phase": "smooth", "step": k, "total": 20, "worst_energy": 1 / (k + 1)} for k in range(20)]
    (folder / "optimize/history.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"half')
    entries = {
        "reconstruct": entry(outputs={"reconstruct/surface_mesh.npz": "0"}, counts={"duplicate_points": 17}),
        "tetrahedralize": entry(),
        "optimize": entry(history="optimize/history.jsonl"),
        "validate": entry(),
        "export": entry(counts={}),
    } | stages
    manifest = {
        "simmesh": "0.1.0",
        "run": "cube",
        "created": "2026-01-02T03:04:05+00:00",
        "input": {
            "path": "cube.ply",
            "kind": "point cloud",
            "unit": "m",
            "up": "z",
            "counts": {"points": 300},
        },
        "stages": {name: value for name, value in entries.items() if value is not None},
        "versions": {"warp-lang": "1.19.0"},
        "peak_memory_mb": 812.0,
        "ready": all(check.passed for check in checks),
        "summary": "cube: ready",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_full_run_gives_a_complete_page(tmp_path):
    page = write_report(make_run(tmp_path))
    assert page == tmp_path / "report" / "index.html"
    reader = read(page)
    for part in (
        "Ready for simulation: all 2 checks pass",
        "300 points with normals",
        "Input points",
        "Surface",
        "Tets, cut open",
        "Optimized tets, cut open",
        "162 tets, smallest dihedral angle 45.0°",
        "min dihedral angle",
        "Smallest dihedral angle of all tets.",
        "stable time step",
        "lowest point",
        "Progress of optimize",
        "worst energy",
        "duplicate points 17",
        "youngs modulus",
        "warp-lang",
        "Configuration of optimize",
        "812",
    ):
        assert part in reader.text or part in page.read_text(encoding="utf-8"), part
    assert reader.tags.count("canvas") == 1
    assert "noscript" in reader.tags


def test_the_page_asks_nothing_of_the_network(tmp_path):
    page = write_report(make_run(tmp_path))
    text = page.read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "//cdn" not in text
    assert "@import" not in text
    links = [value for name, value in read(page).attributes if name in ("src", "href")]
    assert links
    for link in links:
        assert link.startswith(("data:image/png;base64,", "#", "../")), link[:60]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|importScripts", text)


def test_every_link_leads_to_a_file(tmp_path):
    page = write_report(make_run(tmp_path))
    links = [v for n, v in read(page).attributes if n == "href" and v.startswith("../")]
    assert "../reconstruct/surface_mesh.npz" in links
    for link in links:
        assert (page.parent / link).is_file()


def test_the_pictures_are_png_and_there_is_one_for_each_stage(tmp_path):
    page = write_report(make_run(tmp_path))
    images = section(page, "pictures")
    assert len(images) == 4
    for image in images + section(page, "worst"):
        assert base64.b64decode(image.split(",", 1)[1]).startswith(SIGNATURE)


def test_every_check_is_listed_with_limit_and_mark(tmp_path):
    checks = [Check(f"check_{k}", float(k), 2.5, "max" if k % 2 else "min", "m") for k in range(6)]
    checks.append(Check("not_measured", float("nan"), 1.0, "max"))
    reader = read(write_report(make_run(tmp_path, checks)))
    for check in checks:
        assert check.name.replace("_", " ") in reader.text
    failed = sum(not check.passed for check in checks)
    assert reader.text.count("✕ fail") == failed
    assert reader.text.count("✓ pass") == len(checks) - failed
    assert f"Not ready for simulation: {failed} of 7 checks fail" in reader.text
    assert "not_measured: not a number, should be at most 1" in reader.text
    assert "≥ 2.5 m" in reader.text
    assert "≤ 2.5 m" in reader.text


def test_hostile_names_stay_text(tmp_path):
    failed = entry(status="failed", error=HOSTILE, config={HOSTILE: HOSTILE}, counts={HOSTILE: 3})
    folder = make_run(tmp_path, [Check(HOSTILE, 0.0, 1.0, "min", HOSTILE, HOSTILE)], **{HOSTILE: failed})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["run"] = manifest["summary"] = manifest["input"]["kind"] = manifest["simmesh"] = HOSTILE
    manifest["versions"] = {HOSTILE: HOSTILE}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    clean = read(write_report(make_run(tmp_path / "clean")))
    page = write_report(folder)
    reader = read(page)
    assert reader.tags.count("script") == clean.tags.count("script")
    assert reader.tags.count("img") == clean.tags.count("img")
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert HOSTILE in " ".join(reader.words)
    assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_files_outside_of_the_run_are_not_linked(tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    outputs = {"../secret.txt": "0", "/etc/passwd": "0", "reconstruct/surface_mesh.npz": "0"}
    folder = make_run(tmp_path / "run", export=entry(outputs=outputs, history="../secret.txt"))
    links = [v for n, v in read(write_report(folder)).attributes if n == "href"]
    assert not [link for link in links if "secret" in link or "passwd" in link]


def test_a_failed_stage_shows_its_error_and_none_of_its_old_results(tmp_path):
    failed = entry(status="failed", error="the surface encloses nothing; close it first", seconds=0.4)
    folder = make_run(tmp_path, tetrahedralize=failed, optimize=None, validate=None, export=None)
    page = write_report(folder)
    text = read(page).text
    assert "Stopped: tetrahedralize failed" in text
    assert "the surface encloses nothing; close it first" in text
    assert "not run" in text
    assert len(section(page, "pictures")) == 2
    assert "Optimized" not in text


def test_what_was_altered_in_the_shape_is_said(tmp_path):
    altered = entry(counts={"tets": 48, "closed_openings": 15, "closed_percent": 5.9})
    page = read(write_report(make_run(tmp_path, tetrahedralize=altered)))
    assert "surface was open: 15 openings closed, 5.9 % of the boundary" in page.text


def test_a_missing_validation_is_said(tmp_path):
    folder = make_run(tmp_path, validate=None, export=None)
    assert "Not validated" in read(write_report(folder)).text


@pytest.mark.parametrize(
    "content", [None, "", "{", "[1, 2]", '{"stages": 3, "input": 4}', '{"stages": {"export": 5}}']
)
def test_a_missing_or_damaged_manifest_still_gives_a_page(tmp_path, content):
    folder = make_run(tmp_path)
    (folder / "manifest.json").unlink()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    text = read(write_report(folder)).text
    assert "simmesh report" in text
    assert "Ready for simulation" not in text


def test_a_damaged_artifact_is_said_and_the_rest_is_shown(tmp_path):
    folder = make_run(tmp_path)
    (folder / "optimize/sim_mesh.npz").write_bytes(b"not an archive")
    (folder / "reconstruct/surface_mesh.npz").unlink()
    page = write_report(folder)
    text = read(page).text
    assert "sim_mesh" in text
    assert "reconstruct/surface_mesh is missing although the stage is done" in text
    assert len(section(page, "pictures")) == 2


def test_an_empty_folder_gives_a_page(tmp_path):
    assert "No stage has run." in read(write_report(tmp_path)).text


def test_a_flat_run_is_drawn_as_curves(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    segments = np.stack([np.arange(40), np.roll(np.arange(40), -1)], axis=1).astype(np.int32)
    save_artifact("point_cloud", PointCloud(points), tmp_path / "input")
    save_artifact("surface_mesh", SurfaceMesh(points, segments), tmp_path / "reconstruct")
    manifest = {"input": {"dimension": 2, "kind": "point cloud"}, "stages": {"reconstruct": entry()}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    reader = read(write_report(tmp_path))
    assert "40 segments, 40 vertices" in reader.text
    assert "The input is 2D" in reader.text
    assert "svg" in reader.tags
    assert "canvas" not in reader.tags


def test_the_verdict_needs_the_manifest_and_the_checks(tmp_path):
    folder = make_run(tmp_path)
    contents = collect(folder)
    assert verdict(contents)[0] == "good"
    contents.manifest["ready"] = False
    assert verdict(contents)[0] == "bad"
    contents.manifest["ready"] = None
    assert verdict(contents)[0] == "open"
    contents.manifest["ready"] = True
    contents.artifacts["sim_report"] = SimReport(())
    assert verdict(contents)[0] == "bad"


def test_the_same_run_gives_the_same_page(tmp_path):
    folder = make_run(tmp_path)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_the_scene_holds_the_meshes_z_up_in_one_box(tmp_path):
    mesh = cube(frame=Frame(0.01, "y"))
    save_artifact("sim_mesh", mesh, tmp_path / "optimize")
    (found,) = scene(collect(tmp_path))
    points = np.frombuffer(base64.b64decode(found["points"]), "<f4").reshape(-1, 3)
    x, y, z = mesh.points.T
    upright = np.stack([x, -z, y], axis=1)
    center = 0.5 * (upright.min(axis=0) + upright.max(axis=0))
    np.testing.assert_allclose(points, (upright - center) / np.sqrt(3), atol=1e-7)
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(found["tets"]), "<u4").reshape(-1, 4), mesh.tets
    )
    # Kuhn tets of a cube have dihedral angles of 45, 60 and 90 degrees.
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(found["quality"]), "<f4"), 45.0, rtol=1e-6)


def test_a_large_cloud_is_thinned_and_the_page_says_so():
    cloud = PointCloud(np.random.default_rng(0).random((2 * MAX_POINTS + 1, 3)))
    found = shape("point_cloud", "Points", cloud, cloud.points)
    assert len(base64.b64decode(found["points"])) <= 12 * MAX_POINTS
    assert found["note"] == "One in 3 of 100,001 points is shown."


def test_a_thinned_surface_keeps_its_shape_and_its_limit():
    mesh = cube(24)
    faces, _ = boundary_faces(mesh.tets)
    points, thin = cluster_faces(mesh.points, faces, 800)
    assert 200 < len(thin) <= 800
    assert len(np.unique(np.sort(thin, axis=1), axis=0)) == len(thin)
    a, b, c = (points[thin[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    # A grid of c cells holds about 12 c^2 triangles of the cube; merging pulls its sides in by half a cell.
    cells = np.sqrt(len(thin) / 12)
    assert 6.0 * (1 - 1 / cells) ** 2 <= area <= 6.0


def test_a_strongly_graded_surface_is_thinned_to_near_its_limit():
    mesh = cube(24)
    faces, _ = boundary_faces(mesh.tets)
    # Nearly all triangles lie in a small corner of the box.
    _, thin = cluster_faces(mesh.points**6, faces, 4000)
    assert 2000 < len(thin) <= 4000


def test_numbers_are_written_for_people():
    assert number(1234567.0) == "1,234,567"
    assert number(0.00012346) == "0.0001235"
    assert number(-2.5e-9) == "\N{MINUS SIGN}2.5·10⁻⁹"
    assert number(-0.0) == "0"
    assert number(16650.39) == "16,650"
    assert number(float("nan")) == "not a number"
    assert number(float("inf")) == "∞"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 7), (1e-9, 2e-9), (0, 180), (5, 5), (0, float("nan"))]
)
def test_ticks_lie_inside_and_are_evenly_spaced(low, high):
    ticks = nice_ticks(low, high)
    assert len(ticks) <= 9
    if high > low:
        assert len(ticks) >= 2
        assert min(ticks) >= low - 1e-9 * (high - low)
        assert max(ticks) <= high + 1e-9 * (high - low)
        np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_a_histogram_draws_each_series_at_its_share():
    values = np.array([10.0] * 3 + [100.0])
    text = histogram([("a", "before", values)], label="angle", bounds=(0, 180), bins=18, size=(446, 214))
    # Inner height 160 for 1.06 * 75 %: 75 % is 160 / 1.06 high, 25 % a third of it.
    path = re.search(r'class="before" d="([^"]+)"', text).group(1)
    heights = 174 - np.array(re.findall(r"V([\d.]+)H", path), dtype=float)
    np.testing.assert_allclose(heights[[1, 10]], [160 / 1.06, 160 / 3.18], atol=0.1)
    assert heights[[0, 5, 17]].max() == pytest.approx(0.0, abs=0.1)


def test_lines_leave_gaps_where_a_value_is_missing():
    y = np.array([0.0, 1.0, np.nan, 3.0, 4.0])
    path = re.search(
        r'class="line line-0" d="([^"]+)"', line_plot(np.arange(5.0), [("y", y)], title="t", x_label="x")
    ).group(1)
    assert path.count("M") == 2
    assert path.count("L") == 2
    assert "no finite value" in line_plot(np.arange(2.0), [("y", np.full(2, np.nan))], title="t", x_label="x")
    assert "line line-0 dot" in line_plot(np.arange(1.0), [("y", np.ones(1))], title="t", x_label="x")


def test_a_long_series_keeps_its_peaks():
    y = np.zeros(10_000)
    y[5_001] = 1.0
    path = re.search(
        r'class="line line-0" d="([^"]+)"', line_plot(np.arange(1e4), [("y", y)], title="t", x_label="x")
    ).group(1)
    heights = np.array(re.findall(r" ([\d.]+)", path), dtype=float)
    assert len(heights) <= 410
    assert np.ptp(heights) > 100


def test_a_new_comparison_makes_a_new_page(tmp_path):
    folder = make_run(tmp_path)
    assert comparison_text(folder) == ""
    assert "Against the baseline" not in read(write_report(folder)).text
    (folder / "comparison.json").write_text('{"metrics": [{"name": "volume", "status": "worse"}]}')
    assert comparison_text(folder) != ""
    assert "1 worse, 0 better" in read(write_report(folder)).text
