"""Batches on real small files, through the launchers that are installed."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trimesh

from pipeline.batch import (
    CONFIG,
    LOG,
    OUTCOME,
    RUNS,
    Job,
    Outcome,
    find_jobs,
    read_outcome,
    run_batch,
    write_outcome,
)
from pipeline.devices import AUTO, claim, claimed_device
from pipeline.errors import InputError
from pipeline.io.batch_page import PAGE, TABLE, rows
from pipeline.outcome import COULD_NOT_RUN, READY
from pipeline.run_folder import RunLock
from pipeline.sweep import sweep

ROOT = Path(__file__).parents[2]
QUICK = ["stages=[tetrahedralize]", "tetrahedralize.target_tets=200"]
"""One stage on a coarse mesh: a second a file."""


def write_shapes(folder: Path) -> Path:
    """A ball, a box below with a comma in its name, a ring with blanks and brackets, and two bad files."""
    (folder / "sub").mkdir(parents=True)
    (folder / "größe 1").mkdir()
    trimesh.creation.icosphere(2).export(folder / "ball.ply")
    trimesh.creation.box().export(folder / "sub" / "box,1.stl")
    trimesh.creation.torus(1, 0.4).export(folder / "größe 1" / "a=ring [1].obj")
    (folder / "bad.ply").write_text("ply\nnothing of the kind")
    (folder / "empty.stl").touch()
    (folder / "notes.md").write_text("no shape")
    return folder


def artifacts(out: Path) -> dict[str, str]:
    """Hashes of every artifact of every run, from the manifests."""
    found: dict[str, str] = {}
    for manifest in out.glob("runs/**/manifest.json"):
        for stage in json.loads(manifest.read_text())["stages"].values():
            found |= {f"{manifest.parent.name}/{k}": v for k, v in stage["outputs"].items()}
    return found


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome], Path]:
    """A batch by Hydra's basic launcher."""
    folder = write_shapes(tmp_path_factory.mktemp("shapes"))
    out = tmp_path_factory.mktemp("serial") / "out put"
    return out, run_batch(folder, out, QUICK), folder


def test_bad_files_never_stop_the_rest(serial: tuple[Path, list[Outcome], Path]) -> None:
    out, outcomes, _ = serial
    codes = {outcome.job.name: outcome.code for outcome in outcomes}
    good = {"ball.ply", "sub/box,1.stl", "größe 1/a=ring [1].obj"}
    assert codes == {name: READY for name in good} | {
        "bad.ply": COULD_NOT_RUN,
        "empty.stl": COULD_NOT_RUN,
    }
    for outcome in outcomes:
        made = outcome.job.folder / "tetrahedralize" / "tet_mesh.npz"
        assert made.exists() == (outcome.job.name in good)
        assert (outcome.job.folder / LOG).read_text()
    assert str(next(o.error for o in outcomes if o.job.name == "empty.stl")).startswith("the file is empty")
    assert (out / CONFIG).exists()


def test_table_and_page_show_the_worst_first(serial: tuple[Path, list[Outcome], Path]) -> None:
    out, outcomes, _ = serial
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [line["verdict"] for line in table] == ["failed", "failed", "done", "done", "done"]
    assert all(int(line["tets"]) > 50 for line in table[2:])
    page = (out / PAGE).read_text(encoding="utf-8")
    assert page.index("bad.ply") < page.index("ball.ply")
    assert "notes.md" in page
    assert [row.file for row in rows(out.resolve(), outcomes)] == [line["file"] for line in table]


def test_second_start_skips_what_is_done(serial: tuple[Path, list[Outcome], Path]) -> None:
    out, _, folder = serial
    made = {path: path.stat().st_mtime_ns for path in out.glob("runs/**/tet_mesh.npz")}
    again = run_batch(folder, out, QUICK)
    assert len(made) == 3
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert sorted(o.code for o in again) == [READY, READY, READY, COULD_NOT_RUN, COULD_NOT_RUN]


