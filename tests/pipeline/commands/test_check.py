"""`simmesh check`: a worse mesh fails and its element is named; renumbered or better, it passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import meshio
import numpy as np
import pytest

from pipeline import TetMesh, write_points, write_surface, write_tets
from pipeline.cli import main
from pipeline.metrics.tet import tet_quality
from pipeline.types import PointCloud
from tests.pipeline.shapes import box, renumbered, sphere, with_sliver

pytestmark = pytest.mark.usefixtures("own_folder")
QUICK = "--no-scenarios"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `simmesh check`; return its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        code = main(["check", *words])
        said = capsys.readouterr()
        assert "error" not in said.err, said.err
        return code, said.out

    return run


@pytest.fixture
def kept(make_box: Callable[..., TetMesh], check: Callable[..., tuple[int, str]]) -> TetMesh:
    """A mesh in mesh.npz whose baseline in base.json holds everything but the simulated tests."""
    mesh = make_box(3, seed=1)
    write_tets("mesh.npz", mesh)
    code, text = check("mesh.npz", QUICK, "--baseline", "base.json", "--update")
    assert code == 0
    assert "baseline written: base.json" in text
    return mesh


def statuses(path: str) -> dict[str, str]:
    return {row["name"]: row["status"] for row in json.loads(Path(path).read_text())["metrics"]}


def test_a_moved_vertex_that_makes_a_sliver_fails_and_the_tet_is_named(kept, check) -> None:
    worse = with_sliver(kept)
    write_tets("worse.npz", worse)
    code, text = check("worse.npz", QUICK, "--baseline", "base.json", "--json", "out.json")
    assert code == 1
    quality = tet_quality(worse.points, worse.tets)
    worst = int(np.argmin(quality["min_dihedral_angle"]))
    x, y, z = worse.points[worse.tets[worst]].mean(axis=0)
    line = next(line for line in text.splitlines() if line.startswith("worse") and "min_dihedral" in line)
    assert f"tet {worst} at ({x:.4g}, {y:.4g}, {z:.4g}) m" in line
    assert "worse than the baseline" in text.splitlines()[-1]
    assert statuses("out.json")["quality.min_dihedral_angle.min"] == "worse"


def test_the_same_mesh_renumbered_passes_its_simulated_tests_too(make_box, check) -> None:
    """Relabelling changes the order of sums alone: the same metrics within their tolerances."""
    mesh = make_box(2, seed=1)
    write_tets("mesh.npz", mesh)
    write_tets("other.npz", renumbered(mesh, 2))
    assert check("mesh.npz", "--baseline", "base.json", "--update")[0] == 0
    code, text = check("other.npz", "--baseline", "base.json", "--json", "out.json")
    assert code == 0, text
    found = statuses("out.json")
    assert any(name.startswith("check.drop_") for name in found)
    assert not {"worse", "missing", "better"} & set(found.values())


def test_a_better_mesh_passes(kept, check) -> None:
    write_tets("worse.npz", with_sliver(kept))
    limit = "limits.min_dihedral_angle=0"
    check("worse.npz", QUICK, limit, "--baseline", "low.json", "--update")
    code, text = check("mesh.npz", QUICK, "--baseline", "low.json")
    assert code == 0, text
    assert "better" in text


def test_a_corrupt_or_missing_baseline_cannot_be_used(kept, fails) -> None:
    Path("bad.json").write_text('{"simmesh_baseline": 1, "metrics": {"tets": ')
    assert "damaged baseline" in fails("check", "mesh.npz", QUICK, "--baseline", "bad.json")
    assert "write it first (--update)" in fails("check", "mesh.npz", QUICK, "--baseline", "none.json")
    Path("other.json").write_text("[1, 2]")
    assert "not a baseline" in fails("check", "mesh.npz", QUICK, "--baseline", "other.json")


def test_an_update_keeps_edited_tolerances_and_the_tests_that_were_left_out(make_box, check) -> None:
    mesh = make_box(2, seed=1)
    write_tets("mesh.npz", mesh)
    check("mesh.npz", "--baseline", "base.json", "--update")
    data = json.loads(Path("base.json").read_text())
    for name in ("volume", "readiness.mass"):  # a thousandth is allowed without this
        data["metrics"][name]["relative"] = 0.5
    simulated = {k: v for k, v in data["metrics"].items() if k.startswith(("scenario.", "check.drop_"))}
    assert simulated
    Path("base.json").write_text(json.dumps(data))
    write_tets("mesh.npz", TetMesh(1.001 * mesh.points, mesh.tets))
    code, text = check("mesh.npz", QUICK, "--baseline", "base.json")
    assert code == 0, text
    check("mesh.npz", QUICK, "--baseline", "base.json", "--update")
    after = json.loads(Path("base.json").read_text())["metrics"]
    assert after["volume"]["relative"] == 0.5
    assert after["volume"]["value"] == pytest.approx(1.001**3 * data["metrics"]["volume"]["value"])
    assert {name: after[name] for name in simulated} == simulated


def test_a_damaged_baseline_is_replaced_by_an_update(kept, capsys) -> None:
    Path("bad.json").write_text("{")
    assert main(["check", "mesh.npz", QUICK, "--baseline", "bad.json", "--update"]) == 0
    assert "replaced" in capsys.readouterr().err
    assert main(["check", "mesh.npz", QUICK, "--baseline", "bad.json"]) == 0


def test_a_limit_fails_with_1_and_goes_to_json_and_junit(kept, check) -> None:
    code, text = check(
        "mesh.npz", QUICK, "limits.min_dihedral_angle=89", "--json=out.json", "--junit=out.xml"
    )
    assert code == 1
    assert "FAIL  min_dihedral_angle" in text
    assert "1 of 5 checks are below their limit" in text
    data = json.loads(Path("out.json").read_text())
    assert data["passed"] is False
    assert data["mesh"] == "mesh.npz"
    failures = ElementTree.parse("out.xml").getroot().findall(".//failure")
    assert [failure.get("type") for failure in failures] == ["worse"]
    assert "limit.min_dihedral_angle" in (failures[0].get("message") or "")


def test_unit_and_axis_of_a_file_that_keeps_none_are_given(kept, check) -> None:
    turned = kept.points[:, [0, 2, 1]] * [1000, 1000, -1000]
    write_tets("mesh.msh", TetMesh(turned, kept.tets))
    words = ["mesh.msh", QUICK, "--baseline", "base.json"]
    assert check(*words, "input.unit=mm", "input.up=y")[0] == 0
    assert check(*words)[0] == 1


def test_inverted_tets_are_a_finding_and_repair_mends_them(kept, check) -> None:
    tets = kept.tets.copy()
    tets[4] = tets[4][[0, 2, 1, 3]]
    meshio.Mesh(kept.points, [("tetra", np.concatenate([tets, tets[7:8]]))]).write("bad.vtu")
    code, text = check("bad.vtu", QUICK, "--json", "out.json", "--junit", "out.xml")
    assert code == 1
    assert "1 inverted" in text
    assert "4" in text
    assert statuses("out.json") == {"structure.valid": "worse"}
    assert len(ElementTree.parse("out.xml").getroot().findall(".//failure")) == 1
    assert check("bad.vtu", QUICK, "--repair", "--baseline", "base.json")[0] == 0


def test_what_is_no_tetrahedral_mesh_cannot_be_checked(fails) -> None:
    write_points("cloud.npz", PointCloud(sphere()))
    write_surface("box.ply", box())
    assert "simmesh reconstruct" in fails("check", "cloud.npz")
    assert "simmesh tetrahedralize" in fails("check", "box.ply")
    assert "no such file" in fails("check", "nothing.msh")
    Path("text.msh").write_text("Dear reader")
    assert "not a Gmsh file" in fails("check", "text.msh")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ""),
        (["a.msh", "b.msh"], "check takes 1 file, MESH; got 2: a.msh b.msh"),
        (["a.msh", "--basline", "b"], "--basline: no such option (did you mean --baseline?)"),
        (["a.msh", "--baseline"], "--baseline: expected a value after it"),
        (["a.msh", "--update"], "--update: say which file"),
        (["a.msh", "--update=yes"], "--update takes no value"),
        (
            ["a.msh", "limits.nothing=3"],
            "validate.limits.nothing: there is no such setting; in validate.limits there are",
        ),
    ],
)
def test_wrong_words(fails, capsys, words: list[str], said: str) -> None:
    if not words:  # an empty variable in a script: nothing was checked, so nothing passed
        assert main(["check"]) == 2
        assert "simmesh check MESH" in capsys.readouterr().out
        return
    Path("a.msh").write_text("Dear reader")
    assert said in fails("check", *words)
