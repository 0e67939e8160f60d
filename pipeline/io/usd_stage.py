"""Read the geometry of OpenUSD stages: Mesh, TetMesh and Points prims in world coordinates.

Transforms, handedness, instances and point instancers count; unit and up axis become the frame. A Mesh that
carries `tetraIndices` (the assets in the Warp wheel) is a tetrahedral mesh too. Values are those of the
default time, else of the first sample.

The USD library trusts its files: a damaged one may end the process or take all memory. `read_usd` therefore
reads in a guarded process of its own (`pipeline.io.guard`), unless the file was just written here.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry, merge_geometries
from pipeline.io.guard import read_guarded
from pipeline.io.usd_left_out import incomplete, is_shown, left_out, other_units
from pipeline.io.usd_look import read_look
from pipeline.io.usd_physics import named_material
from pipeline.types import Frame

Matrix = NDArray[np.float64]

_LISTED = 5
"""Prims that an error names."""


def read_usd(
    path: Path, want: str = "any", largest: bool = False, prim: str | None = None, trusted: bool = False
) -> Geometry:
    """Read the geometry of a stage.

    Args:
        path: .usd, .usda, .usdc or .usdz.
        want: "points", "surface", "tets", or "any" for the richest kind there is.
        largest: Take the prim with the most points instead of all of them together.
        prim: Path of a prim: read it and what is below it alone.
        trusted: Read in this process.

    Raises:
        InputError: Not USD, damaged, no prim of use, or more time or memory than such a file can need.
    """
    check_package(path)
    if trusted:
        return read_stage(path, want, largest, prim)
    arguments = {"path": str(path.absolute()), "want": want, "largest": largest, "prim": prim}
    return read_guarded("pipeline.io.usd_stage:read_stage", arguments, path.stat().st_size)


def read_stage(
    path: str | Path, want: str = "any", largest: bool = False, prim: str | None = None
) -> Geometry:
    """Read the geometry of a stage in this process; see `read_usd`."""
    from pxr import Tf, Usd

    try:
        return _geometry(Usd.Stage.Open(str(path)), Path(path).name, want, largest, prim)
    except Tf.ErrorException as error:
        raise InputError(f"damaged, or not a USD file: {tf_message(error)}") from error


Part = tuple[Geometry, Any]
"""What was read of a prim, and the prim."""


def _geometry(stage: Any, name: str, want: str, largest: bool, prim: str | None) -> Geometry:
    root = stage.GetPseudoRoot() if prim is None else _prim_at(stage, prim)
    found = _parts(stage, name, root)
    order = ["tets", "surface", "points"] if want == "any" else [want, "surface", "tets", "points"]
    kind = next((kind for kind in order if found[kind]), None)
    lost = incomplete(stage)
    if kind is None:
        left = [f"{text}: {count:,}" for _, count, text in left_out(root, ()) if count]
        reasons = [f"{name} is incomplete: {lost[0]}"] if lost else left
        raise InputError(
            "; ".join(["no usable geometry: no Mesh, TetMesh or Points prim with points", *reasons])
        )
    parts, hidden = _shown(found[kind]) if kind == "surface" and prim is None else (found[kind], [])
    pieces = [raw for raw, _ in parts]
    raw = max(pieces, key=lambda piece: len(piece.points)) if largest else merge_geometries(pieces)
    if len(parts) > 1:
        what = "prims of the stage left out" if largest else "prims of the stage read as one"
        raw.notes.append(("prims_left_out" if largest else "prims_merged", len(parts) - largest, what))
    what = "invisible, proxy or guide meshes of the stage, not read"
    raw.notes.append(("prims_hidden", len(hidden), what))
    raw.notes += left_out(root, [gprim for _, gprim in parts], [gprim for _, gprim in hidden])
    raw.warnings += [f"{name} is incomplete: {text}" for text in lost[:_LISTED]]
    raw.warnings += [f"{name}: {text}" for text in other_units(stage)[:_LISTED]]
    _set_frame(raw, stage, name)
    return raw


def _parts(stage: Any, name: str, root: Any) -> dict[str, list[Part]]:
    """All prims with points at or below `root`, by what they hold."""
    from pxr import UsdGeom

    found: dict[str, list[Part]] = {"tets": [], "surface": [], "points": []}
    for gprim, matrix in _placed(root, _xform_cache(root)):
        raw = _points(gprim, matrix)
        if raw is None:
            continue
        mirrored = bool(np.linalg.det(matrix[:3, :3]) < 0)
        if gprim.IsA(UsdGeom.TetMesh):
            _tet_prim(gprim, raw, mirrored)
            if material := named_material(stage, gprim):
                raw.warnings.append(
                    f"{name} names a material, which is not read ({material}); settings give it: "
                    "validate.material.* in the simulation, report=FILE or export.* in an asset"
                )
        elif gprim.IsA(UsdGeom.Mesh):
            tets = _value(gprim.GetAttribute("tetraIndices"))
            if tets is not None and len(tets):
                rows = _rows_of_four(gprim, "tetraIndices", tets)
                part = Geometry(raw.points, tets=_turned(rows) if mirrored else rows)
                found["tets"].append((part, gprim))
            _mesh_prim(gprim, raw, mirrored)
        elif not gprim.IsA(UsdGeom.Points):
            continue
        kind = "tets" if raw.has_tets else "surface" if raw.has_faces else "points"
        if gprim.IsA(UsdGeom.Points) or kind != "points":
            found[kind].append((raw, gprim))
    return found


def _shown(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """Tell what a viewer draws from what it hides; where it hides all, all counts as shown."""
    visible = [is_shown(gprim) for _, gprim in parts]
    if not any(visible):
        return parts, []
    hidden = [part for part, seen in zip(parts, visible) if not seen]
    return [part for part, seen in zip(parts, visible) if seen], hidden


def tf_message(error: Exception) -> str:
    """The first thing that USD says, without the places in its own source that it adds."""
    quoted = re.findall(r" : '(.*?)'\s*(?:$|\n)", str(error), flags=re.DOTALL)
    return " ".join((quoted[0] if quoted else str(error)).split())[:200] or "its values cannot be read"


def check_package(path: Path) -> None:
    """Refuse a package with compressed members before anything unpacks them; USD stores them as they are.

    Raises:
        InputError: Compressed members, or sizes that the file cannot hold.
    """
    if not zipfile.is_zipfile(path):
        if path.suffix.lower() == ".usdz":
            raise InputError("the package has no directory at its end: truncated, or not a USD package")
        return
    with zipfile.ZipFile(path) as package:
        members = package.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InputError(
            "a USD package holds its files uncompressed, this one does not: unsafe, or no USD package; "
            "pack it with the tools of USD"
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise InputError("the files in the package are larger than the package: damaged")


def _prim_at(stage: Any, prim: str) -> Any:
    """The prim of that path.

    Raises:
        InputError: There is none; names some that hold geometry.
    """
    from pxr import Sdf, Usd, UsdGeom

    found = stage.GetPrimAtPath(prim) if Sdf.Path.IsValidPathString(prim) and prim.startswith("/") else None
    if found:
        return found
    prims = Usd.PrimRange(stage.GetPseudoRoot(), Usd.TraverseInstanceProxies())
    known = [str(p.GetPath()) for p in prims if p.IsA(UsdGeom.PointBased)]
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    raise InputError(f"no prim {prim!r}; prims with points: {', '.join(known[:_LISTED]) or 'none'}{more}")


def _xform_cache(root: Any) -> Any:
    """Transforms at the default time; at the first sample if some transform has no default value."""
    from pxr import Usd, UsdGeom

    for prim in Usd.PrimRange(root, Usd.TraverseInstanceProxies()):
        if prim.IsA(UsdGeom.Xformable) and any(
            op.GetAttr().Get() is None and op.GetAttr().GetNumTimeSamples()
            for op in UsdGeom.Xformable(prim).GetOrderedXformOps()
        ):
            return UsdGeom.XformCache(Usd.TimeCode.EarliestTime())
    return UsdGeom.XformCache()


def _placed(root: Any, cache: Any) -> Iterator[tuple[Any, Matrix]]:
    """Prims with points at or below `root`, each with its matrix to the world (for row vectors)."""
    from pxr import Usd, UsdGeom

    prims = iter(Usd.PrimRange(root, Usd.TraverseInstanceProxies()))
    for prim in prims:
        if prim.IsA(UsdGeom.PointInstancer):
            prims.PruneChildren()
            yield from _instances(prim, cache)
        elif prim.IsA(UsdGeom.PointBased):
            yield prim, np.array(cache.GetLocalToWorldTransform(prim))


def _instances(prim: Any, cache: Any) -> Iterator[tuple[Any, Matrix]]:
    """The prototypes of a point instancer at each of its places; hidden instances are left out."""
    from pxr import Usd, UsdGeom

    instancer = UsdGeom.PointInstancer(prim)
    time = cache.GetTime()
    index = instancer.GetProtoIndicesAttr().Get(time) or []
    targets = instancer.GetPrototypesRel().GetTargets()
    if len(index) and not 0 <= min(index) <= max(index) < len(targets):
        raise InputError(
            f"{prim.GetPath()}: protoIndices go from {min(index)} to {max(index)}, and there are "
            f"{len(targets)} prototypes; the stage is damaged: write it again"
        )
    mask = instancer.ComputeMaskAtTime(time)
    matrices = instancer.ComputeInstanceTransformsAtTime(
        time, time, UsdGeom.PointInstancer.IncludeProtoXform, UsdGeom.PointInstancer.IgnoreMask
    )
    world = np.array(cache.GetLocalToWorldTransform(prim))
    for k, (proto, matrix) in enumerate(zip(index, matrices)):
        if len(mask) and not mask[k]:
            continue
        top = prim.GetStage().GetPrimAtPath(targets[proto])
        if not top:
            continue
        # Below its prototype a prim keeps its transform; above it, the place of the instance counts.
        inverse = np.linalg.inv(np.array(cache.GetLocalToWorldTransform(top)))
        for part in Usd.PrimRange(top, Usd.TraverseInstanceProxies()):
            if part.IsA(UsdGeom.PointBased):
                local = np.array(cache.GetLocalToWorldTransform(part)) @ inverse
                yield part, local @ np.array(matrix) @ world


def _points(prim: Any, matrix: Matrix) -> Geometry | None:
    """Points in the coordinates of the stage; None where there are none."""
    from pxr import UsdGeom

    values = _value(UsdGeom.PointBased(prim).GetPointsAttr())
    if values is None or not len(values):
        return None
    points = np.asarray(values, dtype=np.float64).reshape(-1, 3)
    if not np.array_equal(matrix, np.eye(4)):
        points = points @ matrix[:3, :3] + matrix[3, :3]
    return Geometry(points)


def _tet_prim(prim: Any, raw: Geometry, mirrored: bool) -> None:
    from pxr import UsdGeom

    tet_mesh = UsdGeom.TetMesh(prim)
    values = _value(tet_mesh.GetTetVertexIndicesAttr())
    tets = _rows_of_four(prim, "tetVertexIndices", [] if values is None else values)
    left = tet_mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded
    raw.tets = _turned(tets) if left != mirrored else tets
    if left:
        raw.notes.append(
            ("left_handed_tets", len(tets), "tets of a left-handed prim, turned to right-handed")
        )
    _read_labels(tet_mesh, raw, len(tets))


def _read_labels(tet_mesh: Any, raw: Geometry, count: int) -> None:
    """Labels from the subsets of the family "labels": the number in the name, else the next that is free."""
    from pxr import UsdGeom

    family, kind = "labels", UsdGeom.Tokens.tetrahedron
    subsets = UsdGeom.Subset.GetGeomSubsets(tet_mesh, kind, family)
    others = len(UsdGeom.Subset.GetAllGeomSubsets(tet_mesh)) - len(subsets)
    raw.notes.append(
        ("subsets_ignored", others, f"subsets of tets outside of the family {family!r}, not read")
    )
    names = [s.GetPrim().GetName().removeprefix("label_").replace("minus_", "-") for s in subsets]
    numbers = [int(name) if name.lstrip("-").isdigit() else None for name in names]
    free = max([0, *(n for n in numbers if n is not None)]) + 1
    labels = np.zeros(count, dtype=np.int32)
    outside = named = 0
    for subset, number in zip(subsets, numbers):
        if number is None:
            number, named = free + named, named + 1
        rows = np.asarray(subset.GetIndicesAttr().Get() or [], dtype=np.int64)
        inside = rows[(rows >= 0) & (rows < count)]
        outside += len(rows) - len(inside)
        labels[inside] = number
    if subsets:
        raw.labels = labels
    raw.notes.append(("subset_rows_ignored", outside, "rows of subsets that name no tet, left out"))
    raw.notes.append(
        ("subsets_numbered", named, "subsets whose names hold no number, numbered in their order")
    )


def _mesh_prim(prim: Any, raw: Geometry, mirrored: bool) -> None:
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh(prim)
    sizes = _value(mesh.GetFaceVertexCountsAttr())
    index = _value(mesh.GetFaceVertexIndicesAttr())
    sizes = np.asarray([] if sizes is None else sizes, dtype=np.int64)
    index = np.asarray([] if index is None else index, dtype=np.int64)
    raw.face_sizes, raw.face_vertices = sizes, index
    read_look(prim, raw)
    if (mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded) != mirrored and sizes.sum() == len(
        index
    ):
        # Reverse the corners within each polygon.
        start = np.repeat(np.cumsum(sizes) - sizes, sizes)
        end = start + np.repeat(sizes, sizes) - 1
        turned = start + end - np.arange(len(index))
        raw.face_vertices = index[turned]
        if raw.texture_coordinates is not None:
            raw.texture_coordinates = raw.texture_coordinates[turned]


def _set_frame(raw: Geometry, stage: Any, name: str) -> None:
    from pxr import UsdGeom

    if not UsdGeom.StageHasAuthoredMetersPerUnit(stage):
        raw.warnings.append(
            f"{name} names no unit: read in centimetres, as USD defines; give the unit if it is another"
        )
    up = str(UsdGeom.GetStageUpAxis(stage))
    if up not in ("Y", "Z"):
        raise InputError(f"upAxis is {up!r}; USD knows Y and Z: turn the stage")
    unit = float(UsdGeom.GetStageMetersPerUnit(stage))
    if not 0 < unit < np.inf:
        raise InputError(f"metersPerUnit is {unit:g}; write the right unit into the stage")
    raw.frame = Frame(unit, up.lower())


def _value(attribute: Any) -> Any:
    """Value at the default time, else at the first sample; None when there is none."""
    if not attribute:
        return None
    value = attribute.Get()
    samples = attribute.GetTimeSamples() if value is None else []
    return attribute.Get(samples[0]) if samples else value


def _rows_of_four(prim: Any, name: str, values: Any) -> NDArray[np.int32]:
    index = np.asarray(values, dtype=np.int32).ravel()  # as USD holds them: half as much to send
    if len(index) % 4:
        raise InputError(f"{prim.GetPath()}: {name} holds {len(index):,} indices, not four for each tet")
    return index.reshape(-1, 4)


def _turned(tets: NDArray[Any]) -> NDArray[Any]:
    return tets[:, [0, 2, 1, 3]]
