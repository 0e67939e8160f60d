"""Author OpenUSD geometry: Mesh and TetMesh prims with their unit and up axis.

USD stores positions in single precision. The simulation asset with its physics is written by
`pipeline.io.usd_asset`; stages are read by `pipeline.io.usd_stage`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import OutputError
from pipeline.io.usd_stage import tf_message
from pipeline.topology import boundary_faces, compact
from pipeline.types import Frame, SurfaceMesh, TetMesh


def write_usd_surface(path: Path, mesh: SurfaceMesh) -> None:
    """Write one Mesh prim (subdivision none, with normals) in the frame of the mesh."""

    def define(stage: Any) -> None:
        define_render_mesh(stage, f"{stage.GetDefaultPrim().GetPath()}/Surface", mesh.points, mesh.faces)

    _write_stage(path, mesh.frame, define)


def write_usd_tets(path: Path, mesh: TetMesh) -> None:
    """Write one TetMesh prim, with subsets for labels, in the frame of the mesh."""

    def define(stage: Any) -> None:
        define_tet_mesh(stage, f"{stage.GetDefaultPrim().GetPath()}/Volume", mesh)

    _write_stage(path, mesh.frame, define)


def new_stage(frame: Frame, root: str = "Root") -> Any:
    """Make a stage in memory with one root Xform (default prim, kind component), unit and up axis."""
    from pxr import Kind, Sdf, Usd, UsdGeom

    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y if frame.up == "y" else UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, frame.metres_per_unit)
    prim = UsdGeom.Xform.Define(stage, Sdf.Path(f"/{root}")).GetPrim()
    Usd.ModelAPI(prim).SetKind(Kind.Tokens.component)
    stage.SetDefaultPrim(prim)
    return stage


def save_stage(stage: Any, path: Path, beside: Mapping[str, bytes] | None = None) -> None:
    """Write the stage to `path` (.usd, .usda, .usdc or .usdz).

    Args:
        stage: What.
        path: Where.
        beside: Files by name that the stage refers to; packed into a .usdz, else left to the caller.

    Raises:
        OSError: USD cannot write there; `atomic_path` makes it an `OutputError`.
    """
    from pxr import Sdf, Tf, UsdUtils

    try:
        if path.suffix.lower() != ".usdz":
            done = stage.GetRootLayer().Export(str(path))
        else:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".usdz.part-") as folder:
                layer = Path(folder) / "asset.usdc"
                for name, data in (beside or {}).items():
                    (Path(folder) / name).write_bytes(data)
                done = stage.GetRootLayer().Export(str(layer))
                done = done and UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(path))
    except Tf.ErrorException as error:
        raise OSError(tf_message(error)) from error
    if not done or not path.is_file():
        raise OSError("USD gave up")


def define_tet_mesh(stage: Any, prim_path: str, mesh: TetMesh) -> Any:
    """Author a right-handed UsdGeom.TetMesh: points, tets, surface faces, tight extent, subsets for labels.

    Labels that are all 0 say nothing, and get no subset.

    Raises:
        OutputError: Tets that lose their positive volume when positions are rounded to single precision.
    """
    from pxr import UsdGeom, Vt

    points = single_precision(mesh)
    prim = UsdGeom.TetMesh.Define(stage, prim_path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(mesh.tets))
    prim.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)
    # The faces and their order are those of UsdGeom.TetMesh.ComputeSurfaceFaces, in a third of its time.
    surface = boundary_faces(mesh.tets)[0]
    surface = np.ascontiguousarray(surface[np.lexsort(surface.T[::-1])], dtype=np.int32)
    prim.CreateSurfaceFaceVertexIndicesAttr(Vt.Vec3iArray.FromNumpy(surface))
    prim.CreateExtentAttr(extent_of(points))
    values = np.zeros(0) if mesh.labels is None else np.unique(mesh.labels)
    if len(values) > 1 or values.any():
        for value in values:
            rows = np.flatnonzero(mesh.labels == value).astype(np.int32)
            name = f"label_{value}".replace("-", "minus_")
            UsdGeom.Subset.CreateGeomSubset(
                prim, name, UsdGeom.Tokens.tetrahedron, Vt.IntArray.FromNumpy(rows), "labels", "partition"
            )
    return prim


def define_render_mesh(
    stage: Any, prim_path: str, points: NDArray[np.float64], faces: NDArray[np.int32]
) -> Any:
    """Author a UsdGeom.Mesh for viewers: no subdivision, smooth vertex normals, tight extent."""
    from pxr import UsdGeom, Vt

    single = np.ascontiguousarray(points, dtype=np.float32)
    prim = UsdGeom.Mesh.Define(stage, prim_path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(single))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, dtype=np.int32)))
    prim.CreateFaceVertexIndicesAttr(
        Vt.IntArray.FromNumpy(np.ascontiguousarray(faces.ravel(), dtype=np.int32))
    )
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(vertex_normals(points, faces).astype(np.float32)))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    prim.CreateExtentAttr(extent_of(single))
    return prim


def boundary_surface(mesh: TetMesh) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Points and outward triangles of the boundary of a tetrahedral mesh, without the interior points."""
    points, faces, _ = compact(mesh.points, boundary_faces(mesh.tets)[0])
    return points, faces


def single_precision(mesh: TetMesh) -> NDArray[np.float32]:
    """Round positions to float32, shape (n, 3), and make sure that every tet keeps its positive volume.

    Raises:
        OutputError: Names the tets that do not.
    """
    points = np.ascontiguousarray(mesh.points, dtype=np.float32)
    # USD and simulators evaluate the volume in single precision too: it must be positive in both.
    flat = [~(_six_volumes(points.astype(kind), mesh.tets) > 0) for kind in (np.float64, np.float32)]
    bad = np.flatnonzero(flat[0] | flat[1])
    if len(bad):
        raise OutputError(
            f"{len(bad):,} of {len(mesh.tets):,} tets lose their positive volume in USD's single precision, "
            f"first rows {bad[:5].tolist()}; move the mesh near the origin or improve those tets first"
        )
    return points


def vertex_normals(points: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Area-weighted unit normals per vertex, shape (n, 3); (0, 0, 1) where no face with area meets."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(face[:, k], 3), minlength=len(points)) for k in range(3)],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1.0), np.array([0.0, 0.0, 1.0]))


def _write_stage(path: Path, frame: Frame, define: Any) -> None:
    stage = new_stage(frame)
    define(stage)
    save_stage(stage, path)


def _six_volumes(points: NDArray[Any], tets: NDArray[Any]) -> NDArray[Any]:
    axes = [np.ascontiguousarray(points[:, k]) for k in range(3)]
    corner = tets.T.astype(np.intp)
    (ux, uy, uz), (vx, vy, vz), (wx, wy, wz) = (
        [axis.take(corner[k]) - axis.take(corner[0]) for axis in axes] for k in (1, 2, 3)
    )
    return (uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz


def extent_of(points: NDArray[np.float32]) -> Any:
    """Lowest and highest corner of points, shape (n, 3), as USD stores an extent."""
    from pxr import Gf, Vt

    return Vt.Vec3fArray([Gf.Vec3f(*points.min(axis=0).tolist()), Gf.Vec3f(*points.max(axis=0).tolist())])
