"""USD stages of any make through the command line: they come in right, or what is wrong is named.

`simmesh export IN OUT.npz` takes what it reads to metres and Z up: its file says how the stage was read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, Vt

from pipeline import TetMesh, read_any, write_tets
from pipeline.cli import main
from pipeline.io import usd_stage

pytestmark = pytest.mark.usefixtures("own_folder", "_read_here")
IDENTITY = np.eye(4)


@pytest.fixture
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in this process: the guarded one takes a moment to start."""
    monkeypatch.setattr(
        usd_stage, "read_guarded", lambda _, arguments, size: usd_stage.read_stage(**arguments)
    )


def new_stage(unit: float | None = 1.0, up: str | None = "Z") -> Usd.Stage:
    stage = Usd.Stage.CreateNew("in.usda")
    if unit is not None:
        UsdGeom.SetStageMetersPerUnit(stage, unit)
    if up is not None:
        UsdGeom.SetStageUpAxis(stage, up)
    return stage


def add(stage: Usd.Stage, path: str, mesh: TetMesh, matrix: np.ndarray = IDENTITY) -> UsdGeom.TetMesh:
    prim = UsdGeom.TetMesh.Define(stage, path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.points.astype(np.float32)))
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(mesh.tets))
    if not np.array_equal(matrix, IDENTITY):
        UsdGeom.Xformable(prim).AddTransformOp().Set(Gf.Matrix4d(matrix))
    return prim


def moved(mesh: TetMesh, matrix: np.ndarray) -> np.ndarray:
    return mesh.points @ matrix[:3, :3] + matrix[3, :3]


def export(*words: str) -> TetMesh:
    """Read in.usda through the door; what comes out is in metres and Z up."""
    assert main(["export", "in.usda", "out.npz", *words]) == 0
    mesh = read_any("out.npz")
    assert isinstance(mesh, TetMesh)
    return mesh