@pytest.mark.parametrize(
    ("package", "settings", "workers"),
    [
        ("hydra_plugins.hydra_joblib_launcher", [], 2),
        (
            "hydra_plugins.hydra_submitit_launcher",
            ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"],
            1,
        ),
        pytest.param(
            "hydra_plugins.hydra_ray_launcher", ["hydra/launcher=ray"], 1, marks=pytest.mark.nightly
        ),
    ],
)
def test_launchers_make_the_same(
    package: str,
    settings: list[str],
    workers: int,
    serial: tuple[Path, list[Outcome], Path],
    tmp_path: Path,
) -> None:
    try:
        is_there = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        pytest.skip(f"{package} is not installed: pip install 'simmesh[joblib,slurm,ray]'")
    out, outcomes, folder = serial
    other = run_batch(folder, tmp_path / "out", [*QUICK, *settings], workers)
    assert [(o.job.name, o.code) for o in other] == [(o.job.name, o.code) for o in outcomes]
    assert artifacts(tmp_path / "out") == artifacts(out)


def test_zero_jobs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.md").touch()
    with pytest.raises(InputError, match=r"nothing to run: 1 files.*\.ply"):
        run_batch(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        run_batch(tmp_path / "missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["input.path=a.ply"], "a batch gives each file its own"),
        (["run.dir=x"], "a batch gives each file its own"),
        (["tetrahedralize.target_tet=3"], "did you mean target_tets"),
        (["hydra/launcher=nothing"], "not installed; known here: basic"),
    ],
)
def test_wrong_settings_are_told_before_the_first_job(
    settings: list[str], words: str, tmp_path: Path
) -> None:
    folder = write_shapes(tmp_path / "in")
    with pytest.raises(InputError, match=words):
        run_batch(folder, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_folder_of_the_batch_is_no_input(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path)
    before, _ = find_jobs(folder, folder / "out")
    run = folder / "out" / RUNS / "ball.ply"
    run.mkdir(parents=True)
    trimesh.creation.box().export(run / "surface_mesh.ply")
    assert find_jobs(folder, folder / "out")[0] == before


def test_links_in_circles_are_left_out_and_told(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "in")
    jobs, others = find_jobs(folder, tmp_path / "out")
    (folder / "circle").symlink_to("circle")
    (folder / "gone.ply").symlink_to("nowhere.ply")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "same.ply").symlink_to("ball.ply")
    again, left = find_jobs(folder, tmp_path / "out")
    assert sorted({*left} - {*others}) == ["circle", "gone.ply", "sub/up"]
    assert [job.name for job in again if job not in jobs] == ["same.ply"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = write_shapes(tmp_path), os.scandir

    def refuse(path: Path | str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="sub: the folder cannot be read: Permission denied"):
        find_jobs(folder, tmp_path / "out")


def test_out_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path)
    with pytest.raises(InputError, match="give OUT a folder of its own"):
        run_batch(folder, folder, QUICK)
    with RunLock(folder / "sub"), pytest.raises(InputError, match=r"sub: another run .* give another OUT"):
        run_batch(folder, folder / "sub", QUICK)


