"""Objectivity: `sim/verification/objectivity.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.objectivity import STUDY


def test_result_turns_with_the_scene(verify: Callable) -> None:
    verify(STUDY)
