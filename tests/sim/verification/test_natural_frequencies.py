"""Natural frequencies: `sim/verification/natural_frequencies.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.natural_frequencies import STUDY


def test_frequencies_are_those_of_beams_and_bars(verify: Callable) -> None:
    verify(STUDY)
