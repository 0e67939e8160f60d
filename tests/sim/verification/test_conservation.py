"""Conservation: `sim/verification/conservation.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.conservation import STUDY


def test_schemes_keep_what_they_should(verify: Callable) -> None:
    verify(STUDY)
