"""Write the simulation asset as OpenUSD: TetMesh, render Mesh, soft-body physics and material.

    /Asset                 Xform: default prim, kind component, deformable body, mass
    /Asset/Volume          TetMesh: simulation mesh, collider, rest shape, subsets of labels
    /Asset/Surface         Mesh: boundary, or a finer surface with its weights, with normals, for viewers
    /Asset/Materials/Soft  Material: elasticity, density, friction
    /Asset/Materials/Look  Material: the texture, where the input has one

The deformable schemas are a proposal that no USD package registers: Newton reads the names of the proposal,
Omni PhysX the same design under its own prefix. Both are written from one table, so that one file serves
both (`usd_physics`).

Source: AOUSD deformable physics proposal (OpenUSD-proposals 111); OmniPhysics deformable schema.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, OutputError
from pipeline.io import usd
from pipeline.io.assets import AssetMaterial, material_of
from pipeline.io.atomic import atomic_path
from pipeline.io.render_mesh import RenderMesh
from pipeline.io.usd_appearance import Picture, author_appearance, author_thumbnail, thumbnail
from pipeline.io.usd_physics import PHYSICS, PhysicsNames
from pipeline.io.usd_stage import read_stage
from pipeline.types import METRES, SimReport, TetMesh

ROOT, VOLUME, SURFACE, MATERIAL = "/Asset", "/Asset/Volume", "/Asset/Surface", "/Asset/Materials/Soft"

TET_INDEX, TET_WEIGHTS = "simmesh:tetIndex", "simmesh:tetWeights"
"""Primvars of an embedded surface: per vertex the row of its tet (int) and barycentric weights (float4)."""


def write_asset(
    path: str | Path,
    mesh: TetMesh,
    report: SimReport | None,
    config: Any,
    render: RenderMesh | None = None,
    picture: Picture | None = None,
) -> dict[str, Path]:
    """Write the asset, read it back and compare before the file gets its name.

    Args:
        path: .usdc, .usda, .usd or .usdz.
        mesh: In metres and Z up.
        report: Gives the material and whether the asset is ready; may be None.
        config: `ExportConfig`; its `physics`, `name`, `version` and `thumbnail` are used.
        render: The surface to show, None for none.
        picture: Texture of that surface.

    Returns:
        The file as "usd", and what stands beside it: "thumbnail", "texture"; a .usdz holds these.

    Raises:
        OutputError: Tets that invert in single precision, or a file that cannot be written or differs.
    """
    path = Path(path)
    material = material_of(report, config)
    _require_single_precision(path, material, float(mesh.volumes.sum()) * material.density)
    names = {"texture": f"{path.stem}_texture{picture.suffix}"} if picture is not None and render else {}
    if config.thumbnail and render is not None:
        names["thumbnail"] = f"{path.stem}_preview.png"
    stage = usd.new_stage(METRES, root=ROOT.strip("/"))
    _author(stage, mesh, material, report, config, path.name, render, names)
    paths, is_package = {"usd": path}, path.suffix.lower() == ".usdz"
    with atomic_path(path) as part, ExitStack() as beside:
        if not is_package:
            usd.save_stage(stage, part)
        contents: dict[str, bytes] = {}
        if picture is not None and "texture" in names:
            contents[names["texture"]] = picture.data
        if render is not None and "thumbnail" in names:
            contents[names["thumbnail"]] = thumbnail(render)
        if is_package:
            usd.save_stage(stage, part, contents)
            _check_package(part, path, contents)
        else:
            paths |= {key: path.with_name(name) for key, name in names.items()}
            for name, data in contents.items():
                beside.enter_context(atomic_path(path.with_name(name))).write_bytes(data)
        _compare(part, path, mesh, material, config, render)
    return paths


def _author(
    stage: Any,
    mesh: TetMesh,
    material: AssetMaterial,
    report: SimReport | None,
    config: Any,
    name: str,
    render: RenderMesh | None,
    beside: Mapping[str, str],
) -> None:
    from pxr import Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    root = stage.GetDefaultPrim()
    model = Usd.ModelAPI(root)
    model.SetAssetName(config.name)
    model.SetAssetIdentifier(Sdf.AssetPath(f"./{name}"))
    model.SetAssetVersion(str(config.version))
    root.SetCustomDataByKey("simmesh", _custom_data(report))
    if "thumbnail" in beside:
        author_thumbnail(root, f"./{beside['thumbnail']}")

    UsdGeom.Scope.Define(stage, "/Asset/Materials")
    shade = UsdShade.Material.Define(stage, MATERIAL)
    tet_mesh = usd.define_tet_mesh(stage, VOLUME, mesh)
    UsdPhysics.CollisionAPI.Apply(tet_mesh.GetPrim())
    UsdShade.MaterialBindingAPI.Apply(tet_mesh.GetPrim()).Bind(
        shade, UsdShade.Tokens.weakerThanDescendants, "physics"
    )
    prims = [tet_mesh.GetPrim()]
    if render is not None:
        shown = usd.define_render_mesh(stage, SURFACE, render.points, render.faces)
        author_appearance(shown, render, f"./{beside['texture']}" if "texture" in beside else None)
        if render.tet is not None and render.weights is not None:
            _author_weights(shown, render.tet, render.weights)
        prims.append(shown.GetPrim())
    mass = float(mesh.volumes.sum()) * material.density
    for key in config.physics:
        names = PHYSICS[key]
        _apply_body(root, names, mass)
        _apply_simulation(tet_mesh, names)
        _apply_material(shade.GetPrim(), names, material)
        for prim in prims:
            _apply_pose(prim, names)


def _require_single_precision(path: Path, material: AssetMaterial, mass: float) -> None:
    """Refuse numbers that USD's single precision would turn into zero or infinity.

    Raises:
        OutputError: Names the first one.
    """
    fields = [field for names in PHYSICS.values() for field in names.values.values()]
    values = {field: getattr(material, field) for field in fields} | {"mass": mass}
    for name, value in values.items():
        with np.errstate(over="ignore", under="ignore"):
            single = np.float32(value)
        if not np.isfinite(single) or (single == 0) != (value == 0):
            raise OutputError(f"cannot write {path}: {name} {value:g} is beyond USD's single precision")


def _custom_data(report: SimReport | None) -> dict[str, Any]:
    """What a reader of the file should know: whether the mesh passed its checks, and which it failed."""
    if report is None:
        return {"validated": False}
    failed = [check.name for check in report.checks if not check.passed]
    return {"validated": True, "ready": report.passed, "failedChecks": ", ".join(failed)}


def _apply_body(prim: Any, names: PhysicsNames, mass: float) -> None:
    from pxr import Sdf

    prim.AddAppliedSchema(names.body)
    prim.CreateAttribute(names.body_enabled, Sdf.ValueTypeNames.Bool, False).Set(True)
    prim.CreateAttribute(names.mass, Sdf.ValueTypeNames.Float, False).Set(mass)


def _apply_simulation(tet_mesh: Any, names: PhysicsNames) -> None:
    from pxr import Sdf

    prim = tet_mesh.GetPrim()
    prim.AddAppliedSchema(names.simulation)
    points, tets = tet_mesh.GetPointsAttr().Get(), tet_mesh.GetTetVertexIndicesAttr().Get()
    prim.CreateAttribute(names.rest_points, Sdf.ValueTypeNames.Point3fArray, False).Set(points)
    prim.CreateAttribute(names.rest_tets, Sdf.ValueTypeNames.Int4Array, False).Set(tets)


def _apply_material(prim: Any, names: PhysicsNames, material: AssetMaterial) -> None:
    from pxr import Sdf

    for schema in names.material:
        prim.AddAppliedSchema(schema)
    for attribute, field in names.values.items():
        prim.CreateAttribute(attribute, Sdf.ValueTypeNames.Float, False).Set(float(getattr(material, field)))


def _author_weights(shown: Any, tet: NDArray[np.int32], weights: NDArray[np.float64]) -> None:
    """Author for each vertex of the render mesh which tet carries it and with which weights."""
    from pxr import Sdf, UsdGeom, Vt

    primvars = UsdGeom.PrimvarsAPI(shown)
    vertex, kinds = UsdGeom.Tokens.vertex, Sdf.ValueTypeNames
    primvars.CreatePrimvar(TET_INDEX, kinds.IntArray, vertex).Set(Vt.IntArray.FromNumpy(tet))
    primvars.CreatePrimvar(TET_WEIGHTS, kinds.Float4Array, vertex).Set(
        Vt.Vec4fArray.FromNumpy(weights.astype(np.float32))
    )


def _apply_pose(prim: Any, names: PhysicsNames) -> None:
    """The pose in which render mesh and simulation mesh belong together: as they stand."""
    from pxr import Sdf, UsdGeom

    prim.AddAppliedSchema(names.pose)
    points = UsdGeom.PointBased(prim).GetPointsAttr().Get()
    prim.CreateAttribute(f"{names.pose_prefix}:purposes", Sdf.ValueTypeNames.TokenArray, False).Set(
        ["bindPose"]
    )
    prim.CreateAttribute(f"{names.pose_prefix}:points", Sdf.ValueTypeNames.Point3fArray, False).Set(points)


def _check_package(part: Path, path: Path, contents: Mapping[str, bytes]) -> None:
    """Find every file in the package that was to go in.

    Raises:
        OutputError: One is missing or differs.
    """
    with zipfile.ZipFile(part, metadata_encoding="utf-8") as package:  # USD does not mark its names as such
        for name, data in contents.items():
            if name not in package.namelist() or package.read(name) != data:
                raise OutputError(f"cannot write {path}: {name} is not in the package as it should be")


def _compare(
    part: Path,
    path: Path,
    mesh: TetMesh,
    material: AssetMaterial,
    config: Any,
    render: RenderMesh | None,
) -> None:
    """Open what was written and hold it against the mesh and the material.

    Raises:
        OutputError: The first thing that differs.
    """
    from pxr import Tf, Usd, UsdGeom, UsdShade

    def same(what: str, expected: Any, found: Any) -> None:
        if found is None or not np.array_equal(np.asarray(expected), np.asarray(found)):
            raise OutputError(f"cannot write {path}: {what} differ from the mesh when read back")

    try:
        stage = Usd.Stage.Open(str(part))
        tet_mesh = UsdGeom.TetMesh(stage.GetPrimAtPath(VOLUME))
        same("points", mesh.points.astype(np.float32), tet_mesh.GetPointsAttr().Get())
        same("tets", mesh.tets, tet_mesh.GetTetVertexIndicesAttr().Get())
        surface = tet_mesh.GetSurfaceFaceVertexIndicesAttr().Get()
        same("surface faces", UsdGeom.TetMesh.ComputeSurfaceFaces(tet_mesh), surface)
        same("inverted tets", [], UsdGeom.TetMesh.FindInvertedElements(tet_mesh) or [])
        root = stage.GetDefaultPrim()
        for key in config.physics:
            names = PHYSICS[key]
            prim = tet_mesh.GetPrim()
            same("rest points", mesh.points.astype(np.float32), prim.GetAttribute(names.rest_points).Get())
            same("rest tets", mesh.tets, prim.GetAttribute(names.rest_tets).Get())
            mass = float(mesh.volumes.sum()) * material.density
            same("mass", np.float32(mass), root.GetAttribute(names.mass).Get())
        bound = UsdShade.MaterialBindingAPI(tet_mesh).ComputeBoundMaterial("physics")[0].GetPrim()
        for key in config.physics:
            for attribute, field in PHYSICS[key].values.items():
                same(attribute, np.float32(getattr(material, field)), bound.GetAttribute(attribute).Get())
        if render is not None:
            shown = UsdGeom.Mesh(stage.GetPrimAtPath(SURFACE))
            same("points of the surface", render.points.astype(np.float32), shown.GetPointsAttr().Get())
            same("faces of the surface", render.faces.ravel(), shown.GetFaceVertexIndicesAttr().Get())
            look = render.appearance
            if look is not None and look.texture_coordinates is not None:
                places = look.texture_coordinates.reshape(-1, 2).astype(np.float32)
                st = UsdGeom.PrimvarsAPI(shown).GetPrimvar("st")
                same("texture coordinates", places, st.ComputeFlattened())
        if mesh.labels is not None and mesh.labels.any():
            same("labels", mesh.labels, read_stage(part, "tets").labels)
    except (Tf.ErrorException, InputError) as error:
        raise OutputError(f"cannot write {path}: it cannot be read back: {error}") from error
