"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from pipeline.errors import OutputError
from pipeline.io.atomic import atomic_path, atomic_write_bytes, atomic_write_text, remove_leftovers


def test_writes_and_makes_folders(tmp_path):
    path = atomic_write_text(tmp_path / "a" / "b" / "text.json", "héllo")
    assert path.read_text(encoding="utf-8") == "héllo"
    assert [p.name for p in path.parent.iterdir()] == ["text.json"]


def test_temporary_name_keeps_the_extension_and_stays_beside(tmp_path):
    with atomic_path(tmp_path / "mesh.usdc") as part:
        assert part.suffix == ".usdc"
        assert part.parent == tmp_path
        part.write_bytes(b"x")


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = atomic_write_bytes(tmp_path / "data.npz", b"old")

    def write_half():
        with atomic_path(path) as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_only_a_hidden_file_that_can_be_removed(tmp_path):
    script = (
        "import os, sys; from pipeline.io.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as part:\n    part.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "x.npz"], check=False).returncode == -9
    assert not (tmp_path / "x.npz").exists()
    assert remove_leftovers(tmp_path) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "nput/output")],
)
def test_a_failing_write_names_file_cause_and_remedy(tmp_path, monkeypatch, number, word):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pipeline.io.atomic.os.fsync", fail)
    with pytest.raises(OutputError, match=word) as caught:
        atomic_write_text(tmp_path / "a.txt", "text")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_or_file_in_the_way(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder"):
        atomic_write_text(tmp_path / "folder", "text")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file, not a folder"):
        atomic_write_text(tmp_path / "file" / "inside.txt", "text")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        atomic_write_text(tmp_path / "a.txt", "text")


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    target = atomic_write_text(tmp_path / "elsewhere" / "real.json", "old")
    link = tmp_path / "latest.json"
    link.symlink_to(target)
    atomic_write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_into_and_never_replaced(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_write_text(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(OutputError, match="a device or a pipe"), atomic_path(pipe):
        pass
    assert pipe.is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_device_keeps_being_one():
    with pytest.raises(OutputError, match="disk is full"):
        atomic_write_text("/dev/full", "text")
    with pytest.raises(OutputError, match="a device or a pipe"), atomic_path("/dev/full"):
        pass
    assert not os.path.isfile("/dev/full")
