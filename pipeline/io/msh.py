"""Write Gmsh 4.1 files, binary, double precision.

One volume entity holds one block of nodes and one block of tetrahedra: MuJoCo refuses more than one block of
nodes, and Newton reads only the first block of tetrahedra. Labels are an `$ElementData` view named "labels".
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.types import TetMesh


def write_msh(path: Path, mesh: TetMesh) -> None:
    """Write points, tets and labels; node and element tags count from 1."""
    with open(path, "wb") as file:
        file.write(b"$MeshFormat\n4.1 1 8\n")
        _put(file, "<i4", 1)
        file.write(b"\n$EndMeshFormat\n")
        _write_entity(file, mesh)
        _write_nodes(file, mesh)
        _write_elements(file, mesh)
        if mesh.labels is not None:
            _write_labels(file, mesh.labels)


def _write_entity(file: BinaryIO, mesh: TetMesh) -> None:
    """One volume, tag 1, with its bounding box, no physical groups and no bounding surfaces."""
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    file.write(b"$Entities\n")
    _put(file, "<u8", 0, 0, 0, 1)
    _put(file, "<i4", 1)
    _put(file, "<f8", *low, *high)
    _put(file, "<u8", 0, 0)
    file.write(b"\n$EndEntities\n")


def _write_nodes(file: BinaryIO, mesh: TetMesh) -> None:
    n = len(mesh.points)
    file.write(b"$Nodes\n")
    _put(file, "<u8", 1, n, 1, n)
    _put(file, "<i4", 3, 1, 0)
    _put(file, "<u8", n)
    file.write(np.arange(1, n + 1, dtype="<u8").tobytes())
    file.write(mesh.points.astype("<f8").tobytes())
    file.write(b"\n$EndNodes\n")


def _write_elements(file: BinaryIO, mesh: TetMesh) -> None:
    t = len(mesh.tets)
    file.write(b"$Elements\n")
    _put(file, "<u8", 1, t, 1, t)
    _put(file, "<i4", 3, 1, 4)  # dimension, entity, element type 4: tetrahedron with four nodes
    _put(file, "<u8", t)
    rows = np.column_stack([np.arange(1, t + 1), mesh.tets.astype(np.int64) + 1])
    file.write(rows.astype("<u8").tobytes())
    file.write(b"\n$EndElements\n")


def _write_labels(file: BinaryIO, labels: np.ndarray) -> None:
    t = len(labels)
    file.write(f'$ElementData\n1\n"labels"\n1\n0.0\n3\n0\n1\n{t}\n'.encode("ascii"))
    rows = np.empty(t, dtype=[("tag", "<i4"), ("value", "<f8")])
    rows["tag"], rows["value"] = np.arange(1, t + 1), labels
    file.write(rows.tobytes())
    file.write(b"\n$EndElementData\n")


def _put(file: BinaryIO, dtype: str, *values: float) -> None:
    file.write(np.array(values, dtype=dtype).tobytes())
