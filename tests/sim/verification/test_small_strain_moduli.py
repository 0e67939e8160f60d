"""Small-strain moduli: `sim/verification/small_strain_moduli.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.small_strain_moduli import STUDY


def test_tangent_at_rest_has_the_given_moduli(verify: Callable) -> None:
    verify(STUDY)
