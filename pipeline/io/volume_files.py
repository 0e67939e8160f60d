"""Tetrahedral meshes through meshio, guarded: Gmsh .msh, VTK .vtu and .vtk, Medit .mesh.

meshio ends the process on a file that it cannot identify and writes text files with data that cannot be read
back, so its readers are called one by one here, and only its binary writers are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry
from pipeline.types import TetMesh

_LABELS = ("labels", "gmsh:physical", "medit:ref")


def read_volume(path: Path) -> Geometry:
    """Read tetrahedra (with labels) or, where there are none, triangles and quadrilaterals."""
    mesh = _reader(path.suffix.lower())(str(path))
    raw = Geometry(np.asarray(mesh.points, dtype=np.float64))
    tets, labels, polygons = [], [], []
    others: dict[str, int] = {}
    for k, block in enumerate(mesh.cells):
        data = np.asarray(block.data)
        if block.type == "tetra":
            tets.append(data)
            labels.append(_block_labels(mesh, k, len(data)))
        elif block.type in ("triangle", "quad"):
            polygons.append(data)
        elif block.type not in ("vertex", "line"):
            others[block.type] = others.get(block.type, 0) + len(data)
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
        raise InputError(f"no linear tetrahedra; found {', '.join(sorted(others))}")
    return raw


def write_vtu(path: Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None = None) -> None:
    """Write VTK XML with labels and per-tet arrays (t,); double precision."""
    import meshio

    meshio.vtu.write(str(path), _meshio_mesh(mesh, cell_data))


def write_vtk(path: Path, mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None = None) -> None:
    """Write legacy VTK, binary; double precision."""
    import meshio

    meshio.vtk.write(str(path), _meshio_mesh(mesh, cell_data))


def write_medit(path: Path, mesh: TetMesh) -> None:
    """Write Medit text: points with 17 significant digits, labels as references (0 where there are none)."""
    labels = np.zeros(len(mesh.tets), dtype=np.int32) if mesh.labels is None else mesh.labels
    with open(path, "w", encoding="ascii") as file:
        file.write(f"MeshVersionFormatted 2\n\nDimension 3\n\nVertices\n{len(mesh.points)}\n")
        np.savetxt(file, mesh.points, fmt="%.17g %.17g %.17g 0")
        file.write(f"\nTetrahedra\n{len(mesh.tets)}\n")
        np.savetxt(file, np.column_stack([mesh.tets + 1, labels]), fmt="%d")
        file.write("\nEnd\n")


def _reader(suffix: str) -> Any:
    import meshio

    return {
        ".msh": meshio.gmsh.read,
        ".vtu": meshio.vtu.read,
        ".vtk": meshio.vtk.read,
        ".mesh": meshio.medit.read,
    }[suffix]


def _block_labels(mesh: Any, block: int, count: int) -> NDArray[np.int32] | None:
    for name in _LABELS:
        if name in mesh.cell_data:
            values = np.asarray(mesh.cell_data[name][block]).reshape(count)
            return values.astype(np.int32) if np.isfinite(values).all() else None
    return None


def _meshio_mesh(mesh: TetMesh, cell_data: dict[str, NDArray[Any]] | None) -> Any:
    import meshio

    data = {} if mesh.labels is None else {"labels": [mesh.labels]}
    for name, values in (cell_data or {}).items():
        values = np.asarray(values)
        if values.shape == (len(mesh.tets),):
            data[name] = [values.astype(np.float64) if values.dtype.kind == "f" else values]
    return meshio.Mesh(mesh.points, [("tetra", mesh.tets)], cell_data=data)
