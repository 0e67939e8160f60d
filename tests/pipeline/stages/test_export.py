"""The asset holds what the mesh and the report say, in metres and Z up, for every simulator it names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import meshio
import numpy as np
import pytest
from pxr import Tf, Usd, UsdGeom, UsdPhysics, UsdShade

from pipeline.context import RunContext
from pipeline.errors import InputError, OutputError
from pipeline.io.formats import read_any, read_surface
from pipeline.io.usd_asset import MATERIAL, VOLUME
from pipeline.io.usd_physics import PHYSICS
from pipeline.stages.export import EXPORTERS, STAGE, ExportConfig, export
from pipeline.topology import boundary_faces
from pipeline.types import Check, Frame, SimReport, SurfaceMesh, TetMesh

RUBBER = {
    "name": "stable_neo_hookean",
    "youngs_modulus": 5e5,
    "poissons_ratio": 0.45,
    "density": 1100.0,
    "static_friction": 0.6,
    "dynamic_friction": 0.4,
}
PASSED = SimReport((Check("volume", 1.0, 0.5, "min"),), material=RUBBER)
FAILED = SimReport((Check("volume", 1.0, 0.5, "min"), Check("slow", 9.0, 1.0, "max")), material=RUBBER)


def applied(prim) -> list[str]:
    """Applied schemas, also those that no plugin registers."""
    return list(prim.GetPrimTypeInfo().GetAppliedAPISchemas())


def test_every_format_holds_the_mesh_in_metres_and_z_up(tmp_path, make_box):
    box = replace(make_box(2, seed=1), frame=Frame(0.01, "y"))
    asset = export(box, PASSED, folder=tmp_path)
    assert list(asset.paths) == ["usd", "thumbnail", "msh", "vtu", "npz"]
    # (x, y, z) with Y up is (x, -z, y) with Z up; one unit is a centimetre.
    expected = 0.01 * box.points[:, [0, 2, 1]] * [1, -1, 1]
    for key in ("usd", "msh", "vtu", "npz"):
        back = read_any(asset.paths[key])
        tolerance = 1e-9 if key == "usd" else 1e-17  # single precision of coordinates below 0.03
        np.testing.assert_allclose(back.points, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(back.tets, box.tets)
        assert back.frame == Frame()
    assert asset.volume == pytest.approx(box.volumes.sum() * 1e-6, rel=1e-12)
    assert asset.mass == pytest.approx(1100.0 * asset.volume)
    assert asset.counts == {"points": 27, "tets": 48, "surface_faces": 48, "labels": 0}
    assert asset.ready is True


def test_stage_metadata_and_structure(tmp_path, make_box):
    stage = Usd.Stage.Open(str(export(make_box(1), PASSED, folder=tmp_path).paths["usd"]))
    root = stage.GetDefaultPrim()
    assert [p.GetPath() for p in stage.GetPseudoRoot().GetChildren()] == [root.GetPath()]
    assert Usd.ModelAPI(root).GetKind() == "component"
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert UsdPhysics.GetStageKilogramsPerUnit(stage) == 1.0
    assert UsdPhysics.StageHasAuthoredKilogramsPerUnit(stage)
    assert Usd.ModelAPI(root).GetAssetIdentifier().path == "./asset.usdc"
    assert Usd.ModelAPI(root).GetAssetVersion() == "1"
    assert {p.GetTypeName() for p in root.GetChildren()} == {"TetMesh", "Mesh", "Scope"}


def test_tet_mesh_is_right_handed_with_its_surface(tmp_path, make_box):
    box = make_box(2, seed=4)
    stage = Usd.Stage.Open(str(export(box, folder=tmp_path).paths["usd"]))
    prim = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME))
    assert prim.GetOrientationAttr().Get() == "rightHanded"
    points = np.array(prim.GetPointsAttr().Get())
    a, b, c, d = (points[box.tets[:, k]].astype(float) for k in range(4))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) > 0).all()
    surface = np.array(prim.GetSurfaceFaceVertexIndicesAttr().Get())
    np.testing.assert_array_equal(surface, np.array(UsdGeom.TetMesh.ComputeSurfaceFaces(prim)))
    # Outward triangles enclose the volume of the tets.
    a, b, c = (points[surface[:, k]].astype(float) for k in range(3))
    enclosed = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert enclosed == pytest.approx(box.volumes.sum(), rel=1e-6)
    np.testing.assert_array_equal(
        np.array(prim.GetExtentAttr().Get()), [points.min(axis=0), points.max(axis=0)]
    )


def test_render_mesh_is_a_sibling_with_outward_normals(tmp_path, make_box):
    stage = Usd.Stage.Open(str(export(make_box(2), folder=tmp_path).paths["usd"]))
    mesh = UsdGeom.Mesh(next(p for p in stage.GetDefaultPrim().GetChildren() if p.IsA(UsdGeom.Mesh)))
    assert mesh.GetSubdivisionSchemeAttr().Get() == "none"
    points, normals = (np.array(a.Get()) for a in (mesh.GetPointsAttr(), mesh.GetNormalsAttr()))
    assert len(points) == 26  # 27 less the one inside
    assert mesh.GetNormalsInterpolation() == "vertex"
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-6)
    assert (np.einsum("ij,ij->i", normals, points - 1.0) > 0).all()


@pytest.mark.parametrize("physics", [["newton"], ["omni"], ["newton", "omni"]])
def test_physics_under_the_names_asked_for(tmp_path, make_box, physics):
    asset = export(make_box(1), PASSED, ExportConfig(physics=physics), folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    root, volume = stage.GetDefaultPrim(), stage.GetPrimAtPath(VOLUME)
    bound = UsdShade.MaterialBindingAPI(volume).ComputeBoundMaterial("physics")[0].GetPrim()
    assert bound.GetPath() == MATERIAL
    assert {"PhysicsCollisionAPI", "MaterialBindingAPI"} <= set(applied(volume))
    for key, names in PHYSICS.items():
        present = key in physics
        assert (names.body in applied(root)) == present
        assert (names.simulation in applied(volume)) == present
        assert set(names.material).issubset(applied(bound)) == present
        for attribute, field in names.values.items():
            value = bound.GetAttribute(attribute).Get()
            assert value == (np.float32(RUBBER[field]) if present else None)
        if present:
            assert root.GetAttribute(names.mass).Get() == pytest.approx(asset.mass, rel=1e-6)
            tets = volume.GetAttribute("tetVertexIndices").Get()
            assert volume.GetAttribute(names.rest_tets).Get() == tets
            assert volume.GetAttribute(names.rest_points).Get() == volume.GetAttribute("points").Get()


def test_usd_validators_find_nothing(tmp_path, make_box):
    validation = pytest.importorskip("pxr.UsdValidation")
    box = make_box(2, labelled=True)
    stage = Usd.Stage.Open(str(export(box, PASSED, folder=tmp_path).paths["usd"]))
    try:
        validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    except Tf.ErrorException:
        pytest.skip("this usd-core lists validators that it does not ship")
    assert len(validators) > 10
    problems = [
        e.GetMessage() for e in validation.ValidationContext(validators).Validate(stage) if not e.HasNoError()
    ]
    assert problems == []


def test_gmsh_and_npz_carry_what_simulators_read(tmp_path, make_box):
    box = make_box(1, labelled=True)
    paths = export(box, PASSED, folder=tmp_path).paths
    blocks = meshio.read(paths["msh"]).cells
    assert [(b.type, len(b.data)) for b in blocks] == [("tetra", 6)]
    with np.load(paths["npz"]) as data:
        nu, young = RUBBER["poissons_ratio"], RUBBER["youngs_modulus"]
        assert data["k_mu"] == pytest.approx(young / (2 * (1 + nu)))
        assert data["k_lambda"] == pytest.approx(young * nu / ((1 + nu) * (1 - 2 * nu)))
        assert data["density"] == 1100.0
        assert data["vertices"].shape == (8, 3)
        assert data["tet_indices"].shape == (6, 4)
    quality = meshio.read(paths["vtu"]).cell_data
    # A Kuhn tet has dihedral angles of 45, 60 and 90 degrees.
    np.testing.assert_allclose(quality["min_dihedral_angle"][0], 45.0, rtol=1e-12)
    assert {"labels", "mean_ratio", "k_mu", "k_lambda", "density"} <= set(quality)


def test_the_boundary_with_normals_for_viewers(tmp_path, make_box):
    import trimesh

    box = make_box(2, seed=1, scale=0.1)
    asset = export(box, PASSED, ExportConfig(formats=["surface"]), folder=tmp_path)
    assert sorted(asset.paths) == ["glb", "obj", "ply"]
    mark = {"ply": b"property double nx", "obj": b"\nvn ", "glb": b'"NORMAL"'}
    for key, path in asset.paths.items():
        mesh = trimesh.load(path, force="mesh", process=False)
        assert mesh.is_watertight
        # The boundary encloses the volume of the tets; positions of .glb are in single precision.
        assert mesh.volume == pytest.approx(asset.volume, rel=1e-6 if key == "glb" else 1e-12)
        assert mark[key] in path.read_bytes()
        outward = np.einsum("ij,ij->i", mesh.vertex_normals, mesh.vertices - mesh.center_mass)
        assert (outward > 0).all()
        top = mesh.vertices[:, 1 if key == "glb" else 2].max()  # glTF has Y up
        assert top == pytest.approx(box.points[:, 2].max(), rel=1e-6)


def test_the_mujoco_scene_names_its_mesh_and_carries_the_material(tmp_path, make_box):
    box = make_box(2, scale=0.1)
    asset = export(box, PASSED, ExportConfig(formats=["mujoco"], name="Größe 1"), folder=tmp_path)
    assert {key: path.name for key, path in asset.paths.items()} == {
        "mujoco": "Größe 1.xml",
        "msh": "Größe 1.msh",
    }
    root = ElementTree.parse(asset.paths["mujoco"]).getroot()
    flex = root.find("worldbody/flexcomp")
    assert (flex.get("file"), flex.get("dim"), flex.get("type")) == ("Größe 1.msh", "3", "gmsh")
    elasticity = flex.find("elasticity")
    assert float(flex.get("mass")) == asset.mass
    assert float(elasticity.get("young")) == 5e5
    assert float(elasticity.get("poisson")) == 0.45
    # It starts half its height above the plane, measured at the surface of its vertices.
    z = float(flex.get("pos").split()[2]) - float(flex.get("radius")) + box.points[:, 2].min()
    assert z == pytest.approx(0.5 * np.ptp(box.points[:, 2]))


def test_mujoco_loads_and_drops_the_scene(tmp_path, make_box):
    mujoco = pytest.importorskip("mujoco")
    if int(mujoco.__version__.split(".")[0]) < 4:
        pytest.skip("the integrator of the scene needs MuJoCo 4")
    asset = export(make_box(2, scale=0.05), PASSED, ExportConfig(formats=["mujoco"]), folder=tmp_path)
    model = mujoco.MjModel.from_xml_path(str(asset.paths["mujoco"]))
    data = mujoco.MjData(model)
    assert model.nflexelem == 48
    assert model.body_mass.sum() == pytest.approx(asset.mass, rel=1e-6)
    for _ in range(50):
        mujoco.mj_step(model, data)
    assert np.isfinite(data.flexvert_xpos).all()
    assert data.time == pytest.approx(0.05)


def refined_boundary(box: TetMesh) -> SurfaceMesh:
    """The boundary with each triangle cut into four, its points moved inwards by 2 %."""
    faces = boundary_faces(box.tets)[0].astype(int)
    edges, inverse = np.unique(
        np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_inverse=True
    )
    middle = len(box.points) + inverse.reshape(-1, 3)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    cut = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    points = np.vstack([box.points, box.points[edges].mean(axis=1)])
    centre = points.mean(axis=0)
    return SurfaceMesh(centre + 0.98 * (points - centre), cut, frame=box.frame)


def test_an_embedded_surface_is_carried_by_its_tets(tmp_path, make_box):
    box = replace(make_box(2, seed=2), frame=Frame(0.01, "y"))
    surface = refined_boundary(box)
    config = ExportConfig(formats=["usd"], embed_surface=True)
    path = export(box, PASSED, config, surface=surface, folder=tmp_path).paths["usd"]
    stage = Usd.Stage.Open(str(path))
    mesh = UsdGeom.Mesh(next(p for p in stage.GetDefaultPrim().GetChildren() if p.IsA(UsdGeom.Mesh)))
    tet_mesh = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME))
    primvars = UsdGeom.PrimvarsAPI(mesh)
    row = np.array(primvars.GetPrimvar("simmesh:tetIndex").Get())
    weights = np.array(primvars.GetPrimvar("simmesh:tetWeights").Get(), dtype=float)
    assert primvars.GetPrimvar("simmesh:tetWeights").GetInterpolation() == "vertex"
    tets = np.array(tet_mesh.GetTetVertexIndicesAttr().Get())
    rest = np.array(tet_mesh.GetPointsAttr().Get(), dtype=float)
    shown = np.array(mesh.GetPointsAttr().Get(), dtype=float)
    assert len(shown) == len(surface.points)
    # Any affine motion of the tets moves the surface by the same map: x = sum w p, to single precision.
    matrix, shift = np.array([[1.1, 0.3, 0], [-0.2, 0.9, 0.1], [0, 0, 1.2]]), np.array([1.0, 2.0, 3.0])
    for move in (lambda p: p, lambda p: p @ matrix + shift):
        carried = np.einsum("mk,mkd->md", weights, move(rest)[tets[row]])
        np.testing.assert_allclose(carried, move(shown), atol=5e-6 * (1 + np.abs(move(shown)).max()))
    for names in PHYSICS.values():
        assert names.pose in applied(mesh.GetPrim())
        assert mesh.GetPrim().GetAttribute(f"{names.pose_prefix}:points").Get() == mesh.GetPointsAttr().Get()


def test_a_surface_is_embedded_on_demand_alone(tmp_path, make_box):
    box = make_box(2)
    surface = refined_boundary(box)
    asset = export(box, PASSED, ExportConfig(formats=["usd"]), surface=surface, folder=tmp_path)
    assert len(read_surface(asset.paths["usd"]).points) == 26
    config = ExportConfig(formats=["usd"], embed_surface=True)
    with pytest.raises(InputError, match="there is no surface"):
        export(box, PASSED, config, folder=tmp_path)
    away = SurfaceMesh(surface.points + 50.0, surface.faces)
    with pytest.raises(InputError, match="99 of 99 vertices lie far outside"):
        export(box, PASSED, config, surface=away, folder=tmp_path)


def test_a_mesh_that_is_not_ready_is_exported_and_says_so(tmp_path, make_box, caplog):
    asset = export(make_box(1), FAILED, folder=tmp_path)
    assert asset.ready is False
    assert "slow" in caplog.text
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    said = stage.GetDefaultPrim().GetCustomDataByKey("simmesh")
    assert said == {"validated": True, "ready": False, "failedChecks": "slow"}


def test_without_a_report_the_material_is_the_configured_one(tmp_path, make_box):
    config = ExportConfig(formats=["usd"], youngs_modulus=2e4, density=300.0)
    asset = export(make_box(1), config=config, folder=tmp_path)
    assert (asset.ready, asset.material["youngs_modulus"], asset.mass) == (None, 2e4, pytest.approx(300.0))
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    assert stage.GetDefaultPrim().GetCustomDataByKey("simmesh") == {"validated": False}


def test_unused_points_are_left_out_and_counted(tmp_path, make_box):
    box = make_box(1)
    mesh = TetMesh(
        np.vstack([[[9.0, 9, 9]], box.points]), box.tets + 1, crease_edges=np.array([[1, 2], [0, 1]])
    )
    context = RunContext()
    asset = export(mesh, folder=tmp_path, context=context)
    assert asset.counts["points"] == 8
    assert context.counts == {"unused_points": 1}


def test_the_same_mesh_gives_the_same_bytes(tmp_path, make_box):
    first, second = (export(make_box(2), PASSED, folder=tmp_path / name).paths for name in "ab")
    for key in first:
        assert first[key].read_bytes() == second[key].read_bytes(), key


@pytest.mark.parametrize("extension", [".usda", ".usdz"])
def test_text_and_package(tmp_path, make_box, extension):
    config = ExportConfig(formats=["usd"], name="part", usd_extension=extension)
    path = export(make_box(1), config=config, folder=tmp_path).paths["usd"]
    assert path.name == f"part{extension}"
    assert len(read_any(path).tets) == 6


def test_tets_that_invert_in_single_precision_are_refused(tmp_path, make_box):
    box = make_box(1)
    with pytest.raises(OutputError, match=r"6 of 6 tets lose .* rows \[0, 1, 2, 3, 4\]; move the mesh"):
        export(TetMesh(box.points + 1e9, box.tets), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_when_read_back_never_gets_its_name(tmp_path, make_box, monkeypatch):
    from pipeline.io import usd

    def save_less(stage, path, beside=None, save=usd.save_stage):
        attribute = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME)).GetPointsAttr()
        attribute.Set([p * 2 for p in attribute.Get()])
        save(stage, path)

    monkeypatch.setattr(usd, "save_stage", save_less)
    with pytest.raises(OutputError, match="points differ"):
        export(make_box(1), folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file size")
@pytest.mark.parametrize("key", EXPORTERS)
def test_a_disk_that_fills_up_leaves_nothing(tmp_path, key):
    # A limit on the size of files makes every write fail in the middle, also those of compiled libraries.
    script = """
