"""Surfaces: Wavefront OBJ and OFF, whose vertices stay as they are; STL is in `stl`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry, vertex_colors
from pipeline.io.obj_look import read_obj_look
from pipeline.rendering.colormap import to_srgb
from pipeline.types import SurfaceMesh

_OTHER_ELEMENTS = ("l", "p", "fo", "curv", "curv2", "surf")
"""What OBJ has besides faces."""


def read_obj(path: Path) -> Geometry:
    """Read v and f lines (polygons, negative indices) and what the file says of the look; no normals."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    text = text.replace("\\\r\n", " ").replace("\\\n", " ")
    vertex_lines, face_lines, seen = [], [], []
    others: Counter[str] = Counter()
    for line in text.splitlines():
        head, _, rest = line.strip().replace("\t", " ").partition(" ")
        if head == "v":
            vertex_lines.append(rest)
        elif head == "f":
            face_lines.append(rest.split("#", 1)[0])
            seen.append(len(vertex_lines))
        elif head in _OTHER_ELEMENTS:
            others[head] += 1
    if not vertex_lines:
        raise InputError("no line starts with 'v ': no vertices, or not an OBJ file; export it again")
    points = _coordinates(vertex_lines)
    corners = [re.sub(r"/[^\s]*", "", line).split() for line in face_lines]
    sizes = np.array([len(c) for c in corners], dtype=np.int64)
    index = np.array([v for c in corners for v in c], dtype=np.int64)
    before = np.repeat(np.array(seen, dtype=np.int64), sizes)
    if (index == 0).any():
        raise InputError(f"{int((index == 0).sum())} face corners have index 0; OBJ counts from 1")
    raw = Geometry(points, face_sizes=sizes, face_vertices=np.where(index < 0, index + before, index - 1))
    look = read_obj_look(text, vertex_lines, path.parent)
    raw.colors, raw.texture_coordinates, raw.texture = look.colors, look.texture_coordinates, look.texture
    raw.notes += look.notes
    words = ", ".join(f"{count:,} {head}" for head, count in others.items())
    raw.notes.append(
        ("elements_ignored", others.total(), f"lines, points, curves and such, not read ({words})")
    )
    return raw


def write_obj(path: Path, mesh: SurfaceMesh, normals: NDArray[np.float64] | None = None) -> None:
    """Write v lines with 17 digits and sRGB colours, normals per vertex (n, 3) where given, and triangles."""
    colors = vertex_colors(mesh)
    with open(path, "w", encoding="ascii") as file:
        if colors is None:
            np.savetxt(file, mesh.points, fmt="v %.17g %.17g %.17g")
        else:
            rows = np.column_stack([mesh.points, to_srgb(colors)])
            np.savetxt(file, rows, fmt="v %.17g %.17g %.17g %.7f %.7f %.7f")
        if normals is None:
            np.savetxt(file, mesh.faces + 1, fmt="f %d %d %d")
        else:
            np.savetxt(file, normals, fmt="vn %.9g %.9g %.9g")
            np.savetxt(file, np.repeat(mesh.faces + 1, 2, axis=1), fmt="f %d//%d %d//%d %d//%d")


def read_off(path: Path) -> Geometry:
    """Read text OFF (also COFF, NOFF, whose extra numbers are left out)."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    lines = [line for line in (row.split("#", 1)[0].strip() for row in text.splitlines()) if line]
    if not lines or not re.match(r"(ST)?C?N?OFF\b", lines[0]):
        raise InputError("does not start with OFF: not a text OFF file; export it as text OFF, or as PLY")
    lines[0] = re.sub(r"^\w+", "", lines[0]).strip()
    lines = lines if lines[0] else lines[1:]
    counts = lines[0].split() if lines else []
    if len(counts) < 2:
        raise InputError("no counts of vertices and faces after OFF")
    n, f = int(counts[0]), int(counts[1])
    if n < 0 or f < 0 or len(lines) < 1 + n + f:
        raise InputError(f"ends before the {n:,} vertices and {f:,} faces that it promises: truncated")
    points = _coordinates(lines[1 : 1 + n])
    rows = [line.split() for line in lines[1 + n : 1 + n + f]]
    sizes = np.array([int(row[0]) for row in rows], dtype=np.int64)
    index = np.array([v for row, k in zip(rows, sizes) for v in row[1 : 1 + k]], dtype=np.int64)
    return Geometry(points, face_sizes=sizes, face_vertices=index)


def write_off(path: Path, mesh: SurfaceMesh) -> None:
    """Write text OFF with 17 significant digits."""
    with open(path, "w", encoding="ascii") as file:
        file.write(f"OFF\n{len(mesh.points)} {len(mesh.faces)} 0\n")
        np.savetxt(file, mesh.points, fmt="%.17g %.17g %.17g")
        np.savetxt(file, mesh.faces, fmt="3 %d %d %d")


def _coordinates(lines: list[str]) -> NDArray[np.float64]:
    """Parse the first three numbers of each line, shape (n, 3)."""
    rows = [line.split()[:3] for line in lines]
    short = next((k for k, row in enumerate(rows) if len(row) < 3), None)
    if short is not None:
        found = f"vertex {short + 1} has {len(rows[short])} coordinates"
        raise InputError(f"{found}, not 3: truncated or damaged; export it again")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
