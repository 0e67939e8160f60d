"""Self-contact: `sim/verification/self_contact.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.self_contact import STUDY


@pytest.mark.nightly
def test_surfaces_never_cross(verify: Callable) -> None:
    verify(STUDY)
