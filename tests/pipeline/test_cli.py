"""The command line itself: help, versions, wrong words, tracebacks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_help_comes_without_loading_the_stages() -> None:
    code = "import sys; from pipeline.cli import main; main(['--help']); "
    code += "print('warp' in sys.modules, 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "simmesh run input.path=scan.ply" in done.stdout
    assert done.stdout.endswith("False False\n")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simmesh {__version__}\n"


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
        (["-m", "input.path=*.obj"], ["a star lists no files", "simmesh batch FOLDER OUT"]),
        (
            ["-m", "seed=1,two"],
            ["error: seed=two: seed: expected a whole number, got 'two'; nothing was run"],
        ),
        (["-m", "seed=-1,2"], ["error: seed=-1: seed: expected zero"]),
        # Errors of the dataclasses name the setting, wherever it stands.
        (["seed=-1"], ["error: seed: expected zero or a positive number"]),
        (["device=tpu"], ["error: device: expected cpu, cuda, cuda:0 or cuda:auto, got 'tpu'"]),
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


def test_several_files_without_a_sweep_are_told_how(fails: Callable[..., str]) -> None:
    Path("a.ply").touch()
    Path("scans").mkdir()
    assert "simmesh run -m input.path=a.ply,b.ply" in fails("input.path=a.ply,b.ply")
    assert "simmesh batch scans OUT" in fails("input.path=scans")


@pytest.mark.parametrize("verb", ["check", "check-usd", "compare", "batch", "validate"])
def test_a_command_without_its_files_shows_its_help_and_is_no_pass(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb]) == 2
    assert f"simmesh {verb}" in capsys.readouterr().out
    assert main([verb, "--help"]) == 0


def test_a_traceback_comes_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--traceback", "input.path=nothing.ply"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_path_that_the_system_refuses_is_no_fault_of_simmesh(fails) -> None:
    said = fails("run", f"input.path={'a' * 300}.ply")
    assert "file name too long" in said
    assert "fault of simmesh" not in said