SCALED = np.diag([2.0, 3.0, 0.5, 1.0])
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])
TURNED = np.array([[0, 2, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [5, 6, 7, 1]], dtype=float)


@pytest.mark.parametrize("unit", [1.0, 0.01, 0.0254])
@pytest.mark.parametrize("up", ["Y", "Z"])
def test_units_and_up_axes(make_box: Callable[..., TetMesh], unit: float, up: str, capsys) -> None:
    box = make_box(1)
    stage = new_stage(unit, up)
    add(stage, "/Box", box)
    stage.Save()
    expected = box.points * unit
    if up == "Y":  # +90 degrees about X: (x, y, z) -> (x, -z, y)
        expected = np.stack([expected[:, 0], -expected[:, 2], expected[:, 1]], axis=1)
    np.testing.assert_allclose(export().points, expected, atol=1e-7)  # single precision in the stage
    said = capsys.readouterr().out
    assert f"{up} up" in said
    assert f"{unit**3:.4g} m^3, {1000 * unit**3:.4g} kg" in said


def test_a_stage_without_unit_and_axis_says_how_it_is_read(make_box, capsys) -> None:
    stage = new_stage(None, None)
    add(stage, "/Box", make_box(1))
    stage.Save()
    assert export().volumes.sum() == pytest.approx(1e-6)
    said = capsys.readouterr()
    assert "names no unit: read in centimetres" in said.err
    assert "unit cm, Y up" in said.out
    assert export("input.unit=m").volumes.sum() == pytest.approx(1.0)


def test_a_file_that_keeps_no_unit_is_told_unless_one_is_given(make_box, capsys) -> None:
    write_tets("in.msh", make_box(1, scale=10.0))
    assert main(["export", "in.msh", "out.npz"]) == 0
    said = capsys.readouterr()
    assert "in.msh keeps no unit: read in metres (input.unit=cm or mm if it is not)" in said.err
    assert "1000 m^3, 1e+06 kg" in said.out
    assert main(["export", "in.msh", "out.npz", "input.unit=mm", "density=2000"]) == 0
    said = capsys.readouterr()
    assert "keeps no unit: read" not in said.err
    assert "1e-06 m^3, 0.002 kg" in said.out


@pytest.mark.parametrize("matrix", [SCALED, MIRRORED, TURNED, TURNED @ MIRRORED @ SCALED])
@pytest.mark.parametrize("is_left", [False, True])
def test_transforms_and_handedness(make_box, matrix: np.ndarray, is_left: bool, capsys) -> None:
    box = make_box(1)
    stage = new_stage()
    prim = add(stage, "/Box", box, matrix)
    if is_left:
        prim.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
        prim.GetTetVertexIndicesAttr().Set(Vt.Vec4iArray.FromNumpy(box.tets[:, [0, 2, 1, 3]].copy()))
    stage.Save()
    mesh = export()
    np.testing.assert_allclose(mesh.points, moved(box, matrix), atol=1e-6)
    assert mesh.volumes.sum() == pytest.approx(abs(np.linalg.det(matrix[:3, :3])))
    assert ("left-handed" in capsys.readouterr().err) == is_left


def test_nested_transforms_multiply(make_box) -> None:
    box = make_box(1)
    stage = new_stage(0.01)
    for path, matrix in (("/World", TURNED), ("/World/Part", SCALED)):
        UsdGeom.Xform.Define(stage, path).AddTransformOp().Set(Gf.Matrix4d(matrix))
    add(stage, "/World/Part/Box", box, MIRRORED)
    stage.Save()
    np.testing.assert_allclose(export().points, 0.01 * moved(box, MIRRORED @ SCALED @ TURNED), atol=1e-7)


def test_two_bodies_are_told_and_one_can_be_chosen(make_box, capsys) -> None:
    box = make_box(1)
    away = IDENTITY.copy()
    away[3, 0] = 5.0
    stage = new_stage()
    add(stage, "/World/Left", box)
    add(stage, "/World/Right", box, away)
    stage.Save()
    both = export()
    assert both.volumes.sum() == pytest.approx(2.0)
    said = capsys.readouterr()
    assert "prims of the stage read as one: 2" in said.err
    assert "prims merged 2" in said.out
    one = export("input.prim=/World/Right")
    np.testing.assert_allclose(one.points, moved(box, away), atol=1e-6)
    assert "merged" not in capsys.readouterr().out


def test_instances_are_placed(make_box) -> None:
    box = make_box(1)
    away = IDENTITY.copy()
    away[3, 1] = 4.0
    stage = new_stage()
    add(stage, "/Kept/Shape/Box", box)
    for k, matrix in enumerate((IDENTITY, away)):
        prim = UsdGeom.Xform.Define(stage, f"/World/Copy{k}")
        prim.AddTransformOp().Set(Gf.Matrix4d(matrix))
        prim.GetPrim().GetReferences().AddInternalReference("/Kept/Shape")
        prim.GetPrim().SetInstanceable(True)
    stage.Save()
    mesh = export("input.prim=/World")
    np.testing.assert_allclose(mesh.points, np.vstack([box.points, moved(box, away)]), atol=1e-6)


def test_a_prim_that_is_not_there_names_those_that_are(make_box, fails) -> None:
    stage = new_stage()
    add(stage, "/World/Box", make_box(1))
    stage.Save()
    assert "prims with points: /World/Box" in fails("export", "in.usda", "out.npz", "input.prim=/World/Bax")
    assert "input.prim: expected the path" in fails("export", "in.usda", "out.npz", "input.prim=Box")


def change(attribute: Usd.Attribute, row: int, value: list[float]) -> None:
    array = np.array(attribute.Get())
    array[row] = value
    attribute.Set(type(attribute.Get()).FromNumpy(array))


def swapped(prim: UsdGeom.TetMesh) -> np.ndarray:
    """The fourth tet with two corners exchanged."""
    return np.array(prim.GetTetVertexIndicesAttr().Get())[3][[1, 0, 2, 3]]


DEFECTS: dict[str, tuple[Callable[[UsdGeom.TetMesh], object], str]] = {
    "index": (lambda p: change(p.GetTetVertexIndicesAttr(), 3, [0, 1, 2, 99]), "outside 0..7"),
    "repeated": (lambda p: change(p.GetTetVertexIndicesAttr(), 3, [0, 1, 1, 2]), "repeat a vertex"),
    "inverted": (lambda p: change(p.GetTetVertexIndicesAttr(), 3, swapped(p)), "inverted"),
    "duplicate": (
        lambda p: change(p.GetTetVertexIndicesAttr(), 3, np.array(p.GetTetVertexIndicesAttr().Get())[2]),
        "1 duplicates",
    ),
    "nan": (lambda p: change(p.GetPointsAttr(), 5, [math.nan, 0, 0]), "NaN or infinite"),
    "flat": (lambda p: UsdGeom.Xformable(p).AddScaleOp().Set(Gf.Vec3f(1, 1, 0)), "flat"),
    "axis": (lambda p: p.GetPrim().GetStage().SetMetadata("upAxis", "X"), "upAxis is 'X'"),
    "unit": (lambda p: p.GetPrim().GetStage().SetMetadata("metersPerUnit", -1.0), "metersPerUnit is"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_named(make_box, fails, name: str) -> None:
    plant, word = DEFECTS[name]
    stage = new_stage()
    plant(add(stage, "/Box", make_box(1)))
    stage.Save()
    assert word in fails("export", "in.usda", "out.npz")
    assert not Path("out.npz").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("index", "tets outside 1"),
        ("repeated", "tets degenerate 1"),
        ("inverted", "tets turned 1"),
        ("duplicate", "tets duplicate 1"),
        ("nan", "tets not finite"),
    ],
)
def test_repair_mends_what_can_be_mended_and_says_so(make_box, capsys, name: str, said: str) -> None:
    stage = new_stage()
    DEFECTS[name][0](add(stage, "/Box", make_box(1)))
    stage.Save()
    mesh = export("--repair")
    assert (mesh.volumes > 0).all()
    assert said in capsys.readouterr().out


def test_a_run_keeps_what_was_repaired_in_its_manifest(make_box, capsys) -> None:
    """The door of a run: prim and repair are settings, and --repair stands for one."""
    stage = new_stage()
    add(stage, "/World/Good", make_box(1))
    DEFECTS["inverted"][0](add(stage, "/World/Bad", make_box(2)))
    stage.Save()
    words = [
        "input.path=in.usda",
        "input.prim=/World/Bad",
        "run.dir=out",
        "stages=[export]",
        "export.formats=[npz]",
    ]
    assert main(["run", *words]) == 2
    assert "1 inverted" in capsys.readouterr().err
    assert main(["run", *words, "--repair"]) == 0
    data = json.loads(Path("out/manifest.json").read_text())
    assert data["input"]["repairs"]["tets_turned"] == 1
    assert data["input"]["given"]["prim"] == "/World/Bad"
    assert data["input"]["counts"]["tets"] == 48
    assert "tets turned 1" in capsys.readouterr().out
    # The folder remembers how its input was read.
    assert main(["run", "run.dir=out", "stages=[export]", "export.formats=[npz]"]) == 0
    assert "everything was done already" in capsys.readouterr().out


def test_a_file_without_prims_says_so(fails, make_surface) -> None:
    from pipeline import write_surface

    write_surface("box.ply", make_surface(1))
    assert "has no prims" in fails("tetrahedralize", "box.ply", "out.msh", "input.prim=/World")
