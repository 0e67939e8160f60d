"""Read and write point clouds, surfaces and tetrahedral meshes; the format is the file's extension.

One table of readers and one of writers for each kind of data. Every problem with a file is one `InputError`
or `OutputError` with its cause; every written file is read back and compared before it gets its name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.errors import InputError, InvalidMeshError, OutputError
from pipeline.io import glb, npz, ply, point_files, stl, surface_files, usd, usd_stage, volume_files
from pipeline.io.atomic import atomic_path
from pipeline.io.geometry import Geometry, to_point_cloud, to_surface_mesh, to_tet_mesh, vertex_colors
from pipeline.io.medit import write_medit
from pipeline.io.msh import write_msh
from pipeline.io.surface_repair import repair_raw
from pipeline.types import METRES, Frame, PointCloud, SurfaceMesh, TetMesh

log = logging.getLogger("simmesh")

USD_EXTENSIONS = (".usd", ".usda", ".usdc", ".usdz")

READERS: dict[str, Callable[[Path], Geometry]] = {
    ".ply": ply.read_ply,
    ".xyz": point_files.read_xyz,
    ".txt": point_files.read_xyz,
    ".npy": point_files.read_npy,
    ".npz": npz.read_npz,
    ".obj": surface_files.read_obj,
    ".off": surface_files.read_off,
    ".stl": stl.read_stl,
    ".glb": glb.read_glb,
    ".msh": volume_files.read_volume,
    ".vtu": volume_files.read_volume,
    ".vtk": volume_files.read_volume,
    ".mesh": volume_files.read_volume,
    **dict.fromkeys(USD_EXTENSIONS, usd_stage.read_usd),
}

POINT_WRITERS: dict[str, Callable[[Path, PointCloud], None]] = {
    ".ply": lambda path, cloud: ply.write_ply(path, cloud.points, None, cloud.normals, cloud.colors),
    ".xyz": point_files.write_xyz,
    ".txt": point_files.write_xyz,
    ".npy": point_files.write_npy,
    ".npz": npz.write_npz,
}

SURFACE_WRITERS: dict[str, Callable[..., None]] = {
    ".ply": lambda path, mesh, normals=None: ply.write_ply(
        path, mesh.points, mesh.faces, normals, vertex_colors(mesh)
    ),
    ".obj": surface_files.write_obj,
    ".off": surface_files.write_off,
    ".stl": stl.write_stl,
    ".glb": glb.write_glb,
    ".npz": npz.write_npz,
    **dict.fromkeys(USD_EXTENSIONS, usd.write_usd_surface),
}

TET_WRITERS: dict[str, Callable[..., None]] = {
    ".msh": write_msh,
    ".vtu": volume_files.write_vtu,
    ".vtk": volume_files.write_vtk,
    ".mesh": write_medit,
    ".npz": npz.write_npz,
    **dict.fromkeys(USD_EXTENSIONS, usd.write_usd_tets),
}

_WITH_CELL_DATA = (".vtu", ".vtk")
_WITH_NORMALS = _WITH_COLORS = (".ply", ".obj", ".glb")
_WITH_FRAME = (".npz", ".glb", *USD_EXTENSIONS)
_SINGLE = (".stl", ".glb", *USD_EXTENSIONS)
"""Formats that keep positions in single precision."""
_WELDED = (".stl", ".glb")
"""Formats whose readers merge vertices at equal places."""


def read_any(
    path: str | Path,
    frame: Frame | None = None,
    context: RunContext | None = None,
    *,
    largest: bool = False,
    prim: str | None = None,
    repair: bool = False,
) -> PointCloud | SurfaceMesh | TetMesh:
    """Read a file as what it holds: tetrahedra, else faces, else points.

    Args:
        path: Any extension in `READERS`.
        frame: Unit and up axis; None takes them from USD, glTF and npz files, else metres and Z up.
        context: Receives the counts of what was merged, split, dropped or repaired.
        largest: Of a USD stage with several prims, take the one with the most points instead of all together.
        prim: Of a USD stage, read this prim and what is below it alone.
        repair: Repair tets (see `repair_tets`), faces and points (see `repair_raw`) instead of refusing them.

    Raises:
        InputError: The file is missing, empty, damaged, of an unknown format, or holds no usable geometry.
    """

    def build(raw: Geometry) -> PointCloud | SurfaceMesh | TetMesh:
        if raw.has_tets:
            return to_tet_mesh(raw, frame, context, repair)
        raw = repair_raw(raw) if repair else raw
        return to_surface_mesh(raw, frame, context) if raw.has_faces else to_point_cloud(raw, frame, context)

    return _read(path, "any", build, largest, prim)


def read_points(
    path: str | Path,
    frame: Frame | None = None,
    context: RunContext | None = None,
    *,
    largest: bool = False,
    prim: str | None = None,
    repair: bool = False,
) -> PointCloud:
    """Read a point cloud; of a mesh the vertices are taken. See `read_any`."""

    def build(raw: Geometry) -> PointCloud:
        if raw.has_faces or raw.has_tets:
            log.info("%s holds a mesh: its vertices are taken as the points", Path(path).name)
        return to_point_cloud(repair_raw(raw) if repair else raw, frame, context)

    return _read(path, "points", build, largest, prim)


def read_surface(
    path: str | Path,
    frame: Frame | None = None,
    context: RunContext | None = None,
    *,
    largest: bool = False,
    prim: str | None = None,
    repair: bool = False,
) -> SurfaceMesh:
    """Read a surface; raises `InputError` for a file without faces. See `read_any`."""

    def build(raw: Geometry) -> SurfaceMesh:
        return to_surface_mesh(repair_raw(raw) if repair else raw, frame, context)

    return _read(path, "surface", build, largest, prim)


def read_tets(
    path: str | Path,
    frame: Frame | None = None,
    context: RunContext | None = None,
    *,
    largest: bool = False,
    prim: str | None = None,
    repair: bool = False,
) -> TetMesh:
    """Read a tetrahedral mesh; raises `InputError` for a file without tets. See `read_any`."""
    return _read(path, "tets", lambda raw: to_tet_mesh(raw, frame, context, repair), largest, prim)


def write_points(path: str | Path, cloud: PointCloud) -> Path:
    """Write a point cloud: .ply, .xyz, .txt, .npy or .npz; raises `OutputError`."""
    path = _writable(path, POINT_WRITERS, "point clouds")
    if cloud.dimension == 2 and path.suffix.lower() == ".ply":
        raise OutputError(f"cannot write {path}: .ply holds 3D points; write 2D points as .npz, .npy or .xyz")
    return _write(path, cloud, POINT_WRITERS[path.suffix.lower()])


def write_surface(path: str | Path, mesh: SurfaceMesh, normals: NDArray[np.float64] | None = None) -> Path:
    """Write a surface: .ply, .obj, .off, .stl, .glb, .npz or USD.

    Args:
        path: Where; an earlier file of that name is replaced at the end.
        mesh: What; a .glb file is in metres and Y up, whatever the frame of the mesh.
        normals: Unit normals per vertex, shape (n, 3), in the frame of the mesh; for .ply, .obj and .glb.

    Raises:
        OutputError: Unknown extension, a curve in 2D (only .ply and .npz), or the file cannot be written.
    """
    path = _writable(path, SURFACE_WRITERS, "surfaces")
    suffix = path.suffix.lower()
    if mesh.dimension == 2 and suffix not in (".npz", ".ply"):
        raise OutputError(f"cannot write {path}: only .ply and .npz hold curves in 2D")
    if mesh.dimension == 2 and suffix == ".ply":  # edges with z = 0, to look at: readers take triangles
        with atomic_path(path) as part:
            ply.write_ply(part, mesh.points, mesh.faces)
        return path
    writer = SURFACE_WRITERS[suffix]
    _tell_lost_look(path, mesh)
    if suffix == ".glb":
        mesh, normals = _y_up_metres(mesh, normals)
    if normals is not None and suffix in _WITH_NORMALS:
        return _write(path, mesh, lambda p, m: writer(p, m, normals))
    return _write(path, mesh, writer)


def _tell_lost_look(path: Path, mesh: SurfaceMesh) -> None:
    """Log what of the look of a surface its file will lack."""
    look, suffix = mesh.appearance, path.suffix.lower()
    if look is None or suffix == ".npz":
        return
    has_lost_colors = look.colors is not None and suffix not in _WITH_COLORS
    lost = ["colours"] * has_lost_colors + ["texture"] * (look.texture_coordinates is not None)
    if lost:
        log.info("%s holds no %s: left out (assets in USD keep them, and .npz)", path, " and ".join(lost))


def write_tets(path: str | Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None = None) -> Path:
    """Write a tetrahedral mesh: .msh, .vtu, .vtk, .mesh, .npz or USD.

    Args:
        path: Where; an earlier file of that name is replaced at the end.
        mesh: What.
        cell_data: Arrays (t,) by name, such as `tet_quality(...)`; .vtu and .vtk keep them, others leave
            them out.

    Raises:
        OutputError: Unknown extension, the format cannot hold the mesh, or the file cannot be written.
    """
    path = _writable(path, TET_WRITERS, "tetrahedral meshes")
    suffix = path.suffix.lower()
    writer = TET_WRITERS[suffix]
    if cell_data and suffix in _WITH_CELL_DATA:
        return _write(path, mesh, lambda p, m: writer(p, m, cell_data), cell_data)
    if mesh.crease_edges is not None and suffix != ".npz":
        log.debug("%s: crease edges are kept by .npz alone", path.name)
    return _write(path, mesh, writer)


def states_unit(path: str | Path) -> bool:
    """Whether the format of a file keeps the unit and the up axis; of another, the reader must be told."""
    return Path(path).suffix.lower() in _WITH_FRAME


def _y_up_metres(
    mesh: SurfaceMesh, normals: NDArray[np.float64] | None
) -> tuple[SurfaceMesh, NDArray[np.float64] | None]:
    """Turn a surface and its normals into the frame of glTF: metres, Y up, (x, y, z) -> (x, z, -y)."""
    points = mesh.points * mesh.frame.metres_per_unit
    if mesh.frame.up == "z":
        points = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
        if normals is not None:
            normals = np.stack([normals[:, 0], normals[:, 2], -normals[:, 1]], axis=1)
    return SurfaceMesh(points, mesh.faces, glb.FRAME, mesh.appearance), normals


class _Quiet(RunContext):
    """For reading back what was just written: nothing to count, nothing to say."""

    def count(self, name: str, value: float, message: str) -> None:
        pass


_BUILD: dict[type, tuple[str, Callable[..., Any]]] = {
    PointCloud: ("points", to_point_cloud),
    SurfaceMesh: ("surface", to_surface_mesh),
    TetMesh: ("tets", to_tet_mesh),
}


def _read(
    path: str | Path,
    want: str,
    build: Callable[[Geometry], Any],
    largest: bool = False,
    prim: str | None = None,
    trusted: bool = False,
) -> Any:
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS and not path.is_dir():
        raise InputError(f"{path}: unknown extension {suffix or '(none)'}; known are {', '.join(READERS)}")
    try:
        if path.is_dir():
            raise InputError("is a folder; give a file")
        if not path.exists():
            raise InputError("no such file")
        if path.stat().st_size == 0:
            raise InputError("the file is empty; write or copy it again")
        if suffix in USD_EXTENSIONS:
            return build(usd_stage.read_usd(path, want, largest, prim, trusted))
        if prim is not None:
            raise InputError(f"has no prims, so none named {prim}; leave out the prim, or give a USD file")
        return build(READERS[suffix](path))
    except InvalidMeshError as error:
        raise InvalidMeshError(f"{path}: {error}", error.rows) from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or _first_line(error)}") from error
    except Exception as error:  # a damaged file makes the libraries raise anything
        detail = f" ({_reason(error)})" if str(error).strip() else ""
        raise InputError(
            f"{path}: damaged, or not a {suffix} file{detail}; write it again or convert it to another format"
        ) from error


def _reason(error: BaseException) -> str:
    """What a library says of a damaged file; NumPy's words for missing numbers are no one's but its own."""
    text = _first_line(error).rstrip(".")
    signs = ("could not broadcast", "cannot reshape", "buffer is smaller", "mmap length is greater")
    is_short = any(sign in text for sign in signs)
    return "fewer numbers than its header promises: truncated" if is_short else text


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else "") or type(error).__name__


def _writable(path: str | Path, writers: dict[str, Any], kind: str) -> Path:
    path = Path(path)
    if path.suffix.lower() not in writers:
        suffix = path.suffix or "(none)"
        raise OutputError(
            f"cannot write {path}: {kind} are not written as {suffix}; known are {', '.join(writers)}"
        )
    return path


def _write(
    path: Path,
    data: Any,
    writer: Callable[[Path, Any], None],
    cell_data: dict[str, NDArray[Any]] | None = None,
) -> Path:
    want, build = _BUILD[type(data)]
    with atomic_path(path) as part:
        writer(part, data)
        try:
            back = _read(part, want, lambda raw: build(raw, data.frame, _Quiet()), trusted=True)
        except InputError as error:
            raise OutputError(
                f"cannot write {path}: what was written cannot be read back: {error}"
            ) from error
        suffix = path.suffix.lower()
        problem = difference(
            data, back, single=suffix in _SINGLE, welded=suffix in _WELDED, colored=suffix in _WITH_COLORS
        )
        problem = problem or volume_files.cell_data_difference(part, data, cell_data or {})
        if problem:
            raise OutputError(f"cannot write {path}: what was written differs from the mesh: {problem}")
    if not states_unit(path) and data.frame != METRES:
        log.info("%s keeps no unit and no up axis: when reading it, give them (%s)", path.name, data.frame)
    return path


def difference(
    data: Any, back: Any, *, single: bool = False, welded: bool = False, colored: bool = False
) -> str:
    """Say how what was read back differs from what was written; empty when it does not.

    Args:
        data: What was written.
        back: What was read.
        single: Positions were stored in single precision.
        welded: Vertices may be merged and renumbered (STL): compare the corners of the faces.
        colored: Colours of vertices are kept, to a step of eight bits.
    """
    cells = "tets" if isinstance(data, TetMesh) else "faces" if isinstance(data, SurfaceMesh) else None
    expected, found = data.points, back.points
    if cells and welded:
        expected, found = expected[data.faces], found[back.faces]
    elif cells and not np.array_equal(getattr(data, cells), getattr(back, cells)):
        return f"{cells} are not the same"
    if single:
        expected = expected.astype(np.float32).astype(np.float64)
    if expected.shape != found.shape:
        return f"{found.shape} instead of {expected.shape} points"
    worst = float(np.abs(expected - found).max()) if expected.size else 0.0
    if worst:
        return f"positions differ by up to {worst:g}"
    colors = vertex_colors(data) if isinstance(data, SurfaceMesh) and colored else None
    if colors is not None:
        read = vertex_colors(back)
        shades = [ply.byte_colors(c).astype(int) for c in (colors, read) if c is not None]
        if len(shades) < 2 or np.abs(shades[0] - shades[1]).max(initial=0) > 1:  # 1: a tie of rounding
            return "colours are not the same"
    labels = getattr(data, "labels", None)
    if labels is not None:  # labels that are all 0 say nothing: a format may leave them out
        found = np.zeros_like(labels) if back.labels is None else back.labels
        if not np.array_equal(labels, found):
            return "labels are not the same"
    return ""
