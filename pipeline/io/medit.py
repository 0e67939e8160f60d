"""Medit meshes (.mesh, text): a keyword, the number of its rows, and the rows, free of line breaks.

    Vertices 8      x y z reference
    Tetrahedra 5    four vertices, counted from 1, and a reference: the label

Source: Frey, "MEDIT: an interactive mesh visualization software", INRIA RT-0253, 2001.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.text_numbers import numbers_in
from pipeline.types import TetMesh

CELLS = {
    "Edges": ("line", 2),
    "Triangles": ("triangle", 3),
    "Quadrilaterals": ("quad", 4),
    "Tetrahedra": ("tetra", 4),
    "Hexahedra": ("hexahedron", 8),
    "Hexaedra": ("hexahedron", 8),
    "Prisms": ("wedge", 6),
    "Wedges": ("wedge", 6),
    "Pyramids": ("pyramid", 5),
    "TrianglesP2": ("triangle6", 6),
    "TetrahedraP2": ("tetra10", 10),
}
"""Kind and number of vertices of the cells of a section."""
Block = tuple[str, NDArray[Any], NDArray[Any]]
"""Kind, rows of vertices (e, k) and references (e,)."""
_OTHER = ("MeshVersionFormatted", "Dimension", "End")
_WORD = re.compile(rb"(?<![\w.+-])[A-Za-z]\w*")


def read_medit(path: Path) -> tuple[NDArray[np.float64], list[Block], list[str]]:
    """Read a file.

    Returns:
        Points (n, d); the sections of cells; the keywords of other sections, and "" for a missing end.

    Raises:
        InputError: Not Medit, or a section that holds more or fewer numbers than it promises.
    """
    sections, others = _sections(path.read_bytes())
    if "Vertices" not in sections:
        raise InputError("holds no Vertices: not a Medit file, or truncated; write it again")
    dimension = sections.get("Dimension", np.array([3.0]))
    if len(dimension) != 1 or dimension[0] not in (2, 3):
        raise InputError("its Dimension is neither 2 nor 3: damaged; write it again")
    points = _rows("Vertices", sections["Vertices"], int(dimension[0]) + 1)[:, :-1]
    blocks = []
    for name, (kind, width) in CELLS.items():
        if name in sections:
            table = _rows(name, sections[name], width + 1).astype(np.int64)
            blocks.append((kind, table[:, :width] - 1, table[:, width].astype(np.int32)))
    return np.ascontiguousarray(points), blocks, others


def write_medit(path: Path, mesh: TetMesh) -> None:
    """Write points with 17 significant digits, labels as references (0 where there are none)."""
    labels = np.zeros(len(mesh.tets), dtype=np.int32) if mesh.labels is None else mesh.labels
    with open(path, "w", encoding="ascii") as file:
        file.write(f"MeshVersionFormatted 2\n\nDimension 3\n\nVertices\n{len(mesh.points)}\n")
        np.savetxt(file, mesh.points, fmt="%.17g %.17g %.17g 0")
        file.write(f"\nTetrahedra\n{len(mesh.tets)}\n")
        np.savetxt(file, np.column_stack([mesh.tets + 1, labels]), fmt="%d")
        file.write("\nEnd\n")


def _sections(content: bytes) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Numbers by keyword, of those that are read; the other keywords, and "" for a missing end."""
    content = re.sub(rb"#[^\r\n]*", b"", content)
    words = [m for m in _WORD.finditer(content) if m.group().lower() not in (b"nan", b"inf", b"infinity")]
    if not words or content[: words[0].start()].strip() or words[0].group() != b"MeshVersionFormatted":
        raise InputError("does not start with MeshVersionFormatted: not a Medit file in text")
    sections: dict[str, NDArray[np.float64]] = {}
    others = []
    ends = [match.start() for match in words[1:]] + [len(content)]
    for match, end in zip(words, ends):
        name = match.group().decode("ascii")
        if name == "End":
            break
        if name in (*CELLS, "Vertices", *_OTHER):
            if name in sections:
                raise InputError(f"holds {name} twice: damaged; write it again")
            sections[name] = numbers_in(name, content[match.end() : end])
        else:
            others.append(name)
    else:
        others.append("")
    return sections, others


def _rows(name: str, numbers: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The rows of a section, shape (count, width), without the count before them."""
    if not len(numbers) or numbers[0] < 0 or len(numbers) - 1 != numbers[0] * width:
        promised = f"{int(numbers[0]):,}" if len(numbers) and np.isfinite(numbers[0]) else "no"
        raise InputError(
            f"{name} promises {promised} rows of {width} numbers and holds {max(len(numbers) - 1, 0):,} "
            "numbers: truncated or damaged; write it again"
        )
    return numbers[1:].reshape(-1, width)
