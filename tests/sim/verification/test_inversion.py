"""Inversion: `sim/verification/inversion.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.inversion import STUDY


@pytest.mark.nightly
def test_crushed_bodies_return_to_rest(verify: Callable) -> None:
    verify(STUDY)
