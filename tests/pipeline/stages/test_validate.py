"""The validate stage: report, checks and limits, frames of reference, resumption, refusals."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warp

import pipeline.stages.validate as stage
from pipeline.context import RunContext
from pipeline.errors import InvalidMeshError
from pipeline.files import open_input
from pipeline.progress import Progress
from pipeline.report_checks import CHECKS
from pipeline.stages.validate import MaterialConfig, ValidateConfig, validate
from pipeline.types import Frame, TetMesh
from sim.errors import SimulationDiverged
from sim.scenarios import SCENARIOS, Stretch

FAST = {"drop": {"steps": 10}, "stretch": {"steps": 2}}


def box_mesh(cells: int = 2, size: float = 1.0, frame: Frame | None = None) -> TetMesh:
    """A cube of Kuhn tets."""
    n = cells + 1
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corner = grid[(grid < cells).all(axis=1)]
    tets = []
    for order in permutations(range(3)):
        path = [corner]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        tet = np.stack([p @ [n * n, n, 1] for p in path], axis=1)
        tets.append(tet[:, [0, 2, 1, 3]] if np.linalg.det(np.eye(3)[list(order)]) < 0 else tet)
    return TetMesh(grid * size / cells, np.concatenate(tets).astype(np.int32), frame=frame or Frame())


def test_good_mesh_passes_every_check(device: str) -> None:
    report = validate(box_mesh(), ValidateConfig(scenarios=FAST), context=RunContext(device=device))
    assert report.passed, [check for check in report.checks if not check.passed]
    left_out = [rule for rule in CHECKS if rule.source[0] == "scenarios" and rule.source[1] not in FAST]
    expected = [rule.name for rule in CHECKS if rule not in left_out]
    assert [check.name for check in report.checks] == expected
    assert report.metrics["mass"] == pytest.approx(1000.0, rel=1e-12)
    assert report.metrics["zero_modes"] == 6
    assert report.metrics["quality"]["min_dihedral_angle"]["min"] == pytest.approx(45.0)
    assert report.material["youngs_modulus"] == 1.0e6


def test_run_chooses_scenarios_and_their_order() -> None:
    config = ValidateConfig(run=["modal", "stretch"], scenarios={"stretch": {"steps": 2}, "drop": {}})
    assert list(config.scenarios) == ["modal", "stretch"]
    assert config.scenarios["stretch"]["steps"] == 2
    config.scenario_errors = "both"
    report = validate(box_mesh(), config)
    assert list(report.scenarios) == ["modal", "stretch"]
    modal, stretch = report.scenarios["modal"], report.scenarios["stretch"]
    assert modal["unit"] == "Hz"
    assert modal["results"]["value"] > modal["error_estimate"]["element_value"] > 0.0  # linear tets are stiff
    assert modal["error_estimate"]["small"] == pytest.approx(modal["error_estimate"]["element"], rel=1e-6)
    assert set(stretch["error_estimate"]) == {"small", "element", "element_value", "steps", "steps_value"}
    assert stretch["error_estimate"]["small"] == pytest.approx(stretch["error_estimate"]["element"], rel=0.3)
    assert stretch["worst"][0]["value"] == stretch["results"]["peak_smallest_volume_ratio"]
    with pytest.raises(ValueError, match="scenario_errors: expected one of none"):
        ValidateConfig(scenario_errors="all")


def test_each_solved_scenario_keeps_its_motion() -> None:
    mesh = box_mesh()
    unused = TetMesh(np.concatenate([[[9.0, 9.0, 9.0]], mesh.points]), mesh.tets + 1)
    report = validate(unused, ValidateConfig(scenarios=FAST))
    assert list(report.motions) == ["drop", "stretch"]
    drop, stretch = report.motions["drop"], report.motions["stretch"]
    assert drop.points.shape[1:] == stretch.points.shape[1:] == (len(mesh.points), 3)
    series = report.scenarios["drop"]["series"]
    assert drop.times[0] == 0.0
    assert drop.times[-1] == pytest.approx(series["time"][-1])
    # Every kept frame belongs to the step of its time, but for the last, which is the settled one.
    heights = np.ptp(drop.points[:-1, :, 2], axis=1)
    expected = np.interp(drop.times[:-1], series["time"], series["height"])
    np.testing.assert_allclose(heights, expected, rtol=1e-6)  # single precision
    np.testing.assert_allclose(stretch.points[0], mesh.points, atol=1e-7)
    assert np.ptp(stretch.points[-1, :, 0]) == pytest.approx(1.2)


def test_report_is_plain_json() -> None:
    report = validate(box_mesh(), ValidateConfig(scenarios=FAST))
    text = json.dumps([report.metrics, report.scenarios, report.material], allow_nan=False)
    assert len(text) < 100_000


def test_error_bar_is_reported_unless_it_is_turned_off() -> None:
    config = ValidateConfig(run=["stretch"])
    report = validate(box_mesh(), config)
    assert 0.0 < report.metrics["element_sag"] < report.metrics["quadratic_sag"]
    assert 0.0 < report.metrics["sag_error"] < 1.0
    assert 0.0 < report.scenarios["stretch"]["error_estimate"]["small"] < 1.0
    config.error_estimate = False
    plain = validate(box_mesh(), config)
    assert "sag_error" not in plain.metrics
    assert "error_estimate" not in plain.scenarios["stretch"]


def test_better_elements_are_softer_and_keep_the_vertices_of_the_mesh() -> None:
    mesh, sags, stiffness = box_mesh(), [], []
    for element in ("linear", "averaged", "quadratic"):
        report = validate(mesh, ValidateConfig(run=["stretch"], element=element))
        assert report.metrics["element"] == element
        assert report.motions["stretch"].points.shape[1:] == mesh.points.shape
        stiffness.append(report.scenarios["stretch"]["results"]["value"])
        sags.append(report.metrics.get("sag_error"))
    assert stiffness[0] > stiffness[1] > stiffness[2]
    assert sags[0] > sags[1] > 0.0
    assert sags[2] is None  # nothing finer to compare with


def test_unknown_elements_and_materials_without_averaged_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match="element: expected one of linear, averaged, quadratic"):
        ValidateConfig(element="cubic")
    with pytest.raises(ValueError, match="averaged needs a material of stable_neo_hookean"):
        ValidateConfig(element="averaged", material=MaterialConfig(name="linear"))


def test_units_and_up_axis_do_not_matter() -> None:
    # The same body, 1 x 1 x 2 m, in metres and Z up, and in millimetres and Y up: (x, y, z) -> (x, z, -y).
    mesh = box_mesh()
    tall = mesh.points * [1.0, 1.0, 2.0]
    y_up = np.stack([tall[:, 0], tall[:, 2], -tall[:, 1]], axis=1) * 1000.0
    config = ValidateConfig(scenarios=FAST)
    metres = validate(TetMesh(tall, mesh.tets), config)
    millimetres = validate(TetMesh(y_up, mesh.tets, frame=Frame(0.001, "y")), config)
    assert millimetres.metrics["mass"] == pytest.approx(metres.metrics["mass"], rel=1e-12)
    assert millimetres.metrics["explicit_time_step"] == pytest.approx(
        metres.metrics["explicit_time_step"], rel=1e-5
    )
    for name in ("reaction", "peak_reaction_over_weight", "max_compression"):
        a, b = (r.scenarios["drop"]["results"][name] for r in (metres, millimetres))
        assert b == pytest.approx(a, rel=1e-4)  # Newton's tolerance of 1e-6, over 10 steps


def test_input_is_not_modified() -> None:
    mesh = box_mesh()
    points = mesh.points.copy()
    validate(mesh, ValidateConfig(scenarios={"stretch": {"steps": 1}}))
    np.testing.assert_array_equal(mesh.points, points)


@pytest.mark.parametrize("size", [1e-3, 100.0])
def test_default_material_carries_a_body_of_any_size(size: float) -> None:
    report = validate(box_mesh(size=size), ValidateConfig(scenarios=FAST))
    assert report.passed, [check for check in report.checks if not check.passed]
    assert report.metrics["sag_ratio"] <= 0.02


def test_body_too_soft_for_its_weight_fails_with_numbers() -> None:
    config = ValidateConfig(MaterialConfig(youngs_modulus=3.0e3), {"drop": {"steps": 10}})
    report = validate(box_mesh(), config)
    assert not report.passed
    assert report.metrics["sag_ratio"] == pytest.approx(3.27, rel=1e-3)
    failed = {check.name for check in report.checks if not check.passed}
    assert "drop_max_compression" in failed


def test_parts_that_hang_by_an_edge_fail() -> None:
    mesh = box_mesh()
    both = np.vstack([mesh.points, mesh.points + np.array([1.0, 1.0, 0.0])])
    unique, number = np.unique(both.round(9), axis=0, return_inverse=True)
    tets = number.ravel()[np.concatenate([mesh.tets, mesh.tets + len(mesh.points)])].astype(np.int32)
    report = validate(TetMesh(unique, tets), ValidateConfig(scenarios={}))
    failed = {check.name: check.value for check in report.checks if not check.passed}
    assert failed == {"structure_defects": 1.0, "components": 2.0, "extra_zero_modes": 1.0}


def test_loose_vertices_are_counted_and_left_out() -> None:
    mesh = box_mesh()
    loose = TetMesh(np.concatenate([mesh.points, [[5.0, 5.0, 5.0]]]), mesh.tets)
    context = RunContext()
    report = validate(loose, ValidateConfig(scenarios={"stretch": {"steps": 1}}), context=context)
    assert context.counts == {"unreferenced_vertices": 1}
    assert report.metrics["unreferenced_vertices"] == 1
    assert [check.name for check in report.checks if not check.passed] == ["structure_defects"]


def test_limits_decide_and_null_leaves_a_check_out() -> None:
    limits: dict[str, float | None] = {"min_dihedral_angle": 50.0, "max_dihedral_angle": None}
    report = validate(box_mesh(), ValidateConfig(scenarios={}, limits=limits))
    checks = {check.name: check for check in report.checks}
    assert not checks["min_dihedral_angle"].passed
    assert "max_dihedral_angle" not in checks
    assert not any(name.startswith(("drop", "stretch")) for name in checks)


def test_scenario_that_is_not_solved_fails_its_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Any, *args: Any) -> None:
        raise SimulationDiverged(
            "step 3: lost", step=3, term="elastic", positions=moved, details={"residual": 1.0}
        )

    moved = np.random.default_rng(0).random((len(box_mesh().points), 3))
    monkeypatch.setattr(Stretch, "run", run)
    report = validate(box_mesh(), ValidateConfig(scenarios=FAST))
    assert list(report.last_states) == ["stretch"]
    np.testing.assert_array_equal(report.last_states["stretch"]["positions"], moved)
    entry = report.scenarios["stretch"]
    assert (entry["status"], entry["step"], entry["term"], entry["error"]) == (
        "failed",
        3,
        "elastic",
        "step 3: lost",
    )
    assert {c.name for c in report.checks if not c.passed} == {"stretch_inversions", "stretch_residual"}


class Keeping(RunContext):
    """Keeps the last checkpoint, and stops after one when told to."""

    saved: tuple[int, dict[str, Any]] | None = None
    stops = False

    def checkpoint(self, step: int, **arrays: Any) -> None:
        self.saved = step, arrays
        if self.stops:
            raise KeyboardInterrupt

    def restore(self) -> tuple[int, dict[str, Any]] | None:
        return self.saved


def test_finished_scenario_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ValidateConfig(scenarios=FAST)
    whole = validate(box_mesh(), config)
    context = Keeping()
    context.stops = True
    with pytest.raises(KeyboardInterrupt):
        validate(box_mesh(), config, context=context)
    context.stops = False
    ran: list[str] = []
    original = stage._run
    monkeypatch.setattr(
        stage, "_run", lambda model, name, *rest: ran.append(name) or original(model, name, *rest)
    )
    resumed = validate(box_mesh(), config, context=context)
    assert ran == ["stretch"]
    assert resumed.scenarios == whole.scenarios


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ValidateConfig(scenarios={"twirl": {}}), "known: drop, stretch"),
        (lambda: ValidateConfig(scenarios={"drop": {"heigth": 1.0}}), "known: height"),
        (lambda: ValidateConfig(limits={"drop_inversion": 0}), "known: structure_defects"),
        (lambda: MaterialConfig(name="jelly"), "known: stable_neo_hookean"),
        (lambda: MaterialConfig(poissons_ratio=0.5), "poissons_ratio"),
        (lambda: MaterialConfig(static_friction=0.1), "friction"),
    ],
)
def test_bad_config_is_refused_before_any_work(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_mesh_without_tets_is_refused() -> None:
    empty = TetMesh(np.zeros((0, 3)), np.zeros((0, 4), dtype=np.int32))
    with pytest.raises(InvalidMeshError, match="nothing to validate"):
        validate(empty)


@pytest.mark.nightly
def test_a_body_of_poor_tets_ends_every_scenario_with_a_verdict() -> None:
    # 5,354 tets, smallest quality 0.02.
    path = Path(warp.__file__).parent / "examples" / "assets" / "bear.usd"
    mesh, _, context = open_input("validate", str(path), ["input.unit=m"], Progress())
    names = list(SCENARIOS)
    report = validate(mesh, ValidateConfig(run=names), context=context)
    assert list(report.scenarios) == names
    for name, found in report.scenarios.items():
        assert found["status"] == "done", (name, found.get("error"))
        assert np.isfinite(found["results"]["value"])
        assert 0 <= found["worst"][0]["tet"] < len(mesh.tets)
    worst = report.metrics["worst_elements"]
    assert len({entry["metric"] for entry in worst}) == 3
    assert all(np.isfinite(entry["position"]).all() for entry in worst)
