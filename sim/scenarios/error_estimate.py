"""How wrong the value of a scenario may be: the same with quadratic tets, and with twice as many steps.

    small     the same ratio as element for small displacements, by one linear solve (`element_error.py`)
    element   value / value with quadratic tets - 1       the error of the linear tets
    steps     value / value with twice the steps - 1      half the error of a first-order method

Source: Richardson 1911 for the steps; `sim/quadratic.py` for the element.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sim.element_error import ElementError
from sim.errors import SimulationDiverged
from sim.model import SoftBodyModel
from sim.quadratic import refine_degree
from sim.scenarios import make_scenario
from sim.scenarios.scenario import Scenario, ScenarioResult
from sim.solver import NewtonConfig

log = logging.getLogger("simmesh")

ESTIMATES = ("none", "element", "steps", "both")
"""What `estimate_errors` can be asked for."""


def estimate_small(errors: ElementError, scenario: Scenario) -> dict[str, float | None]:
    """Estimate the error of a value from small displacements; empty for a scenario that has none.

    Args:
        errors: Of the model that the scenario ran with.

    Returns:
        "small": value / value with quadratic tets - 1; None where it was not found.
    """
    small_load = getattr(scenario, "small_load", None)
    if small_load is None:
        return {}
    try:
        given, finer = errors.energies(small_load(errors.model))
    except ArithmeticError as error:
        log.warning("the error of %s for small displacements was not found: %s", scenario.name, error)
        return {"small": None}
    return {"small": given / finer - 1.0}


def estimate_errors(
    model: SoftBodyModel,
    name: str,
    settings: Mapping[str, Any],
    found: ScenarioResult,
    kind: str,
    solver: NewtonConfig | None = None,
) -> dict[str, float | None]:
    """Run a scenario again in finer ways.

    Args:
        found: What it found the first time.
        kind: One of `ESTIMATES`.

    Returns:
        "element" and "steps" with their finer values as "element_value" and "steps_value"; None for a run
        that was not solved; without "steps" where the scenario has none.
    """
    errors: dict[str, float | None] = {}
    if kind in ("element", "both"):
        errors |= _compare("element", refine_degree(model), name, settings, found, solver)
    if kind in ("steps", "both") and "steps" in settings:
        finer = {**settings, "steps": 2 * settings["steps"]}
        errors |= _compare("steps", model, name, finer, found, solver)
    return errors


def _compare(
    key: str,
    model: SoftBodyModel,
    name: str,
    settings: Mapping[str, Any],
    found: ScenarioResult,
    solver: NewtonConfig | None,
) -> dict[str, float | None]:
    try:
        value = make_scenario(name, settings).run(model, solver).results["value"]
    except SimulationDiverged as error:
        log.warning("the error of %s by its %s was not found: %s", name, key, error)
        return {key: None, f"{key}_value": None}
    return {key: found.results["value"] / value - 1.0 if value else None, f"{key}_value": value}
