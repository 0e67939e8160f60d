"""USD stages as other programs write them: transforms, handedness, polygons, several prims, units."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from pxr import Gf, Usd, UsdGeom, UsdPhysics, Vt

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io import usd_stage
from pipeline.io.formats import read_any, read_points, read_surface, read_tets, write_tets
from pipeline.stages.export import ExportConfig, export
from pipeline.topology import boundary_edges
from pipeline.types import Frame, SurfaceMesh, TetMesh

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in this process: `test_guard.py` tests the guarded one, which takes a moment to start."""
    monkeypatch.setattr(
        usd_stage, "read_guarded", lambda _, arguments, size: usd_stage.read_stage(**arguments)
    )


QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def new_stage(path, unit=None, up=None):
    stage = Usd.Stage.CreateNew(str(path))
    if unit is not None:
        UsdGeom.SetStageMetersPerUnit(stage, unit)
    if up is not None:
        UsdGeom.SetStageUpAxis(stage, up)
    return stage


def add_cube(stage, prim_path, matrix=None, left_handed=False):
    """A unit cube of quadrilaterals; its winding is reversed where the prim says that it is left-handed."""
    mesh = UsdGeom.Mesh.Define(stage, prim_path)
    quads = [q[::-1] for q in QUADS] if left_handed else QUADS
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(CORNERS.astype(np.float32)))
    mesh.CreateFaceVertexCountsAttr([4] * 6)
    mesh.CreateFaceVertexIndicesAttr([v for q in quads for v in q])
    if left_handed:
        mesh.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    if matrix is not None:
        UsdGeom.Xformable(mesh).AddTransformOp().Set(Gf.Matrix4d(matrix))
    return mesh


def volume(mesh: SurfaceMesh) -> float:
    """Divergence theorem over outward triangles."""
    a, b, c = (mesh.points[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


MIRROR = np.diag([-2.0, 3.0, 1.0, 1.0])
MOVED = np.array([[0, 2, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [5, 6, 7, 1]], dtype=float)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize(("matrix", "expected"), [(None, 1.0), (MOVED, 2.0), (MIRROR, 6.0)])
def test_transforms_and_handedness_give_outward_triangles(tmp_path, matrix, expected, left_handed):
    stage = new_stage(tmp_path / "cube.usda", 1.0, "Z")
    add_cube(stage, "/Cube", matrix, left_handed)
    stage.Save()
    mesh = read_surface(tmp_path / "cube.usda")
    assert len(boundary_edges(mesh.faces)) == 0
    assert volume(mesh) == pytest.approx(expected, rel=1e-12)
    corner = np.array([0.0, 0.0, 0.0, 1.0]) @ (np.eye(4) if matrix is None else matrix)
    np.testing.assert_allclose(mesh.points[0], corner[:3], atol=1e-12)


def test_transforms_of_parents_and_instances_count(tmp_path):
    stage = new_stage(tmp_path / "two.usda", 1.0, "Z")
    add_cube(stage, "/Prototype/Cube")
    for k in range(2):
        instance = UsdGeom.Xform.Define(stage, f"/World/Copy{k}")
        instance.AddTranslateOp().Set(Gf.Vec3d(3.0 * k, 0, 0))
        instance.GetPrim().GetReferences().AddInternalReference("/Prototype")
        instance.GetPrim().SetInstanceable(True)
    stage.GetPrimAtPath("/Prototype").SetActive(True)
    stage.Save()
    context = RunContext()
    mesh = read_surface(tmp_path / "two.usda", context=context)
    # The prototype itself is a cube of the stage too.
    assert volume(mesh) == pytest.approx(3.0)
    assert mesh.points[:, 0].max() == 4.0
    assert context.counts["prims_merged"] == 3


def test_largest_prim_by_option(tmp_path):
    stage = new_stage(tmp_path / "two.usda", 1.0, "Z")
    add_cube(stage, "/World/Cube")
    triangle = UsdGeom.Mesh.Define(stage, "/World/Triangle")
    triangle.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    triangle.CreateFaceVertexCountsAttr([3])
    triangle.CreateFaceVertexIndicesAttr([0, 1, 2])
    stage.Save()
    assert len(read_surface(tmp_path / "two.usda").faces) == 13
    context = RunContext()
    assert len(read_surface(tmp_path / "two.usda", context=context, largest=True).faces) == 12
    assert context.counts["prims_left_out"] == 1


def test_unit_and_up_axis(tmp_path, caplog):
    cases = {(0.001, "Y"): Frame(0.001, "y"), (1.0, "Z"): Frame(1.0, "z"), (None, None): Frame(0.01, "y")}
    for k, ((unit, up), frame) in enumerate(cases.items()):
        stage = new_stage(tmp_path / f"{k}.usda", unit, up)
        add_cube(stage, "/Cube")
        stage.Save()
        assert read_any(tmp_path / f"{k}.usda").frame == frame
    # The fallback of USD itself, and only that, is worth a warning.
    assert [record.message.split()[0] for record in caplog.records if record.levelname == "WARNING"] == [
        "2.usda"
    ]


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_tets_of_either_handedness(tmp_path, make_box, left_handed, mirrored):
    box = make_box(1)
    stage = new_stage(tmp_path / "tets.usda", 1.0, "Z")
    prim = UsdGeom.TetMesh.Define(stage, "/Tets")
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(box.points.astype(np.float32)))
    tets = box.tets[:, [0, 2, 1, 3]] if left_handed else box.tets
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(np.ascontiguousarray(tets)))
    prim.CreateOrientationAttr(UsdGeom.Tokens.leftHanded if left_handed else UsdGeom.Tokens.rightHanded)
    if mirrored:
        UsdGeom.Xformable(prim).AddScaleOp().Set(Gf.Vec3f(-1, 1, 1))
    stage.Save()
    back = read_tets(tmp_path / "tets.usda")
    assert back.volumes.sum() == pytest.approx(1.0)
    assert (back.volumes > 0).all()


def test_animated_points_are_read_at_their_first_sample(tmp_path):
    stage = new_stage(tmp_path / "cube.usda", 1.0, "Z")
    mesh = add_cube(stage, "/Cube")
    attribute = mesh.GetPointsAttr()
    attribute.Clear()
    for time in (1.0, 2.0):
        attribute.Set(Vt.Vec3fArray.FromNumpy((time * CORNERS).astype(np.float32)), time)
    stage.Save()
    assert volume(read_surface(tmp_path / "cube.usda")) == pytest.approx(1.0)


def add_box(stage, prim_path, box, shift=0.0):
    prim = UsdGeom.TetMesh.Define(stage, prim_path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy((box.points + np.array([shift, 0, 0])).astype(np.float32)))
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(box.tets))
    return prim


