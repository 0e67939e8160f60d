"""Write the simulation asset as OpenUSD: TetMesh, render Mesh, soft-body physics and material.

    /Asset                 Xform: default prim, kind component, deformable body, mass
    /Asset/Volume          TetMesh: simulation mesh, collider, rest shape, subsets of labels
    /Asset/Surface         Mesh: boundary, or a finer surface with its weights, with normals, for viewers
    /Asset/Materials/Soft  Material: elasticity, density, friction

The deformable schemas are a proposal that no USD package registers: Newton reads the names of the proposal,
Omni PhysX the same design under its own prefix. Both are written from one table, so that one file serves
both.

Source: AOUSD deformable physics proposal (OpenUSD-proposals 111); OmniPhysics deformable schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError, OutputError
from pipeline.io import usd
from pipeline.io.assets import AssetMaterial, material_of
from pipeline.io.atomic import atomic_path
from pipeline.io.embedding import embed_points
from pipeline.io.usd_stage import read_stage
from pipeline.types import METRES, SimReport, SurfaceMesh, TetMesh

ROOT, VOLUME, SURFACE, MATERIAL = "/Asset", "/Asset/Volume", "/Asset/Surface", "/Asset/Materials/Soft"

TET_INDEX, TET_WEIGHTS = "simmesh:tetIndex", "simmesh:tetWeights"
"""Primvars of an embedded surface: per vertex the row of its tet (int) and barycentric weights (float4)."""
_FARTHEST = -2.0
"""Smallest weight of a surface that belongs to the mesh: two heights of a tet outside of it."""


@dataclass(frozen=True)
class PhysicsNames:
    """What one family of simulators calls the parts of a deformable body."""

    body: str
    body_enabled: str
    mass: str
    simulation: str
    rest_points: str
    rest_tets: str
    pose: str
    pose_prefix: str
    material: tuple[str, ...]
    values: dict[str, str]
    """Attribute of the material -> field of `AssetMaterial`."""


PHYSICS = {
    "newton": PhysicsNames(
        body="PhysicsDeformableBodyAPI",
        body_enabled="physics:bodyEnabled",
        mass="physics:mass",
        simulation="PhysicsVolumeDeformableSimAPI",
        rest_points="physics:restShapePoints",
        rest_tets="physics:restTetVertexIndices",
        pose="PhysicsDeformablePoseAPI:default",
        pose_prefix="physics:deformablePose:default",
        material=("PhysicsMaterialAPI", "PhysicsVolumeDeformableMaterialAPI"),
        values={
            "physics:youngsModulus": "youngs_modulus",
            "physics:poissonsRatio": "poissons_ratio",
            "physics:density": "density",
            "physics:staticFriction": "static_friction",
            "physics:dynamicFriction": "dynamic_friction",
        },
    ),
    "omni": PhysicsNames(
        body="OmniPhysicsDeformableBodyAPI",
        body_enabled="omniphysics:deformableBodyEnabled",
        mass="omniphysics:mass",
        simulation="OmniPhysicsVolumeDeformableSimAPI",
        rest_points="omniphysics:restShapePoints",
        rest_tets="omniphysics:restTetVtxIndices",
        pose="OmniPhysicsDeformablePoseAPI:default",
        pose_prefix="deformablePose:default:omniphysics",
        material=("OmniPhysicsBaseMaterialAPI", "OmniPhysicsDeformableMaterialAPI"),
        values={
            "omniphysics:youngsModulus": "youngs_modulus",
            "omniphysics:poissonsRatio": "poissons_ratio",
            "omniphysics:density": "density",
            "omniphysics:dynamicFriction": "dynamic_friction",
        },
    ),
}


def write_asset(
    path: str | Path,
    mesh: TetMesh,
    report: SimReport | None,
    config: Any,
    surface: SurfaceMesh | None = None,
) -> Path:
    """Write the asset, read it back and compare before the file gets its name.

    Args:
        path: .usdc, .usda, .usd or .usdz.
        mesh: In metres and Z up.
        report: Gives the material and whether the asset is ready; may be None.
        config: `ExportConfig`; its `physics`, `name`, `version` and `render_mesh` are used.
        surface: Surface to show instead of the boundary of the mesh, in the same frame; each vertex gets the
            tet that carries it.

    Raises:
        InputError: The surface lies outside the mesh.
        OutputError: Tets that invert in single precision, or a file that cannot be written or differs.
    """
    path = Path(path)
    material = material_of(report, config)
    stage = usd.new_stage(METRES, root=ROOT.strip("/"))
    _author(stage, mesh, material, report, config, path.name, surface)
    with atomic_path(path) as part:
        usd.save_stage(stage, part)
        _compare(part, path, mesh, material, config)
    return path


def _author(
    stage: Any,
    mesh: TetMesh,
    material: AssetMaterial,
    report: SimReport | None,
    config: Any,
    name: str,
    surface: SurfaceMesh | None,
) -> None:
    from pxr import Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    root = stage.GetDefaultPrim()
    model = Usd.ModelAPI(root)
    model.SetAssetName(config.name)
    model.SetAssetIdentifier(Sdf.AssetPath(f"./{name}"))
    model.SetAssetVersion(str(config.version))
    root.SetCustomDataByKey("simmesh", _custom_data(report))

    UsdGeom.Scope.Define(stage, "/Asset/Materials")
    shade = UsdShade.Material.Define(stage, MATERIAL)
    tet_mesh = usd.define_tet_mesh(stage, VOLUME, mesh)
    UsdPhysics.CollisionAPI.Apply(tet_mesh.GetPrim())
    UsdShade.MaterialBindingAPI.Apply(tet_mesh.GetPrim()).Bind(
        shade, UsdShade.Tokens.weakerThanDescendants, "physics"
    )
    prims = [tet_mesh.GetPrim()]
    if config.render_mesh:
        points, faces = usd.boundary_surface(mesh) if surface is None else (surface.points, surface.faces)
        render = usd.define_render_mesh(stage, SURFACE, points, faces)
        render.CreateDisplayColorAttr([(0.46, 0.73, 0.86)])
        if surface is not None:
            _embed(render, mesh, surface)
        prims.append(render.GetPrim())
    mass = float(mesh.volumes.sum()) * material.density
    for key in config.physics:
        names = PHYSICS[key]
        _apply_body(root, names, mass)
        _apply_simulation(tet_mesh, names)
        _apply_material(shade.GetPrim(), names, material)
        for prim in prims:
            _apply_pose(prim, names)


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


def _embed(render: Any, mesh: TetMesh, surface: SurfaceMesh) -> None:
    """Author for each vertex of the render mesh which tet carries it and with which weights."""
    from pxr import Sdf, UsdGeom, Vt

    tet, weights = embed_points(mesh.points, mesh.tets, surface.points)
    far = np.flatnonzero(weights.min(axis=1) < _FARTHEST)
    if len(far):
        raise InputError(
            f"surface: {len(far):,} of {len(tet):,} vertices lie far outside the mesh, first rows "
            f"{far[:5].tolist()}; give the surface that the mesh was made of, or leave out embed_surface"
        )
    primvars = UsdGeom.PrimvarsAPI(render)
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


def _compare(part: Path, path: Path, mesh: TetMesh, material: AssetMaterial, config: Any) -> None:
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
        bound = UsdShade.MaterialBindingAPI(tet_mesh).ComputeBoundMaterial("physics")[0].GetPrim()
        for key in config.physics:
            for attribute, field in PHYSICS[key].values.items():
                same(attribute, np.float32(getattr(material, field)), bound.GetAttribute(attribute).Get())
        if (mesh.labels is not None) and len(np.unique(mesh.labels)) > 1:
            same("labels", mesh.labels, read_stage(part, "tets").labels)
    except (Tf.ErrorException, InputError) as error:
        raise OutputError(f"cannot write {path}: it cannot be read back: {error}") from error
