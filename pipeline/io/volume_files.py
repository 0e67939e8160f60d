"""Tetrahedral meshes: Gmsh .msh, Medit .mesh, and VTK .vtu and .vtk through meshio, guarded.

meshio ends the process on a file that it cannot identify and writes text files with data that cannot be read
back, so its readers are called one by one here, and only its binary writers are used. What compressed arrays
of a .vtu unpack to is bounded: block by block here, in a guarded process for raw appended ones.
"""

from __future__ import annotations

import base64
import lzma
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry
from pipeline.io.guard import read_guarded
from pipeline.io.medit import read_medit
from pipeline.io.msh_reader import read_msh
from pipeline.types import TetMesh

UNPACKED, UNPACKED_PER_BYTE = 1 << 28, 200
"""Most that the compressed arrays of a file may unpack to [byte]: a start, and so much per byte of it."""

_LABELS = ("labels", "gmsh:physical", "medit:ref")
"""Names of arrays that are read as labels; the first that is there."""


def read_volume(path: Path) -> Geometry:
    """Read tetrahedra (with labels) or, where there are none, triangles and quadrilaterals.

    Raises:
        InputError: No linear tetrahedra, or compressed arrays that unpack to more than such a file can need.
    """
    if path.suffix.lower() == ".vtu" and _is_packed_raw(path):
        arguments = {"path": str(path.absolute())}
        return read_guarded("pipeline.io.volume_files:read_cells", arguments, path.stat().st_size)
    return read_cells(path)


