"""STL, binary or text: triangles without connectivity, whose corners are welded where coordinates are equal.

A binary file has 80 bytes of any text, the number of triangles, and 50 bytes for each; it may begin with
"solid" as a text file does, so its size decides.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry
from pipeline.io.text_numbers import numbers_in
from pipeline.types import SurfaceMesh

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = 84


def read_stl(path: Path) -> Geometry:
    """Read triangles and weld corners with equal coordinates.

    Raises:
        InputError: Truncated, damaged, or not STL.
    """
    content = path.read_bytes()
    count = int.from_bytes(content[80:_HEADER], "little")
    wanted = _HEADER + count * _RECORD.itemsize
    if len(content) >= _HEADER and len(content) == wanted:
        records = np.frombuffer(content, _RECORD, count, _HEADER)
        with np.errstate(invalid="ignore"):  # damaged numbers are refused later, with their rows
            corners = records["corners"].reshape(-1, 3).astype(np.float64)
    elif _is_text(content):
        corners = _text_corners(content)
    elif len(content) < _HEADER:
        raise InputError("too short for an STL file; export it again")
    else:
        raise InputError(
            f"the header promises {wanted:,} bytes, the file has {len(content):,}: truncated, or not STL; "
            "export it again"
        )
    if not len(corners):
        raise InputError("no usable geometry: no triangles")
    points, row = weld(corners)
    raw = Geometry.of_triangles(points, row.reshape(-1, 3))
    raw.notes.append(("points_welded", len(corners) - len(points), "equal corners of STL triangles welded"))
    return raw


def write_stl(path: Path, mesh: SurfaceMesh) -> None:
    """Write binary STL: single precision, no connectivity."""
    corners = mesh.points[mesh.faces].astype(np.float32)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    record = np.zeros(len(corners), dtype=_RECORD)
    record["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    record["corners"] = corners
    with open(path, "wb") as file:
        file.write(b"binary STL written by simmesh".ljust(80))
        file.write(np.array(len(corners), dtype="<u4").tobytes())
        file.write(record.tobytes())


def weld(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge equal corners, shape (c, 3), in order of appearance; return points and the row of each (c,)."""
    keyed = np.ascontiguousarray(corners, dtype=np.float64) + 0.0  # -0.0 and 0.0 are one coordinate
    _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return keyed[first[order]], rank[inverse.reshape(-1)]


def _is_text(content: bytes) -> bool:
    """Whether a file begins as text STL does: a name, then facets or the end."""
    start = content[:4096].lower()
    return (
        bool(re.match(rb"\s*solid\b[^\r\n]*[\r\n]+\s*(facet\b|endsolid\b|$)", start)) and b"\0" not in start
    )


def _text_corners(content: bytes) -> NDArray[np.float64]:
    """Corners of all triangles of all solids, shape (3 f, 3).

    Raises:
        InputError: It ends before its last solid does, or a facet has not three corners.
    """
    rows: list[str] = []
    counts: Counter[str] = Counter()
    for line in content.decode("ascii", "replace").lower().splitlines():
        head, _, rest = line.strip().partition(" ")
        counts[head] += 1
        if head == "vertex":
            rows.append(rest)
    facets = counts["facet"]
    if counts["endsolid"] != counts["solid"] or counts["endfacet"] != facets:
        raise InputError(f"ends within its {facets:,} facets, before endsolid: truncated; export it again")
    numbers = numbers_in("a corner", " ".join(rows).encode())
    if len(rows) != 3 * facets or len(numbers) != 3 * len(rows):
        raise InputError(
            f"{facets:,} facets have {len(numbers):,} coordinates, not nine each; export it again"
        )
    return numbers.reshape(-1, 3)
