"""Colours and texture of a Wavefront OBJ file: what its vertices, faces and material library say of the look.

Colours behind the coordinates of a vertex are sRGB, as the programs write them that added them to the format.
One texture is read: that of the first material in use which has one (map_Kd).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.rendering.colormap import to_linear

_MAX_LIBRARY = 1 << 24


@dataclass
class ObjLook:
    """What was found; None where the file says nothing."""

    colors: NDArray[np.float64] | None = None
    """Linear RGB per vertex, shape (n, 3)."""
    texture_coordinates: NDArray[np.float64] | None = None
    """Per corner of all faces one after the other, shape (c, 2)."""
    texture: str | None = None
    notes: list[tuple[str, int, str]] = field(default_factory=list)


def read_obj_look(text: str, vertex_lines: list[str], folder: Path) -> ObjLook:
    """Read the look of an OBJ file.

    Args:
        text: Of the whole file.
        vertex_lines: What follows the v of each vertex.
        folder: Of the file; the material library lies in it.
    """
    look = ObjLook(colors=_colors(vertex_lines))
    if "vt" not in text:
        return look
    places: list[list[str]] = []
    index: list[int] = []
    materials: list[str] = []
    libraries: list[str] = []
    missing = 0
    for line in text.splitlines():
        head, _, rest = line.strip().partition(" ")
        if head == "vt":
            places.append(rest.split()[:2])
        elif head == "f":
            for corner in rest.split("#", 1)[0].split():
                part = corner.split("/")[1:2]
                given = int(part[0]) if part and part[0] else 0
                missing += given == 0
                index.append(given + len(places) if given < 0 else given - 1)
        elif head == "usemtl":
            materials.append(rest.strip())
        elif head == "mtllib":
            libraries.append(rest.strip())
    if not places or missing == len(index):
        return look
    row = np.array(index)
    if missing or row.min() < 0 or row.max() >= len(places) or any(len(place) < 2 for place in places):
        reason = (
            "face corners without texture coordinates: all are left out"
            if missing
            else ("texture coordinates that cannot be read: all are left out")
        )
        look.notes.append(("looks_ignored", max(missing, 1), reason))
        return look
    look.texture_coordinates = np.array(places, dtype=np.float64)[row]
    found = _textures(libraries, materials, folder)
    look.texture = found[0] if found else None
    more = len(set(found)) - 1
    look.notes.append(("textures_ignored", max(more, 0), "textures besides the first one, not read"))
    return look


def _colors(vertex_lines: list[str]) -> NDArray[np.float64] | None:
    """Numbers four to six of each vertex line, where all have them."""
    if not vertex_lines or len(vertex_lines[0].split()) < 6:
        return None
    rows = [line.split()[3:6] for line in vertex_lines]
    if any(len(row) < 3 for row in rows):
        return None
    values = np.array(rows, dtype=np.float64)
    return to_linear(np.clip(values, 0.0, 1.0))


def _textures(libraries: list[str], used: list[str], folder: Path) -> list[str]:
    """Textures of the materials in use, in the order of use; those of all materials where none is named."""
    found: dict[str, str] = {}
    for name in libraries:
        path = folder / name.replace("\\", "/")
        if not path.is_file() or path.stat().st_size > _MAX_LIBRARY:
            continue
        material = ""
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            head, _, rest = line.strip().partition(" ")
            if head == "newmtl":
                material = rest.strip()
            elif head == "map_Kd" and rest.strip():
                found.setdefault(material, str(path.parent / _file_of(rest.strip().replace("\\", "/"))))
    order = dict.fromkeys(used) if used else found
    return [found[name] for name in order if name in found]


def _file_of(words: str) -> str:
    """The file name of a map_Kd line, behind its options (-s 1 1 1, -clamp on, ...)."""
    if not words.startswith("-"):
        return words
    parts = words.split()
    while len(parts) > 1 and re.fullmatch(r"-\D\S*|on|off|[-+.\d]+(e[-+]?\d+)?", parts[0]):
        parts.pop(0)
    return " ".join(parts)