def test_several_bodies_are_read_as_one_or_one_by_one(tmp_path, make_box):
    stage = new_stage(tmp_path / "two.usda", 1.0, "Z")
    add_box(stage, "/World/A/Volume", make_box(1))
    add_box(stage, "/World/B/Volume", make_box(2), shift=5.0)
    stage.Save()
    context = RunContext()
    both = read_tets(tmp_path / "two.usda", context=context)
    assert (len(both.tets), context.counts) == (6 + 48, {"prims_merged": 2})
    assert both.volumes.sum() == pytest.approx(1 + 8)
    for prim in ("/World/B", "/World/B/Volume"):
        context = RunContext()
        one = read_any(tmp_path / "two.usda", context=context, prim=prim)
        assert (len(one.tets), one.points[:, 0].min(), context.counts) == (48, 5.0, {})


@pytest.mark.parametrize("prim", ["/World/C", "World/A", "", "not a path"])
def test_an_unknown_prim_names_those_that_are_there(tmp_path, make_box, prim):
    stage = new_stage(tmp_path / "one.usda", 1.0, "Z")
    add_box(stage, "/World/A", make_box(1))
    stage.Save()
    with pytest.raises(InputError, match=r"no prim .*prims with points: /World/A"):
        read_any(tmp_path / "one.usda", prim=prim)
    np.savez(tmp_path / "one.npz", points=CORNERS)
    with pytest.raises(InputError, match="has no prims"):
        read_any(tmp_path / "one.npz", prim="/World/A")


