"""Every format keeps what it promises: round trips, and files as other programs write them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.context import RunContext
from pipeline.errors import OutputError
from pipeline.io import formats, usd_stage, volume_files
from pipeline.io.formats import read_any, read_points, read_surface, read_tets
from pipeline.topology import boundary_edges
from pipeline.types import Frame, PointCloud, SurfaceMesh, TetMesh

SINGLE = (".stl", ".glb", *formats.USD_EXTENSIONS)
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-4, 4).map(lambda e: 10.0**e)


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read USD in this process: `test_guard.py` tests the guarded one, which takes a moment to start."""
    monkeypatch.setattr(
        usd_stage, "read_guarded", lambda _, arguments, size: usd_stage.read_stage(**arguments)
    )


few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def coordinates(width: int):
    # Up to 1e6 in double precision, with zeros of either sign and repeated rows.
    numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
    return st.integers(1, 20).flatmap(lambda n: arrays(np.float64, (n, width), elements=numbers))


@pytest.mark.parametrize("suffix", formats.POINT_WRITERS)
@few
@given(points=coordinates(3), seed=seeds)
def test_points_come_back_exactly(tmp_path, suffix, points, seed):
    normals = np.random.default_rng(seed).normal(size=points.shape)
    cloud = PointCloud(points, normals)
    back = read_points(formats.write_points(tmp_path / f"cloud{suffix}", cloud))
    np.testing.assert_array_equal(back.points, cloud.points)
    np.testing.assert_array_equal(back.normals, cloud.normals)


@pytest.mark.parametrize("suffix", [".ply", ".npz", ".xyz"])
@few
@given(points=coordinates(3), seed=seeds)
def test_colors_come_back(tmp_path, suffix, points, seed):
    rng = np.random.default_rng(seed)
    cloud = PointCloud(points, rng.normal(size=points.shape), rng.random(points.shape))
    back = read_points(formats.write_points(tmp_path / f"cloud{suffix}", cloud))
    # Bytes hold sRGB: half a step of 1/255 there is at most 0.5/255 * 2.4/1.055 in linear light.
    np.testing.assert_allclose(back.colors, cloud.colors, rtol=0, atol=0.0 if suffix == ".npz" else 0.0045)


@pytest.mark.parametrize("suffix", [".xyz", ".txt", ".npy", ".npz"])
@few
@given(points=coordinates(2))
def test_plane_points_stay_plane(tmp_path, suffix, points):
    back = read_any(formats.write_points(tmp_path / f"cloud{suffix}", PointCloud(points)))
    assert isinstance(back, PointCloud)
    np.testing.assert_array_equal(back.points, points)


