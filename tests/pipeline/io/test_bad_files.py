"""Files that cannot be used: each gives one clear error that names the file, the cause and a remedy."""

from __future__ import annotations

import base64
import io
import os
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, InvalidMeshError
from pipeline.io import formats
from pipeline.io.formats import read_any, read_points, read_surface, read_tets
from pipeline.types import PointCloud

ALL = sorted(formats.READERS)


def assert_clear(error: BaseException, path) -> None:
    """One line, short, beginning with the file."""
    message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400


@pytest.mark.parametrize("suffix", ALL)
def test_missing_empty_and_folder(tmp_path, suffix):
    missing, empty, folder = (tmp_path / f"{name}{suffix}" for name in ("missing", "empty", "folder"))
    empty.touch()
    folder.mkdir()
    for path, word in ((missing, "no such file"), (empty, "empty"), (folder, "folder")):
        with pytest.raises(InputError, match=word) as caught:
            read_any(path)
        assert_clear(caught.value, path)


def test_unknown_extension_lists_the_known_ones(tmp_path):
    path = tmp_path / "scan.las"
    path.write_bytes(b"LASF")
    with pytest.raises(InputError, match=r"\.las.*\.ply.*\.usdz"):
        read_any(path)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize(
    "content",
    [b"Dear reader, this is a letter.\n", b"\x00" * 300, bytes(range(256)) * 4],
    ids=["text", "zeros", "bytes"],
)
def test_something_else_under_a_known_extension(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_any(path)
    assert_clear(caught.value, path)


def valid_files(folder, make_box, make_surface):
    """One valid file of every format."""
    for suffix, writer in formats.TET_WRITERS.items():
        del writer
        yield formats.write_tets(folder / f"tets{suffix}", make_box(2, seed=3, labelled=True))
    for suffix in formats.SURFACE_WRITERS:
        yield formats.write_surface(folder / f"surface{suffix}", make_surface(3))
    for suffix in formats.POINT_WRITERS:
        points = np.random.default_rng(0).normal(size=(40, 3))
        yield formats.write_points(folder / f"points{suffix}", PointCloud(points, points))


def test_truncated_files(tmp_path, make_box, make_surface):
    for path in list(valid_files(tmp_path, make_box, make_surface)):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 3 // 5])
        if path.suffix in (".xyz", ".txt", ".obj"):
            # Lines of text may end anywhere; what cannot be understood must still be said clearly.
            try:
                read_any(path)
            except InputError as error:
                assert_clear(error, path)
        else:
            with pytest.raises(InputError) as caught:
                read_any(path)
            assert_clear(caught.value, path)


def test_a_cut_file_is_called_truncated_where_the_library_speaks_of_arrays(tmp_path):
    path = formats.write_points(tmp_path / "cut.npy", PointCloud(np.eye(3)))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="fewer numbers than its header promises: truncated"):
        read_any(path)


@pytest.mark.parametrize(
    "suffix", [".ply", ".obj", ".off", ".stl", ".npz", ".npy", ".xyz", ".vtu", ".vtk", ".msh", ".mesh"]
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_damaged_bytes_never_escape_as_other_errors(tmp_path, make_box, make_surface, suffix, changes):
    path = tmp_path / f"file{suffix}"
    if not (tmp_path / "content").exists():
        if suffix in formats.TET_WRITERS:
            formats.write_tets(path, make_box(1, labelled=True))
        elif suffix in formats.SURFACE_WRITERS:
            formats.write_surface(path, make_surface(3))
        else:
            formats.write_points(path, PointCloud(np.random.default_rng(0).normal(size=(9, 3))))
        (tmp_path / "content").write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "content").read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    try:
        read_any(path)
    except InputError as error:
        assert_clear(error, path)


