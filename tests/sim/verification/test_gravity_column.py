"""Gravity column: `sim/verification/gravity_column.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.gravity_column import STUDY


def test_column_sags_by_the_closed_form(verify: Callable) -> None:
    verify(STUDY)
