"""The runner on a chain of five small stages: what is skipped, resumed, made again, refused, recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import runner
from pipeline.errors import InputError, OutputError, StageError
from pipeline.manifest import file_hash
from pipeline.run_folder import LOCK, RunLock
from pipeline.runner import run_stages
from pipeline.source import InputConfig, defects
from pipeline.summary import summarize
from pipeline.types import SurfaceMesh
from tests.pipeline import small_chain
from tests.pipeline.small_chain import CALLS, CHAIN, LoopConfig, Place, SmallConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _light_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has its own tests; here it is one line."""

    def write(folder: Path) -> Path:
        page = folder / "report" / "index.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text("<p>report</p>")
        return page

    monkeypatch.setattr("pipeline.io.report.write_report", write)
    monkeypatch.setattr(runner, "prepare_device", lambda device: device)
    CALLS.clear()


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    path = tmp_path / "ball.npy"
    np.save(path, np.random.default_rng(3).normal(size=(60, 3)))
    return path


def make(cloud: Path, folder: Path, **changes: object) -> SmallConfig:
    return SmallConfig(input=InputConfig(path=str(cloud)), run=Place(dir=str(folder)), **changes)  # type: ignore[arg-type]


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def outputs(folder: Path) -> dict[str, str]:
    return {k: v for entry in manifest(folder)["stages"].values() for k, v in entry["outputs"].items()}


def test_a_run_makes_every_stage_and_says_so(cloud: Path, tmp_path: Path) -> None:
    result = run_stages(make(cloud, tmp_path / "a"), CHAIN, config_text="seed: 0\n")
    data = manifest(tmp_path / "a")
    assert CALLS == ["hull", "fill", "loop", "judge", "pack"]
    assert result.ready is True
    assert data["ready"] is True
    assert [e["status"] for e in data["stages"].values()] == ["done"] * 5
    assert {"surface_mesh.npz", "surface_mesh.ply"} <= {p.name for p in (tmp_path / "a" / "hull").iterdir()}
    assert (tmp_path / "a" / "config.yaml").read_text() == "seed: 0\n"
    assert data["stages"]["hull"]["counts"]["unused_points"] > 0
    assert data["input"]["counts"] == {"points": 60}
    assert data["versions"]["numpy"] == np.__version__
    assert data["peak_memory_mb"] > 10
    assert "ready for simulation: all 2 checks pass" in result.summary
    assert str(tmp_path / "a") in result.summary
    assert f"unused points {data['stages']['hull']['counts']['unused_points']}" in result.summary


def test_the_summary_says_what_was_altered_in_the_shape() -> None:
    counts = {"faces": 9, "closed_openings": 15, "closed_percent": 5.9, "turned_faces": 1204, "welded": 7}
    stages = {"fill": {"status": "done", "counts": counts}, "loop": {"status": "done", "counts": {"tets": 5}}}
    given = {"path": "a.ply", "kind": "surface", "artifact": "surface_mesh", "unit": "m", "up": "z"}
    given |= {"counts": {"faces": 9}, "repairs": {"open_edges": 64, "nonmanifold_edges": 0}}
    data = {"input": given, "stages": stages, "selected": ["fill", "loop"]}
    lines = summarize(data, Path("runs/a"), None, [], None).splitlines()
    assert lines[2].strip() == "the surface is open: 64 edges on its border"
    said = "surface was open: 15 openings closed, 5.9 % of the boundary; "
    said += "1,204 faces were turned to agree with each other and to face outward; welded 7"
    assert lines[4].strip() == said
    assert lines[5].split()[0] == "loop"
    assert lines[6].split()[0] == "folder"  # a stage that altered nothing has no such line


def test_the_defects_of_a_surface_are_counted_with_its_vertices_joined() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    assert defects(SurfaceMesh(corners, tetrahedron)) == {"open_edges": 0, "nonmanifold_edges": 0}
    apart = SurfaceMesh(corners[tetrahedron].reshape(-1, 3), np.arange(12).reshape(4, 3))
    assert defects(apart) == {"open_edges": 0, "nonmanifold_edges": 0}
    # One face less leaves its three edges open; a fin has two open edges, and makes its third one of three.
    assert defects(SurfaceMesh(corners, tetrahedron[:3])) == {"open_edges": 3, "nonmanifold_edges": 0}
    fin = np.concatenate([tetrahedron, [[0, 1, 4]]])
    assert defects(SurfaceMesh(corners, fin)) == {"open_edges": 2, "nonmanifold_edges": 1}


