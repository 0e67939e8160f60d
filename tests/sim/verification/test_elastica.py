"""Elastica: `sim/verification/elastica.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.elastica import STUDY


@pytest.mark.nightly
def test_slender_beam_follows_the_elastica(verify: Callable) -> None:
    verify(STUDY)
