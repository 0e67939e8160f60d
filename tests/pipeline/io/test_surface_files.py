"""Surfaces and clouds as other programs write them: read as they are meant, or told what is not."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io.formats import read_any
from pipeline.types import PointCloud, SurfaceMesh

CUBE = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TRIANGLES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])
VERTEX_LINES = "".join(f"v {x} {y} {z}\n" for x, y, z in CUBE)
FACE_LINES = "".join(f"f {' '.join(str(k + 1) for k in quad)}\n" for quad in QUADS)


def read(path: Path, content: str | bytes) -> tuple[Any, dict[str, float]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    context = RunContext()
    mesh = read_any(path, context=context)
    return mesh, {name: count for name, count in context.counts.items() if name != "polygons_split"}


def volume(mesh: SurfaceMesh) -> float:
    """Enclosed volume: sum of p0 . (p1 x p2) / 6 over the faces."""
    a, b, c = (mesh.points[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("f ", "  f  "),
        lambda text: text.replace("v ", "\tv\t"),
        lambda text: "g one two\ns 1\no box\n" + text,
    ],
    ids=["byte order mark", "crlf", "cr", "indented faces", "tabs", "groups"],
)
def test_an_obj_is_read_whole_however_its_lines_begin_and_end(tmp_path, change):
    mesh, counts = read(tmp_path / "a.obj", change(VERTEX_LINES + FACE_LINES))
    assert len(mesh.faces) == 12
    assert volume(mesh) == pytest.approx(1.0, rel=1e-14)
    assert not counts


def test_indices_from_the_end_of_an_obj_count_from_where_they_stand(tmp_path):
    half = "".join(VERTEX_LINES.splitlines(keepends=True)[:4])
    rest = "".join(VERTEX_LINES.splitlines(keepends=True)[4:])
    mesh, _ = read(tmp_path / "a.obj", f"{half}f -4 -3 -1 -2\n{rest}f -4 -2 -1 -3\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5]])


def test_lines_and_curves_of_an_obj_are_told(tmp_path, caplog):
    with caplog.at_level("INFO", "simmesh"):
        _, counts = read(tmp_path / "a.obj", VERTEX_LINES + FACE_LINES + "l 1 2 3\np 1\nl 2 3\n")
    assert counts == {"elements_ignored": 3}
    assert "2 l, 1 p" in caplog.text


def test_an_off_with_a_byte_order_mark_is_read(tmp_path):
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in CUBE)
    faces = "".join(f"4 {' '.join(map(str, quad))}\n" for quad in QUADS)
    mesh, _ = read(tmp_path / "a.off", f"\ufeffOFF\n8 6 0\n{rows}{faces}")
    assert volume(mesh) == pytest.approx(1.0, rel=1e-14)


def text_stl(triangles: np.ndarray, name: str = "part") -> str:
    facets = [
        " facet normal 0 0 0\n  outer loop\n"
        + "".join(f"   vertex {x:e} {y:e} {z:e}\n" for x, y, z in CUBE[corners])
        + "  endloop\n endfacet\n"
        for corners in triangles
    ]
    return f"solid {name}\n{''.join(facets)}endsolid {name}\n"


def binary_stl(header: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *CUBE[t].ravel(), 7) for t in TRIANGLES)
    return header.ljust(80) + struct.pack("<I", len(TRIANGLES)) + rows


@pytest.mark.parametrize(
    "content",
    [
        text_stl(TRIANGLES),
        text_stl(TRIANGLES).replace("\n", "\r\n"),
        text_stl(TRIANGLES).upper(),
        text_stl(TRIANGLES[:5], "one") + text_stl(TRIANGLES[5:], "two"),
        binary_stl(),
        binary_stl(b"solid exported by a CAD program"),
    ],
    ids=["text", "crlf", "upper case", "two solids", "binary", "binary that says solid"],
)
def test_stl_of_every_kind(tmp_path, content):
    mesh, counts = read(tmp_path / "a.stl", content)
    assert len(mesh.points) == 8
    assert volume(mesh) == pytest.approx(1.0, rel=1e-14)
    assert counts == {"points_welded": 28}


@pytest.mark.parametrize("content", [text_stl(TRIANGLES).encode(), binary_stl(), binary_stl(b"solid part")])
def test_a_cut_stl_is_refused(tmp_path, content):
    for length in range(1, len(content) - 10, 17):
        (tmp_path / "a.stl").write_bytes(content[:length])
        with pytest.raises(InputError):
            read_any(tmp_path / "a.stl")


def test_a_facet_of_two_corners_is_named(tmp_path):
    text = text_stl(TRIANGLES)
    start = text.index("   vertex")
    with pytest.raises(InputError, match="12 facets have 105 coordinates"):
        read(tmp_path / "a.stl", text[:start] + text[text.index("\n", start) + 1 :])


@pytest.mark.parametrize(
    ("element", "row"),
    [("edge 1\nproperty int vertex1\nproperty int vertex2", "0 1"),
     ("tristrips 1\nproperty list int int vertex_indices", "4 0 1 2 3")],
)  # fmt: skip
def test_elements_of_a_ply_that_are_not_read_are_told(tmp_path, caplog, element, row):
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in CUBE)
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat ascii 1.0\nelement vertex 8\n{axes}element {element}\nend_header\n"
    with caplog.at_level("INFO", "simmesh"):
        cloud, counts = read(tmp_path / "a.ply", f"{header}{rows}{row}\n")
    assert isinstance(cloud, PointCloud)
    assert counts == {"elements_ignored": 1}
    assert element.split()[0] in caplog.text


@pytest.mark.parametrize("text", ["0,5 1,5 2,5\n", "# scan\n-0,5;1,25;2,0e-1\n", "1,0\t2,0\t3,0\n"])
def test_decimal_commas_are_named(tmp_path, text):
    with pytest.raises(InputError, match="decimal commas"):
        read(tmp_path / "a.xyz", text)


@pytest.mark.parametrize("text", ["0.5,1.5,2.5\n1,2,3\n", "1,2,3\n4,5,6\n", "1, 2, 3\n4, 5, 6\n"])
def test_commas_between_numbers_are_none(tmp_path, text):
    assert read(tmp_path / "a.xyz", text)[0].points.shape == (2, 3)


def test_a_comment_in_another_encoding_does_no_harm(tmp_path):
    cloud, _ = read(tmp_path / "a.xyz", "# Größe\n0 0 0\n1 1 1\n".encode("latin-1"))
    assert len(cloud.points) == 2


def glb(nodes: list[dict[str, Any]], **document: Any) -> bytes:
    """One mesh of twelve triangles, placed by nodes."""
    data = CUBE.astype("<f4").tobytes() + TRIANGLES.astype("<u2").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 96},
            {"buffer": 0, "byteOffset": 96, "byteLength": 72},
        ],
        "buffers": [{"byteLength": len(data)}],
    } | document
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    )
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def nodes() -> list[dict[str, Any]]:
    """A scaled parent of three: one moved, one mirrored, one turned."""
    half = 0.5**0.5
    return [
        {"children": [1, 2, 3], "scale": [2, 2, 2]},
        {"mesh": 0, "translation": [5, 0, 0]},
        {"mesh": 0, "scale": [-1, 1, 1], "translation": [-5, 0, 0]},
        {"mesh": 0, "rotation": [0, half, 0, half]},
    ]


@pytest.mark.parametrize("scenes", [{}, {"scenes": [{"nodes": [0]}], "scene": 0}], ids=["none", "one"])
def test_nodes_of_a_glb_are_placed_with_and_without_a_scene(tmp_path, scenes):
    mesh, counts = read(tmp_path / "a.glb", glb(nodes(), **scenes))
    # Three cubes with sides of 2, all outward.
    assert volume(mesh) == pytest.approx(24.0, rel=1e-6)
    np.testing.assert_allclose(mesh.points.min(axis=0), [-12, 0, -2], atol=1e-6)
    assert not counts


@pytest.mark.parametrize("child", [-1, 4])
def test_a_child_that_is_not_there_is_refused(tmp_path, child):
    tree = nodes()
    tree[0]["children"].append(child)
    with pytest.raises(InputError):
        read(tmp_path / "a.glb", glb(tree, scenes=[{"nodes": [0]}]))


@pytest.mark.parametrize(
    ("count", "change"),
    [
        ("scenes_ignored", lambda tree: {"scenes": [{"nodes": [0]}, {"nodes": [1]}], "scene": 0}),
        ("skins_ignored", lambda tree: tree[1].update(skin=0) or {"skins": [{"joints": [0]}]}),
        ("instances_ignored", lambda tree: tree[1].update(extensions={"EXT_mesh_gpu_instancing": {}}) or {}),
        ("animations_ignored", lambda tree: {"animations": [{"channels": [], "samplers": []}]}),
    ],
)
def test_what_of_a_glb_is_not_read_is_told(tmp_path, count, change):
    tree = nodes()
    more = change(tree)
    assert read(tmp_path / "a.glb", glb(tree, **more))[1] == {count: 1}
