"""The door to `sim`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim import Material, Stretch, simulate


def test_simulate_takes_arrays_and_a_name_or_settings(box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2))
    by_settings = simulate(points, tets, Stretch(steps=2), Material(youngs_modulus=1.0e5), device=device)
    assert by_settings.results["force"] > 0.0
    with pytest.raises(ValueError, match="known: drop, stretch"):
        simulate(points, tets, "pinch")
