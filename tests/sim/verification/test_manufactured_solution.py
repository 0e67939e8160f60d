"""Manufactured solutions: `sim/verification/manufactured_solution.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.manufactured_solution import STUDY


@pytest.mark.nightly
def test_error_falls_with_the_order_of_the_element(verify: Callable) -> None:
    verify(STUDY)
