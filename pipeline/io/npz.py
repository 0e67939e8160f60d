"""NumPy archives: the exact form of every artifact, and points, surfaces and tets of other programs.

Keys written: points, normals, colors, faces, texture_coordinates, texture, tets, labels, crease_edges,
metres_per_unit, up. Keys read besides: vertices or V for points, F or triangles for faces, tet_indices or T
for tets. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry
from pipeline.types import Appearance, Frame, PointCloud, SurfaceMesh, TetMesh

ALIASES = {
    "points": ("points", "vertices", "V"),
    "normals": ("normals",),
    "colors": ("colors",),
    "faces": ("faces", "triangles", "F"),
    "tets": ("tets", "tet_indices", "T"),
    "labels": ("labels",),
    "crease_edges": ("crease_edges",),
}
ARRAYS: dict[type, tuple[str, ...]] = {
    PointCloud: ("points", "normals", "colors"),
    SurfaceMesh: ("points", "faces"),
    TetMesh: ("points", "tets", "labels", "crease_edges"),
}
LOOK = ("colors", "texture_coordinates", "texture")
"""The look of a surface."""
MAX_BYTES = 1 << 34
"""Largest array that is unpacked from an archive [byte]: a small archive may claim any size."""
UNPACKED, UNPACKED_PER_BYTE = 1 << 28, 200
"""Most that an archive may unpack to [byte]: a start, and so much per byte of the file."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive without unpickling.

    Raises:
        InputError: Not a NumPy archive, arrays of Python objects, or more than `MAX_BYTES`.
    """
    if not zipfile.is_zipfile(path):
        raise InputError("not a NumPy archive; write it with numpy.savez")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    most = min(MAX_BYTES, UNPACKED + UNPACKED_PER_BYTE * path.stat().st_size)
    if size > most:
        raise InputError(
            f"the arrays take {size / 2**30:.1f} GiB unpacked; "
            f"of a file of this size at most {most / 2**30:.1f} are read"
        )
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except ValueError as error:
        if "pickle" in str(error):
            raise InputError("holds Python objects; write plain arrays (no dtype=object)") from error
        raise


def read_npz(path: Path) -> Geometry:
    """Read the geometry of an archive."""
    arrays = read_arrays(path)
    found: dict[str, Any] = {name: _first(arrays, keys) for name, keys in ALIASES.items()}
    points, faces = found.pop("points"), found.pop("faces")
    if points is None:
        raise InputError(
            f"no array named {' or '.join(ALIASES['points'])}; found {', '.join(sorted(arrays)) or 'none'}"
        )
    points = np.asarray(points)
    if points.ndim != 2 or points.dtype.kind not in "fiu":
        raise InputError(f"points: expected numbers (n, 2) or (n, 3), got {points.dtype} {points.shape}")
    raw = Geometry(points)
    for name, array in found.items():
        setattr(raw, name, array)
    if raw.tets is not None and (raw.tets.ndim != 2 or raw.tets.shape[1] != 4):
        raw.tets = _reshape("tets", raw.tets, 4)
    if faces is not None:
        faces = _reshape("faces", faces, points.shape[1]) if faces.ndim != 2 else faces
        if points.shape[1] == 2:
            raw.segments = faces
        else:
            raw.face_sizes, raw.face_vertices = np.full(len(faces), faces.shape[1]), faces.ravel()
    if raw.face_sizes is not None and "texture_coordinates" in arrays:
        raw.texture_coordinates = _reshape("texture_coordinates", arrays["texture_coordinates"].ravel(), 2)
        raw.texture = str(arrays["texture"]) if "texture" in arrays else None
    if "metres_per_unit" in arrays or "up" in arrays:
        scale, up = arrays.get("metres_per_unit", np.array(1.0)), arrays.get("up", np.array("z"))
        raw.frame = Frame(float(scale), str(up))
    return raw


def write_npz(path: Path, data: PointCloud | SurfaceMesh | TetMesh) -> None:
    """Write every array of `data` and its frame, bit for bit; the same data gives the same bytes."""
    arrays = {name: getattr(data, name) for name in ARRAYS[type(data)] if getattr(data, name) is not None}
    look = data.appearance if isinstance(data, SurfaceMesh) else None
    for name in LOOK if look is not None else ():
        if getattr(look, name) is not None:
            arrays[name] = np.asarray(getattr(look, name))
    np.savez(
        path, metres_per_unit=np.float64(data.frame.metres_per_unit), up=np.array(data.frame.up), **arrays
    )


def load_npz(path: Path) -> PointCloud | SurfaceMesh | TetMesh:
    """Read what `write_npz` wrote, exactly: the type follows from the keys.

    Raises:
        InputError: Not such an archive.
    """
    arrays = read_arrays(path)
    if "points" not in arrays:
        raise InputError(f"{path}: no array named points")
    frame = Frame(float(arrays.pop("metres_per_unit", 1.0)), str(arrays.pop("up", "z")))
    kind = TetMesh if "tets" in arrays else SurfaceMesh if "faces" in arrays else PointCloud
    values: dict[str, Any] = {name: arrays[name] for name in ("points", *ARRAYS[kind]) if name in arrays}
    look: dict[str, Any] = {name: arrays[name] for name in LOOK if name in arrays}
    if kind is SurfaceMesh and look:
        if "texture" in look:
            look["texture"] = str(look["texture"])
        values["appearance"] = Appearance(**look)
    return kind(frame=frame, **values)


def _first(arrays: dict[str, NDArray[Any]], keys: tuple[str, ...]) -> NDArray[Any] | None:
    return next((arrays[key] for key in keys if key in arrays), None)


def _reshape(name: str, array: NDArray[Any], width: int) -> NDArray[Any]:
    if array.ndim != 1 or array.size % width:
        raise InputError(f"{name}: expected shape (k, {width}), got {array.shape}")
    return array.reshape(-1, width)
