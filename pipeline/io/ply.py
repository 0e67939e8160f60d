"""Stanford PLY: points and polygons, text or binary of either byte order, properties in any order.

Written files are binary little endian with double precision positions and normals; colours are bytes (sRGB).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8", "int64": "i8", "uint64": "u8",
}  # fmt: skip
_ORDER = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TEXTURE_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_MAX_HEADER = 1 << 20
_MAX_DIGITS = 64
"""Longest number in a text file: NumPy takes the room of the longest for each."""


@dataclass
class _Property:
    name: str
    dtype: str
    size_dtype: str | None = None
    """Type of the length of a list; None for a single value."""


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property]

    @property
    def has_list(self) -> bool:
        return any(p.size_dtype is not None for p in self.properties)


def read_ply(path: Path) -> Geometry:
    """Read vertices (with normals and colours where present) and faces.

    Raises:
        InputError: Not PLY, a header without vertices, or less data than the header promises.
    """
    content = path.read_bytes()
    order, elements, body = _header(content)
    columns = _ascii(elements, content[body:]) if not order else _binary(elements, content, body, order)
    vertex = columns.get("vertex")
    if vertex is None or not all(axis in vertex for axis in "xyz"):
        raise InputError("the header has no vertex element with x, y and z")
    raw = Geometry(_stack(vertex, ("x", "y", "z")))
    if all(n in vertex for n in ("nx", "ny", "nz")):
        raw.normals = _stack(vertex, ("nx", "ny", "nz"))
    for names in (
        ("red", "green", "blue"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
        ("r", "g", "b"),
    ):
        if all(n in vertex for n in names):
            raw.colors = linear_colors(np.stack([vertex[n] for n in names], axis=1))
            break
    face = columns.get("face", {})
    sizes = next((n for n in ("vertex_indices", "vertex_index") if n in face), None)
    if sizes is not None:
        raw.face_sizes, raw.face_vertices = face[sizes]
        _read_texture(raw, vertex, face, content[:body], path)
    others = {e.name: e.count for e in elements if e.name != "vertex" and (e.name != "face" or sizes is None)}
    words = ", ".join(f"{count:,} {name}" for name, count in others.items() if count)
    raw.notes.append(("elements_ignored", sum(others.values()), f"other elements, not read ({words})"))
    return raw


def _read_texture(
    raw: Geometry, vertex: dict[str, Any], face: dict[str, Any], header: bytes, path: Path
) -> None:
    """Take texture coordinates per corner or per vertex, and the file that the header names."""
    index = np.asarray(raw.face_vertices)
    names = next((n for n in _TEXTURE_NAMES if n[0] in vertex and n[1] in vertex), None)
    if "texcoord" in face and len(face["texcoord"][1]) == 2 * len(index):
        raw.texture_coordinates = np.asarray(face["texcoord"][1], dtype=np.float64).reshape(-1, 2)
    elif names is not None and len(index) and index.min() >= 0 and index.max() < len(raw.points):
        raw.texture_coordinates = _stack(vertex, names)[index]
    lines = header.decode("ascii", errors="replace").splitlines()
    files = [line.split(None, 2)[2] for line in lines if re.match(r"comment\s+TextureFile\s+\S", line)]
    if files and raw.texture_coordinates is not None:
        raw.texture = str(path.parent / files[0].strip())
        raw.notes.append(("textures_ignored", len(files) - 1, "textures besides the first one, not read"))


def write_ply(
    path: Path,
    points: NDArray[np.float64],
    faces: NDArray[np.int32] | None = None,
    normals: NDArray[np.float64] | None = None,
    colors: NDArray[np.float64] | None = None,
) -> None:
    """Write points, with triangles (f, 3) or segments (f, 2), as binary PLY; 2D points get z = 0."""
    flat = points.shape[1] == 2
    blocks: list[tuple[Sequence[str], str, NDArray[Any]]] = [("xyz", "<f8", _pad(points) if flat else points)]
    if normals is not None:
        blocks.append((("nx", "ny", "nz"), "<f8", _pad(normals) if flat else normals))
    if colors is not None:
        blocks.append((("red", "green", "blue"), "u1", byte_colors(colors)))
    fields = [(name, dtype) for names, dtype, _ in blocks for name in names]
    vertex = np.empty(len(points), dtype=fields)
    for names, _, values in blocks:
        for k, name in enumerate(names):
            vertex[name] = values[:, k]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property {'uchar' if dtype == 'u1' else 'double'} {name}" for name, dtype in fields]
    cells = np.empty(0, dtype="u1")
    if faces is not None and faces.shape[1] == 2:
        lines += [f"element edge {len(faces)}", "property int vertex1", "property int vertex2"]
        cells = faces.astype("<i4")
    elif faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        cells = np.empty(len(faces), dtype=[("size", "u1"), ("vertices", "<i4", (3,))])
        cells["size"], cells["vertices"] = 3, faces
    with open(path, "wb") as file:
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        file.write(vertex.tobytes())
        file.write(cells.tobytes())


def linear_colors(colors: NDArray[Any]) -> NDArray[np.float64]:
    """Convert stored colours (k, 3) to linear RGB: bytes are sRGB, real numbers in [0, 1] are linear already.

    Source: IEC 61966-2-1.
    """
    if colors.dtype.kind == "f" and (not len(colors) or np.nanmax(colors) <= 1.0):
        return colors.astype(np.float64)
    c = colors.astype(np.float64) / (
        65535.0 if colors.dtype.itemsize == 2 and colors.dtype.kind == "u" else 255.0
    )
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def byte_colors(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Convert linear RGB in [0, 1], shape (k, 3), to sRGB bytes."""
    c = np.clip(colors, 0.0, 1.0)
    s = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * s).astype(np.uint8)


