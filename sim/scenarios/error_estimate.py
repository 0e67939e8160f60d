"""How wrong the value of a scenario may be: the same with quadratic tets, and with half as many steps.

    small     the same ratio as element for small displacements, by one linear solve (`element_error.py`);
              of modal the lowest frequency of quadratic tets itself
    element   value / value with quadratic tets - 1                   the error of the linear tets
    steps     (v_k - v) / v  k / (n - k)   v by n steps, v_k by k     the error of a first-order method

Source: Richardson 1911 for the steps; `sim/quadratic.py` for the element.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.element_error import ElementError
from sim.errors import SimulationDiverged
from sim.model import SoftBodyModel
from sim.quadratic import refine_degree
from sim.scenarios import make_scenario
from sim.scenarios.modal import Modal
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
    if isinstance(scenario, Modal):
        given, finer = (scenario.run(m).results["value"] for m in (errors.model, errors.quadratic))
        return {"small": _relative(given - finer, finer)}
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
    """Run a scenario again with a finer element or with half as many steps (twice as many for a single one).

    Args:
        found: What it found the first time.
        kind: One of `ESTIMATES`.

    Returns:
        "element" and "steps" with the values of these runs as "element_value" and "steps_value"; None for a
        run that was not solved or found no value; without "steps" where the scenario has none.
    """
    errors: dict[str, float | None] = {}
    value = found.results["value"]
    if kind in ("element", "both"):
        finer = _value(refine_degree(model), name, settings, "element", solver)
        errors |= {"element": _relative(value - finer, finer), "element_value": _finite(finer)}
    if kind in ("steps", "both") and "steps" in settings:
        steps = settings["steps"]
        other = max(steps // 2, 1) if steps > 1 else 2
        again = _value(model, name, {**settings, "steps": other}, "steps", solver)
        errors |= {
            "steps": _relative((again - value) * other / (steps - other), value),
            "steps_value": _finite(again),
        }
    return errors


def _value(
    model: SoftBodyModel,
    name: str,
    settings: Mapping[str, Any],
    kind: str,
    solver: NewtonConfig | None,
) -> float:
    """Return the value of a run, not a number where it was not solved."""
    try:
        return make_scenario(name, settings).run(model, solver).results["value"]
    except SimulationDiverged as error:
        log.warning("the error of %s by its %s was not found: %s", name, kind, error)
        return float("nan")


def _relative(difference: float, value: float) -> float | None:
    return _finite(difference / value) if value else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
