"""`simmesh check-usd`: a good asset passes, findings fail, a damaged file is a finding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, Vt

from pipeline.cli import main
from pipeline.stages.export import ExportConfig, export

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def asset(own_folder: Path, make_box) -> str:
    """A text asset, so that defects can be planted."""
    config = ExportConfig(formats=["usd"], usd_extension=".usda")
    return str(export(make_box(2, seed=1), config=config, folder=own_folder).paths["usd"])


def test_an_exported_asset_passes_strictly(asset, capsys) -> None:
    words = ["--strict", "--profile", "newton,omni", "--require-tetmesh", "--require-physics"]
    assert main(["check-usd", asset, *words, "--json", "out.json"]) == 0
    assert "48 tets" in capsys.readouterr().out
    data = json.loads(Path("out.json").read_text())
    assert data["passed"] is True
    assert data["findings"] == []
    assert data["tet_meshes"][0]["tets"] == 48


def test_an_inverted_tet_fails_and_is_named(asset, capsys) -> None:
    stage = Usd.Stage.Open(asset)
    prim = next(p for p in stage.Traverse() if p.IsA(UsdGeom.TetMesh))
    tets = np.array(UsdGeom.TetMesh(prim).GetTetVertexIndicesAttr().Get())
    tets[11] = tets[11][[0, 2, 1, 3]]
    UsdGeom.TetMesh(prim).GetTetVertexIndicesAttr().Set(Vt.Vec4iArray.FromNumpy(tets))
    stage.Save()
    assert main(["check-usd", asset, "--json", "-"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [f["rows"] for f in findings if f["code"] == "inverted-tets"] == [[11]]
    assert main(["check-usd", asset]) == 1
    out = capsys.readouterr().out
    assert "inverted-tets" in out
    assert "(first: 11)" in out


def test_a_warning_fails_only_strictly(asset, capsys) -> None:
    stage = Usd.Stage.Open(asset)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.Save()
    assert main(["check-usd", asset]) == 0
    assert "ok: " in capsys.readouterr().out
    assert main(["check-usd", asset, "--strict"]) == 1
    assert "NOT ok: " in capsys.readouterr().out


def test_a_truncated_file_is_a_finding(asset, capsys, make_box) -> None:
    export(make_box(2), config=ExportConfig(formats=["usd"], name="cut"), folder=Path())
    Path("cut.usdc").write_bytes(Path("cut.usdc").read_bytes()[:900])
    assert main(["check-usd", "cut.usdc"]) == 1
    assert "cannot-open" in capsys.readouterr().out


def test_what_cannot_be_checked_exits_with_2(asset, fails) -> None:
    assert "no such file" in fails("check-usd", "nothing.usdc")
    assert "profiles: unknown physx; known are newton, omni" in fails("check-usd", asset, "--profile=physx")
    assert "check-usd has no settings" in fails("check-usd", asset, "seed=3")
    assert "takes 1 file, FILE" in fails("check-usd", asset, asset)
