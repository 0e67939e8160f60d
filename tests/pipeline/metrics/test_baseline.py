"""A worse mesh is found and its element named; the same mesh renumbered and a better one pass."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.metrics.baseline import Measure, compare, comparison_table, measure
from pipeline.types import Check, Frame, SimReport, TetMesh
from tests.pipeline.shapes import renumbered, with_sliver

REPORT = SimReport((Check("gap", 0.5, 0.1, "min"), Check("error", 1e-6, 1e-2, "max")))


def status(comparison, name: str) -> str:
    return next(row.status for row in comparison.rows if row.name == name)


def test_the_same_mesh_renumbered_passes(make_box):
    box = make_box(3, seed=1)
    comparison = compare(measure(renumbered(box, 2), REPORT), measure(box, REPORT))
    assert comparison.passed
    assert comparison.count("better") == comparison.count("new") == 0


def test_a_sliver_fails_and_its_tet_is_named(make_box):
    box = make_box(2, seed=1)
    worse = with_sliver(box)
    comparison = compare(measure(worse), measure(box))
    assert not comparison.passed
    assert status(comparison, "quality.min_dihedral_angle.min") == "worse"
    row = next(r for r in comparison.rows if r.name == "quality.mean_ratio.min")
    from pipeline.metrics.tet import tet_quality

    worst = int(np.argmin(tet_quality(worse.points, worse.tets)["mean_ratio"]))
    assert row.where.startswith(f"tet {worst} at (")
    assert row.where in comparison_table(comparison)
    assert "WORSE" in comparison_table(comparison)


def test_a_better_mesh_passes(make_box):
    box = make_box(2, seed=1)
    comparison = compare(measure(box), measure(with_sliver(box)))
    assert comparison.passed
    assert comparison.count("better") > 5
    assert "as good as the baseline" in comparison_table(comparison)


def test_unit_and_up_axis_do_not_count(make_box):
    box = make_box(2, seed=1)
    turned = TetMesh(box.points[:, [0, 2, 1]] * [100, 100, -100], box.tets, frame=Frame(0.01, "y"))
    assert compare(measure(turned), measure(box)).passed


def test_a_shrunken_mesh_and_one_in_two_pieces_fail(make_box):
    box = make_box(2)
    smaller = replace(box, points=0.99 * box.points)
    assert status(compare(measure(smaller), measure(box)), "volume") == "worse"
    two = TetMesh(np.vstack([box.points, box.points + 5]), np.vstack([box.tets, box.tets + len(box.points)]))
    assert status(compare(measure(two), measure(box)), "pieces") == "worse"


# Tolerance 0.1 + 0.5 |10| = 5.1
@pytest.mark.parametrize(
    ("direction", "value", "expected"),
    [
        ("higher", 4.9, "same"), ("higher", 4.8, "worse"), ("higher", 15.2, "better"),
        ("lower", 15.1, "same"), ("lower", 15.2, "worse"), ("lower", 4.8, "better"),
        ("equal", 15.0, "same"), ("equal", 15.2, "worse"), ("equal", 4.8, "worse"),
        ("any", -1e9, "shown"),
        ("higher", math.nan, "worse"), ("lower", math.nan, "worse"), ("equal", math.inf, "worse"),
        ("higher", math.inf, "better"), ("lower", math.inf, "worse"), ("lower", -math.inf, "better"),
    ],
)  # fmt: skip
def test_direction_and_tolerance_of_the_baseline_count(direction, value, expected):
    baseline = {"x": Measure(10.0, direction, 0.5, 0.1)}
    comparison = compare({"x": Measure(value, "any")}, baseline)
    assert status(comparison, "x") == expected
    assert comparison.passed == (expected != "worse")


def test_a_baseline_that_was_no_number_is_beaten_by_any():
    baseline = {"x": Measure(math.nan, "higher")}
    assert status(compare({"x": Measure(-5.0)}, baseline), "x") == "better"
    assert status(compare({"x": Measure(math.nan)}, baseline), "x") == "same"


def test_missing_metrics_fail_and_new_ones_do_not():
    comparison = compare({"new": Measure(1.0)}, {"old": Measure(1.0, "higher"), "seen": Measure(1.0)})
    assert {row.name: row.status for row in comparison.rows} == {
        "old": "missing",
        "seen": "shown",
        "new": "new",
    }
    assert not comparison.passed


def test_checks_of_the_report_are_metrics():
    def judged(gap: float, error: float) -> tuple[str, str]:
        tet = TetMesh(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]]))
        checks = (Check("gap", gap, 0.1, "min"), Check("error", error, 1e-2, "max"))
        comparison = compare(measure(tet, SimReport(checks)), measure(tet, REPORT))
        return status(comparison, "check.gap"), status(comparison, "check.error")

    # Allowed: 0.1 * 0.5 + 0.05 * 0.1 = 0.055 below, 0.1 * 1e-6 + 0.05 * 1e-2 = 5.001e-4 above.
    assert judged(0.46, 4e-4) == ("same", "same")
    assert judged(0.44, 6e-4) == ("worse", "worse")
    assert judged(0.56, 0.0) == ("better", "same")


@pytest.mark.parametrize("values", [{"direction": "up"}, {"relative": -1.0}, {"absolute": math.nan}])
def test_bad_measures(values):
    with pytest.raises(InputError):
        Measure(1.0, **values)


def test_an_empty_mesh_has_numbers():
    assert measure(TetMesh(np.zeros((0, 3)), np.zeros((0, 4), dtype=np.int32)))["tets"].value == 0
