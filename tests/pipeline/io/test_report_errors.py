"""The error bar in words."""

from __future__ import annotations

from pipeline.io.report_errors import error_bar, worst_elements
from pipeline.types import SimReport


def test_error_bar_says_how_far_each_value_is_off() -> None:
    scenarios = {
        "stretch": {"value_name": "initial stiffness", "error_estimate": {"small": 0.071}},
        "twist": {"value_name": "torque", "error_estimate": {"small": 0.2, "element": 0.25}},
        "ring": {"value_name": "pull", "error_estimate": {"element": None, "steps": -0.03}},
        "drop": {},
    }
    report = SimReport(checks=(), metrics={"sag_error": 0.338, "element": "linear"}, scenarios=scenarios)
    assert error_bar(report) == (
        "linear tets against quadratic ones: sag under own weight -34 %; stretch, initial stiffness +7.1 %; "
        "twist, torque +25 %; finite steps: ring, pull -3 %"
    )


def test_a_report_without_estimate_has_no_error_bar() -> None:
    assert error_bar(SimReport(checks=(), metrics={"sag_error": None}, scenarios={"drop": {}})) == ""


def test_worst_tet_of_each_kind_is_named_with_its_place() -> None:
    def row(tet: int, metric: str, value: float) -> dict[str, object]:
        return {"tet": tet, "position": [0.5, -2.0, 4.0625], "metric": metric, "value": value}

    report = SimReport(
        checks=(),
        metrics={"worst_elements": [row(4, "height [m]", 0.01), row(7, "height [m]", 0.02)]},
        scenarios={"drop": {"worst": [row(2, "volume ratio", -0.1)]}, "ring": {"status": "failed"}},
    )
    assert worst_elements(report) == (
        "tet 4 at (0.5, -2, 4.06), height [m] 0.01; tet 2 at (0.5, -2, 4.06), volume ratio in drop -0.1"
    )
    assert worst_elements(SimReport(checks=(), metrics={}, scenarios={})) == ""