import resource, sys
import numpy as np, meshio, pxr.Usd
from pipeline.errors import OutputError
from pipeline.stages.export import ExportConfig, export
from pipeline.types import TetMesh
rng = np.random.default_rng(0)
corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
points = (rng.random((300, 1, 3)) * 50 + corners).reshape(-1, 3)
mesh = TetMesh(points, np.arange(1200).reshape(-1, 4))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    export(mesh, config=ExportConfig(formats=[sys.argv[1]]), folder=sys.argv[2])
except OutputError as error:
    print(error)
    sys.exit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, key, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert f"cannot write {tmp_path / 'asset'}" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"formats": ["step"]}, "known are usd, msh, vtu, npz"),
        ({"formats": []}, "at least one"),
        ({"physics": ["bullet"]}, "known are newton, omni"),
        ({"usd_extension": ".fbx"}, "known are"),
        ({"name": "../asset"}, "plain file name"),
        ({"poissons_ratio": 0.5}, "less than 0.5"),
        ({"density": 0.0}, "more than 0"),
        ({"dynamic_friction": 0.9}, "dynamic <= static"),
    ],
)
def test_bad_settings(values, word):
    with pytest.raises(InputError, match=word):
        ExportConfig(**values)


def test_bad_arguments(tmp_path, make_box):
    empty = TetMesh(np.zeros((0, 3)), np.zeros((0, 4), dtype=np.int32))
    with pytest.raises(InputError, match="no tets"):
        export(empty, folder=tmp_path)
    with pytest.raises(InputError, match="no poissons_ratio, density"):
        export(make_box(1), SimReport((), material={"youngs_modulus": 1.0}), folder=tmp_path)


def test_stage_record():
    assert (STAGE.name, STAGE.inputs, STAGE.output) == ("export", ("sim_mesh", "sim_report"), "asset")
    assert STAGE.optional == ("surface_mesh", "point_cloud")
    assert isinstance(STAGE.config(), ExportConfig)