def test_numbers_that_are_not_finite_are_counted_with_their_rows(tmp_path):
    for name, text in (
        ("a.xyz", "0 0 0\nnan 1 1\n2 2 inf\n"),
        ("a.obj", "v 0 0 0\nv nan 1 1\nv 2 2 inf\nf 1 2 3\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(InvalidMeshError, match=r"2 of 3 rows have NaN or infinite.*\[1, 2\]") as caught:
            read_any(path)
        assert caught.value.rows == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "outside 0..2"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "counts from 1"),
        ("a.obj", "v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "vertex 1 has 2 coordinates"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 1 2\n", "repeat a vertex"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n", "truncated"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "outside 0..2"),
        ("a.xyz", "1 2 3 4\n", "4 columns"),
        ("a.xyz", "1 2 3\n1 2\n", "number of columns"),
        ("a.xyz", "# only a comment\n", "no line holds numbers"),
        ("a.xyz", "x y z\n1 2 3\n", "could not convert string 'x' .*put # before .* a line of names"),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "x, y and z"),
        (
            "a.ply",
            "ply\nformat ascii 1.0\nelement vertex -1\nproperty float x\nend_header\n1\n",
            "not understood",
        ),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 9\n", "end_header"),
        ("a.stl", "solid nothing\nendsolid nothing\n", "a.stl"),
    ],
)
def test_text_that_means_nothing(tmp_path, name, text, word):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        read_any(path)
    assert_clear(caught.value, path)


def test_a_file_of_another_kind_says_what_it_holds(tmp_path, make_surface, make_box):
    cloud = formats.write_points(tmp_path / "cloud.ply", PointCloud(np.eye(3)))
    surface = formats.write_surface(tmp_path / "surface.ply", make_surface(1))
    tets = formats.write_tets(tmp_path / "tets.vtu", make_box(1))
    with pytest.raises(InputError, match="expected a tetrahedral mesh, found 3 points, 0 faces"):
        read_tets(cloud)
    with pytest.raises(InputError, match="expected a tetrahedral mesh"):
        read_tets(surface)
    with pytest.raises(InputError, match="expected a surface, found 3 points"):
        read_surface(cloud)
    with pytest.raises(InputError, match="expected a surface, found 8 points, 0 faces and 6 tetrahedra"):
        read_surface(tets)
    assert len(read_points(surface).points) == len(read_surface(surface).points)


def test_headers_that_ask_for_too_much(tmp_path):
    ply = tmp_path / "huge.ply"
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty double x\n"
    ply.write_bytes((header + "property double y\nproperty double z\nend_header\n").encode() + b"\0" * 99)
    stl = tmp_path / "huge.stl"
    stl.write_bytes(b"x" * 80 + np.array(4_000_000_000, "<u4").tobytes() + b"\0" * 99)
    npy = tmp_path / "huge.npy"
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
    )
    npy.write_bytes(buffer.getvalue() + b"\0" * 99)
    npz = tmp_path / "huge.npz"
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("points.npy", npy.read_bytes())
    for path in (ply, stl, npy, npz):
        with pytest.raises(InputError) as caught:
            read_any(path)
        assert_clear(caught.value, path)


def test_archives_that_unpack_to_too_much_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.io.npz.MAX_BYTES", 1000)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, points=np.zeros((1000, 3)))
    with pytest.raises(InputError, match="unpacked"):
        read_any(path)


def test_small_archives_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, points=np.zeros((300_000, 3)))  # 7.2 MB of zeros in some 7 kB
    monkeypatch.setattr("pipeline.io.npz.UNPACKED", 1 << 20)
    with pytest.raises(InputError, match="unpacked"):
        read_any(path)


def vtu_with_points(packed: bytes, sizes: list[int], count: int) -> bytes:
    """One tet whose points are an array of zlib blocks, as VTK packs them."""
    header = np.array([len(sizes), 1 << 15, 0, *sizes], "<u4").tobytes()
    text = base64.b64encode(header) + base64.b64encode(packed)
    return b"".join(
        [
            b'<VTKFile type="UnstructuredGrid" version="0.1" byte_order="LittleEndian" header_type="UInt32" ',
            b'compressor="vtkZLibDataCompressor"><UnstructuredGrid>',
            b'<Piece NumberOfPoints="%d" NumberOfCells="1"><Points>' % count,
            b'<DataArray type="Float64" Name="p" NumberOfComponents="3" format="binary">',
            text,
            b'</DataArray></Points><Cells><DataArray type="Int32" Name="connectivity">0 1 2 3</DataArray>',
            b'<DataArray type="Int32" Name="offsets">4</DataArray>',
            b'<DataArray type="Int32" Name="types">10</DataArray></Cells>',
            b"</Piece></UnstructuredGrid></VTKFile>",
        ]
    )


