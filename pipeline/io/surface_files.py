"""Surfaces: Wavefront OBJ, OFF and STL.

OBJ and OFF are read here, because a library that splits vertices at texture seams would tear the surface
open; STL goes through trimesh, and its corners are welded where coordinates are equal.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry, vertex_colors
from pipeline.io.obj_look import read_obj_look
from pipeline.rendering.colormap import to_srgb
from pipeline.types import SurfaceMesh


def read_obj(path: Path) -> Geometry:
    """Read v and f lines (polygons, negative indices) and what the file says of the look; no normals."""
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    vertex_lines, face_lines, seen = [], [], []
    for line in text.splitlines():
        head = line[:2]
        if head in ("v ", "v\t"):
            vertex_lines.append(line[2:])
        elif head in ("f ", "f\t"):
            face_lines.append(line[2:].split("#", 1)[0])
            seen.append(len(vertex_lines))
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
    text = path.read_bytes().decode("utf-8", errors="replace")
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


def read_stl(path: Path) -> Geometry:
    """Read binary or text STL and weld corners with equal coordinates."""
    import trimesh

    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(84)
    if not head.lstrip().startswith(b"solid"):
        if len(head) < 84:
            raise InputError("too short for an STL file; export it again")
        wanted = 84 + 50 * int(np.frombuffer(head, "<u4", 1, 80)[0])
        if wanted != size:
            raise InputError(
                f"the header promises {wanted:,} bytes, the file has {size:,}: truncated, or not STL"
            )
    with open(path, "rb") as file:
        loaded = trimesh.exchange.stl.load_stl(file)
    corners = _corners(loaded)
    points, row = weld(corners)
    raw = Geometry.of_triangles(points, row.reshape(-1, 3))
    raw.notes.append(("points_welded", len(corners) - len(points), "equal corners of STL triangles welded"))
    return raw


def write_stl(path: Path, mesh: SurfaceMesh) -> None:
    """Write binary STL: single precision, no connectivity."""
    corners = mesh.points[mesh.faces].astype(np.float32)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    record = np.zeros(
        len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]
    )
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


def _coordinates(lines: list[str]) -> NDArray[np.float64]:
    """Parse the first three numbers of each line, shape (n, 3)."""
    rows = [line.split()[:3] for line in lines]
    short = next((k for k, row in enumerate(rows) if len(row) < 3), None)
    if short is not None:
        raise InputError(f"vertex {short + 1} has {len(rows[short])} coordinates, expected 3")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _corners(loaded: dict) -> NDArray[np.float64]:
    """Corners of all triangles that trimesh found, shape (3 f, 3); text STL may hold several solids."""
    solids = list(loaded["geometry"].values()) if "geometry" in loaded else [loaded]
    with np.errstate(invalid="ignore"):  # damaged numbers are refused later, with their rows
        parts = [np.asarray(s["vertices"], np.float64)[np.asarray(s["faces"]).reshape(-1)] for s in solids]
    corners = np.concatenate(parts) if parts else np.zeros((0, 3))
    if not len(corners):
        raise InputError("no usable geometry: no triangles")
    return corners
