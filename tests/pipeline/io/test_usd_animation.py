"""The animation layer moves the asset as the scenarios did, and leaves its shape at rest to importers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from pxr import Usd, UsdGeom

from pipeline.errors import InputError, OutputError
from pipeline.io.formats import read_tets
from pipeline.io.render_mesh import boundary_render_mesh, embedded_render_mesh
from pipeline.io.usd_animation import ASSET, CODES_PER_SECOND, VARIANTS, codes_per_second
from pipeline.io.usd_check import check_usd
from pipeline.io.usd_physics import PHYSICS
from pipeline.stages.export import ExportConfig, export
from pipeline.types import Check, Motion, Obstacle, SimReport, SurfaceMesh, TetMesh

MATERIAL = {"youngs_modulus": 1e5, "poissons_ratio": 0.4, "density": 1000.0}
VOLUME, SURFACE = f"{ASSET}/Volume", f"{ASSET}/Surface"
USD = ExportConfig(formats=["usd"])


def motion(mesh: TetMesh, seconds: float = 1.0, count: int = 4, shear: float = 0.3) -> Motion:
    """A body that falls while it shears: an affine map at each time."""
    times = np.linspace(0.0, seconds, count)
    frames = []
    for t in times / seconds:
        matrix = np.eye(3)
        matrix[0, 2] = shear * t
        frames.append(mesh.points @ matrix.T - [0.0, 0.0, t])
    return Motion(times, np.array(frames))


def report_of(mesh: TetMesh, **motions: Motion) -> SimReport:
    return SimReport((Check("volume", 1.0, 0.5, "min"),), material=MATERIAL, motions=motions)


def test_every_scenario_is_a_variant_with_the_motion_of_tets_and_surface(tmp_path, make_box):
    box = make_box(2, seed=3)
    drop, press = motion(box), motion(box, 0.5, 6, -0.2)
    asset = export(box, report_of(box, drop=drop, press=press), USD, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["animation"]))
    root = stage.GetDefaultPrim()
    variants = root.GetVariantSet(VARIANTS)
    assert variants.GetVariantNames() == ["drop", "press"]
    assert variants.GetVariantSelection() == "drop"
    rate = stage.GetTimeCodesPerSecond()
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0.0, rate * 1.0)
    shown = boundary_render_mesh(box)
    for name, moved in (("drop", drop), ("press", press)):
        variants.SetVariantSelection(name)
        volume = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME))
        surface = UsdGeom.Mesh(stage.GetPrimAtPath(SURFACE))
        np.testing.assert_allclose(volume.GetPointsAttr().GetTimeSamples(), moved.times * rate)
        for seconds, x in zip(moved.times, moved.points):
            code = Usd.TimeCode(seconds * rate)
            np.testing.assert_array_equal(volume.GetPointsAttr().Get(code), x)
            np.testing.assert_array_equal(surface.GetPointsAttr().Get(code), x[shown.vertex])
            for prim in (volume, surface):
                points = np.array(prim.GetPointsAttr().Get(code))
                np.testing.assert_array_equal(prim.GetExtentAttr().Get(code), [points.min(0), points.max(0)])
            normals = np.array(surface.GetNormalsAttr().Get(code))
            np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)


def with_plate(moved: Motion) -> Motion:
    """The motion over a slab that sinks."""
    way = np.linspace(0, 1, len(moved.times))[:, None] * [0.0, 0.0, -0.25]
    faces = trimesh.creation.box().faces
    return replace(moved, obstacles={"upper plate": Obstacle(trimesh.creation.box().vertices, faces, way)})


def test_what_the_body_touches_moves_with_it_and_has_no_physics(tmp_path, make_box):
    box = make_box(1, seed=4)
    moved = with_plate(motion(box, 0.7, 5))
    asset = export(box, report_of(box, press=moved, drop=motion(box)), USD, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["animation"]))
    plate, expected = UsdGeom.Mesh(stage.GetPrimAtPath("/World/Obstacles/upper_plate")), moved.obstacles
    np.testing.assert_array_equal(plate.GetPointsAttr().Get(), expected["upper plate"].points)
    for seconds, way in zip(moved.times, expected["upper plate"].offsets):
        placed = UsdGeom.XformCache(seconds * stage.GetTimeCodesPerSecond())
        matrix = placed.GetLocalToWorldTransform(plate.GetPrim())
        np.testing.assert_allclose(matrix.ExtractTranslation(), way, atol=1e-12)
    assert plate.GetPrim().GetAppliedSchemas() == []
    # A simulator takes every mesh below the body for a part of it.
    assert PHYSICS["newton"].body in stage.GetPrimAtPath(ASSET).GetPrimTypeInfo().GetAppliedAPISchemas()
    assert not plate.GetPath().HasPrefix(ASSET)
    stage.GetDefaultPrim().GetVariantSet(VARIANTS).SetVariantSelection("drop")
    assert not stage.GetPrimAtPath("/World/Obstacles")
    assert read_tets(asset.paths["animation"]).volumes.sum() == pytest.approx(box.volumes.sum(), rel=1e-6)


def test_importers_see_the_shape_at_rest(tmp_path, make_box):
    box = make_box(1, seed=1)
    asset = export(box, report_of(box, drop=motion(box)), USD, folder=tmp_path)
    back = read_tets(asset.paths["animation"])
    np.testing.assert_array_equal(back.points, box.points.astype(np.float32))
    np.testing.assert_array_equal(back.tets, box.tets)


@pytest.mark.parametrize("extension", [".usdc", ".usdz"])
def test_the_checks_find_nothing(tmp_path, make_box, extension):
    box = make_box(2, seed=2)
    config = ExportConfig(formats=["usd"], usd_extension=extension)
    report = report_of(box, drop=with_plate(motion(box)), stretch=motion(box))
    asset = export(box, report, config, folder=tmp_path)
    profiles, layer = ("newton", "omni"), asset.paths["animation"]
    found = check_usd(layer, profiles=profiles, require_tets=True, require_physics=True)
    assert found.passed(strict=True), found.findings


def test_an_embedded_surface_moves_with_its_tets(tmp_path, make_box):
    box = make_box(2, seed=5)
    shown = boundary_render_mesh(box)
    middle = box.points.mean(axis=0)
    surface = SurfaceMesh(middle + 0.9 * (shown.points - middle), shown.faces)
    moved = motion(box)
    config = ExportConfig(formats=["usd"], embed_surface=True)
    asset = export(box, report_of(box, drop=moved), config, surface=surface, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["animation"]))
    last = UsdGeom.Mesh(stage.GetPrimAtPath(SURFACE)).GetPointsAttr().Get(stage.GetEndTimeCode())
    # An affine motion of the tets is that of the surface.
    matrix = np.eye(3)
    matrix[0, 2] = 0.3
    np.testing.assert_allclose(last, surface.points @ matrix.T - [0, 0, 1], atol=1e-6)
    # At rest the weights give the surface itself back.
    at_rest = embedded_render_mesh(box, surface).moved(box.tets, box.points)
    np.testing.assert_allclose(at_rest, surface.points, atol=1e-12)


def test_time_codes_are_at_least_one_per_frame(make_box):
    box = make_box(1)
    assert codes_per_second({"slow": motion(box, 10.0)}) == CODES_PER_SECOND
    fast = motion(box, 0.01, 11)
    rate = codes_per_second({"slow": motion(box, 10.0), "fast": fast})
    assert (np.diff(fast.times) * rate > 1.0 - 1e-9).all()


def test_without_motion_or_on_demand_there_is_no_layer(tmp_path, make_box):
    box = make_box(1)
    assert "animation" not in export(box, report_of(box), USD, folder=tmp_path).paths
    off = ExportConfig(formats=["usd"], animation=False)
    assert "animation" not in export(box, report_of(box, drop=motion(box)), off, folder=tmp_path).paths
    npz = ExportConfig(formats=["npz"])
    assert list(export(box, report_of(box, drop=motion(box)), npz, folder=tmp_path).paths) == ["npz"]


def test_points_that_no_tet_uses_do_not_shift_the_motion(tmp_path, make_box):
    box = make_box(1)
    more = TetMesh(np.concatenate([[[9.0, 9.0, 9.0]], box.points]), box.tets + 1)
    asset = export(more, report_of(box, drop=motion(box)), USD, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["animation"]))
    points = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME)).GetPointsAttr().Get(0)
    np.testing.assert_array_equal(points, box.points.astype(np.float32))


def test_a_motion_of_another_mesh_is_refused(tmp_path, make_box):
    with pytest.raises(InputError, match="motion of drop has 27 points, the mesh has 8"):
        export(make_box(1), report_of(make_box(2), drop=motion(make_box(2))), USD, folder=tmp_path)


def test_samples_that_differ_when_read_back_get_no_name(tmp_path, make_box, monkeypatch):
    from pipeline.io import usd_animation

    box = make_box(1)
    real = usd_animation._sample

    def other(layer, prim, codes, frames, faces=None):
        real(layer, prim, codes, [2.0 * x for x in frames], faces)

    monkeypatch.setattr(usd_animation, "_sample", other)
    with pytest.raises(OutputError, match="samples of drop differ"):
        export(box, report_of(box, drop=motion(box)), USD, folder=tmp_path)
    assert not list(tmp_path.glob("*animation*"))


def test_a_layer_of_an_earlier_export_is_named(tmp_path, make_box, caplog):
    box = make_box(1)
    export(box, report_of(box, drop=motion(box)), USD, folder=tmp_path)
    export(make_box(2), report_of(make_box(2)), USD, folder=tmp_path)
    assert "asset_animation.usdc is of an earlier export" in caplog.text
