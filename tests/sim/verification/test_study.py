"""Rows hold by their rule; the suite is complete and each study says its equation and source."""

from __future__ import annotations

import numpy as np
import pytest

from sim.verification import STUDIES
from sim.verification.study import Row, Study, order_row


@pytest.mark.parametrize(
    ("rule", "measured", "passed"),
    [
        ("relative", 2.02, True),
        ("relative", 2.03, False),
        ("absolute", 2.01, True),
        ("absolute", 2.02, False),
        ("at_least", 2.0, True),
        ("at_least", 1.99, False),
        ("at_most", 2.0, True),
        ("at_most", 2.01, False),
        ("at_least", float("inf"), False),
        ("relative", float("nan"), False),
    ],
)
def test_row_holds_by_its_rule(rule: str, measured: float, passed: bool) -> None:
    # Expected 2, tolerance 0.0101: 1.01 % relative, 0.0101 absolute.
    assert Row("x", measured, 2.0, 0.0101, rule).passed == passed


def test_order_of_a_power_law_is_its_exponent() -> None:
    sizes = np.array([1.0, 0.5, 0.2])
    row = order_row("x", 3.0 * sizes**1.7, sizes, 1.6)
    assert row.measured == pytest.approx(1.7)
    assert row.passed


def test_studies_are_numbered_in_order() -> None:
    numbers = [study.number for study in STUDIES]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_says_its_source(study: Study) -> None:
    assert "Source: " in study.text
    assert "    " in study.text  # an equation, set off
