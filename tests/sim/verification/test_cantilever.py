"""Cantilever, small displacements: `sim/verification/cantilever.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.cantilever import STUDY


@pytest.mark.nightly
def test_cantilever_is_that_of_an_independent_code_and_of_the_beam(verify: Callable) -> None:
    verify(STUDY)
