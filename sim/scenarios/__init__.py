"""Simulated tests of one body: boundary conditions, loads, duration, results; one file each.

    drop         falls from a height onto a frictionless plane, then is relaxed to rest
    stretch      both ends along the longest axis are clamped and pulled apart, in steps of equilibrium
    compress     the same, pressed together
    cantilever   one end is clamped, the weight bends it
    twist        one end is clamped, the other turned about the long axis
    press        pressed between two frictionless plates
    incline      the rough ground under it is tilted until it slides
    ring         pulled through a ring that is too narrow
    modal        lowest vibrations of the free body

A new scenario is a dataclass in a file of its own and a line in `SCENARIOS`; config finds it there by
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sim.scenarios.cantilever import Cantilever
from sim.scenarios.drop import Drop, compression
from sim.scenarios.incline import Incline
from sim.scenarios.modal import Modal
from sim.scenarios.press import Press
from sim.scenarios.ring import Ring
from sim.scenarios.scenario import FRAME_LIMIT, Record, Scenario, ScenarioResult
from sim.scenarios.stretch import Compress, Stretch
from sim.scenarios.twist import Twist

SCENARIOS: dict[str, type] = {
    Drop.name: Drop,
    Stretch.name: Stretch,
    Compress.name: Compress,
    Cantilever.name: Cantilever,
    Twist.name: Twist,
    Press.name: Press,
    Incline.name: Incline,
    Ring.name: Ring,
    Modal.name: Modal,
}
"""Every scenario by the name that a config gives."""

DEFAULT_SCENARIOS = ("drop", "stretch")
"""What `validate` runs unless it is told otherwise."""

__all__ = [
    "DEFAULT_SCENARIOS",
    "FRAME_LIMIT",
    "SCENARIOS",
    "Cantilever",
    "Compress",
    "Drop",
    "Incline",
    "Modal",
    "Press",
    "Record",
    "Ring",
    "Scenario",
    "ScenarioResult",
    "Stretch",
    "Twist",
    "compression",
    "default_settings",
    "make_scenario",
    "settings_of",
]


def default_settings() -> dict[str, dict[str, Any]]:
    """Return the settings of the scenarios that run by default, by name, as plain dictionaries."""
    return {name: settings_of(SCENARIOS[name]()) for name in DEFAULT_SCENARIOS}


def settings_of(scenario: Any) -> dict[str, Any]:
    """Return the settings of a scenario as a plain dictionary."""
    return asdict(scenario)


def make_scenario(name: str, settings: Mapping[str, Any] | None = None) -> Scenario:
    """Build a scenario from its name and settings.

    Raises:
        ValueError: Unknown name or setting (the message lists the known ones), or a value out of range.
    """
    if name not in SCENARIOS:
        raise ValueError(f"scenario: unknown name {name!r}; known: {', '.join(SCENARIOS)}")
    known = [f.name for f in fields(SCENARIOS[name])]
    for key in settings or {}:
        if key not in known:
            raise ValueError(f"scenario {name}: unknown setting {key!r}; known: {', '.join(known)}")
    return SCENARIOS[name](**(settings or {}))