def test_stopped_again_what_was_done_stays_done(
    serial: tuple[Path, list[Outcome], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start that is stopped in its first run keeps the others' verdicts, but for other settings."""
    _, _, folder = serial
    out = tmp_path / "out"
    jobs, _ = find_jobs(folder, out)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def verdicts(settings: list[str]) -> list[str]:
        with pytest.raises(KeyboardInterrupt):
            run_batch(folder, out, settings)
        with (out / TABLE).open(newline="", encoding="utf-8") as file:
            found = {line["file"]: line["error"] for line in csv.DictReader(file)}
        return [name for name in sorted(found) if "did not end" in found[name]]

    monkeypatch.setattr("pipeline.runner.run", stop)
    assert len(verdicts(QUICK)) == len(jobs) == 5
    for job in jobs:
        write_outcome(Outcome(job, READY, None, 1.0))
    assert verdicts(QUICK) == [jobs[0].name]
    assert len(verdicts([*QUICK, "seed=3"])) == 5


def test_job_without_outcome_did_not_end(tmp_path: Path) -> None:
    outcome = read_outcome(Job("a.ply", tmp_path / "a.ply", tmp_path / "run"))
    assert outcome.code == COULD_NOT_RUN
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / OUTCOME).write_text("{broken")
    assert "did not end" in str(read_outcome(outcome.job).error)


def test_glob_of_hydra_is_refused() -> None:
    with pytest.raises(InputError, match="simmesh batch FOLDER OUT"):
        sweep(["input.path=glob(*.ply)"])


def test_devices_are_given_to_one_at_a_time(tmp_path: Path) -> None:
    order = []

    def wait_for_one() -> None:
        with claim(["a", "b"], tmp_path) as name:
            order.append(name)

    with claim(["a", "b"], tmp_path) as first:
        with claim(["a", "b"], tmp_path) as second:
            waiting = threading.Thread(target=wait_for_one)
            waiting.start()
            time.sleep(0.3)
            assert (first, second, order) == ("a", "b", [])
        waiting.join(timeout=20)
        assert order == ["b"]


def test_each_run_of_a_sweep_claims_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder keeps what was asked for, the manifest what was used; here a CPU stands in for the GPU."""
    monkeypatch.chdir(tmp_path)
    trimesh.creation.box().export("box.ply")
    with pytest.raises(InputError, match="no CUDA device; use device=cpu"), claimed_device(AUTO):
        pass
    monkeypatch.setattr("warp.is_cuda_available", lambda: True)
    monkeypatch.setattr("warp.get_cuda_devices", lambda: [SimpleNamespace(uuid="GPU-test", alias="cpu")])
    assert sweep(["input.path=box.ply", f"device={AUTO}", "seed=1,2", *QUICK]) == READY
    manifests = sorted(Path("runs").glob("**/manifest.json"))
    assert len(manifests) == 2
    for path in manifests:
        assert json.loads(path.read_text())["stages"]["tetrahedralize"]["device"] == "cpu"
        assert f"device: {AUTO}" in path.with_name("config.yaml").read_text()


@pytest.mark.nightly
def test_two_hundred_files_survive_a_kill(tmp_path: Path) -> None:
    """Killed with -9 in the middle, a second start finishes the rest; results equal those of a serial run."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = tmp_path / "shapes"
    folder.mkdir()
    for k in range(200):
        scale = 1 + 0.01 * k
        path = folder / f"{k:03d}.ply"
        if k % 4 == 0:
            trimesh.creation.icosphere(1, radius=scale).export(path)
        elif k % 4 == 1:
            trimesh.creation.box((1, scale, 2)).export(path)
        elif k % 4 == 2:
            trimesh.creation.torus(scale, 0.4, major_sections=12, minor_sections=8).export(path)
        elif k % 8 == 3:
            path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 3\n"[: 10 + k % 30])
        else:
            trimesh.creation.capsule(1, 0.5, count=[8, 8]).export(path)
    # The cheapest stages that lead to a verdict: one second a file on one core.
    settings = ["stages=[tetrahedralize,validate]", "tetrahedralize.target_tets=60", "validate.run=[]"]
    settings.append("run.report=false")
    command = [sys.executable, "-m", "pipeline", "batch", str(folder), str(tmp_path / "out"), "--jobs", "2"]
    # A group of its own: the launcher's processes are to die as well.
    with subprocess.Popen([*command, *settings], cwd=ROOT, start_new_session=True) as first:
        while len(list((tmp_path / "out").glob("runs/*/outcome.json"))) < 60:
            assert first.poll() is None, "ended before it could be killed"
            time.sleep(0.5)
        os.killpg(first.pid, signal.SIGKILL)
    ended = {path for path in (tmp_path / "out").glob("runs/*/outcome.json")}
    made = {p: p.stat().st_mtime_ns for e in ended for p in e.parent.glob("tetrahedralize/tet_mesh.npz")}
    subprocess.run([*command, *settings], cwd=ROOT, check=False)
    assert {p: p.stat().st_mtime_ns for p in made} == made
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        verdicts = {line["file"]: line["verdict"] for line in csv.DictReader(file)}
    bad = {f"{k:03d}.ply" for k in range(3, 200, 8)}
    assert {name for name, verdict in verdicts.items() if verdict == "failed"} == bad
    assert len(verdicts) == 200
    assert all(verdict in ("ready", "not ready", "failed") for verdict in verdicts.values())
    run_batch(folder, tmp_path / "serial", settings)
    assert artifacts(tmp_path / "serial") == artifacts(tmp_path / "out")
