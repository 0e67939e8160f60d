"""Every number of a simulation report that has a limit; `validate.limits` replaces the limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.types import Check


@dataclass(frozen=True)
class CheckRule:
    """A number of the report that has a limit."""

    name: str
    limit: float
    direction: str
    source: tuple[str, ...]
    """Path into {"metrics": ..., "scenarios": ...}."""
    description: str
    unit: str = ""


def _inversions(scenario: str) -> CheckRule:
    source = ("scenarios", scenario, "results", "inversions")
    return CheckRule(f"{scenario}_inversions", 0, "max", source, f"inverted tets at the end of {scenario}")


_QUALITY = ("metrics", "quality")
_DROP = ("scenarios", "drop", "results")
_STRETCH = ("scenarios", "stretch", "results")

CHECKS: tuple[CheckRule, ...] = (
    CheckRule(
        "structure_defects",
        0,
        "max",
        ("metrics", "structure_defects"),
        "flipped, flat, duplicate or hinged tets, faces in more than two tets, loose or coincident vertices",
    ),
    CheckRule("components", 1, "max", ("metrics", "components"), "pieces that no face joins"),
    CheckRule("extra_zero_modes", 0, "max", ("metrics", "extra_zero_modes"), "motions without resistance"),
    CheckRule(
        "min_dihedral_angle",
        5.0,
        "min",
        (*_QUALITY, "min_dihedral_angle", "min"),
        "smallest dihedral angle of a tet",
        "deg",
    ),
    CheckRule(
        "max_dihedral_angle",
        175.0,
        "max",
        (*_QUALITY, "max_dihedral_angle", "max"),
        "largest dihedral angle of a tet",
        "deg",
    ),
    CheckRule("drop_inversions", 0, "max", (*_DROP, "inversions"), "inverted tets after the fall, at rest"),
    CheckRule(
        "drop_reaction_error",
        1e-3,
        "max",
        (*_DROP, "reaction_error"),
        "difference of reaction and weight at rest, over the weight",
    ),
    CheckRule(
        "drop_max_compression",
        0.5,
        "max",
        (*_DROP, "max_compression"),
        "largest loss of extent along a side of the body, over that side",
    ),
    CheckRule(
        "drop_energy_gain",
        1e-3,
        "max",
        (*_DROP, "energy_gain"),
        "largest growth of energy in one step, over that of the fall",
    ),
    CheckRule(
        "drop_smallest_gap",
        0,
        "min",
        (*_DROP, "smallest_gap_over_size"),
        "smallest distance to the ground, over the size",
    ),
    CheckRule("stretch_inversions", 0, "max", (*_STRETCH, "inversions"), "inverted tets at full stretch"),
    CheckRule(
        "stretch_residual",
        1e-4,
        "max",
        (*_STRETCH, "residual"),
        "force out of balance at full stretch, over the largest force",
    ),
    *(_inversions(name) for name in ("compress", "cantilever", "twist", "press", "incline", "ring")),
)
"""Every check in the order of the report; a new one joins by its line here."""


def checks_of(values: Mapping[str, Any], limits: Mapping[str, float | None]) -> Iterable[Check]:
    """Hold the numbers of a report against limits.

    Args:
        values: "metrics" and "scenarios" of the report. Checks of a scenario that did not run are left out;
            any other number that is missing fails its check as not a number.
        limits: By the name of the check; None leaves it out.
    """
    for rule in CHECKS:
        limit = limits[rule.name]
        is_left_out = rule.source[0] == "scenarios" and rule.source[1] not in values["scenarios"]
        if limit is None or is_left_out:
            continue
        found: Any = values
        for key in rule.source:
            found = found.get(key) if isinstance(found, dict) else None
        value = float("nan") if found is None else float(found)
        yield Check(rule.name, value, float(limit), rule.direction, rule.unit, rule.description)
