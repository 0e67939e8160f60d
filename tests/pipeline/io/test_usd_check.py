"""Every defect planted in a good asset is found, and a good asset is clean."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, Vt

from pipeline.errors import InputError
from pipeline.io import usd_check
from pipeline.io.usd_asset import MATERIAL, SURFACE, VOLUME
from pipeline.io.usd_check import check_usd, report_table
from pipeline.io.usd_physics import PHYSICS
from pipeline.stages.export import ExportConfig, export

BOTH = ("newton", "omni")


@pytest.fixture
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check in this process: the guarded one takes a moment to start."""
    monkeypatch.setattr(
        usd_check, "read_guarded", lambda _, arguments, size: usd_check.inspect_stage(**arguments)
    )


@pytest.fixture
def asset(tmp_path: Path, make_box) -> Path:
    config = ExportConfig(formats=["usd"], usd_extension=".usda")
    return export(make_box(2, seed=1, labelled=True), config=config, folder=tmp_path).paths["usd"]


def strict(path: Path, **options):
    return check_usd(path, profiles=BOTH, require_tets=True, require_physics=True, **options)


@pytest.mark.parametrize("extension", [".usda", ".usdc", ".usdz"])
def test_an_exported_asset_is_clean(tmp_path, make_box, extension):
    box = make_box(2, seed=1, labelled=True)
    config = ExportConfig(formats=["usd"], name="größe 1", usd_extension=extension)
    report = strict(export(box, config=config, folder=tmp_path).paths["usd"])
    assert report.findings == ()
    assert report.passed(strict=True)
    summary = report.tet_meshes[0]
    assert (summary["points"], summary["tets"], summary["surface_faces"], summary["pieces"]) == (
        27,
        48,
        48,
        1,
    )
    assert summary["volume"] == pytest.approx(box.volumes.sum(), rel=1e-6)
    assert "ok: größe 1" in report_table(report)


def change(attribute, row, value):
    """Change one row of an array."""
    array = np.array(attribute.Get())
    array[row] = value
    attribute.Set(type(attribute.Get()).FromNumpy(array))


def tets(prim):
    return UsdGeom.TetMesh(prim).GetTetVertexIndicesAttr()


def points(prim):
    return UsdGeom.TetMesh(prim).GetPointsAttr()


def surface(prim):
    return UsdGeom.TetMesh(prim).GetSurfaceFaceVertexIndicesAttr()


def without_first_tet(prim):
    array = np.array(tets(prim).Get())[1:]
    tets(prim).Set(Vt.Vec4iArray.FromNumpy(np.ascontiguousarray(array)))


def with_tet_again(prim):
    array = np.array(tets(prim).Get())
    tets(prim).Set(Vt.Vec4iArray.FromNumpy(np.vstack([array, array[:1]])))


def with_extra_point(prim, place):
    array = np.vstack([np.array(points(prim).Get()), place]).astype(np.float32)
    points(prim).Set(Vt.Vec3fArray.FromNumpy(array))


def nested(prim):
    path = prim.GetPath().AppendChild("Inside")
    mesh = UsdGeom.Sphere.Define(prim.GetStage(), path)
    mesh.CreateExtentAttr([(-1, -1, -1), (1, 1, 1)])


def subset(prim):
    return UsdGeom.Subset(next(c for c in prim.GetChildren() if c.IsA(UsdGeom.Subset)))


def material(prim):
    return prim.GetStage().GetPrimAtPath(MATERIAL)


def samples(prim):
    for time in (0.0, 1.0, 2.0):
        points(prim).Set(points(prim).Get(), time)


def wrong_type(prim):
    layer = prim.GetStage().GetRootLayer()
    spec = layer.GetPrimAtPath(prim.GetPath())
    spec.RemoveProperty(spec.attributes["extent"])
    Sdf.AttributeSpec(spec, "extent", Sdf.ValueTypeNames.Double3Array).default = Vt.Vec3dArray(
        [Gf.Vec3d(-9, -9, -9), Gf.Vec3d(9, 9, 9)]
    )


