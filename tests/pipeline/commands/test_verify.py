"""`simmesh verify`: tables of measured and expected, exit codes, the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import main
from sim.verification import STUDIES, simple_shear
from sim.verification.study import Row, Study

pytestmark = pytest.mark.usefixtures("own_folder")


def test_studies_are_run_by_name_and_number_and_written(capsys) -> None:
    assert main(["verify", "simple_shear", "2", "--write", "docs/page.md"]) == 0
    out = capsys.readouterr().out
    assert "6. Simple shear" in out
    assert "2. Rest stability" in out
    assert "numbers of 2 studies hold" in out
    page = Path("docs/page.md").read_text()
    assert "## 6. Simple shear" in page
    assert "F = I + g e1 e2^T" in page  # the equation
    assert "| g 1.0: J, worst tet | 1 |" in page


def test_a_number_that_fails_is_named_and_fails_the_command(capsys, monkeypatch) -> None:
    wrong = Study(6, "Simple shear", lambda: [Row("a number", 1.0, 2.0, 0.1)])
    monkeypatch.setattr("sim.verification.STUDIES", (wrong,))
    monkeypatch.setattr(Study, "name", "simple_shear")
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "FAILS" in out
    assert "fails: simple_shear: a number" in out
    assert "0 of 1 numbers" in out


def test_studies_are_listed(capsys) -> None:
    assert main(["verify", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(study.name in out for study in STUDIES)
    assert main(["verify", "--list", "--quick"]) == 0
    assert "gradients" not in capsys.readouterr().out


def test_unknown_studies_and_settings_are_refused(capsys) -> None:
    assert main(["verify", "gravity"]) == 2
    assert f"known: patch_test, {'rest_stability'}" in capsys.readouterr().err
    assert main(["verify", "steps=3"]) == 2
    assert "takes no settings" in capsys.readouterr().err


def test_the_page_of_the_repository_has_every_study() -> None:
    page = (Path(__file__).parents[3] / "docs" / "verification.md").read_text()
    assert simple_shear.STUDY.title in page
    assert all(f"## {study.number}. {study.title}" in page for study in STUDIES)
    assert "**fails**" not in page