@pytest.mark.parametrize("suffix", formats.SURFACE_WRITERS)
@few
@given(seed=seeds, scale=scales)
def test_surfaces_come_back(tmp_path, make_surface, suffix, seed, scale):
    mesh = make_surface(seed, scale)
    back = read_surface(formats.write_surface(tmp_path / f"mesh{suffix}", mesh))
    points = mesh.points.astype(np.float32) if suffix in SINGLE else mesh.points
    if suffix == ".glb":  # metres and Y up by definition: (x, y, z) -> (x, z, -y)
        assert back.frame == Frame(1.0, "y")
        points = points[:, [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_array_equal(back.points[back.faces], points[mesh.faces])
    if suffix != ".stl":  # STL has no vertices that faces share
        np.testing.assert_array_equal(back.points, points)


@pytest.mark.parametrize("suffix", formats.TET_WRITERS)
@few
@given(seed=seeds, scale=scales, labelled=st.booleans())
def test_tets_come_back(tmp_path, make_box, suffix, seed, scale, labelled):
    mesh = make_box(2, seed, scale, labelled)
    back = read_tets(formats.write_tets(tmp_path / f"mesh{suffix}", mesh))
    points = mesh.points.astype(np.float32) if suffix in SINGLE else mesh.points
    np.testing.assert_array_equal(back.points, points)
    np.testing.assert_array_equal(back.tets, mesh.tets)
    if labelled:
        np.testing.assert_array_equal(back.labels, mesh.labels)


@pytest.mark.parametrize("suffix", [".npz", ".usda", ".usdc", ".usdz"])
def test_frame_travels_with_the_file(tmp_path, make_surface, suffix):
    frame = Frame(0.001, "y")
    mesh = SurfaceMesh(make_surface(1).points, make_surface(1).faces, frame)
    path = formats.write_surface(tmp_path / f"mesh{suffix}", mesh)
    assert read_surface(path).frame == frame
    assert read_surface(path, frame=Frame(1.0, "z")).frame == Frame(1.0, "z")


def test_other_formats_are_metres_and_z_up(tmp_path, make_surface):
    path = formats.write_surface(tmp_path / "mesh.ply", make_surface(1))
    assert read_surface(path).frame == Frame(1.0, "z")


def test_cell_data_is_kept_by_vtk(tmp_path, make_box):
    import meshio

    box = make_box(1)
    path = formats.write_tets(tmp_path / "box.vtu", box, {"volume": box.volumes})
    np.testing.assert_array_equal(meshio.read(path).cell_data["volume"][0], box.volumes)


@pytest.mark.parametrize("suffix", ["vtu", "vtk"])
def test_cell_data_that_came_out_wrong_is_refused(tmp_path, make_box, monkeypatch, suffix):
    box = make_box(1)
    writers = {".vtu": volume_files.write_vtu, ".vtk": volume_files.write_vtk}

    def damaged(path, mesh, cell_data):
        writers[f".{suffix}"](path, mesh, {name: values * 2 for name, values in cell_data.items()})

    monkeypatch.setitem(formats.TET_WRITERS, f".{suffix}", damaged)
    with pytest.raises(OutputError, match="'volume' of the tets are not the same"):
        formats.write_tets(tmp_path / f"box.{suffix}", box, {"volume": box.volumes})
    assert not list(tmp_path.iterdir())


def test_vtk_and_gmsh_files_are_double_precision(tmp_path, make_box):
    import meshio

    box = make_box(1, seed=5)
    for name in ("box.vtu", "box.msh", "box.vtk"):
        mesh = meshio.read(formats.write_tets(tmp_path / name, box))
        assert mesh.points.dtype.itemsize == 8
        np.testing.assert_array_equal(mesh.points, box.points)


def test_msh_has_one_block_of_nodes_and_one_of_tets(tmp_path, make_box):
    content = formats.write_tets(tmp_path / "box.msh", make_box(1, labelled=True)).read_bytes()
    for section in (b"$Nodes\n", b"$Elements\n"):
        assert int(np.frombuffer(content, "<u8", 1, content.index(section) + len(section))[0]) == 1


# A unit cube of quadrilaterals, wound outwards.
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def assert_is_cube(mesh: SurfaceMesh, scale: float = 1.0) -> None:
    assert mesh.faces.shape == (12, 3)
    assert len(boundary_edges(mesh.faces)) == 0
    a, b, c = (mesh.points[mesh.faces[:, k]] for k in range(3))
    # Divergence theorem: V = sum of a . (b x c) / 6 over outward triangles; exact in small integers.
    np.testing.assert_allclose(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6, scale**3, rtol=1e-6)


def obj_text(corner: str) -> str:
    lines = ["# a comment", "mtllib none.mtl", "o cube"]
    lines += ["v {:g} {:g} {:g}".format(*p) for p in CORNERS]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "vn 0 0 1", "usemtl none", "s off"]
    for quad in QUADS:
        lines.append(
            "f " + " ".join(corner.format(v=v + 1, t=k + 1, n=1, r=v - 8) for k, v in enumerate(quad))
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("corner", ["{v}", "{v}/{t}", "{v}/{t}/{n}", "{v}//{n}", "{r}", "{r}/{t}/-1"])
def test_obj_quads_with_texture_coordinates_stay_closed(tmp_path, corner):
    path = tmp_path / "cube.obj"
    path.write_text(obj_text(corner))
    context = RunContext()
    mesh = read_any(path, context=context)
    assert len(mesh.points) == 8
    assert_is_cube(mesh)
    assert context.counts == {"polygons_split": 6}


def test_off_quads(tmp_path):
    rows = [" ".join(map(str, p)) for p in CORNERS] + [" ".join(map(str, [4, *q, 255, 0, 0])) for q in QUADS]
    path = tmp_path / "cube.off"
    path.write_text("OFF # cube\n8 6 12\n\n" + "\n".join(rows))
    assert_is_cube(read_surface(path))


@pytest.mark.parametrize("order", ["ascii", "<", ">"])
@pytest.mark.parametrize("mixed", [False, True])
def test_ply_of_any_order_and_polygon_size(tmp_path, order, mixed):
    # Properties in an unusual order, one that nobody asked for, and a first face split in two when mixed.
    polygons = [list(q) for q in QUADS]
    if mixed:
        polygons[:1] = [[0, 1, 3], [0, 3, 2]]
    name = {"ascii": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = (
        f"ply\nformat {name} 1.0\ncomment made by hand\nelement vertex 8\n"
        "property uchar red\nproperty float z\n"
        "property float nx\nproperty float ny\nproperty float nz\nproperty double y\nproperty uchar green\n"
        f"property uchar blue\nproperty float x\nelement face {len(polygons)}\n"
        "property list uchar uint vertex_indices\nproperty float quality\nend_header\n"
    ).encode()
    path = tmp_path / "cube.ply"
    if order == "ascii":
        rows = [f"255 {z} 0 0 1 {y} 0 128 {x}" for x, y, z in CORNERS]
        rows += [" ".join(map(str, [len(p), *p, 0.5])) for p in polygons]
        path.write_bytes(header + "\n".join(rows).encode() + b"\n")
    else:
        vertex = np.zeros(
            8,
            [("red", "u1"), ("z", order + "f4"), ("n", order + "f4", 3), ("y", order + "f8"),
             ("green", "u1"), ("blue", "u1"), ("x", order + "f4")],
        )  # fmt: skip
        vertex["x"], vertex["y"], vertex["z"] = CORNERS.T
        vertex["n"], vertex["red"], vertex["blue"] = [0, 0, 1], 255, 128
        faces = b"".join(
            bytes([len(p)]) + np.array(p, order + "u4").tobytes() + np.array(0.5, order + "f4").tobytes()
            for p in polygons
        )
        path.write_bytes(header + vertex.tobytes() + faces)
    assert_is_cube(read_surface(path))
    cloud = read_points(path)
    np.testing.assert_array_equal(cloud.normals, np.tile([0.0, 0.0, 1.0], (8, 1)))
    # sRGB 128 is ((128/255 + 0.055) / 1.055)^2.4 in linear light.
    np.testing.assert_allclose(cloud.colors[0], [1.0, 0.0, ((128 / 255 + 0.055) / 1.055) ** 2.4], rtol=1e-15)


@pytest.mark.parametrize("text", [True, False])
def test_stl_is_welded_and_counted(tmp_path, text):
    triangles = np.concatenate([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])
    path = tmp_path / "cube.stl"
    if text:
        facets = "".join(
            "facet normal 0 0 0\nouter loop\n"
            + "".join("vertex {:e} {:e} {:e}\n".format(*CORNERS[v]) for v in t)
            + "endloop\nendfacet\n"
            for t in triangles
        )
        path.write_text(f"solid cube\n{facets}endsolid cube\n")
    else:
        formats.write_surface(path, SurfaceMesh(CORNERS, triangles))
    context = RunContext()
    mesh = read_surface(path, context=context)
    assert len(mesh.points) == 8
    assert_is_cube(mesh)
    assert context.counts == {"points_welded": 36 - 8}


def test_degenerate_faces_are_dropped_and_counted(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 2\nf 1 2\n")
    context = RunContext()
    assert len(read_surface(path, context=context).faces) == 1
    assert context.counts == {"degenerate_faces": 1, "faces_too_small": 1}


@pytest.mark.parametrize(
    ("text", "dimension", "normals", "colors"),
    [
        ("0 0\n1 0\n# end\n", 2, False, False),
        ("1,2,3\n4,5,6\n", 3, False, False),
        ("1;2;3;0;0;1\n", 3, True, False),
        ("1 2 3 255 0 17\n", 3, False, True),
        ("// a scan\n1 2 3 0 0 1 255 0 17\n", 3, True, True),
    ],
)
def test_text_columns(tmp_path, text, dimension, normals, colors):
    path = tmp_path / "cloud.xyz"
    path.write_text(text)
    cloud = read_any(path)
    assert cloud.dimension == dimension
    assert (cloud.normals is not None, cloud.colors is not None) == (normals, colors)


@pytest.mark.parametrize(("points", "cells"), [("vertices", "tet_indices"), ("V", "T"), ("points", "tets")])
def test_archives_of_other_programs(tmp_path, make_box, points, cells):
    box = make_box(1)
    path = tmp_path / "box.npz"
    np.savez(path, **{points: box.points, cells: box.tets.ravel() if cells == "tet_indices" else box.tets})
    np.testing.assert_array_equal(read_any(path).tets, box.tets)


def test_left_handed_mesh_is_turned_over_and_counted(tmp_path, make_box):
    box = make_box(1)
    np.savez(tmp_path / "box.npz", V=box.points, T=box.tets[:, [0, 2, 1, 3]])
    context = RunContext()
    back = read_tets(tmp_path / "box.npz", context=context)
    np.testing.assert_array_equal(back.tets, box.tets)
    assert context.counts == {"tets_turned": 6}


def test_crease_edges_survive_in_npz(tmp_path, make_box):
    box = make_box(1)
    mesh = TetMesh(box.points, box.tets, crease_edges=np.array([[0, 1], [1, 3]]))
    back = read_tets(formats.write_tets(tmp_path / "box.npz", mesh))
    np.testing.assert_array_equal(back.crease_edges, mesh.crease_edges)


@pytest.mark.parametrize(
    ("write", "name", "data", "word"),
    [
        (formats.write_points, "a.obj", PointCloud(np.zeros((1, 3))), "known are"),
        (formats.write_points, "a.ply", PointCloud(np.zeros((1, 2))), "2D"),
        (formats.write_points, "a.npy", PointCloud(np.zeros((1, 3)), colors=np.ones((1, 3))), "npz"),
        (formats.write_points, "a.xyz", PointCloud(np.zeros((1, 3)), colors=np.ones((1, 3))), "npz"),
        (formats.write_surface, "a.vtu", SurfaceMesh(np.eye(3), [[0, 1, 2]]), "known are"),
        (formats.write_surface, "a.obj", SurfaceMesh(np.eye(2), [[0, 1]]), "npz"),
        (formats.write_tets, "a.ply", None, "known are"),
    ],
)
def test_a_format_that_cannot_hold_the_data_is_refused(tmp_path, make_box, write, name, data, word):
    with pytest.raises(OutputError, match=word):
        write(tmp_path / name, data if data is not None else make_box(1))
    assert not list(tmp_path.iterdir())


def test_what_single_precision_would_destroy_is_refused(tmp_path, make_box):
    far = make_box(1)
    far = TetMesh(far.points + 1e9, far.tets)
    with pytest.raises(OutputError, match="single precision"):
        formats.write_tets(tmp_path / "far.usdc", far)
    surface = SurfaceMesh(far.points, far.tets[:, :3])
    with pytest.raises(OutputError, match="cannot write"):
        formats.write_surface(tmp_path / "far.stl", surface)
    assert not list(tmp_path.iterdir())
