"""Equibiaxial tension: `sim/verification/equibiaxial.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.equibiaxial import STUDY


def test_equibiaxial_stress_and_thickness_are_those_of_the_closed_form(verify: Callable) -> None:
    verify(STUDY)
