"""Friction on an incline: `sim/verification/incline.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.incline import STUDY


def test_block_sticks_and_slides_by_coulomb(verify: Callable) -> None:
    verify(STUDY)