def test_point_instancers_place_their_prototypes(tmp_path):
    stage = new_stage(tmp_path / "many.usda", 1.0, "Z")
    instancer = UsdGeom.PointInstancer.Define(stage, "/World/Many")
    UsdGeom.Xformable(instancer).AddTranslateOp().Set(Gf.Vec3d(0, 0, 10))
    UsdGeom.Xform.Define(stage, "/World/Many/Prototypes/Box").AddScaleOp().Set(Gf.Vec3f(2, 2, 2))
    add_cube(stage, "/World/Many/Prototypes/Box/Cube")
    instancer.CreatePrototypesRel().AddTarget("/World/Many/Prototypes/Box")
    instancer.CreateProtoIndicesAttr([0, 0, 0])
    instancer.CreatePositionsAttr([(0, 0, 0), (5, 0, 0), (50, 0, 0)])
    instancer.CreateScalesAttr([(1, 1, 1), (1, 1, 2), (1, 1, 1)])
    instancer.CreateIdsAttr([7, 8, 9])
    instancer.InvisId(9, Usd.TimeCode.Default())
    stage.Save()
    mesh = read_surface(tmp_path / "many.usda")
    assert volume(mesh) == pytest.approx(8 + 16)
    np.testing.assert_array_equal(mesh.points.min(axis=0), [0, 0, 10])
    np.testing.assert_array_equal(mesh.points.max(axis=0), [7, 2, 14])


def test_guides_and_hidden_meshes_are_left_out_beside_visible_ones(tmp_path):
    stage = new_stage(tmp_path / "shown.usda", 1.0, "Z")
    add_cube(stage, "/World/Cube")
    add_cube(stage, "/World/Guide").CreatePurposeAttr("guide")
    add_cube(stage, "/World/Hidden").MakeInvisible()
    stage.Save()
    context = RunContext()
    assert volume(read_surface(tmp_path / "shown.usda", context=context)) == pytest.approx(1.0)
    assert context.counts["prims_hidden"] == 2
    assert volume(read_surface(tmp_path / "shown.usda", prim="/World/Guide")) == pytest.approx(1.0)


def test_animated_transforms_are_read_at_their_first_sample(tmp_path):
    stage = new_stage(tmp_path / "moving.usda", 1.0, "Z")
    op = UsdGeom.Xformable(add_cube(stage, "/Cube")).AddTranslateOp()
    for time in (1.0, 2.0):
        op.Set(Gf.Vec3d(10 * time, 0, 0), time)
    stage.Save()
    assert read_surface(tmp_path / "moving.usda").points[:, 0].min() == 10.0


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (lambda prim, box: prim.GetTetVertexIndicesAttr().Set([(0, 1, 2, 99)]), "outside 0..7"),
        (lambda prim, box: prim.GetTetVertexIndicesAttr().Set([(0, 1, 1, 2)]), "repeat a vertex"),
        (
            lambda prim, box: prim.GetTetVertexIndicesAttr().Set(
                Vt.Vec4iArray.FromNumpy(np.vstack([box.tets, box.tets[:1]]))
            ),
            "1 duplicates",
        ),
        (
            lambda prim, box: prim.GetTetVertexIndicesAttr().Set(
                Vt.Vec4iArray.FromNumpy(np.vstack([box.tets[:1, [1, 0, 2, 3]], box.tets[1:]]))
            ),
            "1 inverted",
        ),
        (
            lambda prim, box: prim.GetPointsAttr().Set(
                [(float("nan"), 0, 0), *prim.GetPointsAttr().Get()[1:]]
            ),
            "NaN or infinite",
        ),
        (lambda prim, box: UsdGeom.Xformable(prim).AddScaleOp().Set(Gf.Vec3f(1, 1, 0)), "flat"),
        (lambda prim, box: prim.GetPrim().GetStage().SetMetadata("upAxis", "X"), "upAxis is 'X'"),
        (lambda prim, box: prim.GetPrim().GetStage().SetMetadata("metersPerUnit", 0.0), "metersPerUnit is"),
    ],
    ids=["index", "repeated", "duplicate", "inverted", "nan", "flat", "up-axis", "unit"],
)
def test_planted_defects_are_named(tmp_path, make_box, plant, word):
    box = make_box(1)
    stage = new_stage(tmp_path / "bad.usda", 1.0, "Z")
    plant(add_box(stage, "/Box", box), box)
    stage.Save()
    with pytest.raises(InputError, match=word):
        read_any(tmp_path / "bad.usda")


def test_points_prim(tmp_path):
    stage = new_stage(tmp_path / "points.usda", 1.0, "Z")
    UsdGeom.Points.Define(stage, "/Points").CreatePointsAttr([(0, 0, 0), (1, 2, 3)])
    stage.Save()
    np.testing.assert_array_equal(read_any(tmp_path / "points.usda").points, [[0, 0, 0], [1, 2, 3]])


