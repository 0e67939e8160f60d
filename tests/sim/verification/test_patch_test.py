"""Patch test: `sim/verification/patch_test.py` says what and why."""

from __future__ import annotations

from collections.abc import Callable

from sim.verification.patch_test import STUDY


def test_irregular_mesh_reproduces_a_linear_map(verify: Callable) -> None:
    verify(STUDY)
