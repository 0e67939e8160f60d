"""Drop: `sim/verification/drop.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.drop import STUDY


def test_dropped_block_lands_in_time_and_rests(verify: Callable) -> None:
    verify(STUDY)
