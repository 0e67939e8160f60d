"""Ground contact: `sim/verification/ground.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.ground import STUDY


def test_ground_carries_the_weight(verify: Callable) -> None:
    verify(STUDY)
