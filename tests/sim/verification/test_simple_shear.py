"""Simple shear: `sim/verification/simple_shear.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.simple_shear import STUDY


def test_simple_shear_keeps_the_volume_and_has_stress_mu_g(verify: Callable) -> None:
    verify(STUDY)
