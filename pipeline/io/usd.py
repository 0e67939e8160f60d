"""OpenUSD geometry: Mesh, TetMesh and Points prims with their transforms, unit and up axis.

A Mesh that carries `tetraIndices` (the assets in the Warp wheel) is a tetrahedral mesh too. USD stores
positions in single precision. The simulation asset with its physics is written by `pipeline.io.usd_asset`.
"""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, OutputError
from pipeline.io.geometry import Geometry, merge_geometries
from pipeline.topology import boundary_faces, compact
from pipeline.types import Frame, SurfaceMesh, TetMesh

log = logging.getLogger("simmesh")


def read_usd(path: Path, want: str = "any", largest: bool = False) -> Geometry:
    """Read the geometry of a stage in world coordinates of its root.

    Args:
        want: "points", "surface", "tets", or "any" for the richest kind there is.
        largest: Take the prim with the most points instead of all of them together.

    Raises:
        InputError: Not USD, or no prim of use.
    """
    from pxr import Tf, Usd, UsdGeom

    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise InputError(f"damaged, or not a USD file: {tf_message(error)}") from error
    found: dict[str, list[Geometry]] = {"tets": [], "surface": [], "points": []}
    cache = UsdGeom.XformCache()
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        if not prim.IsA(UsdGeom.PointBased):
            continue
        points, mirrored = _world_points(prim, cache)
        if points is None:
            continue
        if prim.IsA(UsdGeom.TetMesh):
            found["tets"].append(_tet_prim(prim, points, mirrored))
        elif prim.IsA(UsdGeom.Mesh):
            surface = _mesh_prim(prim, points, mirrored)
            if surface.has_faces:
                found["surface"].append(surface)
            tets = _value(prim.GetAttribute("tetraIndices"))
            if tets is not None and len(tets) and len(tets) % 4 == 0:
                tets = np.asarray(tets, dtype=np.int64).reshape(-1, 4)
                found["tets"].append(Geometry(points, tets=_turned(tets) if mirrored else tets))
        elif prim.IsA(UsdGeom.Points):
            found["points"].append(Geometry(points))
    order = ["tets", "surface", "points"] if want == "any" else [want, "surface", "tets", "points"]
    parts = next((found[kind] for kind in order if found[kind]), None)
    if parts is None:
        raise InputError("no usable geometry: the stage has no Mesh, TetMesh or Points prim with points")
    raw = max(parts, key=lambda g: len(g.points)) if largest else merge_geometries(parts)
    if len(parts) > 1:
        raw.notes.append(
            ("prims_left_out" if largest else "prims_merged", len(parts) - largest, "prims of the stage")
        )
    raw.frame = _frame(stage, path)
    return raw


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


