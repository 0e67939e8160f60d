"""Full disks, read-only folders, damaged and hostile files, odd paths: one clear error or the right result.

Each command is a process of its own, as a user starts it; its memory and time are bounded.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import TetMesh, read_any, write_surface, write_tets
from tests.pipeline.shapes import box

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of a process")
SECONDS = 300
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
"""Linux: takes the right to pass over permissions from what a process may ever have (prctl, capabilities)."""
MEMORY = 6 << 30
"""Address space [byte] of a command; its guarded reader asks for 2 GiB of its own."""


def simmesh(
    *words: object, folder: Path, file_size: int | None = None, obeys: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`.

    Args:
        words: What follows `simmesh`.
        file_size: No file that it writes may grow beyond [byte].
        obeys: Permissions of files count for it even where it is the superuser's.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        if obeys and os.geteuid() == 0:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)

    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one error of a command that could not run."""
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("simmesh: error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


def visible(folder: Path) -> list[str]:
    """Every file below a folder, hidden leftovers too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("target", ["out.usdc", "out.msh", "out.vtu", "out.npz"])
def test_a_full_disk_keeps_the_earlier_file(
    tmp_path: Path, make_box: Callable[..., TetMesh], target: str
) -> None:
    """A limit on the size of files stands for the disk: the write fails in the middle likewise."""
    write_tets(tmp_path / "in.npz", make_box(6))
    (tmp_path / target).write_text("earlier")
    error = error_of(simmesh("export", "in.npz", target, folder=tmp_path, file_size=2000))
    assert "cannot write" in error
    assert ".simmesh." not in error  # the folder beside, of which no one knows
    assert (tmp_path / target).read_text() == "earlier"
    assert visible(tmp_path) == sorted(["in.npz", target])


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_an_output_that_is_a_link_stays_one(tmp_path: Path, make_box: Callable[..., TetMesh]) -> None:
    write_tets(tmp_path / "in.npz", make_box(2))
    (tmp_path / "real").mkdir()
    (tmp_path / "latest.usdc").symlink_to(tmp_path / "real" / "asset.usdc")
    assert simmesh("export", "in.npz", "latest.usdc", folder=tmp_path).returncode == 0
    assert (tmp_path / "latest.usdc").is_symlink()
    assert len(read_any(tmp_path / "real" / "asset.usdc").tets) == 48


def test_a_run_on_a_full_disk_stops_with_an_error(tmp_path: Path) -> None:
    write_surface(tmp_path / "box.ply", box())
    words = ["run", "input.path=box.ply", "stages=[tetrahedralize]", "tetrahedralize.target_tets=500"]
    error = error_of(simmesh(*words, folder=tmp_path, file_size=3000))
    assert "cannot write" in error
    assert not [name for name in visible(tmp_path) if ".part" in name]


@pytest.mark.skipif(
    os.name == "posix" and os.geteuid() == 0 and sys.platform != "linux",
    reason="the superuser may write anywhere",
)
def test_a_read_only_folder_is_refused(tmp_path: Path, make_box) -> None:
    write_tets(tmp_path / "in.npz", make_box(1))
    (tmp_path / "closed").mkdir(mode=0o500)
    for words in (
        ["export", "in.npz", "closed/out.usdc"],
        ["check", "in.npz", "--no-scenarios", "--json=closed/a"],
        ["run", "input.path=in.npz", "run.dir=closed/run", "stages=[export]"],
    ):
        assert "no permission to write there" in error_of(simmesh(*words, folder=tmp_path, obeys=True))
    assert visible(tmp_path) == ["in.npz"]


def test_a_truncated_stage_is_one_error(tmp_path: Path, make_box) -> None:
    path = write_tets(tmp_path / "cut.usdc", make_box(3))
    path.write_bytes(path.read_bytes()[:-700])
    assert "cut.usdc: damaged" in error_of(simmesh("check", "cut.usdc", folder=tmp_path))


def test_a_header_that_asks_for_two_gigabytes_is_one_error(tmp_path: Path, make_box) -> None:
    mesh = make_box(2)
    path = write_tets(tmp_path / "big.usdc", mesh)
    content = path.read_bytes()
    place = content.find(struct.pack("<Q", len(mesh.points)) + mesh.points[:2].astype("<f4").tobytes())
    assert place > 0
    path.write_bytes(content[:place] + struct.pack("<Q", 1 << 31) + content[place + 8 :])
    assert "big.usdc: " in error_of(simmesh("check", "big.usdc", folder=tmp_path))


def test_a_package_that_is_a_bomb_is_one_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.usdz", "w", zipfile.ZIP_DEFLATED) as package:
        for k in range(8):
            package.writestr(f"part{k}.usdc", b"\0" * (1 << 27))
    assert (tmp_path / "bomb.usdz").stat().st_size < 1 << 21
    assert "uncompressed" in error_of(simmesh("export", "bomb.usdz", "out.msh", folder=tmp_path))
    done = simmesh("check-usd", "bomb.usdz", folder=tmp_path)
    assert done.returncode == 1
    assert "cannot-open" in done.stdout


def test_spaces_and_letters_of_any_language_in_paths(tmp_path: Path, make_box) -> None:
    folder = tmp_path / "größe 1, моя папка"
    folder.mkdir()
    mesh = make_box(2)
    write_tets(folder / "würfel [1]=ß.npz", mesh)
    done = simmesh("export", folder / "würfel [1]=ß.npz", "形 {x}/куб 2.usdz", folder=folder)
    assert done.returncode == 0, done.stderr
    back = read_any(folder / "形 {x}" / "куб 2.usdz")
    assert isinstance(back, TetMesh)
    assert back.volumes.sum() == pytest.approx(mesh.volumes.sum())
    assert simmesh("check-usd", "形 {x}/куб 2.usdz", folder=folder).returncode == 0
    words = ["run", f"input.path={folder / 'würfel [1]=ß.npz'}", "run.dir=ein Lauf, ü", "stages=[export]"]
    done = simmesh(*words, "export.formats=[usd,msh]", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "ein Lauf, ü" / "export" / "asset.usdc").is_file()


def test_a_run_folder_through_a_link_works(tmp_path: Path, make_box) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    write_tets(tmp_path / "in.npz", make_box(2))
    (tmp_path / "in link.npz").symlink_to("in.npz")
    words = [
        "run",
        "input.path=in link.npz",
        "run.dir=link/run",
        "stages=[export]",
        "export.formats=[usd,npz]",
    ]
    assert simmesh(*words, folder=tmp_path).returncode == 0
    assert (tmp_path / "real" / "run" / "export" / "asset.usdc").is_file()
    done = simmesh("run", "run.dir=link/run", *words[3:], folder=tmp_path)
    assert "everything was done already" in done.stdout
    (tmp_path / "run link").symlink_to("real/run", target_is_directory=True)
    done = simmesh("compare", "run link", "in link.npz", "--no-scenarios", folder=tmp_path)
    assert done.returncode == 0, done.stderr