@dataclass
class Cells:
    """What a file holds, by blocks of one kind."""

    points: NDArray[Any]
    """Shape (n, d)."""
    blocks: list[tuple[str, NDArray[Any], NDArray[Any] | None]]
    """Kind as meshio names it, rows of points (e, k), and labels (e,) where the file has them."""
    notes: list[tuple[str, int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_cells(path: str | Path) -> Geometry:
    """Read in this process; see `read_volume`."""
    path = Path(path)
    found = {".msh": _of_msh, ".mesh": _of_medit}.get(path.suffix.lower(), _of_vtk)(path)
    raw = Geometry(np.asarray(found.points, dtype=np.float64), notes=found.notes, warnings=found.warnings)
    tets, labels, polygons = [], [], []
    others: dict[str, int] = {}
    for kind, rows, label in found.blocks:
        if kind == "tetra":
            tets.append(rows)
            labels.append(label)
        elif kind in ("triangle", "quad"):
            polygons.append(rows)
        elif kind not in ("vertex", "line"):
            others[kind] = others.get(kind, 0) + len(rows)
    for kind, count in others.items():
        raw.notes.append((f"cells_ignored_{kind}", count, f"cells of type {kind}, not read"))
    if tets:
        raw.tets = np.concatenate(tets)
        named = [part for part in labels if part is not None]
        raw.labels = np.concatenate(named) if len(named) == len(tets) else None
    elif polygons:
        raw.face_sizes = np.concatenate([np.full(len(p), p.shape[1]) for p in polygons])
        raw.face_vertices = np.concatenate([p.ravel() for p in polygons])
    elif others:
        raise InputError(f"no linear tetrahedra; found {', '.join(sorted(others))}; split them into tets")
    return raw


def _of_msh(path: Path) -> Cells:
    found = read_msh(path)
    labels = iter(found.labels("tetra"))
    blocks = [(b.kind, b.nodes, _whole(next(labels)) if b.kind == "tetra" else None) for b in found.blocks]
    return Cells(found.points, blocks)


def _of_medit(path: Path) -> Cells:
    points, blocks, others = read_medit(path)
    named = [name for name in others if name]
    notes = [("sections_ignored", len(named), f"sections that are not read ({', '.join(named)})")]
    is_cut = len(named) < len(others)
    return Cells(points, list(blocks), notes, [f"{path.name} has no End: is it truncated?"] if is_cut else [])


def _of_vtk(path: Path) -> Cells:
    mesh = _reader(path.suffix.lower())(str(path))
    blocks = [
        (block.type, np.asarray(block.data), _block_labels(mesh, k, len(block.data)))
        for k, block in enumerate(mesh.cells)
    ]
    return Cells(mesh.points, blocks, [_unread(mesh.cell_data)])


def _unread(arrays: Mapping[str, Sequence[Any]]) -> tuple[str, int, str]:
    """Note of whole numbers per cell that are left out: they may be what the user takes for labels."""
    names = [
        name
        for name, parts in arrays.items()
        if name not in (*_LABELS, "gmsh:geometrical") and all(np.asarray(p).dtype.kind in "iu" for p in parts)
    ]
    text = f"arrays of whole numbers per cell, not read ({', '.join(names[:5])}); labels are called labels"
    return "cell_arrays_ignored", len(names), text


def write_vtu(path: Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None = None) -> None:
    """Write VTK XML with labels and per-tet arrays (t,); double precision."""
    import meshio

    meshio.vtu.write(str(path), _meshio_mesh(mesh, cell_data))


def write_vtk(path: Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None = None) -> None:
    """Write legacy VTK, binary; double precision."""
    import meshio

    meshio.vtk.write(str(path), _meshio_mesh(mesh, cell_data))


def _reader(suffix: str) -> Any:
    import meshio

    return {
        ".vtu": _read_vtu,
        ".vtk": meshio.vtk.read,
    }[suffix]


def _is_packed_raw(path: Path) -> bool:
    """Whether the arrays are compressed and appended as they are, which meshio unpacks while it parses."""
    content = path.read_bytes()
    start = content.find(b"<AppendedData")
    if start < 0 or b"compressor" not in content[:4096]:
        return False
    return b"raw" in content[start : content.find(b">", start)]


def _read_vtu(name: str) -> Any:
    """Read a .vtu by meshio with bounded unpacking."""
    import meshio
    from meshio.vtu._vtu import VtuReader, vtu_to_numpy_type

    pieces = len(re.findall(rb"<Piece[\s>]", Path(name).read_bytes()))
    if pieces > 1:  # of which meshio keeps the cells of the last one
        raise InputError(f"holds {pieces} pieces, and one is read: merge them (ParaView: Merge Blocks)")
    budget = UNPACKED + UNPACKED_PER_BYTE * Path(name).stat().st_size

    class BoundedReader(VtuReader):
        """meshio's reader; each compressed array is unpacked up to what is left of the budget."""

        def read_compressed_binary(self, data: str, dtype: np.dtype[Any]) -> NDArray[Any]:
            nonlocal budget
            big = self.byte_order == "BigEndian"
            header = vtu_to_numpy_type[self.header_type]
            values = _unpack(data, header.newbyteorder(">" if big else "<"), self.compression, budget)
            budget -= len(values)
            return np.frombuffer(values, dtype.newbyteorder(">" if big else "<"))

    reader = BoundedReader(name)
    return meshio.Mesh(reader.points, reader.cells, cell_data=reader.cell_data)


def _unpack(data: str, header: np.dtype[Any], compression: str, budget: int) -> bytes:
    """Unpack an array in base64: number of blocks, size of one, of the last, of each compressed; the blocks.

    Raises:
        InputError: It unpacks to more than `budget` bytes, or ends before its blocks do.
    """
    count = int(np.frombuffer(base64.b64decode(data[: _characters(header.itemsize)]), header, 1)[0])
    start = _characters((3 + count) * header.itemsize)
    if start > len(data):
        raise InputError("a compressed array ends within its header: truncated")
    sizes = np.frombuffer(base64.b64decode(data[:start]), header, 3 + count)[3:].tolist()
    packed = memoryview(base64.b64decode(data[start:]))
    parts, position = [], 0
    for size in sizes:
        unpacker = lzma.LZMADecompressor() if "LZMA" in compression else zlib.decompressobj()
        parts.append(unpacker.decompress(packed[position : position + size], budget + 1))
        budget -= len(parts[-1])
        position += size
        if budget < 0:
            raise InputError("its compressed arrays unpack to far more than such a file can need: refused")
        if not unpacker.eof:
            raise InputError("a compressed array ends within a block: truncated")
    return b"".join(parts)


def _characters(count: int) -> int:
    """Characters of base64 that hold so many bytes."""
    return -(-count // 3) * 4


def _block_labels(mesh: Any, block: int, count: int) -> NDArray[np.int32] | None:
    for name in _LABELS:
        if name in mesh.cell_data:
            return _whole(np.asarray(mesh.cell_data[name][block]).reshape(count))
    return None


def _whole(values: NDArray[Any] | None) -> NDArray[np.int32] | None:
    """Labels as whole numbers; None where some are not finite."""
    return None if values is None or not np.isfinite(values).all() else values.astype(np.int32)


def cell_data_difference(path: Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]]) -> str:
    """Say which array per tet of a .vtu or .vtk differs from what was written; empty when none does."""
    if not cell_data:
        return ""
    found = _reader(path.suffix.lower())(str(path)).cell_data
    for name, values in _per_tet(mesh, cell_data).items():
        back = found.get(name, [None])[0]
        if back is None or not np.array_equal(np.ravel(back), values, equal_nan=values.dtype.kind == "f"):
            return f"the values {name!r} of the tets are not the same"
    return ""


def _per_tet(mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    """Labels and the arrays that hold one value per tet, as they are stored."""
    data: dict[str, NDArray[Any]] = {} if mesh.labels is None else {"labels": mesh.labels}
    for name, values in (cell_data or {}).items():
        values = np.asarray(values)
        if values.shape == (len(mesh.tets),):
            data[name] = values.astype(np.float64) if values.dtype.kind == "f" else values
    return data


def _meshio_mesh(mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None) -> Any:
    import meshio

    data = {name: [values] for name, values in _per_tet(mesh, cell_data).items()}
    return meshio.Mesh(mesh.points, [("tetra", mesh.tets)], cell_data=data)
