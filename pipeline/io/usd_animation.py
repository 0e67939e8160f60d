"""The validated scenarios as a USD layer that references the asset and moves its points.

    /World            variant set "scenario" with one variant for each scenario:
    /World/Asset      references ./asset.usdc; time samples of the points and extents of Volume and Surface,
                      and of the normals of Surface
    /World/Obstacles  plates, ground or ring that the body touches, half clear, without physics, with time
                      samples of their translation; beside the body, for simulators take what is below it
                      for its own

The values at the default time stay those of the asset, so that importers read the shape at rest. One second
has as many time codes as leave at least one for each kept frame of the fastest scenario.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, OutputError
from pipeline.io import usd
from pipeline.io.atomic import atomic_path
from pipeline.io.render_mesh import RenderMesh
from pipeline.types import Motion, Obstacle, TetMesh

WORLD, ASSET = "/World", "/World/Asset"
VARIANTS, OBSTACLES = "scenario", "Obstacles"
CLEAR = 0.35
"""Opacity of an obstacle: the body behind it is to be seen."""
CODES_PER_SECOND = 24.0
"""Fewest time codes in a second."""


def write_animation(
    path: str | Path,
    asset: str | Path,
    mesh: TetMesh,
    motions: Mapping[str, Motion],
    render: RenderMesh | None = None,
) -> Path:
    """Write the layer, open it with the asset and compare before the file gets its name.

    Args:
        path: .usdc, in the folder of the asset.
        asset: The USD file that `write_asset` wrote of this mesh.
        mesh: In metres and Z up; every point used by a tet.
        motions: By scenario.
        render: The surface in the asset, None where it has none.

    Raises:
        InputError: A motion of another mesh.
        OutputError: The file cannot be written, or differs when read back.
    """
    path, asset = Path(path), Path(asset)
    for name, motion in motions.items():
        if motion.points.shape[1] != len(mesh.points):
            raise InputError(
                f"the motion of {name} has {motion.points.shape[1]:,} points, the mesh has "
                f"{len(mesh.points):,}: the report is of another mesh; validate this one"
            )
    rate = codes_per_second(motions)
    with atomic_path(path) as part:
        layer = _layer(asset.name, mesh, motions, render, rate)
        if not layer.Export(str(part)) or not part.is_file():
            raise OSError("USD gave up")
        _compare(part, path, motions, rate)
    return path


def codes_per_second(motions: Mapping[str, Motion]) -> float:
    """Time codes in a second of the animation."""
    steps = [float(np.median(np.diff(m.times))) for m in motions.values() if len(m.times) > 1]
    return max([CODES_PER_SECOND, *(float(math.ceil(1.0 / step)) for step in steps)])


def variant_name(scenario: str) -> str:
    """The scenario as a name that USD allows for a variant."""
    return re.sub(r"\W", "_", scenario, flags=re.ASCII)


def _layer(
    asset: str, mesh: TetMesh, motions: Mapping[str, Motion], render: RenderMesh | None, rate: float
) -> Any:
    from pxr import Sdf, UsdGeom, UsdPhysics

    from pipeline.io.usd_asset import SURFACE, VOLUME

    layer = Sdf.Layer.CreateAnonymous(".usdc")
    world = layer.pseudoRoot
    for key, value in (
        (UsdGeom.Tokens.upAxis, UsdGeom.Tokens.z),
        (UsdGeom.Tokens.metersPerUnit, 1.0),
        (UsdPhysics.Tokens.kilogramsPerUnit, 1.0),
    ):
        world.SetInfo(key, value)
    layer.defaultPrim = WORLD.strip("/")
    layer.timeCodesPerSecond = layer.framesPerSecond = rate
    layer.startTimeCode = 0.0
    layer.endTimeCode = max(float(motion.times[-1]) * rate for motion in motions.values())

    root = Sdf.PrimSpec(layer, WORLD.strip("/"), Sdf.SpecifierDef, "Xform")
    root.kind = "assembly"
    body = Sdf.PrimSpec(root, Path(ASSET).name, Sdf.SpecifierDef, "Xform")
    body.referenceList.Prepend(Sdf.Reference(f"./{asset}"))
    root.variantSetNameList.Prepend(VARIANTS)
    variants = Sdf.VariantSetSpec(root, VARIANTS)
    for name, motion in motions.items():
        over = Sdf.VariantSpec(variants, variant_name(name)).primSpec
        over.SetInfo("customData", {"simmesh": {"scenario": name, "seconds": float(motion.times[-1])}})
        codes = (motion.times * rate).tolist()
        moved = Sdf.PrimSpec(over, Path(ASSET).name, Sdf.SpecifierOver)
        volume = Sdf.PrimSpec(moved, Path(VOLUME).name, Sdf.SpecifierOver)
        _sample(layer, volume, codes, list(motion.points))
        if render is not None:
            surface = Sdf.PrimSpec(moved, Path(SURFACE).name, Sdf.SpecifierOver)
            _sample(layer, surface, codes, [render.moved(mesh.tets, x) for x in motion.points], render.faces)
        if motion.obstacles:
            scope = Sdf.PrimSpec(over, OBSTACLES, Sdf.SpecifierDef, "Scope")
            for key, obstacle in motion.obstacles.items():
                _obstacle(
                    layer, Sdf.PrimSpec(scope, variant_name(key), Sdf.SpecifierDef, "Mesh"), codes, obstacle
                )
    root.variantSelections[VARIANTS] = variant_name(next(iter(motions)))
    return layer


def _sample(
    layer: Any,
    prim: Any,
    codes: list[float],
    frames: list[NDArray[Any]],
    faces: NDArray[np.int32] | None = None,
) -> None:
    """Author samples of points and extent, and of the normals where `faces` are given."""
    from pxr import Sdf, Vt

    kinds = Sdf.ValueTypeNames
    points = Sdf.AttributeSpec(prim, "points", kinds.Point3fArray)
    extent = Sdf.AttributeSpec(prim, "extent", kinds.Float3Array)
    normals = None if faces is None else Sdf.AttributeSpec(prim, "normals", kinds.Normal3fArray)
    for code, x in zip(codes, frames):
        single = np.ascontiguousarray(x, dtype=np.float32)
        layer.SetTimeSample(points.path, code, Vt.Vec3fArray.FromNumpy(single))
        layer.SetTimeSample(extent.path, code, usd.extent_of(single))
        if normals is not None and faces is not None:
            vectors = usd.vertex_normals(np.asarray(x, dtype=np.float64), faces).astype(np.float32)
            layer.SetTimeSample(normals.path, code, Vt.Vec3fArray.FromNumpy(vectors))


def _obstacle(layer: Any, prim: Any, codes: list[float], obstacle: Obstacle) -> None:
    """Author a rigid mesh with flat faces, and samples of its translation."""
    from pxr import Gf, Sdf, UsdGeom, Vt

    kinds, tokens = Sdf.ValueTypeNames, UsdGeom.Tokens
    points = obstacle.points.astype(np.float32)
    corner = obstacle.points[obstacle.faces]
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    way = Gf.Vec3d(*obstacle.offsets[0].tolist())
    values = (
        ("points", kinds.Point3fArray, Vt.Vec3fArray.FromNumpy(points)),
        ("extent", kinds.Float3Array, usd.extent_of(points)),
        ("faceVertexCounts", kinds.IntArray, Vt.IntArray(len(obstacle.faces), 3)),
        ("faceVertexIndices", kinds.IntArray, Vt.IntArray.FromNumpy(obstacle.faces.ravel())),
        ("normals", kinds.Normal3fArray, Vt.Vec3fArray.FromNumpy(normals.astype(np.float32))),
        ("primvars:displayColor", kinds.Color3fArray, Vt.Vec3fArray(1, Gf.Vec3f(0.18, 0.35, 0.5))),
        ("primvars:displayOpacity", kinds.FloatArray, Vt.FloatArray(1, CLEAR)),
        ("xformOp:translate", kinds.Double3, way),
    )
    for name, kind, value in values:
        Sdf.AttributeSpec(prim, name, kind).default = value
    prim.attributes["normals"].SetInfo("interpolation", tokens.uniform)
    for name, kind, token in (
        ("subdivisionScheme", kinds.Token, tokens.none),
        ("xformOpOrder", kinds.TokenArray, Vt.TokenArray(["xformOp:translate"])),
    ):
        Sdf.AttributeSpec(prim, name, kind, Sdf.VariabilityUniform).default = token
    path = prim.path.AppendProperty("xformOp:translate")
    for code, offset in zip(codes, obstacle.offsets.tolist()):
        layer.SetTimeSample(path, code, Gf.Vec3d(*offset))


def _compare(part: Path, path: Path, motions: Mapping[str, Motion], rate: float) -> None:
    """Open the layer with its asset and hold every sample of the tets against the motion."""
    from pxr import Tf, Usd, UsdGeom

    from pipeline.io.usd_asset import VOLUME

    try:
        stage = Usd.Stage.Open(str(part))
        variants = stage.GetPrimAtPath(WORLD).GetVariantSet(VARIANTS)
        for name, motion in motions.items():
            variants.SetVariantSelection(variant_name(name))
            prim = UsdGeom.TetMesh(stage.GetPrimAtPath(f"{ASSET}/{Path(VOLUME).name}"))
            if not prim or not prim.GetTetVertexIndicesAttr().Get():
                raise OutputError(f"cannot write {path}: the asset beside it is not found from it")
            attribute = prim.GetPointsAttr()
            codes = np.array(attribute.GetTimeSamples())
            same = np.array_equal(codes, motion.times * rate) and all(
                np.array_equal(np.asarray(attribute.Get(code)), x) for code, x in zip(codes, motion.points)
            )
            for key, obstacle in motion.obstacles.items():
                shown = UsdGeom.Mesh(stage.GetPrimAtPath(f"{WORLD}/{OBSTACLES}/{variant_name(key)}"))
                ways = [shown.GetLocalTransformation(code).ExtractTranslation() for code in codes]
                same = same and np.array_equal(ways, obstacle.offsets)
                same = same and np.array_equal(
                    np.asarray(shown.GetPointsAttr().Get()), obstacle.points.astype(np.float32)
                )
            if not same:
                raise OutputError(
                    f"cannot write {path}: the samples of {name} differ from the motion when read back"
                )
    except Tf.ErrorException as error:
        raise OutputError(f"cannot write {path}: it cannot be read back: {error}") from error
