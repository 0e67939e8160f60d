"""Free-free modes: `sim/verification/free_modes.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.free_modes import STUDY


def test_free_body_has_six_zero_modes(verify: Callable) -> None:
    verify(STUDY)
