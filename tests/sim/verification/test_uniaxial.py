"""Uniaxial tension: `sim/verification/uniaxial.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.uniaxial import STUDY


def test_uniaxial_stress_and_lateral_stretch_are_those_of_the_closed_form(verify: Callable) -> None:
    verify(STUDY)