DEFECTS = {
    "no-default-prim": lambda p: p.GetStage().ClearDefaultPrim(),
    "no-up-axis": lambda p: p.GetStage().ClearMetadata("upAxis"),
    "no-unit": lambda p: p.GetStage().ClearMetadata("metersPerUnit"),
    "bad-unit": lambda p: p.GetStage().SetMetadata("metersPerUnit", -1.0),
    "no-extent": lambda p: p.RemoveProperty("extent"),
    "extent-too-small": lambda p: p.GetAttribute("extent").Set([(0, 0, 0), (1, 1, 1)]),
    "attribute-type": wrong_type,
    "nested-gprim": nested,
    "binding-schema": lambda p: p.RemoveAPI(UsdShade.MaterialBindingAPI),
    "dangling-binding": lambda p: p.GetRelationship("material:binding:physics").SetTargets(["/Asset/None"]),
    "subset-range": lambda p: change(subset(p).GetIndicesAttr(), 0, 999),
    "subset-repeats": lambda p: change(subset(p).GetIndicesAttr(), 0, subset(p).GetIndicesAttr().Get()[1]),
    "subset-kind": lambda p: subset(p).GetElementTypeAttr().Set("cube"),
    "no-normals": lambda p: p.GetStage().GetPrimAtPath(SURFACE).RemoveProperty("normals"),
    "index-out-of-range": lambda p: change(tets(p), 3, [0, 1, 2, 27]),
    "inverted-tets": lambda p: change(tets(p), 3, np.array(tets(p).Get())[3][[1, 0, 2, 3]]),
    "repeated-vertex": lambda p: change(tets(p), 3, [0, 1, 1, 2]),
    "duplicate-tets": with_tet_again,
    "no-surface-faces": lambda p: surface(p).Clear(),
    "surface-faces": without_first_tet,
    "surface-winding": lambda p: change(surface(p), 0, np.array(surface(p).Get())[0][[1, 0, 2]]),
    "surface-index": lambda p: change(surface(p), 0, [0, 1, 27]),
    "points-not-finite": lambda p: change(points(p), 5, [math.nan, 0, 0]),
    "no-tets": lambda p: tets(p).Clear(),
    "value-range": lambda p: material(p).GetAttribute("physics:poissonsRatio").Set(0.7),
    "no-material-schema": lambda p: material(p).RemoveAppliedSchema("PhysicsVolumeDeformableMaterialAPI"),
    "no-body": lambda p: p.GetParent().RemoveAppliedSchema(PHYSICS["newton"].body),
    "no-material": lambda p: p.RemoveProperty("material:binding:physics"),
    "profile-missing": lambda p: p.RemoveAppliedSchema(PHYSICS["omni"].simulation),
    "rigid-and-soft": lambda p: UsdPhysics.RigidBodyAPI.Apply(p.GetParent()),
    "rest-count": lambda p: p.GetAttribute(PHYSICS["newton"].rest_points).Set([(0, 0, 0)]),
    "rest-not-finite": lambda p: change(p.GetAttribute(PHYSICS["omni"].rest_points), 1, [math.inf, 0, 0]),
    "rest-tets": lambda p: change(p.GetAttribute(PHYSICS["omni"].rest_tets), 1, [0, 1, 2, 3]),
    "rest-inverted": lambda p: p.GetAttribute(PHYSICS["newton"].rest_points).Set(
        Vt.Vec3fArray.FromNumpy(-np.array(points(p).Get()))
    ),
}
WORTH_A_WARNING = {
    "unit": lambda p: UsdGeom.SetStageMetersPerUnit(p.GetStage(), 0.01),
    "several-roots": lambda p: UsdGeom.Xform.Define(p.GetStage(), "/Other"),
    "left-handed": lambda p: UsdGeom.TetMesh(p).GetOrientationAttr().Set("leftHanded"),
    "unused-points": lambda p: with_extra_point(p, [[0.5, 0.5, 0.5]]),
    "coincident-points": lambda p: with_extra_point(p, np.array(points(p).Get())[:1]),
    "samples-in-text": samples,
    "no-time-range": samples,
    "scaled": lambda p: UsdGeom.Xformable(p).AddScaleOp().Set(Gf.Vec3f(1, 2, 1)),
    "mirrored": lambda p: UsdGeom.Xformable(p).AddScaleOp().Set(Gf.Vec3f(-1, 1, 1)),
    "no-collider": lambda p: p.RemoveAPI(UsdPhysics.CollisionAPI),
    "no-value": lambda p: material(p).GetAttribute("physics:youngsModulus").Clear(),
    "friction": lambda p: material(p).GetAttribute("physics:dynamicFriction").Set(0.9),
    "misplaced-value": lambda p: p.CreateAttribute("physics:density", Sdf.ValueTypeNames.Float).Set(1.0),
    "absolute-path": lambda p: p.GetStage().GetRootLayer().subLayerPaths.append("/no/such/layer.usda"),
}


def planted(asset: Path, plant) -> Path:
    stage = Usd.Stage.Open(str(asset))
    plant(stage.GetPrimAtPath(VOLUME))
    path = asset.with_name("planted.usda")
    stage.GetRootLayer().Export(str(path))
    return path


@pytest.mark.usefixtures("_read_here")
@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_is_an_error(asset, code):
    report = strict(planted(asset, DEFECTS[code]), core=False)
    assert code in report.codes("error")
    assert not report.passed()
    assert code in report_table(report)


@pytest.mark.usefixtures("_read_here")
@pytest.mark.parametrize("code", WORTH_A_WARNING)
def test_a_risk_is_a_warning(asset, code):
    report = strict(planted(asset, WORTH_A_WARNING[code]), core=False)
    assert code in report.codes("warning")
    assert not report.passed(strict=True)