def _header(content: bytes) -> tuple[str, list[_Element], int]:
    """Return the byte order ("" for text), the elements and where the data starts."""
    if not content.startswith((b"ply\n", b"ply\r")):
        raise InputError("does not start with 'ply': not a PLY file; export it again, or rename it")
    end = content.find(b"end_header", 0, _MAX_HEADER)
    if end < 0:
        raise InputError("the header has no end_header line")
    newline = content.find(b"\n", end)
    order, elements = None, []
    for line in content[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                order = _ORDER[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2]), []))
                if elements[-1].count < 0:
                    raise ValueError
            elif words[0] == "property" and words[1] == "list":
                elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[0] == "property":
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
            else:
                raise ValueError
        except (KeyError, IndexError, ValueError) as error:
            raise InputError(f"header line not understood: {line.strip()[:80]!r}") from error
    if order is None:
        raise InputError("the header names no format")
    return order, elements, (newline + 1 if newline >= 0 else len(content))


def _ascii(elements: list[_Element], body: bytes) -> dict[str, dict[str, Any]]:
    """Parse a text body: elements one after the other, values separated by white space."""
    words = body.split() or [b""]
    if len(max(words, key=len)) > _MAX_DIGITS:
        raise InputError(f"a number has more than {_MAX_DIGITS} digits: damaged")
    tokens = np.array(words)
    position, result = 0, {}
    for element in elements:
        properties = element.properties
        if element.has_list:
            result[element.name], position = _ascii_lists(element, tokens, position)
            continue
        wanted = element.count * len(properties)
        rows = tokens[position : position + wanted]
        if len(rows) < wanted or (wanted and rows[-1] == b""):
            raise _truncated(element)
        values = rows.reshape(element.count, len(properties))
        result[element.name] = {p.name: _numbers(values[:, k], p.dtype) for k, p in enumerate(properties)}
        position += wanted
    return result


def _ascii_lists(element: _Element, tokens: NDArray[Any], position: int) -> tuple[dict[str, Any], int]:
    """Parse an element with lists; equal rows at once, others row by row."""
    values: dict[str, list[Any]] = {p.name: [] for p in element.properties}
    sizes: dict[str, list[int]] = {p.name: [] for p in element.properties}
    if len(element.properties) == 1 and element.count and position < len(tokens):
        k = int(tokens[position])
        block = tokens[position : position + element.count * (k + 1)]
        if k >= 0 and len(block) == element.count * (k + 1):
            rows = block.reshape(element.count, k + 1)
            if (rows[:, 0] == tokens[position]).all():
                name = element.properties[0].name
                flat = _numbers(rows[:, 1:].ravel(), element.properties[0].dtype)
                return {name: (np.full(element.count, k), flat)}, position + block.size
    for _ in range(element.count):
        for p in element.properties:
            if position >= len(tokens) or tokens[position] == b"":
                raise _truncated(element)
            k = 1
            if p.size_dtype is not None:
                k = int(tokens[position])
                position += 1
            if k < 0 or position + k > len(tokens):
                raise _truncated(element)
            sizes[p.name].append(k)
            values[p.name].append(tokens[position : position + k])
            position += k
    return {p.name: _columns(p, sizes[p.name], values[p.name]) for p in element.properties}, position


