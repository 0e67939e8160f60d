"""Locking probe: `sim/verification/locking.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.locking import STUDY


@pytest.mark.nightly
def test_cures_free_nearly_incompressible_bodies(verify: Callable) -> None:
    verify(STUDY)