@pytest.mark.usefixtures("_read_here")
def test_another_up_axis_is_told_and_no_fault(asset):
    report = strict(planted(asset, lambda p: UsdGeom.SetStageUpAxis(p.GetStage(), "Y")), core=False)
    assert report.codes("info") == ["up-axis"]
    assert report.passed(strict=True)


@pytest.mark.usefixtures("_read_here")
@pytest.mark.parametrize("is_instance", [False, True])
def test_every_body_of_a_stage_is_looked_into(tmp_path, asset, is_instance):
    """A second body, also one in an instance: clean as the first, and its defect is found where it is."""
    for source, is_bad in ((asset, False), (planted(asset, DEFECTS["inverted-tets"]), True)):
        path = tmp_path / "both.usda"
        stage = Usd.Stage.CreateNew(str(path)) if not path.exists() else Usd.Stage.Open(str(path))
        stage.GetRootLayer().Clear()
        for set_value, value in ((UsdGeom.SetStageUpAxis, "Z"), (UsdGeom.SetStageMetersPerUnit, 1.0)):
            set_value(stage, value)
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
        for name, file in (("Good", asset), ("Other", source)):
            prim = UsdGeom.Xform.Define(stage, f"/World/{name}")
            prim.AddTranslateOp().Set((5.0 * (name == "Other"), 0.0, 0.0))
            prim.GetPrim().GetReferences().AddReference(f"./{file.name}")
            prim.GetPrim().SetInstanceable(is_instance)
        stage.Save()
        report = strict(path, core=False)
        assert [mesh["prim"] for mesh in report.tet_meshes] == [
            f"/World/{n}/Volume" for n in ("Good", "Other")
        ]
        assert ("inverted-tets" in report.codes("error")) == (not report.passed(strict=True)) == is_bad
        assert {f.prim for f in report.findings if f.severity == "error"} <= {"/World/Other/Volume"}


@pytest.mark.usefixtures("_read_here")
def test_overlapping_parts_of_a_family_are_an_error(asset):
    def overlap(prim):
        first, second = (UsdGeom.Subset(c) for c in prim.GetChildren() if c.IsA(UsdGeom.Subset))
        second.GetIndicesAttr().Set(first.GetIndicesAttr().Get())

    report = strict(planted(asset, overlap), core=False)
    assert "subset-overlap" in report.codes("error")


@pytest.mark.usefixtures("_read_here")
def test_rows_name_the_tets(asset):
    report = strict(planted(asset, DEFECTS["inverted-tets"]), core=False)
    finding = next(f for f in report.findings if f.code == "inverted-tets")
    assert (finding.prim, finding.rows) == (VOLUME, (3,))


@pytest.mark.usefixtures("_read_here")
def test_a_sliver_without_a_surface_is_found(tmp_path):
    stage = Usd.Stage.CreateNew(str(tmp_path / "thin.usda"))
    prim = UsdGeom.TetMesh.Define(stage, "/Tets")
    prim.CreatePointsAttr([(0, 0, 0), (4, 0, 0), (0, 4, 0), (1, 1, 1e-4)])
    prim.CreateTetVertexIndicesAttr([(0, 1, 2, 3)])
    stage.Save()
    report = check_usd(tmp_path / "thin.usda", core=False)
    assert {"slivers", "no-surface-faces"} <= set(report.codes())


@pytest.mark.usefixtures("_read_here")
def test_geometry_alone_is_fine_unless_more_is_asked_for(tmp_path, make_box):
    from pipeline.io.formats import write_surface, write_tets

    path = write_tets(tmp_path / "box.usdc", make_box(1))
    assert check_usd(path).codes() == ["no-physics"]
    assert check_usd(path).passed(strict=True)
    assert "profile-missing" in check_usd(path, require_physics=True).codes("error")
    from pipeline.io.usd import boundary_surface
    from pipeline.types import SurfaceMesh

    skin = write_surface(tmp_path / "skin.usdc", SurfaceMesh(*boundary_surface(make_box(1))))
    assert check_usd(skin).codes("warning") == ["no-tet-mesh"]
    assert check_usd(skin, require_tets=True).codes("error") == ["no-tet-mesh"]


def test_a_damaged_file_is_a_finding(tmp_path):
    path = tmp_path / "bad.usdc"
    path.write_bytes(b"PXR-USDC" + bytes(range(256)) * 4)
    report = check_usd(path)
    assert report.codes() == ["cannot-open"]
    assert not report.passed()


def test_what_cannot_be_checked(tmp_path, asset):
    with pytest.raises(InputError, match="no such file"):
        check_usd(tmp_path / "none.usdc")
    (tmp_path / "a.ply").write_text("ply")
    with pytest.raises(InputError, match="no USD file by its extension"):
        check_usd(tmp_path / "a.ply")
    with pytest.raises(InputError, match="known are newton, omni"):
        check_usd(asset, profiles=("bullet",))
