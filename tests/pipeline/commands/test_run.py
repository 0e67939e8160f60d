"""`simmesh run`: whole runs by every door, sweeps, interruptions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import write_surface
from pipeline.cli import main
from pipeline.manifest import file_hash
from tests.pipeline.shapes import box, sphere

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("own_folder")


def test_run_help_lists_presets_and_general_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert "smoke" in text
    assert "input.unit=none" in text


def test_a_run_that_fails_before_its_first_stage_writes_its_error_alone(tmp_path: Path) -> None:
    """Neither the modules that Warp loads for the report nor its search for a GPU stand around the error."""
    write_surface("box.ply", box())
    stages = ["stages=[validate]", f"input.path={tmp_path / 'box.ply'}", f"run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "pipeline", *stages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("simmesh: error: validate needs a sim_mesh")
    told = ("  input: box.ply", "  box.ply keeps no unit: read in metres")
    assert [line for line in lines[:-1] if not line.startswith(told)] == []
    assert "Warp" not in done.stdout
    assert "Module" not in done.stdout


def test_a_whole_run_by_every_door_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=smoke"]) == 0
    first = capsys.readouterr()
    assert "ready for simulation" in first.out
    folder = Path("runs/smoke")
    for name in (
        "config.yaml",
        "manifest.json",
        "reconstruct/surface_mesh.npz",
        "reconstruct/surface_mesh.ply",
        "tetrahedralize/tet_mesh.msh",
        "optimize/sim_mesh.npz",
        "optimize/sim_mesh.msh",
        "optimize/sim_mesh.vtu",
        "validate/sim_report.json",
        "export/asset.usdc",
        "export/asset.msh",
        "export/asset.vtu",
        "export/asset.npz",
        "report/index.html",
    ):
        assert (folder / name).is_file(), name
    assert sorted(p.name for p in Path().iterdir()) == ["runs"]  # nothing else is left behind
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "experiment=smoke", f"run.dir={folder.resolve()}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already done") == 5
    assert "everything was done already" in done.stdout


def test_a_surface_skips_reconstruct_unless_asked() -> None:
    write_surface("box.ply", box())
    assert (
        main(["run", "input.path=box.ply", "stages=[tetrahedralize]", "tetrahedralize.target_tets=200"]) == 0
    )
    entry = json.loads(Path("runs/box/manifest.json").read_text())
    assert list(entry["stages"]) == ["tetrahedralize"]
    assert entry["ready"] is None
    asked = [
        "stages=[reconstruct]",
        "input.sample_points=2000",
        "run.name=asked",
        "reconstruct.max_faces=500",
    ]
    assert main(["run", "input.path=box.ply", *asked]) == 0
    entry = json.loads(Path("runs/asked/manifest.json").read_text())
    assert entry["input"]["kept"]["counts"]["points"] == 2000
    assert list(entry["stages"]) == ["reconstruct"]


def test_plane_points_run_reconstruct_alone_and_the_summary_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    np.save("circle.npy", np.stack([np.cos(angle), np.sin(angle)], axis=1))
    assert main(["run", "input.path=circle.npy"]) == 0
    assert "The input is 2D" in capsys.readouterr().out
    assert main(["reconstruct", "circle.npy", "circle.ply"]) == 0
    capsys.readouterr()
    assert main(["reconstruct", "circle.npy", "circle.obj"]) == 2
    error = capsys.readouterr().err
    assert "only .ply and .npz hold a 2D curve" in error
    assert "vertices" not in error  # refused before the work starts
    # The file of the verb is the file of the run.
    run = Path("runs/circle/reconstruct/surface_mesh.ply")
    assert Path("circle.ply").read_bytes() == run.read_bytes()


def test_a_path_with_spaces_and_commas_needs_no_quotes() -> None:
    Path("my scan, (1)").mkdir()
    write_surface("my scan, (1)/box.ply", box())
    arguments = ["input.path=my scan, (1)/box.ply", "run.dir=my scan, (1)/run", "stages=[tetrahedralize]"]
    assert main(["run", *arguments, "tetrahedralize.target_tets=200"]) == 0
    assert Path("my scan, (1)/run/tetrahedralize/tet_mesh.msh").exists()


def test_presets_of_ones_own_come_from_a_folder() -> None:
    Path("presets/experiment").mkdir(parents=True)
    Path("presets/experiment/mine.yaml").write_text(
        "# @package _global_\nrun:\n  name: mine\nstages: [tetrahedralize]\n"
    )
    write_surface("box.ply", box())
    tiny = ["input.path=box.ply", "tetrahedralize.target_tets=200"]
    assert main(["--config-dir", "presets", "experiment=mine", *tiny]) == 0
    assert Path("runs/mine/tetrahedralize/tet_mesh.msh").exists()


def test_a_sweep_gives_each_job_its_folder_and_the_worst_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_surface("box.ply", box())
    common = ["-m", "input.path=box.ply", "stages=[tetrahedralize]"]
    assert main(["run", *common, "tetrahedralize.target_tets=200,300"]) == 0
    folders = sorted(p.name for p in Path("runs/box-sweep").iterdir() if p.is_dir())
    assert folders == ["tetrahedralize.target_tets=200", "tetrahedralize.target_tets=300"]
    assert "sweep of 2 runs" in capsys.readouterr().out
    # One of the two inputs is no surface: the other still runs.
    np.save("points.npy", sphere(50))
    common = ["-m", "input.path=points.npy,box.ply", "stages=[tetrahedralize]", "run.dir=both"]
    assert main(["run", *common, "tetrahedralize.target_tets=200"]) == 2
    assert Path("both/input.path=box.ply/tetrahedralize/tet_mesh.msh").exists()
    said = capsys.readouterr()
    assert "could not run" in said.out
    assert "error: input.path=points.npy: " in said.err


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "experiment=smoke", f"run.dir={folder.resolve()}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], folder: Path, stage: str) -> None:
    """Wait until `stage` is at work."""
    for _ in range(3000):
        assert process.poll() is None, process.communicate()
        try:
            entry = json.loads((folder / "manifest.json").read_text())["stages"].get(stage, {})
        except (OSError, ValueError):
            entry = {}
        if entry.get("status") == "running":
            return
        time.sleep(0.01)
    raise AssertionError(f"{stage} did not start")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_keep_what_ended_and_have_their_exit_codes(
    tmp_path: Path, number: int, code: int
) -> None:
    process = start(tmp_path / "run")
    wait_for(process, tmp_path / "run", "tetrahedralize")
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == code
    assert "interrupted" in error
    assert "Traceback" not in error
    data = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert data["stages"]["reconstruct"]["status"] == "done"
    assert data["stages"]["tetrahedralize"]["status"] == "failed"
    assert data["stages"]["tetrahedralize"]["error"] == "interrupted"
    assert not (tmp_path / "run" / ".lock").exists()
    assert not list((tmp_path / "run").rglob("*.part*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("stage", ["reconstruct", "tetrahedralize", "optimize", "validate", "export"])
def test_a_run_killed_in_a_stage_goes_on_to_the_same_files(tmp_path: Path, stage: str) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert start(whole).wait(timeout=600) == 0
    process = start(folder)
    wait_for(process, folder, stage)
    process.kill()
    process.communicate()
    again = start(folder)
    _, error = again.communicate(timeout=600)
    assert again.returncode == 0, error
    for name in ("reconstruct", "tetrahedralize", "optimize", "validate", "export"):
        entries = [
            json.loads((f / "manifest.json").read_text())["stages"][name]["outputs"] for f in (whole, folder)
        ]
        assert entries[0] == entries[1]
    for path in (p for p in folder.rglob("*.npz")):
        assert file_hash(path) == file_hash(whole / path.relative_to(folder))