def save_stage(stage: Any, path: Path) -> None:
    """Write the stage to `path` (.usd, .usda, .usdc or .usdz).

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
                done = stage.GetRootLayer().Export(str(layer))
                done = done and UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(path))
    except Tf.ErrorException as error:
        raise OSError(tf_message(error)) from error
    if not done or not path.is_file():
        raise OSError("USD gave up")


def define_tet_mesh(stage: Any, prim_path: str, mesh: TetMesh) -> Any:
    """Author a right-handed UsdGeom.TetMesh: points, tets, surface faces, tight extent, subsets for labels.

    Raises:
        OutputError: Tets that lose their positive volume when positions are rounded to single precision.
    """
    from pxr import UsdGeom, Vt

    points = single_precision(mesh)
    prim = UsdGeom.TetMesh.Define(stage, prim_path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    prim.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(mesh.tets))
    prim.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)
    prim.CreateSurfaceFaceVertexIndicesAttr(UsdGeom.TetMesh.ComputeSurfaceFaces(prim))
    prim.CreateExtentAttr(_extent(points))
    values = np.zeros(0) if mesh.labels is None else np.unique(mesh.labels)
    if len(values) > 1:
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
    prim.CreateExtentAttr(_extent(single))
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


def tf_message(error: Exception) -> str:
    """The first thing that USD says, without the places in its own source that it adds."""
    quoted = re.findall(r" : '(.*?)'\s*(?:$|\n)", str(error), flags=re.DOTALL)
    return " ".join((quoted[0] if quoted else str(error)).split())[:200]


def _write_stage(path: Path, frame: Frame, define: Any) -> None:
    stage = new_stage(frame)
    define(stage)
    save_stage(stage, path)


def _frame(stage: Any, path: Path) -> Frame:
    from pxr import UsdGeom

    if not UsdGeom.StageHasAuthoredMetersPerUnit(stage):
        log.warning(
            "%s names no unit: read in centimetres, as USD defines; give the unit if it is another", path.name
        )
    up = "y" if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y else "z"
    return Frame(float(UsdGeom.GetStageMetersPerUnit(stage)), up)


def _world_points(prim: Any, cache: Any) -> tuple[NDArray[np.float64] | None, bool]:
    """Points in the coordinates of the stage, and whether the transform mirrors."""
    from pxr import UsdGeom

    values = _value(UsdGeom.PointBased(prim).GetPointsAttr())
    if values is None or not len(values):
        return None, False
    matrix = np.array(cache.GetLocalToWorldTransform(prim))
    points = np.asarray(values, dtype=np.float64).reshape(-1, 3)
    if not np.array_equal(matrix, np.eye(4)):
        points = points @ matrix[:3, :3] + matrix[3, :3]
    return points, bool(np.linalg.det(matrix[:3, :3]) < 0)


def _tet_prim(prim: Any, points: NDArray[np.float64], mirrored: bool) -> Geometry:
    from pxr import UsdGeom

    tet_mesh = UsdGeom.TetMesh(prim)
    tets = _value(tet_mesh.GetTetVertexIndicesAttr())
    tets = np.asarray([] if tets is None else tets, dtype=np.int64).reshape(-1, 4)
    left = tet_mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded
    raw = Geometry(points, tets=_turned(tets) if left != mirrored else tets)
    if left:
        raw.notes.append(
            ("left_handed_tets", len(tets), "tets of a left-handed prim, turned to right-handed")
        )
    labels = np.zeros(len(tets), dtype=np.int32)
    subsets = UsdGeom.Subset.GetGeomSubsets(tet_mesh, UsdGeom.Tokens.tetrahedron, "labels")
    for k, subset in enumerate(subsets):
        rows = np.asarray(subset.GetIndicesAttr().Get() or [], dtype=np.int64)
        rows = rows[(rows >= 0) & (rows < len(tets))]
        text = subset.GetPrim().GetName().removeprefix("label_").replace("minus_", "-")
        labels[rows] = int(text) if text.lstrip("-").isdigit() else k
    if subsets:
        raw.labels = labels
    return raw


def _mesh_prim(prim: Any, points: NDArray[np.float64], mirrored: bool) -> Geometry:
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh(prim)
    sizes = _value(mesh.GetFaceVertexCountsAttr())
    index = _value(mesh.GetFaceVertexIndicesAttr())
    sizes = np.asarray([] if sizes is None else sizes, dtype=np.int64)
    index = np.asarray([] if index is None else index, dtype=np.int64)
    if (mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded) != mirrored and sizes.sum() == len(
        index
    ):
        # Reverse the corners within each polygon.
        start = np.repeat(np.cumsum(sizes) - sizes, sizes)
        end = start + np.repeat(sizes, sizes) - 1
        index = index[start + end - np.arange(len(index))]
    return Geometry(points, face_sizes=sizes, face_vertices=index)


def _value(attribute: Any) -> Any:
    """Value at the default time, else at the first sample; None when there is none."""
    if not attribute:
        return None
    value = attribute.Get()
    samples = attribute.GetTimeSamples() if value is None else []
    return attribute.Get(samples[0]) if samples else value


def _six_volumes(points: NDArray[Any], tets: NDArray[Any]) -> NDArray[Any]:
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)


def _turned(tets: NDArray[Any]) -> NDArray[Any]:
    return tets[:, [0, 2, 1, 3]]


def _extent(points: NDArray[np.float32]) -> Any:
    from pxr import Gf, Vt

    return Vt.Vec3fArray([Gf.Vec3f(*points.min(axis=0).tolist()), Gf.Vec3f(*points.max(axis=0).tolist())])
