"""What a stage holds besides what is read, or in another way than a viewer shows it: each is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pxr import Sdf, Usd, UsdGeom, Vt

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io import usd_stage
from pipeline.io.formats import read_any
from pipeline.io.usd_check import check_usd

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
TETS = np.array([[0, 4, 2, 1], [3, 1, 2, 7], [5, 4, 1, 7], [6, 2, 4, 7], [1, 4, 2, 7]], dtype=np.int32)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read USD in this process: `test_guard.py` tests the guarded one, which takes a moment to start."""
    monkeypatch.setattr(
        usd_stage, "read_guarded", lambda _, arguments, size: usd_stage.read_stage(**arguments)
    )


def new_stage(path: Path, unit: float = 1.0, up: str = "Z") -> Usd.Stage:
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, up)
    UsdGeom.SetStageMetersPerUnit(stage, unit)
    return stage


def add_tets(stage: Usd.Stage, path: str = "/World/Body") -> UsdGeom.TetMesh:
    prim = UsdGeom.TetMesh.Define(stage, path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(CUBE))
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(TETS))
    return prim


def add_mesh(stage: Usd.Stage, path: str = "/World/Skin") -> UsdGeom.Mesh:
    prim = UsdGeom.Mesh.Define(stage, path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(CUBE))
    prim.CreateFaceVertexCountsAttr([4] * 6)
    prim.CreateFaceVertexIndicesAttr([corner for quad in QUADS for corner in quad])
    return prim


def add_part(folder: Path, unit: float = 1.0, up: str = "Z", has_default: bool = True) -> str:
    """Another file with a body, to be referenced."""
    stage = new_stage(folder / "part.usda", unit, up)
    add_tets(stage, "/Part/Body")
    if has_default:
        stage.SetDefaultPrim(stage.GetPrimAtPath("/Part"))
    stage.Save()
    return "./part.usda"


def refer(stage: Usd.Stage, file: str, is_payload: bool = False) -> None:
    prim = stage.DefinePrim("/World/Other", "Xform")
    if is_payload:
        prim.GetPayloads().AddPayload(file)
    else:
        prim.GetReferences().AddReference(file)


def read(path: Path) -> tuple[Any, RunContext]:
    context = RunContext()
    return read_any(path, context=context), context


def _variants(stage: Usd.Stage) -> None:
    sets = stage.DefinePrim("/World").GetVariantSets().AddVariantSet("detail")
    for name, scale in (("high", 1.0), ("low", 2.0)):
        sets.AddVariant(name)
        sets.SetVariantSelection(name)
        with sets.GetVariantEditContext():
            add_tets(stage).GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(CUBE * np.float32(scale)))
    sets.SetVariantSelection("high")


def _animated(stage: Usd.Stage) -> None:
    points = add_tets(stage).GetPointsAttr()
    for time in (1.0, 2.0):
        points.Set(Vt.Vec3fArray.FromNumpy(CUBE * np.float32(time + 1)), time)


def _turning(stage: Usd.Stage) -> None:
    add_tets(stage)
    turn = UsdGeom.Xform.Define(stage, "/World").AddRotateZOp()
    for time in (0.0, 1.0):
        turn.Set(90.0 * time, time)


def _shapes(stage: Usd.Stage) -> None:
    add_tets(stage)
    UsdGeom.Sphere.Define(stage, "/World/Ball")
    UsdGeom.Cube.Define(stage, "/World/Block")
    UsdGeom.Cube.Define(stage, "/World/Collider").CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdGeom.BasisCurves.Define(stage, "/World/Hair").CreatePointsAttr([(0, 0, 0), (1, 1, 1)])


def _skin_beside(stage: Usd.Stage) -> None:
    add_tets(stage)
    add_mesh(stage)


def _without_points(stage: Usd.Stage) -> None:
    add_tets(stage)
    UsdGeom.TetMesh.Define(stage, "/World/Empty")


def _holes(stage: Usd.Stage) -> None:
    add_mesh(stage).CreateHoleIndicesAttr([0, 3])


def _subdivided(stage: Usd.Stage) -> None:
    add_mesh(stage).CreateSubdivisionSchemeAttr(UsdGeom.Tokens.catmullClark)


def _skinned(stage: Usd.Stage) -> None:
    prim = add_tets(stage).GetPrim()
    prim.CreateAttribute("primvars:skel:jointIndices", Sdf.ValueTypeNames.IntArray).Set([0] * 8)


