"""Gmsh files as other programs write them: blocks, gaps, groups, versions, byte orders; and cut ones."""

from __future__ import annotations

import struct
from pathlib import Path

import meshio
import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io.formats import read_any, read_tets

POINTS = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
TETS = np.array([[0, 2, 1, 4], [3, 1, 2, 7], [5, 1, 4, 7], [6, 4, 2, 7], [1, 2, 4, 7]])
TURNED = np.linalg.det(POINTS[TETS[:, 1:]] - POINTS[TETS[:, :1]]) < 0
TETS[TURNED] = TETS[TURNED][:, [0, 2, 1, 3]]
NUMBERS = np.array([3, 7, 10, 11, 25, 100, 101, 999])
GROUPS = {1: 5, 2: 9}
"""Physical group of each volume; the first three tets lie in volume 1."""


def legacy_text(volumes: str = "11122", grouped: bool = True, extra: str = "") -> str:
    """Version 2.2, with gaps in the numbers of the nodes."""
    nodes = "".join(f"{n} {x} {y} {z}\n" for n, (x, y, z) in zip(NUMBERS, POINTS))
    rows = [
        f"{k + 1} 4 2 {GROUPS[int(v)] if grouped else 0} {v} {' '.join(map(str, NUMBERS[tet]))}\n"
        for k, (v, tet) in enumerate(zip(volumes, TETS))
    ]
    rows += extra.splitlines(keepends=True)
    return (
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n"
        f"$Nodes\n8\n{nodes}$EndNodes\n$Elements\n{len(rows)}\n{''.join(rows)}$EndElements\n"
    )


def blocks(order: str | None, groups: dict[int, int]) -> bytes:
    """Version 4.1 with two blocks of nodes and two of tets; text, or binary of a byte order."""

    def put(kinds: str, *values: float) -> bytes:
        if order is None:
            return " ".join(f"{v:g}" for v in values).encode() + b"\n"
        return struct.pack(order + kinds, *values)

    binary = b"" if order is None else struct.pack(order + "i", 1) + b"\n"
    out = b"$MeshFormat\n4.1 %d 8\n" % (order is not None) + binary + b"$EndMeshFormat\n"
    out += b"$Entities\n" + put("4Q", 0, 0, 0, 2)
    for volume in (1, 2):
        group = [groups[volume]] if volume in groups else []
        kinds = "i6dQ" + "i" * len(group) + "Q"
        out += put(kinds, volume, 0, 0, 0, 1, 1, 1, len(group), *group, 0)
    out += b"\n$EndEntities\n$Nodes\n" + put("4Q", 2, 8, 3, 999)
    for volume, part in ((1, slice(0, 5)), (2, slice(5, 8))):
        count = len(NUMBERS[part])
        out += put("3iQ", 3, volume, 0, count) + put(f"{count}Q", *NUMBERS[part])
        out += put(f"{3 * count}d", *POINTS[part].ravel())
    out += b"\n$EndNodes\n$Elements\n" + put("4Q", 2, 5, 1, 50)
    for volume, part in ((1, range(3)), (2, range(3, 5))):
        out += put("3iQ", 3, volume, 4, len(part))
        for k in part:
            out += put("5Q", 10 * k + 1, *NUMBERS[TETS[k]])
    return out + b"\n$EndElements\n"


def read(folder: Path, content: str | bytes):
    path = folder / "mesh.msh"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tets(path)


@pytest.mark.parametrize("order", [None, "<", ">"], ids=["text", "little", "big"])
def test_blocks_of_several_volumes_with_gaps_in_the_numbers(tmp_path, order):
    mesh = read(tmp_path, blocks(order, GROUPS))
    np.testing.assert_array_equal(mesh.points, POINTS)
    np.testing.assert_array_equal(mesh.tets, TETS)
    np.testing.assert_array_equal(mesh.labels, [5, 5, 5, 9, 9])


@pytest.mark.parametrize(("groups", "labels"), [({1: 5}, [5, 5, 5, 0, 0]), ({}, [1, 1, 1, 2, 2])])
def test_tets_of_no_group_have_label_0_and_without_groups_the_volumes_count(tmp_path, groups, labels):
    np.testing.assert_array_equal(read(tmp_path, blocks(None, groups)).labels, labels)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_legacy_text_with_elements_of_other_kinds_between(tmp_path, end):
    hexahedron = f"7 5 2 5 1 {' '.join(map(str, NUMBERS))}\n"
    text = legacy_text("12121", extra=f"6 2 3 1 1 0 3 7 10\n{hexahedron}8 15 0 3\n")
    path = tmp_path / "mesh.msh"
    path.write_bytes(text.replace("\n", end).encode())
    context = RunContext()
    mesh = read_tets(path, context=context)
    np.testing.assert_array_equal(mesh.points, POINTS)
    np.testing.assert_array_equal(mesh.tets, TETS)
    np.testing.assert_array_equal(mesh.labels, [5, 9, 5, 9, 5])
    assert context.counts == {"cells_ignored_hexahedron": 1}


def test_legacy_binary_of_meshio(tmp_path):
    path = tmp_path / "mesh.msh"
    groups = {"gmsh:physical": [np.array([5, 9, 5, 9, 5])], "gmsh:geometrical": [np.ones(5, int)]}
    meshio.gmsh.write(path, meshio.Mesh(POINTS, [("tetra", TETS)], cell_data=groups), "2.2", binary=True)
    mesh = read_tets(path)
    np.testing.assert_array_equal(mesh.tets, TETS)
    np.testing.assert_array_equal(mesh.labels, [5, 9, 5, 9, 5])


@pytest.mark.parametrize("content", [legacy_text(), *(blocks(order, GROUPS) for order in (None, "<", ">"))])
def test_a_file_cut_anywhere_is_refused(tmp_path, content):
    content = content.encode() if isinstance(content, str) else content
    path = tmp_path / "mesh.msh"
    for length in [*range(1, len(content) - 1, 7), len(content) - 2]:  # the last line break says nothing
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_any(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("$Elements\n5", "$Elements\n2000000000", "promises .* truncated"),
        ("$Nodes\n8", "$Nodes\n2000000000", "promises .* truncated"),
        ("$Nodes\n8", "$Nodes\n-8", "promises"),
        ("$Elements\n5", "$Elements\n4", "more than it promises"),
        ("999 1.0 1.0 1.0", "998 1.0 1.0 1.0", "4 of 5 elements .tetra. name nodes .* numbers .2, 3, 4, 5"),
        ("999 1.0 1.0 1.0", "101 1.0 1.0 1.0", "the number 101 is given twice"),
        ("1 4 2 5 1", "1 777 2 5 1", "element type 777"),
        ("2.2 0 8", "4.0 0 8", "format 4.0; save it as version 4.1"),
        ("7 0.0 0.0 1.0", "7 0.0 abc 1.0", "no number"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path, old, new, said):
    text = legacy_text()
    assert old in text
    with pytest.raises(InputError, match=said):
        read(tmp_path, text.replace(old, new, 1))


def test_a_count_of_two_thousand_million_elements_in_text_is_refused_at_once(tmp_path):
    text = blocks(None, GROUPS).replace(b"3 1 4 3", b"3 1 4 2000000000")
    with pytest.raises(InputError, match="10,000,000,000 numbers where 29 are left"):
        read(tmp_path, text)