def test_stage_without_geometry(tmp_path):
    stage = new_stage(tmp_path / "empty.usda", 1.0, "Z")
    UsdGeom.Sphere.Define(stage, "/Ball")
    stage.Save()
    with pytest.raises(InputError, match="no Mesh, TetMesh or Points prim"):
        read_any(tmp_path / "empty.usda")


def test_mesh_with_tets_of_the_warp_wheel():
    path = os.path.join(os.path.dirname(wp.__file__), "examples", "assets", "bear.usd")
    tets, surface = read_any(path), read_surface(path)
    assert isinstance(tets, TetMesh)
    assert len(tets.tets) == 5354
    assert len(surface.faces) == 3968
    assert tets.frame == surface.frame == Frame(1.0, "y")
    # Its tets fill the surface: the volumes agree to single precision.
    assert tets.volumes.sum() == pytest.approx(volume(surface), rel=1e-5)
    assert len(read_points(path).points) == 1986


def test_labels_become_subsets(tmp_path, make_box):
    box = make_box(2, labelled=True)
    labels = np.where(box.labels > 0, 3, -2).astype(np.int32)
    path = write_tets(tmp_path / "box.usda", TetMesh(box.points, box.tets, labels))
    np.testing.assert_array_equal(read_tets(path).labels, labels)
    stage = Usd.Stage.Open(str(path))
    prim = UsdGeom.TetMesh(next(p for p in stage.Traverse() if p.IsA(UsdGeom.TetMesh)))
    names = [s.GetPrim().GetName() for s in UsdGeom.Subset.GetAllGeomSubsets(prim)]
    assert names == ["label_minus_2", "label_3"]
    assert UsdGeom.Subset.ValidateFamily(prim, UsdGeom.Tokens.tetrahedron, "labels")[0]


def test_subsets_of_other_programs_become_labels(tmp_path, make_box):
    """Names without a number get the next that are free, and subsets of other families are counted."""
    box = make_box(1)
    path = write_tets(
        tmp_path / "box.usda", replace(box, labels=np.array([0, 0, 4, 4, 4, 4], dtype=np.int32))
    )
    stage = Usd.Stage.Open(str(path))
    prim = UsdGeom.TetMesh(next(p for p in stage.Traverse() if p.IsA(UsdGeom.TetMesh)))
    kind = UsdGeom.Tokens.tetrahedron
    stage.RemovePrim(prim.GetPath().AppendChild("label_0"))
    for name, family, rows in (("Fat", "labels", [0]), ("Bone", "labels", [1]), ("Red", "look", [2])):
        UsdGeom.Subset.CreateGeomSubset(prim, name, kind, Vt.IntArray(rows), family, "nonOverlapping")
    stage.Save()
    context = RunContext()
    found = read_tets(path, context=context).labels
    order = [child.GetName() for child in prim.GetPrim().GetChildren()]
    fat, bone = (5, 6) if order.index("Fat") < order.index("Bone") else (6, 5)
    np.testing.assert_array_equal(found, [fat, bone, 4, 4, 4, 4])
    assert context.counts["subsets_numbered"] == 2
    assert context.counts["subsets_ignored"] == 1


def test_a_material_that_is_not_read_is_told_in_si(tmp_path, make_box, caplog):
    """A stage in centimetres and grams: 1e-3 kg / 1e-6 m^3 and 1e-3 kg / 1e-2 m per unit."""
    config = ExportConfig(formats=["usd"], density=1200.0, youngs_modulus=5e5, poissons_ratio=0.25)
    path = export(make_box(1), config=config, folder=tmp_path).paths["usd"]
    read_tets(path)
    assert "density 1200 kg/m^3" in caplog.text
    stage = Usd.Stage.Open(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1e-3)
    stage.Save()
    caplog.clear()
    read_tets(path)
    assert "density 1.2e+06 kg/m^3" in caplog.text
    assert "youngs_modulus 50000 Pa" in caplog.text
    assert "poissons_ratio 0.25" in caplog.text


def test_surface_faces_are_those_that_usd_computes(tmp_path, make_box):
    path = write_tets(tmp_path / "box.usdc", make_box(3, seed=2))
    stage = Usd.Stage.Open(str(path))
    prim = next(UsdGeom.TetMesh(p) for p in stage.Traverse() if p.IsA(UsdGeom.TetMesh))
    expected = np.array(UsdGeom.TetMesh.ComputeSurfaceFaces(prim))
    assert len(expected) == 3 * 3 * 6 * 2
    np.testing.assert_array_equal(np.array(prim.GetSurfaceFaceVertexIndicesAttr().Get()), expected)
