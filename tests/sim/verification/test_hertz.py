"""Hertz contact: `sim/verification/hertz.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.hertz import STUDY


@pytest.mark.nightly
def test_sphere_presses_by_hertz(verify: Callable) -> None:
    verify(STUDY)
