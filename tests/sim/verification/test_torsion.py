"""Torsion: `sim/verification/torsion.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.torsion import STUDY


@pytest.mark.nightly
def test_torque_converges_to_saint_venant(verify: Callable) -> None:
    verify(STUDY)
