"""`simmesh compare`: runs, files and another program's mesh side by side, in a table and on a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest

from pipeline import TetMesh, comparing, write_tets
from pipeline.cli import main
from pipeline.io.artifacts import save_artifact
from pipeline.metrics.baseline import measure
from pipeline.stages.validate import MaterialConfig, ValidateConfig, validate
from tests.pipeline.shapes import box, with_sliver

pytestmark = pytest.mark.usefixtures("own_folder")
QUICK = "--no-scenarios"


def make_run(folder: Path, mesh: TetMesh, density: float) -> Path:
    """A run folder of two finished stages, as the runner leaves it."""
    stages = {"optimize": {"status": "done", "seconds": 1.5}, "validate": {"status": "done", "seconds": 2.5}}
    config = ValidateConfig(MaterialConfig(density=density, youngs_modulus=2e6), scenarios={})
    save_artifact("sim_mesh", mesh, folder / "optimize")
    save_artifact("sim_report", validate(mesh, config), folder / "validate")
    (folder / "manifest.json").write_text(json.dumps({"run": folder.name, "stages": stages}))
    return folder


def row(text: str, label: str) -> list[str]:
    """The values of a line of the table, whose label may end with a unit."""
    found = re.search(rf"^  {re.escape(label)}(?: \[[^]]*\])?  +(.*)$", text, re.MULTILINE)
    assert found, f"no line {label}"
    return found[1].split()


def test_a_run_and_a_worse_file_stand_side_by_side(make_box: Callable[..., TetMesh], capsys) -> None:
    mesh = make_box(2, seed=1)
    make_run(Path("good run"), mesh, density=500.0)
    write_tets("worse.npz", with_sliver(mesh))
    capsys.readouterr()
    assert main(["compare", "good run", "worse.npz", "out.html", QUICK]) == 0
    text = capsys.readouterr().out
    assert text.split("\n")[0].split() == ["good", "run", "worse"]
    better, worse = (measure(m)["quality.mean_ratio.min"].value for m in (mesh, with_sliver(mesh)))
    assert row(text, "mean ratio min") == [f"{better:.4g}*", f"{worse:.4g}"]
    # The file is judged with the material of the run beside it: mass is density times volume.
    mass = 500.0 * mesh.volumes.sum()
    assert [float(v.replace(",", "")) for v in row(text, "mass")] == pytest.approx([mass, mass], rel=1e-3)
    assert row(text, "optimize") == ["1.5", "-"]
    assert row(text, "min dihedral angle")[1].endswith("!")
    assert "  mass [kg]  " in text
    assert "worse: NOT ready: min_dihedral_angle" in text
    page = Path("out.html").read_text()
    assert page.count('<svg class="plot"') == 6  # three, each wide and narrow
    assert "good run" in page
    assert not re.search(r"(src|href)=\"?(https?:)?//", page)


def test_names_are_told_apart_and_markup_is_text(make_box, capsys) -> None:
    for folder in ("a", "b<script>"):
        Path(folder).mkdir()
        write_tets(f"{folder}/mesh.npz", make_box(1))
    assert main(["compare", "a/mesh.npz", "b<script>/mesh.npz", "out.htm", QUICK]) == 0
    assert "b<script>/mesh.npz" in capsys.readouterr().out
    assert "b<script>" not in Path("out.htm").read_text()


def test_units_are_those_of_each_file(make_box, capsys) -> None:
    mesh = make_box(1)
    write_tets("metres.npz", mesh)
    write_tets("plain.msh", TetMesh(1000.0 * mesh.points, mesh.tets))
    assert main(["compare", "metres.npz", "plain.msh", "input.unit=mm", QUICK]) == 0
    assert row(capsys.readouterr().out, "volume") == ["1", "1"]


def test_a_foreign_mesh_is_repaired_and_that_is_said(make_box, capsys) -> None:
    mesh = make_box(1)
    tets = mesh.tets.copy()
    tets[2] = tets[2][[0, 2, 1, 3]]
    meshio.Mesh(mesh.points, [("tetra", tets)]).write("foreign.vtu")
    write_tets("mesh.npz", mesh)
    assert main(["compare", "mesh.npz", "foreign.vtu", QUICK]) == 0
    text = capsys.readouterr().out
    assert "as it is, no valid mesh" in text
    assert "1 tets turned" in text
    assert row(text, "volume") == ["1", "1"]


def test_a_peer_is_asked_for_about_as_many_tets(make_box, capsys, monkeypatch) -> None:
    """The peer gets the boundary in metres; the length of edges is changed until the counts are near."""
    write_tets("mesh.npz", make_box(4))
    asked = []

    def peer(surface, edge):
        asked.append(edge)
        assert np.ptp(surface.points, axis=0) == pytest.approx([4.0, 4.0, 4.0])
        made = make_box(2 if len(asked) == 1 else 4)
        return made.points * 4.0 / np.ptp(made.points), made.tets[:, [1, 0, 2, 3]]

    monkeypatch.setitem(comparing.PEERS, "numpy", peer)  # any package that is installed
    assert main(["compare", "mesh.npz", "--peer", "numpy", QUICK]) == 0
    text = capsys.readouterr().out
    # 48 instead of 384 tets: an eighth, so edges half as long.
    assert asked[1] == pytest.approx(asked[0] / 2)
    assert row(text, "tets") == ["384", "384"]
    assert row(text, "tetrahedralize")[0] == "-"
    assert "made by numpy of the same surface; 384 inverted tets, turned over" in text


@pytest.mark.nightly
def test_the_mesh_of_pytetwild_joins(make_box, capsys) -> None:
    pytest.importorskip("pytetwild", reason='pytetwild comes with pip install ".[baselines]"')
    write_tets("mesh.npz", make_box(3))
    assert main(["compare", "mesh.npz", "--peer", "pytetwild", QUICK]) == 0
    assert row(capsys.readouterr().out, "pieces") == ["1", "1"]


def test_what_cannot_be_compared(make_box, fails) -> None:
    write_tets("mesh.npz", make_box(1))
    from pipeline import write_surface

    write_surface("box.ply", box())
    Path("empty").mkdir()
    assert "at least two" in fails("compare", "mesh.npz")
    assert "takes at least 1 file" in fails("compare", QUICK)
    assert "box.ply is a surface" in fails("compare", "mesh.npz", "box.ply", QUICK)
    assert "is no run folder" in fails("compare", "mesh.npz", "empty", QUICK)
    assert "no such file" in fails("compare", "mesh.npz", "other.npz", QUICK)
    assert "unknown; known are pytetwild" in fails("compare", "mesh.npz", "--peer", "gmsh")
    assert "writes one page" in fails("compare", "mesh.npz", "a.html", "b.html")
