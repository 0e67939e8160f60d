"""Rest stability: `sim/verification/rest_stability.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.rest_stability import STUDY


def test_rest_shape_has_no_stress(verify: Callable) -> None:
    verify(STUDY)
