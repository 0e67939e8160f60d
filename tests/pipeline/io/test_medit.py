"""Medit files as other programs write them, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io.formats import read_any, read_tets

TEXT = """MeshVersionFormatted 2
# of another program
Dimension 3
Vertices
5
0 0 0 1
1 0 0 1
0 1 0 1
0 0 1 1
1 1 1.5e0 1
Corners
2
1
2
Triangles
1
1 2 3 7
Tetrahedra
2
1 2 3 4 5
5 4 3 2 6
Hexahedra
1
1 2 3 4 5 4 3 2 1
End
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("Dimension 3", "Dimension\n3"),
        lambda text: text.replace("# of another program\n", "").replace("\n", " "),
    ],
    ids=["lines", "crlf", "dimension below", "one line"],
)
def test_sections_are_free_of_line_breaks(tmp_path, change):
    path, context = tmp_path / "a.mesh", RunContext()
    path.write_bytes(change(TEXT).encode())
    mesh = read_tets(path, context=context)
    np.testing.assert_array_equal(mesh.points[4], [1, 1, 1.5])
    np.testing.assert_array_equal(mesh.tets, [[0, 1, 2, 3], [4, 3, 2, 1]])
    np.testing.assert_array_equal(mesh.labels, [5, 6])
    assert context.counts == {"sections_ignored": 1, "cells_ignored_hexahedron": 1}


def test_a_missing_end_is_told(tmp_path, caplog):
    path = tmp_path / "a.mesh"
    path.write_text(TEXT[: TEXT.index("Hexahedra")])
    with caplog.at_level("WARNING", "simmesh"):
        read_tets(path)
    assert "no End" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Tetrahedra\n2", "Tetrahedra\n2000000000", "2,000,000,000 rows of 5 .* holds 10"),
        ("Vertices\n5", "Vertices\n4", "4 rows of 4 .* holds 20"),
        ("Dimension 3", "Dimension 7", "neither 2 nor 3"),
        ("1 2 3 4 5\n", "0 2 3 4 5\n", "name a vertex outside"),
        ("1 1 1.5e0", "1 1 1.5.0", "no number"),
        ("Vertices", "Vertexes", "no Vertices"),
        ("MeshVersionFormatted", "MeshVersion", "MeshVersionFormatted"),
    ],
)
def test_damage_is_named(tmp_path, old, new, said):
    path = tmp_path / "a.mesh"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_any(path)


def test_elements_of_second_order_alone_are_named(tmp_path):
    path = tmp_path / "a.mesh"
    start, end = TEXT.index("Triangles"), TEXT.index("End")
    path.write_text(TEXT[:start] + "TetrahedraP2\n1\n1 2 3 4 5 1 2 3 4 5 0\n" + TEXT[end:])
    with pytest.raises(InputError, match="no linear tetrahedra; found tetra10"):
        read_any(path)