@pytest.mark.parametrize(
    ("author", "count", "words"),
    [
        (_variants, {"variant_sets": 1}, "/World detail=high"),
        (_animated, {"prims_animated": 1}, "prims that move"),
        (_turning, {"prims_animated": 1}, "prims that move"),
        (_shapes, {"prims_ignored": 3}, "1 Sphere, 1 Cube, 1 BasisCurves"),
        (_skin_beside, {"prims_ignored": 1}, "1 Mesh"),
        (_without_points, {"prims_without_points": 1}, "without points"),
        (_holes, {"holes_filled": 2}, "marked as holes"),
        (_subdivided, {"subdivision_ignored": 1}, "subdivision"),
        (_skinned, {"prims_skinned": 1}, "bind pose"),
    ],
)
def test_what_is_not_read_as_shown_is_counted_and_told(tmp_path, caplog, author, count, words):
    stage = new_stage(tmp_path / "a.usda")
    author(stage)
    stage.Save()
    with caplog.at_level("INFO", "simmesh"):
        mesh, context = read(tmp_path / "a.usda")
    context.counts.pop("polygons_split", None)
    assert context.counts == count
    assert words in caplog.text
    np.testing.assert_array_equal(mesh.points, CUBE)


def test_a_plain_stage_has_nothing_to_tell(tmp_path, caplog):
    stage = new_stage(tmp_path / "a.usda")
    add_tets(stage)
    stage.Save()
    with caplog.at_level("INFO", "simmesh"):
        context = read(tmp_path / "a.usda")[1]
    assert not context.counts
    assert not caplog.text


@pytest.mark.parametrize("is_payload", [False, True])
@pytest.mark.parametrize("has_body", [True, False])
def test_a_file_that_is_not_there_is_named(tmp_path, caplog, is_payload, has_body):
    stage = new_stage(tmp_path / "a.usda")
    if has_body:
        add_tets(stage)
    refer(stage, "./gone.usda", is_payload)
    stage.Save()
    if has_body:
        read(tmp_path / "a.usda")
        said = caplog.text
    else:
        with pytest.raises(InputError) as caught:
            read(tmp_path / "a.usda")
        said = str(caught.value)
    assert "a.usda is incomplete" in said
    assert "gone.usda" in said
    assert "incomplete" in check_usd(tmp_path / "a.usda").codes("error")


def test_a_sublayer_that_is_not_there_is_named(tmp_path, caplog):
    stage = new_stage(tmp_path / "a.usda")
    add_tets(stage)
    stage.GetRootLayer().subLayerPaths.append("./gone.usda")
    stage.Save()
    read(tmp_path / "a.usda")
    assert "sublayer" in caplog.text
    assert "gone.usda" in caplog.text


def test_a_reference_to_a_file_without_default_prim_is_named(tmp_path, caplog):
    file = add_part(tmp_path, has_default=False)
    stage = new_stage(tmp_path / "a.usda")
    add_tets(stage)
    refer(stage, file)
    stage.Save()
    read(tmp_path / "a.usda")
    assert "part.usda" in caplog.text


@pytest.mark.parametrize(
    ("unit", "up", "said"), [(0.01, "Z", "metersPerUnit 0.01"), (1.0, "Y", "upAxis Y"), (1.0, "Z", "")]
)
def test_a_reference_in_another_unit_is_told_since_usd_converts_nothing(tmp_path, caplog, unit, up, said):
    file = add_part(tmp_path, unit, up)
    stage = new_stage(tmp_path / "a.usda")
    refer(stage, file)
    stage.Save()
    mesh = read(tmp_path / "a.usda")[0]
    np.testing.assert_array_equal(mesh.points, CUBE)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)
    assert ("other-unit" in check_usd(tmp_path / "a.usda").codes("warning")) == bool(said)


def test_variant_sets_without_a_selection_are_named_where_nothing_is_left(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    _variants(stage)
    stage.GetPrimAtPath("/World").GetVariantSets().GetVariantSet("detail").ClearVariantSelection()
    stage.Save()
    with pytest.raises(InputError, match=r"/World detail=\(none\)"):
        read(tmp_path / "a.usda")


def test_an_instance_of_no_prototype_is_named(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    instancer = UsdGeom.PointInstancer.Define(stage, "/World/Many")
    add_tets(stage, "/World/Many/Body")
    instancer.CreatePrototypesRel().SetTargets(["/World/Many/Body"])
    instancer.CreateProtoIndicesAttr([0, 7])
    instancer.CreatePositionsAttr([(0, 0, 0), (3, 0, 0)])
    stage.Save()
    with pytest.raises(InputError, match="protoIndices go from 0 to 7, and there are 1 prototypes"):
        read(tmp_path / "a.usda")


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan")])
def test_a_unit_that_is_none_is_named(tmp_path, unit):
    stage = new_stage(tmp_path / "a.usda")
    stage.SetMetadata("metersPerUnit", unit)
    add_tets(stage)
    stage.Save()
    with pytest.raises(InputError, match=r"metersPerUnit is .* write the right unit"):
        read(tmp_path / "a.usda")
