"""Gradients through 50 steps: `sim/verification/gradients.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.gradients import STUDY


@pytest.mark.nightly
def test_gradients_have_a_remainder_of_second_order(verify: Callable) -> None:
    verify(STUDY)
