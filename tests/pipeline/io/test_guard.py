"""USD files that are damaged or made to harm: one clear error, in bounded time and memory."""

from __future__ import annotations

import os
import signal
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.io import guard, usd_stage
from pipeline.io.formats import read_any, read_tets, write_tets
from pipeline.io.geometry import Geometry
from pipeline.types import Frame, PointCloud

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs limits on memory")


def crash(path: str) -> Geometry:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def sleep(path: str) -> Geometry:
    import time

    time.sleep(600)
    raise AssertionError


def gorge(path: str) -> Geometry:
    return Geometry(np.ones((1 << 36, 3)))


def everything(path: str) -> Geometry:
    print("what libraries print does not mix with the answer")
    rng = np.random.default_rng(0)
    raw = Geometry(rng.normal(size=(9, 3)), normals=np.zeros((0, 3)), labels=np.arange(5, dtype=np.int32))
    raw.tets, raw.frame = rng.integers(9, size=(5, 4)), Frame(0.01, "y")
    raw.notes, raw.warnings = [("a", 1, "b")], ["c"]
    return raw


def call(function) -> Geometry:
    # The child imports this file by its place, as it may have any module name here.
    return guard.read_guarded(f"test_guard:{function.__name__}", {"path": "x"}, 10)


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(guard.__file__).resolve().parents[2])
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, root]))


@pytest.mark.usefixtures("_importable")
def test_everything_a_reader_found_comes_through():
    raw, expected = call(everything), everything("")
    for name in ("points", "normals", "labels", "tets"):
        np.testing.assert_array_equal(getattr(raw, name), getattr(expected, name))
        assert getattr(raw, name).dtype == getattr(expected, name).dtype
        assert getattr(raw, name).flags.aligned
    assert (raw.frame, raw.notes, raw.warnings) == (expected.frame, expected.notes, expected.warnings)
    assert raw.colors is None


@pytest.mark.usefixtures("_importable")
@posix
def test_a_crash_is_an_error():
    with pytest.raises(InputError, match=r"crashed .SIGSEGV."):
        call(crash)


@pytest.mark.usefixtures("_importable")
def test_a_hang_is_an_error(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.5)
    with pytest.raises(InputError, match="took more than"):
        call(sleep)


@pytest.mark.usefixtures("_importable")
@posix
def test_memory_is_bounded():
    with pytest.raises(InputError, match="more memory than such a file can need"):
        call(gorge)


@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usdz"])
def test_a_truncated_file_is_an_error(tmp_path, make_box, suffix):
    path = write_tets(tmp_path / f"größe 1{suffix}", make_box(2))
    content = path.read_bytes()
    for part in (0.03, 0.5, 0.98):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(InputError) as caught:
            read_any(path)
        assert str(caught.value).startswith(str(path))


@posix
def test_an_array_length_of_two_thousand_million_is_an_error(tmp_path, make_box):
    # In a crate file an array is its length, 8 bytes, and then the values; short arrays are not compressed.
    box = make_box(2)
    path = write_tets(tmp_path / "box.usdc", box)
    content = path.read_bytes()
    place = content.find(struct.pack("<Q", len(box.points)) + box.points[:2].astype("<f4").tobytes())
    assert place > 0
    for length in (1 << 31, 1 << 40, (1 << 63) - 1):
        path.write_bytes(content[:place] + struct.pack("<Q", length) + content[place + 8 :])
        with pytest.raises(InputError) as caught:
            read_tets(path)
        assert str(caught.value).startswith(str(path))


def test_a_compressed_package_is_refused_unread(tmp_path):
    path = tmp_path / "bomb.usdz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("asset.usdc", b"\0" * (1 << 26))
    assert path.stat().st_size < 1 << 17
    with pytest.raises(InputError, match="uncompressed"):
        read_any(path)


def test_a_package_that_names_one_place_twice_is_refused(tmp_path, make_box):
    path = write_tets(tmp_path / "box.usdz", make_box(1))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as package:
        size = package.infolist()[0].file_size
    # The size in the central directory, after its mark PK\\1\\2.
    place = content.find(struct.pack("<I", size), content.rfind(b"PK\x01\x02"))
    content[place : place + 8] = struct.pack("<II", 1 << 31, 1 << 31)
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_any(path)


def test_a_stage_that_includes_an_endless_file(tmp_path, monkeypatch):
    if not Path("/dev/zero").exists():
        pytest.skip("needs a file that never ends")
    monkeypatch.setattr(guard, "SECONDS", 5.0)
    path = tmp_path / "endless.usda"
    path.write_text('#usda 1.0\n(subLayers = [@/dev/zero@])\ndef Mesh "A" {}\n')
    with pytest.raises(InputError):
        read_any(path)


def test_the_current_folder_is_not_imported_from(tmp_path, monkeypatch, make_box):
    write_tets(tmp_path / "box.usdc", make_box(1))
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert len(read_any("box.usdc").tets) == 6


def test_files_just_written_are_read_here(tmp_path, make_box, monkeypatch):
    def fail(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(usd_stage, "read_guarded", fail)
    write_tets(tmp_path / "box.usdc", make_box(1))
    assert isinstance(PointCloud(np.zeros((1, 3))), PointCloud)
