"""`simmesh VERB IN OUT`: files in and out, and one readable error for each kind of bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest

from pipeline import (
    PointCloud,
    SurfaceMesh,
    TetMesh,
    read_any,
    read_surface,
    write_points,
    write_surface,
    write_tets,
)
from pipeline.cli import main
from pipeline.io.usd import boundary_surface
from pipeline.types import Frame
from tests.pipeline.shapes import box, sphere

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("verb", ["reconstruct", "tetrahedralize", "optimize", "validate", "export"])
def test_each_verb_tells_what_to_type_and_what_can_be_set(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"simmesh {verb} IN OUT" in text
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    names = [k for k, line in enumerate(lines) if line.startswith(f"  {verb}.")]
    assert names
    for k in names:  # every setting says what it is, beside its name or on the next line
        assert lines[k][38:].strip() or lines[k + 1].startswith(" " * 38), lines[k]


def write_bad(name: str) -> Path:
    """Write one of the inputs that cannot be used."""
    path = Path(f"{name}.npy")
    points = sphere(50)
    if name == "empty":
        path = Path("empty.ply")
        path.write_bytes(b"")
    elif name == "text":
        path = Path("text.ply")
        path.write_text("Dear reader, this is a letter and not a mesh.\n")
    elif name == "nan":
        points[7] = np.nan
        np.save(path, points)
    elif name == "infinite":
        points[3, 1] = np.inf
        np.save(path, points)
    elif name == "three_points":
        np.save(path, points[:3])
    elif name == "all_equal":
        np.save(path, np.ones((100, 3)))
    elif name == "coplanar":
        points[:, 2] = 0.0
        np.save(path, points)
    elif name == "duplicates":
        np.save(path, np.repeat(points[:3], 400_000, axis=0)[:1_000_000])
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["empty"]),
        ("text", ["ply"]),
        ("nan", ["1 of 50 rows", "NaN", "7"]),
        ("infinite", ["1 of 50 rows", "infinite", "3"]),
        ("three_points", ["3", "4"]),
        ("all_equal", ["equal"]),
        ("coplanar", ["plane"]),
        ("duplicates", ["4"]),
    ],
)
def test_points_that_cannot_be_used_give_one_error(
    fails: Callable[..., str], name: str, words: list[str]
) -> None:
    path = write_bad(name)
    commands = [["reconstruct", path, "out.ply"], ["run", f"input.path={path}", "run.dir=new/run"]]
    for command in commands[: 1 if name == "duplicates" else 2]:
        error = fails(*command)
        for word in words:
            assert word in error
    assert not Path("out.ply").exists()
    if name in ("empty", "text", "nan", "infinite"):  # never read: not even an empty folder is left
        assert not Path("new").exists()


def test_an_obj_with_texture_coordinates_works() -> None:
    lines = [f"v {x} {y} {z}" for x, y, z in box().points]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vn 0 0 1"]
    lines += ["f " + " ".join(f"{v + 1}/{k + 1}/1" for k, v in enumerate(face)) for face in box().faces]
    Path("box.obj").write_text("\n".join(lines) + "\n")
    assert main(["tetrahedralize", "box.obj", "box.msh", "target_tets=200"]) == 0
    mesh = read_any("box.msh")
    assert isinstance(mesh, TetMesh)
    # A box keeps its creases, so its volume is met up to the fit of the boundary.
    np.testing.assert_allclose(mesh.volumes.sum(), 1.0, rtol=0.05)


def test_an_open_sheet_encloses_nothing(fails: Callable[..., str]) -> None:
    grid = np.array(
        [[x, y, 0.01 * np.sin(3 * x)] for x in np.linspace(0, 1, 9) for y in np.linspace(0, 1, 9)]
    )
    cell = np.array(
        [[9 * i + j, 9 * i + j + 1, 9 * i + j + 10, 9 * i + j + 9] for i in range(8) for j in range(8)]
    )
    write_surface("sheet.ply", SurfaceMesh(grid, np.concatenate([cell[:, [0, 1, 2]], cell[:, [0, 2, 3]]])))
    assert "encloses nothing" in fails("tetrahedralize", "sheet.ply", "out.msh")
    assert not Path("out.msh").exists()
    assert "encloses nothing" in fails("run", "input.path=sheet.ply")
    assert (
        json.loads(Path("runs/sheet/manifest.json").read_text())["stages"]["tetrahedralize"]["status"]
        == "failed"
    )


@pytest.mark.parametrize(("defect", "word"), [("inverted", "inverted"), ("duplicate", "duplicate")])
def test_bad_tets_are_counted_and_refused(fails: Callable[..., str], defect: str, word: str) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=float)
    tets = [[0, 1, 2, 3], [1, 2, 3, 4]] if defect == "duplicate" else [[0, 1, 2, 3], [1, 3, 2, 4]]
    tets += [[1, 2, 3, 0]] if defect == "duplicate" else []
    if defect == "duplicate":
        tets[1] = [1, 4, 3, 2] if np.linalg.det(points[[4, 3, 2]] - points[1]) > 0 else [1, 3, 4, 2]
        tets[2] = [2, 0, 1, 3]
    meshio.Mesh(points, [("tetra", np.array(tets))]).write("bad.vtu")
    error = fails("validate", "bad.vtu", "report.json")
    assert word in error
    assert "1" in error
    assert not Path("report.json").exists()


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("reconstruct", "out.msh"),
        ("tetrahedralize", "out.stl"),
        ("validate", "out.txt"),
        ("export", "out.step"),
    ],
)
def test_an_output_of_a_wrong_kind_is_refused_before_any_work(
    fails: Callable[..., str], verb: str, target: str
) -> None:
    write_points("cloud.npz", PointCloud(sphere()))
    assert "cannot write" in fails(verb, "cloud.npz", target)


def test_an_input_of_a_wrong_kind_says_which_verb_comes_first(fails: Callable[..., str]) -> None:
    write_points("cloud.npz", PointCloud(sphere()))
    write_surface("box.ply", box())
    assert "simmesh reconstruct" in fails("tetrahedralize", "cloud.npz", "out.msh")
    assert "simmesh tetrahedralize" in fails("validate", "box.ply", "report.json")


def test_an_output_folder_that_cannot_be_made_is_refused(fails: Callable[..., str]) -> None:
    Path("file").write_text("")
    assert "part of the path is a file" in fails("run", "experiment=smoke", "run.dir=file/run")
    assert "part of the path is a file" in fails("reconstruct", "warp:sphere.usd", "file/out.ply")
    if Path("/proc/self").exists():
        error = fails("run", "experiment=smoke", "run.dir=/proc/xx")
        assert "no folder can be made there; choose another" in error


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_an_output_folder_without_permission_is_refused(fails: Callable[..., str]) -> None:
    Path("closed").mkdir(mode=0o500)
    assert "no permission" in fails("run", "experiment=smoke", "run.dir=closed/run")


def test_files_in_and_out_through_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    cloud = PointCloud(10.0 * sphere(1500), frame=Frame(0.01, "y"))
    write_points("ball.npz", cloud)
    assert main(["reconstruct", "ball.npz", "ball.ply", "reconstruct.max_faces=300"]) == 0
    # A .ply keeps no unit: the next stage is told.
    unit = ["input.unit=cm", "input.up=y"]
    assert main(["tetrahedralize", "ball.ply", "ball.npz", "target_tets=300", *unit]) == 0
    assert main(["optimize", "ball.npz", "better.npz", "surface=ball.ply"]) == 0
    better = read_any("better.npz")
    assert isinstance(better, TetMesh)
    assert better.frame == Frame(0.01, "y")
    assert (
        main(
            [
                "validate",
                "better.npz",
                "report.json",
                "material.density=500",
                "validate.solver.max_iterations=150",
            ]
        )
        == 0
    )
    report = json.loads(Path("report.json").read_text())
    assert report["passed"] is True
    assert report["material"]["density"] == 500
    assert main(["export", "better.npz", "asset", "report=report.json"]) == 0
    assert {p.suffix for p in Path("asset").iterdir()} >= {".usdc", ".msh", ".vtu", ".npz"}
    assert main(["export", "better.npz", "one.usda", "density=500"]) == 0
    assert {"one.usda"} <= {p.name for p in Path().glob("*one*")} <= {"one.usda", "one_preview.png"}
    assert main(["export", "better.npz", "two.xml", "density=500"]) == 0  # names its mesh
    assert sorted(p.name for p in Path().glob("*two*")) == ["two.msh", "two.xml"]
    asset = read_any("one.usda")
    assert asset.frame == Frame()
    # 4/3 pi r^3 with r = 0.1 m; the inscribed mesh of 300 faces has up to 5 % less.
    np.testing.assert_allclose(asset.volumes.sum(), 4 / 3 * np.pi * 1e-3, rtol=0.05)
    said = capsys.readouterr().out
    assert "in metres, Z up" in said
    assert "input: unit cm, Y up" in said


def test_export_embeds_the_surface_that_is_given(make_box: Callable[..., TetMesh]) -> None:
    """The surface is measured as IN is: both in centimetres, the asset in metres."""
    mesh = make_box(2)
    points, faces = boundary_surface(mesh)
    write_tets("box.msh", mesh)
    # Every face of the boundary with a fourth vertex in its middle: finer than the tets.
    middle = points[faces].mean(axis=1)
    own = len(points) + np.arange(len(faces))
    a, b, c = faces.T
    finer = np.concatenate([np.stack(t, 1) for t in ((a, b, own), (b, c, own), (c, a, own))])
    write_surface("box.ply", SurfaceMesh(np.vstack([points, middle]), finer))
    words = ["surface=box.ply", "embed_surface=true", "input.unit=cm"]
    assert main(["export", "box.msh", "box.usda", *words]) == 0
    shown = read_surface("box.usda")
    assert len(shown.points) == len(points) + len(faces)
    np.testing.assert_allclose(np.ptp(shown.points, axis=0), 0.01 * np.ptp(mesh.points, axis=0), rtol=1e-6)


def test_a_check_below_its_limit_exits_with_1_and_still_writes(capsys: pytest.CaptureFixture[str]) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    write_tets("one.msh", TetMesh(points, np.array([[0, 1, 2, 3]])))
    assert main(["validate", "one.msh", "report.json", "validate.limits.min_dihedral_angle=80"]) == 1
    assert json.loads(Path("report.json").read_text())["passed"] is False
    assert "NOT ready" in capsys.readouterr().out
