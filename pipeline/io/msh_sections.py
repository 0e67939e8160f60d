"""Sections of a Gmsh file: its format, where each section begins and ends, and the numbers of one.

A section is read as text, or as the numbers lie in memory in a binary file of either byte order.

Source: Gmsh reference manual, "MSH file format" (4.1) and "Legacy formats" (2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.text_numbers import numbers_in

Kinds = dict[str, np.dtype[Any]]
"""Types of the numbers of a binary file: "int", "size" and "real"."""

KINDS = {
    1: ("line", 2), 2: ("triangle", 3), 3: ("quad", 4), 4: ("tetra", 4), 5: ("hexahedron", 8),
    6: ("wedge", 6), 7: ("pyramid", 5), 8: ("line3", 3), 9: ("triangle6", 6), 10: ("quad9", 9),
    11: ("tetra10", 10), 12: ("hexahedron27", 27), 13: ("wedge18", 18), 14: ("pyramid14", 14),
    15: ("vertex", 1), 16: ("quad8", 8), 17: ("hexahedron20", 20), 18: ("wedge15", 15), 19: ("pyramid13", 13),
    20: ("triangle9", 9), 21: ("triangle10", 10), 22: ("triangle12", 12), 23: ("triangle15", 15),
    26: ("line4", 4), 27: ("line5", 5), 28: ("line6", 6), 29: ("tetra20", 20), 30: ("tetra35", 35),
    31: ("tetra56", 56), 36: ("quad16", 16), 37: ("quad25", 25), 92: ("hexahedron64", 64),
    93: ("hexahedron125", 125),
}  # fmt: skip
"""Name and number of nodes by the number of an element type."""


class Section:
    """The numbers of one section, taken one after the other."""

    def __init__(self, name: str, body: memoryview, kinds: Kinds | None) -> None:
        self.name, self.body, self.kinds, self.position = name, body, kinds, 0
        self.values = numbers_in(f"${name}", bytes(body)) if kinds is None else np.zeros(0)

    def take(self, count: int, kind: str) -> NDArray[Any]:
        """The next `count` numbers: "int", "size" or "real"."""
        if self.kinds is None:
            left = len(self.values) - self.position
            if 0 <= count <= left:
                self.position += count
                taken = self.values[self.position - count : self.position]
                return taken if kind == "real" else taken.astype(np.int64)
        else:
            dtype = self.kinds[kind]
            left = (len(self.body) - self.position) // dtype.itemsize
            if 0 <= count <= left:
                start, self.position = self.position, self.position + count * dtype.itemsize
                return np.frombuffer(self.body, dtype, count, start)
        raise InputError(
            f"${self.name} promises {count:,} numbers where {max(left, 0):,} are left: "
            "truncated or damaged; write it again"
        )

    def one(self, kind: str) -> int:
        return int(self.take(1, kind)[0])

    def finish(self) -> None:
        """Make sure that nothing is left."""
        left = len(self.values if self.kinds is None else self.body) - self.position
        if left:
            raise InputError(f"${self.name} holds more than it promises: damaged; write it again")


def format_of(content: bytes) -> tuple[int, Kinds | None]:
    """Version (2 or 4) and the types of a binary file, None of a text file."""
    start = content.find(b"$MeshFormat")
    if start < 0 or (content[:start].strip() and not content.startswith(b"$Comments")):
        known = "Gmsh 1, which is not read: save it as version 4.1" if content.startswith(b"$NOD") else ""
        raise InputError(f"does not start with $MeshFormat: {known or 'not a Gmsh file'}")
    words = content[start : start + 200].split(b"\n", 2)
    header = words[1].split() if len(words) > 2 else []
    if len(header) != 3:
        raise InputError("its $MeshFormat is not understood: truncated, or not a Gmsh file")
    version, is_binary, size = header[0].decode("ascii", "replace"), header[1] == b"1", header[2]
    if not (version.startswith("2") or version == "4.1"):
        raise InputError(f"is of the Gmsh format {version}; save it as version 4.1 (or 2.2)")
    if not is_binary:
        return int(version[0]), None
    one = words[2][:4]
    order = "<" if one == b"\1\0\0\0" else ">" if one == b"\0\0\0\1" else ""
    if not order or size not in (b"4", b"8"):
        raise InputError(
            "its byte order or the size of its numbers is not understood: damaged; write it again"
        )
    kinds = {
        "int": np.dtype(f"{order}i4"),
        "size": np.dtype(f"{order}u{size.decode()}"),
        "real": np.dtype(f"{order}f8"),
    }
    return int(version[0]), kinds


def sections_of(content: bytes, binary: tuple[str, ...]) -> Iterator[tuple[str, list[memoryview]]]:
    """Bodies of the sections by name; several of one name stand in their order.

    Raises:
        InputError: One has no end.
    """
    found: dict[str, list[memoryview]] = {}
    view, position = memoryview(content), 0
    while (start := content.find(b"$", position)) >= 0:
        line_end = content.find(b"\n", start)
        name = content[start + 1 : line_end if line_end >= 0 else None].strip().decode("ascii", "replace")
        end = content.find(b"$End" + name.encode(), line_end) if line_end >= 0 else -1
        if end < 0 or not name.isidentifier():
            raise InputError(f"ends within ${name[:40]}: truncated or damaged; write it again")
        body = view[line_end + 1 : end]
        # A binary body ends where its numbers do; of a text body the line break does not matter.
        found.setdefault(name, []).append(body[:-1] if name in binary and body[-1:] == b"\n" else body)
        position = end + 4 + len(name)
    yield from found.items()


def kind_of(code: int) -> tuple[str, int]:
    """Name and number of nodes of an element type."""
    if code not in KINDS:
        raise InputError(f"$Elements holds the element type {code}, which is not known: damaged, or too new")
    return KINDS[code]