def test_a_second_run_skips_everything_and_leaves_the_files_alone(cloud: Path, tmp_path: Path) -> None:
    first = run_stages(make(cloud, tmp_path / "a"), CHAIN)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.npz")}
    CALLS.clear()
    second = run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert CALLS == []
    assert second.ready == first.ready
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert "everything was done already" in second.summary


def test_two_runs_of_the_same_input_give_the_same_files(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    run_stages(make(cloud, tmp_path / "b"), CHAIN)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


def test_a_changed_setting_remakes_its_stage_and_what_follows(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    CALLS.clear()
    run_stages(make(cloud, tmp_path / "a", loop=LoopConfig(steps=3)), CHAIN)
    assert CALLS == ["loop", "judge", "pack"]


def test_force_remakes_a_stage_and_what_follows_only_if_the_result_changes(
    cloud: Path, tmp_path: Path
) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    CALLS.clear()
    run_stages(make(cloud, tmp_path / "a", force=["fill"]), CHAIN)
    assert CALLS == ["fill"]


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_a_damaged_output_is_made_again(cloud: Path, tmp_path: Path, harm: str) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    before = outputs(tmp_path / "a")
    target = tmp_path / "a" / "fill" / "tet_mesh.npz"
    if harm == "change":
        target.write_bytes(target.read_bytes()[:-1] + b"x")
    else:
        target.unlink()
    CALLS.clear()
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert CALLS == ["fill"]
    assert outputs(tmp_path / "a") == before
    assert file_hash(target) == before["fill/tet_mesh.npz"]


def test_a_manifest_that_cannot_be_read_costs_only_time(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    before = outputs(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_text('{"stages": ')
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert outputs(tmp_path / "a") == before


def test_an_interrupted_loop_goes_on_from_its_checkpoint_to_the_same_result(
    cloud: Path, tmp_path: Path
) -> None:
    run_stages(make(cloud, tmp_path / "whole"), CHAIN)
    # The stop is part of the config and so of the fingerprint: the resumed run uses the same config.
    stopping = LoopConfig(stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        run_stages(make(cloud, tmp_path / "a", loop=stopping), CHAIN)
    entry = manifest(tmp_path / "a")["stages"]["loop"]
    assert (entry["status"], entry["error"]) == ("failed", "interrupted")
    assert (tmp_path / "a" / "loop" / "checkpoint.npz").exists()
    assert manifest(tmp_path / "a")["stages"]["fill"]["status"] == "done"
    CALLS.clear()
    run_stages(make(cloud, tmp_path / "a", loop=stopping), CHAIN)
    assert CALLS == ["loop", "judge", "pack"]
    assert outputs(tmp_path / "a") == outputs(tmp_path / "whole")
    assert not (tmp_path / "a" / "loop" / "checkpoint.npz").exists()
    lines = (tmp_path / "a" / "loop" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_of_another_config_is_not_used(cloud: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_stages(make(cloud, tmp_path / "a", loop=LoopConfig(stop_at=4)), CHAIN)
    result = run_stages(make(cloud, tmp_path / "a", loop=LoopConfig(steps=5)), CHAIN)
    assert result.manifest["stages"]["loop"]["resumed_from"] is None


def test_a_failed_stage_is_recorded_and_what_ended_is_kept(cloud: Path, tmp_path: Path) -> None:
    bad = make(cloud, tmp_path / "a", fill=small_chain.FillConfig(fail=True))
    with pytest.raises(StageError, match="encloses nothing"):
        run_stages(bad, CHAIN)
    data = manifest(tmp_path / "a")
    assert data["stages"]["hull"]["status"] == "done"
    assert data["stages"]["fill"]["status"] == "failed"
    assert "encloses nothing" in data["stages"]["fill"]["error"]
    assert data["ready"] is None
    assert "stopped by an error" in data["summary"]
    assert (tmp_path / "a" / "report" / "index.html").exists()
    CALLS.clear()
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert CALLS == ["fill", "loop", "judge", "pack"]


def test_the_page_is_left_out_on_demand_and_an_old_one_goes_when_it_no_longer_fits(
    cloud: Path, tmp_path: Path
) -> None:
    page = tmp_path / "a" / "report" / "index.html"
    config = make(cloud, tmp_path / "a")
    run_stages(config, CHAIN)
    config.run.report = False
    assert "index.html" in run_stages(config, CHAIN).summary  # nothing was made: the page still fits
    assert page.exists()
    without = make(cloud, tmp_path / "a", loop=LoopConfig(steps=5))
    without.run.report = False
    assert "index.html" not in run_stages(without, CHAIN).summary
    assert not page.exists()
    without.run.report = True
    run_stages(without, CHAIN)
    assert page.exists()


def test_a_bug_in_a_stage_becomes_a_stage_error_with_its_cause(
    cloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_chain, "ConvexHull", lambda points: 1 / 0)
    with pytest.raises(StageError, match="hull failed: ZeroDivisionError") as caught:
        run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_check_below_its_limit_still_ships_the_asset_and_says_so(cloud: Path, tmp_path: Path) -> None:
    strict = make(cloud, tmp_path / "a", judge=small_chain.JudgeConfig(limit=1e9))
    result = run_stages(strict, CHAIN)
    assert result.ready is False
    assert "NOT ready for simulation: 1 of 2 checks" in result.summary
    assert "should be at least 1e+09 m^3" in result.summary
    assert (tmp_path / "a" / "pack" / "asset.npz").exists()


def test_a_shorter_list_of_stages_uses_what_the_folder_holds(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a", stages=["hull", "fill"]), CHAIN)
    CALLS.clear()
    result = run_stages(make(cloud, tmp_path / "a", stages=["judge"]), CHAIN)
    assert CALLS == ["judge"]
    assert list(result.manifest["stages"]["judge"]["inputs"]) == ["tet_mesh"]  # it stands in for the sim_mesh
    assert result.ready is True


def test_a_folder_remembers_its_input(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a", stages=["hull"]), CHAIN)
    CALLS.clear()
    run_stages(SmallConfig(run=Place(dir=str(tmp_path / "a")), stages=["fill"]), CHAIN)
    assert CALLS == ["fill"]


def test_stages_left_from_earlier_inputs_are_marked(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    changed = make(cloud, tmp_path / "a", stages=["hull"], hull=small_chain.HullConfig(scale=2.0))
    result = run_stages(changed, CHAIN)
    entries = result.manifest["stages"]
    assert [n for n, e in entries.items() if e.get("stale")] == ["fill", "loop", "judge", "pack"]
    assert result.ready is None
    CALLS.clear()
    assert run_stages(make(cloud, tmp_path / "a"), CHAIN).ready is True
    assert CALLS == ["hull", "fill", "loop", "judge", "pack"]


def test_a_stage_without_its_input_says_what_to_add(cloud: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"judge needs a sim_mesh.*add fill or loop to stages"):
        run_stages(make(cloud, tmp_path / "a", stages=["judge"]), CHAIN)


@pytest.mark.parametrize("option", ["stages", "force"])
def test_an_unknown_stage_lists_the_known_ones(cloud: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: there is no stage 'holl'; the stages are hull, fill"):
        run_stages(make(cloud, tmp_path / "a", **{option: ["holl"]}), CHAIN)


def test_a_mistake_in_the_choice_of_stages_leaves_a_finished_run_as_it_was(
    cloud: Path, tmp_path: Path
) -> None:
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    before = (tmp_path / "a" / "manifest.json").read_bytes()
    with pytest.raises(InputError):
        run_stages(make(cloud, tmp_path / "a", stages=["holl"]), CHAIN)
    assert (tmp_path / "a" / "manifest.json").read_bytes() == before


def test_plane_points_run_the_first_stage_alone(tmp_path: Path) -> None:
    path = tmp_path / "curve.npy"
    np.save(path, np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(InputError, match="only hull works in 2D"):
        run_stages(make(path, tmp_path / "a", stages=["hull", "fill"]), CHAIN)
    chain = (
        small_chain.Stage("hull", _keep, small_chain.HullConfig, ("point_cloud",), "surface_mesh", 1),
        *CHAIN[1:],
    )
    result = run_stages(make(path, tmp_path / "a"), chain)
    assert list(result.manifest["stages"]) == ["hull"]
    assert "The input is 2D" in result.summary


def _keep(cloud: object, config: object, *, context: object) -> object:
    from pipeline.types import SurfaceMesh

    return SurfaceMesh(cloud.points, [[0, 1], [1, 2]], cloud.frame)  # type: ignore[attr-defined]


def test_a_second_run_in_the_same_folder_at_the_same_time_is_refused(cloud: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"another run \\(process {holder.pid}\\) works in this folder"):
            run_stages(make(cloud, tmp_path / "a"), CHAIN)
    finally:
        holder.kill()
        holder.wait()
    with RunLock(tmp_path / "a") as lock:
        assert lock.taken_over == str(holder.pid)
    assert not (tmp_path / "a" / LOCK).exists()


HOLD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from pipeline.run_folder import RunLock
    with RunLock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
)

KILLED = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from tests.pipeline import small_chain
    from tests.pipeline.small_chain import CHAIN, Place, SmallConfig
    from pipeline import runner
    from pipeline.run_folder import StageRecorder
    from pipeline.source import InputConfig

    runner.prepare_device = lambda device: device
    save = StageRecorder.checkpoint
    def checkpoint(self, step, **arrays):
        self.interval = 0.0
        save(self, step, **arrays)
        if step == 3:
            print("ready to be killed", flush=True)
            time.sleep(60)
    StageRecorder.checkpoint = checkpoint
    config = SmallConfig(input=InputConfig(path=sys.argv[1]), run=Place(dir=sys.argv[2]))
    runner.run_stages(config, CHAIN)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_goes_on_to_the_same_files(cloud: Path, tmp_path: Path) -> None:
    run_stages(make(cloud, tmp_path / "whole"), CHAIN)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(cloud), str(tmp_path / "a")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "ready to be killed\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    entry = manifest(tmp_path / "a")["stages"]["loop"]
    assert entry["status"] == "running"
    (tmp_path / "a" / "loop" / ".sim_mesh.1.part.npz").write_bytes(b"half")
    CALLS.clear()
    result = run_stages(make(cloud, tmp_path / "a"), CHAIN)
    assert CALLS == ["loop", "judge", "pack"]
    assert result.manifest["stages"]["loop"]["resumed_from"] == 3
    assert outputs(tmp_path / "a") == outputs(tmp_path / "whole")
    assert not list((tmp_path / "a").rglob("*.part*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_error_and_nothing_half_written(
    cloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real = builtins.open

    def full(file: object, *args: object, **kwargs: object) -> object:
        if "tet_mesh" in str(file) and any("w" in str(a) for a in (*args, kwargs.get("mode", ""))):
            return real("/dev/full", *args, **kwargs)  # type: ignore[call-overload]
        return real(file, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", full)
    import zipfile

    monkeypatch.setattr(zipfile.io, "open", full)
    with pytest.raises(OutputError, match="disk is full"):
        run_stages(make(cloud, tmp_path / "a"), CHAIN)
    monkeypatch.undo()
    data = manifest(tmp_path / "a")
    assert data["stages"]["hull"]["status"] == "done"
    assert data["stages"]["fill"]["status"] == "failed"
    assert not list((tmp_path / "a" / "fill").glob("tet_mesh*"))
    assert not list((tmp_path / "a").rglob("*.part*"))


def test_a_folder_that_cannot_be_made_is_refused(cloud: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="part of the path is a file"):
        run_stages(make(cloud, tmp_path / "file" / "run"), CHAIN)


def test_a_skipped_run_is_quick(cloud: Path, tmp_path: Path) -> None:
    """No timing is asserted: a run that skips all reads neither the input nor a mesh."""
    run_stages(make(cloud, tmp_path / "a"), CHAIN)
    stamp = time.time_ns() - 10**12
    os.utime(cloud, ns=(stamp, stamp))

    def refuse(*_: object) -> object:
        raise AssertionError("the input was read again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.source.read_geometry", refuse)
        run_stages(make(cloud, tmp_path / "a"), CHAIN)
