"""Invariance: `sim/verification/invariance.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.invariance import STUDY


def test_numbering_and_unit_do_not_matter(verify: Callable) -> None:
    verify(STUDY)