def test_a_vtu_whose_arrays_unpack_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.io.volume_files.UNPACKED", 1 << 20)
    corners = np.vstack([np.zeros(3), np.eye(3)]).tobytes()
    parts = [zlib.compress(corners[:50]), zlib.compress(corners[50:])]
    path = tmp_path / "a.vtu"
    path.write_bytes(vtu_with_points(b"".join(parts), [len(p) for p in parts], 4))
    assert len(read_tets(path).tets) == 1
    packed = zlib.compress(corners + b"\0" * (24 * 500_000))  # the header says nothing of 12 MB
    path.write_bytes(vtu_with_points(packed, [len(packed)], 500_004))
    with pytest.raises(InputError, match="unpack to far more"):
        read_any(path)
    path.write_bytes(vtu_with_points(b"", [1 << 31] * 3, 4))
    with pytest.raises(InputError):
        read_any(path)


def vtu_appended_raw(points: bytes, count: int) -> bytes:
    """One tet with all arrays compressed and appended as they are: what ParaView writes."""
    cells = [np.arange(4, dtype="<i4"), np.array([4], "<i4"), np.array([10], "<i4")]
    blocks, offsets = b"", []
    for array in (points, *(c.tobytes() for c in cells)):
        packed = zlib.compress(array)
        offsets.append(len(blocks))
        blocks += np.array([1, len(array), 0, len(packed)], "<u4").tobytes() + packed
    arrays = [
        f'<DataArray type="{kind}" Name="{name}" {more} format="appended" offset="{offset}"/>'
        for kind, name, more, offset in zip(
            ("Float64", "Int32", "Int32", "Int32"),
            ("p", "connectivity", "offsets", "types"),
            ('NumberOfComponents="3"', "", "", ""),
            offsets,
        )
    ]
    head = (
        '<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" '
        'header_type="UInt32" compressor="vtkZLibDataCompressor">\n<UnstructuredGrid>\n'
        f'<Piece NumberOfPoints="{count}" NumberOfCells="1">\n<Points>\n{arrays[0]}\n</Points>\n'
        f"<Cells>\n{arrays[1]}\n{arrays[2]}\n{arrays[3]}\n</Cells>\n</Piece>\n</UnstructuredGrid>\n"
        '<AppendedData encoding="raw">\n_'
    )
    return head.encode() + blocks + b"\n</AppendedData>\n</VTKFile>\n"


def test_a_vtu_with_raw_compressed_arrays_is_read_in_bounds(tmp_path, monkeypatch):
    corners = np.vstack([np.zeros(3), np.eye(3)])
    path = tmp_path / "paraview.vtu"
    path.write_bytes(vtu_appended_raw(corners.tobytes(), 4))
    np.testing.assert_array_equal(read_tets(path).points, corners)
    monkeypatch.setattr("pipeline.io.guard.MEMORY", 1 << 30)
    path.write_bytes(vtu_appended_raw(corners.tobytes() + b"\0" * (24 << 23), 4 + (1 << 23)))
    with pytest.raises(InputError):
        read_any(path)


def test_text_with_one_long_number_takes_no_room_for_all(tmp_path):
    path = tmp_path / "a.ply"
    axes = "".join(f"property double {axis}\n" for axis in "xyz")
    head = f"ply\nformat ascii 1.0\nelement vertex 2000\n{axes}end_header\n"
    path.write_text(head + "1" * 100_000 + " 1" * 5999)
    with pytest.raises(InputError, match="more than 64 digits"):
        read_any(path)


class Trap:
    """Unpickling this would make a folder."""

    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    np.savez(tmp_path / "a.npz", points=np.array([Trap()], dtype=object))
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    for name in ("a.npz", "a.npy"):
        with pytest.raises(InputError, match="Python objects"):
            read_any(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_mixed_and_duplicate_tets_are_refused_with_their_rows(tmp_path, make_box):
    box = make_box(1)
    mixed = box.tets.copy()
    mixed[2] = mixed[2][[0, 2, 1, 3]]
    np.savez(tmp_path / "mixed.npz", points=box.points, tets=mixed)
    with pytest.raises(InvalidMeshError, match=r"1 of 6 .*1 inverted.*swap") as caught:
        read_tets(tmp_path / "mixed.npz")
    assert caught.value.rows == (2,)
    np.savez(tmp_path / "twice.npz", points=box.points, tets=np.vstack([box.tets, box.tets[:1]]))
    with pytest.raises(InvalidMeshError, match="1 duplicates"):
        read_tets(tmp_path / "twice.npz")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.ply"
    path.write_bytes(b"ply\n")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        read_any(path)
