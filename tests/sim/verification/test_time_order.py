"""Order of the integrators: `sim/verification/time_order.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.time_order import STUDY


def test_error_falls_with_the_order_of_the_integrator(verify: Callable) -> None:
    verify(STUDY)
