"""The command line: help, exit codes, one readable error for each kind of bad input, runs and sweeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest

from pipeline import PointCloud, SurfaceMesh, TetMesh, read_any, write_points, write_surface, write_tets
from pipeline.cli import main
from pipeline.manifest import file_hash
from pipeline.types import Frame

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with 2 and one error without a traceback; return the error."""

    def run(*arguments: str) -> str:
        assert main([str(a) for a in arguments]) == 2
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("simmesh: error: ")]
        assert len(errors) == 1, err
        assert "Traceback" not in err + out
        return errors[0]

    return run


def sphere(count: int = 400) -> np.ndarray:
    """Points of a golden spiral on the unit sphere."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def box() -> SurfaceMesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    faces += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    return SurfaceMesh(corners, np.array(faces))


# --- help and versions


@pytest.mark.parametrize("verb", ["reconstruct", "tetrahedralize", "optimize", "validate", "export"])
def test_each_verb_tells_what_to_type_and_what_can_be_set(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"simmesh {verb} IN OUT" in text
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    names = [k for k, line in enumerate(lines) if line.startswith(f"  {verb}.")]
    assert names
    for k in names:  # every setting says what it is, beside its name or on the next line
        assert lines[k][38:].strip() or lines[k + 1].startswith(" " * 38), lines[k]


def test_the_help_comes_without_loading_the_stages() -> None:
    code = "import sys; from pipeline.cli import main; main(['--help']); "
    code += "print('warp' in sys.modules, 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "simmesh run input.path=scan.ply" in done.stdout
    assert done.stdout.endswith("False False\n")


def test_run_help_lists_presets_and_general_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert "smoke" in text
    assert "input.unit=none" in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simmesh {__version__}\n"


# --- what was typed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recontsruct"], ["no such command", "did you mean reconstruct"]),
        (["run", "scan.ply"], ["input.path=scan.ply"]),
        (["optimise=3"], ["optimise: there is no such setting", "did you mean optimize"]),
        (["reconstruct.max_face=9"], ["did you mean max_faces", "placement"]),
        (
            ["reconstruct.placement.rounds=9"],
            ["reconstruct.placement.rounds", "in reconstruct.placement there are"],
        ),
        (["experiment=smok"], ["no such choice", "smoke"]),
        (["validate/material=glass"], ["no such choice", "rubber"]),
        (["reconstruct.max_faces=many"], ["reconstruct.max_faces", "many"]),
        (["reconstruct.max_faces=1"], ["max_faces: expected at least 4, got 1"]),
        (["input.unit=inch"], ["input.unit: expected one of m, cm, mm"]),
        (["stages=optimize"], ["stages", "[one,two]"]),
        (["stages=[optimise]"], ["no stage 'optimise'", "reconstruct, tetrahedralize"]),
        (["force=[optimize]", "stages=[reconstruct]"], ["force: optimize is not among the stages"]),
        (["input.path=nothing.ply"], ["nothing.ply: no such file"]),
        (["input.path=warp:cow.usd"], ["no such shape", "bunny.usd"]),
        (["device=cuda:7", "experiment=smoke"], ["device=cuda:7 is not on this machine; it has: cpu"]),
        (["-m", "seed=1"], ["several values"]),
        (
            ["-m", "seed=1,two"],
            ["error: seed=two: seed: expected a whole number, got 'two'; nothing was run"],
        ),
        (["-m", "seed=-1,2"], ["error: seed=-1: seed: expected zero"]),
        # Errors of the dataclasses name the setting, wherever it stands.
        (["seed=-1"], ["error: seed: expected zero or a positive number"]),
        (["device=tpu"], ["error: device: expected cpu, cuda or cuda:0, got 'tpu'"]),
        (["reconstruct.max_faces=-5"], ["error: reconstruct.max_faces: expected at least 4, got -5"]),
        (["tetrahedralize.target_tets=0"], ["error: tetrahedralize.target_tets: expected"]),
        (["export.formats=[usd,foo]"], ["error: export.formats: unknown 'foo'"]),
        (["validate.solver.max_iterations=0"], ["error: validate.solver.max_iterations: expected"]),
        # Types are named in the words of people.
        (["seed=abc"], ["error: seed: expected a whole number, got 'abc'"]),
        (["optimize.fit_weight=abc"], ["error: optimize.fit_weight: expected a number, got 'abc'"]),
        (["tetrahedralize.fit_surface=maybe"], ["expected true or false, got 'maybe'"]),
        (["reconstruct.placement=3"], ["is a group of settings", "iterations"]),
        (["seed=null"], ["error: seed: cannot be null"]),
        (["seed=1,2"], ["simmesh run -m seed=1,2"]),
        (["+x=3"], ["error: x: there is no such setting"]),
        # Nothing empty or missing falls back to the bunny.
        (["experiment=letter_2d"], ["error: experiment=letter_2d: give the points, input.path=FILE"]),
        (["--run", "experiment=letter_2d"], ["experiment=letter_2d: give the points"]),
        (["input.path="], ["error: input.path is empty"]),
        (["run.dir="], ["error: run.dir is empty"]),
        (["reconstruct", "", "out.ply"], ["IN is empty"]),
        (["=3"], ["expected name=value"]),
        (["--config-dir="], ["--config-dir is empty"]),
        # Options in one line.
        (["run", "--foo"], ["error: --foo: no such option; see simmesh run --help"]),
        (["run", "--cfg", "foo"], ["invalid choice: 'foo'"]),
        (["--config-name", "foo"], ["no foo.yaml"]),
    ],
)
def test_a_wrong_word_gets_one_error_that_names_what_exists(
    fails: Callable[..., str], arguments: list[str], words: list[str]
) -> None:
    error = fails(*arguments)
    for word in words:
        assert word in error
    assert not any(Path().iterdir())  # neither Hydra's folder of outputs nor an empty one of a run


def test_a_run_that_fails_before_its_first_stage_writes_its_error_alone(tmp_path: Path) -> None:
    """Neither the modules that Warp loads for the report nor its search for a GPU stand around the error."""
    write_surface("box.ply", box())
    stages = ["stages=[validate]", f"input.path={tmp_path / 'box.ply'}", f"run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "pipeline", *stages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("simmesh: error: validate needs a sim_mesh")
    assert [line for line in lines[:-1] if not line.startswith("  input: box.ply")] == []
    assert "Warp" not in done.stdout
    assert "Module" not in done.stdout


def test_a_traceback_comes_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--traceback", "input.path=nothing.ply"]) == 2
    assert "Traceback" in capsys.readouterr().err


# --- what was given


def write_bad(name: str) -> Path:
    """Write one of the inputs that cannot be used."""
    path = Path(f"{name}.npy")
    points = sphere(50)
    if name == "empty":
        path = Path("empty.ply")
        path.write_bytes(b"")
    elif name == "text":
        path = Path("text.ply")
        path.write_text("Dear reader, this is a letter and not a mesh.\n")
    elif name == "nan":
        points[7] = np.nan
        np.save(path, points)
    elif name == "infinite":
        points[3, 1] = np.inf
        np.save(path, points)
    elif name == "three_points":
        np.save(path, points[:3])
    elif name == "all_equal":
        np.save(path, np.ones((100, 3)))
    elif name == "coplanar":
        points[:, 2] = 0.0
        np.save(path, points)
    elif name == "duplicates":
        np.save(path, np.repeat(points[:3], 400_000, axis=0)[:1_000_000])
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["empty"]),
        ("text", ["ply"]),
        ("nan", ["1 of 50 rows", "NaN", "7"]),
        ("infinite", ["1 of 50 rows", "infinite", "3"]),
        ("three_points", ["3", "4"]),
        ("all_equal", ["equal"]),
        ("coplanar", ["plane"]),
        ("duplicates", ["4"]),
    ],
)
def test_points_that_cannot_be_used_give_one_error(
    fails: Callable[..., str], name: str, words: list[str]
) -> None:
    path = write_bad(name)
    commands = [["reconstruct", path, "out.ply"], ["run", f"input.path={path}", "run.dir=new/run"]]
    for command in commands[: 1 if name == "duplicates" else 2]:
        error = fails(*command)
        for word in words:
            assert word in error
    assert not Path("out.ply").exists()
    if name in ("empty", "text", "nan", "infinite"):  # never read: not even an empty folder is left
        assert not Path("new").exists()


def test_an_obj_with_texture_coordinates_works() -> None:
    lines = [f"v {x} {y} {z}" for x, y, z in box().points]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vn 0 0 1"]
    lines += ["f " + " ".join(f"{v + 1}/{k + 1}/1" for k, v in enumerate(face)) for face in box().faces]
    Path("box.obj").write_text("\n".join(lines) + "\n")
    assert main(["tetrahedralize", "box.obj", "box.msh", "target_tets=200"]) == 0
    mesh = read_any("box.msh")
    assert isinstance(mesh, TetMesh)
    # A box keeps its creases, so its volume is met up to the fit of the boundary.
    np.testing.assert_allclose(mesh.volumes.sum(), 1.0, rtol=0.05)


def test_an_open_sheet_encloses_nothing(fails: Callable[..., str]) -> None:
    grid = np.array(
        [[x, y, 0.01 * np.sin(3 * x)] for x in np.linspace(0, 1, 9) for y in np.linspace(0, 1, 9)]
    )
    cell = np.array(
        [[9 * i + j, 9 * i + j + 1, 9 * i + j + 10, 9 * i + j + 9] for i in range(8) for j in range(8)]
    )
    write_surface("sheet.ply", SurfaceMesh(grid, np.concatenate([cell[:, [0, 1, 2]], cell[:, [0, 2, 3]]])))
    assert "encloses nothing" in fails("tetrahedralize", "sheet.ply", "out.msh")
    assert not Path("out.msh").exists()
    assert "encloses nothing" in fails("run", "input.path=sheet.ply")
    assert (
        json.loads(Path("runs/sheet/manifest.json").read_text())["stages"]["tetrahedralize"]["status"]
        == "failed"
    )


@pytest.mark.parametrize(("defect", "word"), [("inverted", "inverted"), ("duplicate", "duplicate")])
def test_bad_tets_are_counted_and_refused(fails: Callable[..., str], defect: str, word: str) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=float)
    tets = [[0, 1, 2, 3], [1, 2, 3, 4]] if defect == "duplicate" else [[0, 1, 2, 3], [1, 3, 2, 4]]
    tets += [[1, 2, 3, 0]] if defect == "duplicate" else []
    if defect == "duplicate":
        tets[1] = [1, 4, 3, 2] if np.linalg.det(points[[4, 3, 2]] - points[1]) > 0 else [1, 3, 4, 2]
        tets[2] = [2, 0, 1, 3]
    meshio.Mesh(points, [("tetra", np.array(tets))]).write("bad.vtu")
    error = fails("validate", "bad.vtu", "report.json")
    assert word in error
    assert "1" in error
    assert not Path("report.json").exists()


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("reconstruct", "out.msh"),
        ("tetrahedralize", "out.stl"),
        ("validate", "out.txt"),
        ("export", "out.step"),
    ],
)
def test_an_output_of_a_wrong_kind_is_refused_before_any_work(
    fails: Callable[..., str], verb: str, target: str
) -> None:
    write_points("cloud.npz", PointCloud(sphere()))
    assert "cannot write" in fails(verb, "cloud.npz", target)


def test_an_input_of_a_wrong_kind_says_which_verb_comes_first(fails: Callable[..., str]) -> None:
    write_points("cloud.npz", PointCloud(sphere()))
    write_surface("box.ply", box())
    assert "simmesh reconstruct" in fails("tetrahedralize", "cloud.npz", "out.msh")
    assert "simmesh tetrahedralize" in fails("validate", "box.ply", "report.json")


def test_an_output_folder_that_cannot_be_made_is_refused(fails: Callable[..., str]) -> None:
    Path("file").write_text("")
    assert "part of the path is a file" in fails("run", "experiment=smoke", "run.dir=file/run")
    assert "part of the path is a file" in fails("reconstruct", "warp:sphere.usd", "file/out.ply")
    if Path("/proc/self").exists():
        error = fails("run", "experiment=smoke", "run.dir=/proc/xx")
        assert "no folder can be made there; choose another" in error


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_an_output_folder_without_permission_is_refused(fails: Callable[..., str]) -> None:
    Path("closed").mkdir(mode=0o500)
    assert "no permission" in fails("run", "experiment=smoke", "run.dir=closed/run")


# --- what works


def test_files_in_and_out_through_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    cloud = PointCloud(10.0 * sphere(1500), frame=Frame(0.01, "y"))
    write_points("ball.npz", cloud)
    assert main(["reconstruct", "ball.npz", "ball.ply", "reconstruct.max_faces=300"]) == 0
    # A .ply keeps no unit: the next stage is told.
    unit = ["input.unit=cm", "input.up=y"]
    assert main(["tetrahedralize", "ball.ply", "ball.npz", "target_tets=300", *unit]) == 0
    assert main(["optimize", "ball.npz", "better.npz", "surface=ball.ply"]) == 0
    better = read_any("better.npz")
    assert isinstance(better, TetMesh)
    assert better.frame == Frame(0.01, "y")
    assert (
        main(
            [
                "validate",
                "better.npz",
                "report.json",
                "material.density=500",
                "validate.solver.max_iterations=150",
            ]
        )
        == 0
    )
    report = json.loads(Path("report.json").read_text())
    assert report["passed"] is True
    assert report["material"]["density"] == 500
    assert main(["export", "better.npz", "asset", "report=report.json"]) == 0
    assert {p.suffix for p in Path("asset").iterdir()} >= {".usdc", ".msh", ".vtu", ".npz"}
    assert main(["export", "better.npz", "one.usda", "density=500"]) == 0
    assert sorted(p.name for p in Path().glob("*one*")) == ["one.usda"]
    assert main(["export", "better.npz", "two.xml", "density=500"]) == 0  # names its mesh
    assert sorted(p.name for p in Path().glob("*two*")) == ["two.msh", "two.xml"]
    asset = read_any("one.usda")
    assert asset.frame == Frame()
    # 4/3 pi r^3 with r = 0.1 m; the inscribed mesh of 300 faces has up to 5 % less.
    np.testing.assert_allclose(asset.volumes.sum(), 4 / 3 * np.pi * 1e-3, rtol=0.05)
    said = capsys.readouterr().out
    assert "in metres, Z up" in said
    assert "input: unit cm, Y up" in said


def test_a_check_below_its_limit_exits_with_1_and_still_writes(capsys: pytest.CaptureFixture[str]) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    write_tets("one.msh", TetMesh(points, np.array([[0, 1, 2, 3]])))
    assert main(["validate", "one.msh", "report.json", "validate.limits.min_dihedral_angle=80"]) == 1
    assert json.loads(Path("report.json").read_text())["passed"] is False
    assert "NOT ready" in capsys.readouterr().out


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


# --- interrupted


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
