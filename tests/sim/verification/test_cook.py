"""Cook's membrane: `sim/verification/cook.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.cook import STUDY


@pytest.mark.nightly
def test_cooks_membrane_rises_to_its_limit(verify: Callable) -> None:
    verify(STUDY)
