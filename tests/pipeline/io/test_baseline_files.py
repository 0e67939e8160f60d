"""Baselines come back exactly, updates keep what people edited, damaged ones are refused."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest

from pipeline.errors import InputError
from pipeline.io.baseline_files import (
    limit_rows,
    read_baseline,
    write_baseline,
    write_comparison,
    write_junit,
)
from pipeline.metrics.baseline import Comparison, Measure, Row, compare, measure
from pipeline.types import Check, SimReport

MEASURES = {
    "a": Measure(1 / 3, "higher", 0.02, 1e-9),
    "b": Measure(math.inf, "lower"),
    "c": Measure(math.nan),
    "d": Measure(-0.0, "equal", where="tet 3"),
}


def test_a_baseline_comes_back_exactly(tmp_path):
    back = read_baseline(write_baseline(tmp_path / "a b.json", MEASURES))
    assert list(back) == list(MEASURES)
    for name, old in MEASURES.items():
        new = back[name]
        assert new.value == old.value or math.isnan(old.value)
        assert (new.direction, new.relative, new.absolute) == (old.direction, old.relative, old.absolute)
    assert compare(MEASURES, back).passed


def test_an_update_keeps_edited_tolerances(tmp_path):
    edited = {"a": Measure(9.0, "equal", 0.5, 2.0)}
    back = read_baseline(write_baseline(tmp_path / "b.json", MEASURES, edited))
    assert back["a"] == Measure(1 / 3, "equal", 0.5, 2.0)
    assert back["b"] == MEASURES["b"]


def test_a_mesh_passes_its_own_baseline(tmp_path, make_box):
    measures = measure(make_box(2, seed=1))
    assert compare(measures, read_baseline(write_baseline(tmp_path / "b.json", measures))).passed


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "damaged baseline"),
        ("{", "damaged baseline"),
        ("[" * 100000, "damaged baseline"),
        ("[]", "not a baseline"),
        ("{}", "not a baseline"),
        ('{"metrics": {}}', "format None"),
        ('{"simmesh_baseline": 2, "metrics": {}}', "format 2"),
        ('{"simmesh_baseline": 1, "metrics": {"a": 1}}', "metric 'a': expected an object"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {}}}', "metric 'a': 'value'"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {"value": "x"}}}', "expected a number, got 'x'"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {"value": true}}}', "expected a number"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {"value": 1e999}}}', "too large"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {"value": 1, "direction": "up"}}}', "direction"),
        ('{"simmesh_baseline": 1, "metrics": {"a": {"value": 1, "relative": -1}}}', "relative"),
    ],
)
def test_damaged_baselines_are_refused(tmp_path, text, word):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        read_baseline(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_baseline_says_how_to_write_it(tmp_path):
    with pytest.raises(InputError, match="--update"):
        read_baseline(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(tmp_path)


COMPARISON = Comparison(
    (
        Row("a", "worse", 1.0, 2.0, 0.1, 'tet 3 at <0> & "here"\x00'),
        Row("b", "better", 3.0, 2.0),
        Row("c", "missing", None, math.inf),
        Row("d", "new", 1.0, None),
    )
)


def test_junit_holds_a_failure_for_each_bad_metric(tmp_path):
    root = ElementTree.parse(write_junit(tmp_path / "j.xml", COMPARISON, "büste.vtu")).getroot()
    suite = root.find("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("büste.vtu", "4", "2")
    failed = {case.get("name"): case.find("failure") for case in suite if case.find("failure") is not None}
    assert list(failed) == ["a", "c"]
    assert failed["a"].get("message") == "a is worse: 1.0 now, 2.0 before, 0.1 allowed"
    assert failed["a"].text == 'tet 3 at <0> & "here"'


def test_json_holds_every_row(tmp_path):
    data = json.loads(write_comparison(tmp_path / "c.json", COMPARISON, "m").read_text())
    assert (data["passed"], data["mesh"], len(data["metrics"])) == (False, "m", 4)
    assert data["metrics"][2] == {
        "name": "c", "status": "missing", "value": None, "baseline": "inf", "allowed": 0.0, "where": "",
    }  # fmt: skip


def test_limits_are_rows_too():
    report = SimReport((Check("gap", 0.5, 0.1, "min"), Check("error", 1.0, 1e-2, "max")))
    rows = limit_rows(report)
    assert [(row.name, row.passed) for row in rows] == [("limit.gap", True), ("limit.error", False)]