def _columns(p: _Property, sizes: list[int], values: list[Any]) -> Any:
    flat = np.concatenate(values) if values else np.zeros(0, dtype="S1")
    numbers = _numbers(flat, p.dtype) if flat.dtype.kind == "S" else flat
    return numbers if p.size_dtype is None else (np.array(sizes, dtype=np.int64), numbers)


def _numbers(tokens: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Convert text: integers exactly, real numbers in double precision whatever the header says."""
    try:
        return tokens.astype(np.int64 if dtype[0] in "iu" else np.float64)
    except ValueError as error:
        raise InputError(f"a value is not a number: {error}") from error


def _binary(elements: list[_Element], content: bytes, position: int, order: str) -> dict[str, dict[str, Any]]:
    """Parse a binary body; the sizes are checked against the file before anything is allocated."""
    result = {}
    for element in elements:
        if element.has_list:
            result[element.name], position = _binary_lists(element, content, position, order)
            continue
        dtype = np.dtype([(p.name, order + p.dtype) for p in element.properties])
        if position + element.count * dtype.itemsize > len(content):
            raise _truncated(element)
        rows = np.frombuffer(content, dtype, element.count, position)
        result[element.name] = {p.name: rows[p.name] for p in element.properties}
        position += element.count * dtype.itemsize
    return result


def _binary_lists(element: _Element, content: bytes, position: int, order: str) -> tuple[dict[str, Any], int]:
    """Parse an element with lists; rows as long as the first at once, others row by row."""
    lists = [p for p in element.properties if p.size_dtype is not None]
    first = _row_layout(element, content, position, order) if element.count else None
    if first is not None and position + element.count * first.itemsize <= len(content):
        rows = np.frombuffer(content, first, element.count, position)
        if all((rows["#" + p.name] == rows["#" + p.name][0]).all() for p in lists):
            columns: dict[str, Any] = {p.name: rows[p.name] for p in element.properties}
            for p in lists:
                columns[p.name] = (rows["#" + p.name].astype(np.int64), rows[p.name].reshape(-1))
            return columns, position + element.count * first.itemsize
    sizes: dict[str, list[int]] = {p.name: [] for p in element.properties}
    values: dict[str, list[Any]] = {p.name: [] for p in element.properties}
    for _ in range(element.count):
        layout = _row_layout(element, content, position, order)
        if layout is None:
            raise _truncated(element)
        row = np.frombuffer(content, layout, 1, position)[0]
        for p in element.properties:
            values[p.name].append(np.atleast_1d(row[p.name]))
            sizes[p.name].append(len(values[p.name][-1]))
        position += layout.itemsize
    return {p.name: _columns(p, sizes[p.name], values[p.name]) for p in element.properties}, position


def _row_layout(element: _Element, content: bytes, position: int, order: str) -> np.dtype[Any] | None:
    """Return the layout of the row at `position`, None when the file ends within it."""
    fields: list[Any] = []
    for p in element.properties:
        item = np.dtype(order + p.dtype)
        if p.size_dtype is None:
            fields.append((p.name, item))
            position += item.itemsize
            continue
        size = np.dtype(order + p.size_dtype)
        if position + size.itemsize > len(content):
            return None
        k = int(np.frombuffer(content, size, 1, position)[0])
        position += size.itemsize + k * item.itemsize
        if k < 0 or position > len(content):
            return None
        fields += [("#" + p.name, size), (p.name, item, (k,))]
    return np.dtype(fields) if position <= len(content) else None


def _stack(columns: dict[str, Any], names: tuple[str, ...]) -> NDArray[np.float64]:
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)


def _pad(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([rows, np.zeros(len(rows))])


def _truncated(element: _Element) -> InputError:
    return InputError(
        f"ends within the {element.count:,} {element.name} entries that its header promises: truncated"
    )
