"""Run one scenario on one body: the door to `sim` for plain arrays."""

from __future__ import annotations

from typing import overload

from numpy.typing import ArrayLike

from sim.material import Material
from sim.model import SoftBodyModel
from sim.motion import Motion
from sim.quadratic import with_element
from sim.scenarios import Record, Scenario, ScenarioResult, make_scenario
from sim.solver import NewtonConfig
from sim.trajectory import Trajectory


@overload
def simulate(
    points: ArrayLike,
    tets: ArrayLike,
    scenario: Motion,
    material: Material | None = ...,
    solver: NewtonConfig | None = ...,
    *,
    element: str = ...,
    record: Record | None = ...,
    device: str = ...,
) -> Trajectory: ...


@overload
def simulate(
    points: ArrayLike,
    tets: ArrayLike,
    scenario: Scenario | str,
    material: Material | None = ...,
    solver: NewtonConfig | None = ...,
    *,
    element: str = ...,
    record: Record | None = ...,
    device: str = ...,
) -> ScenarioResult: ...


def simulate(
    points: ArrayLike,
    tets: ArrayLike,
    scenario: Scenario | Motion | str,
    material: Material | None = None,
    solver: NewtonConfig | None = None,
    *,
    element: str = "linear",
    record: Record | None = None,
    device: str = "cpu",
) -> ScenarioResult | Trajectory:
    """Simulate a tetrahedral body.

    Args:
        points: Rest positions [m], Z up, shape (n, 3).
        tets: Vertex indices, shape (t, 4), positive volume.
        scenario: With its settings, or the name of one with default settings; a `Motion` gives a
            `Trajectory`, which has gradients.
        element: One of `ELEMENTS`: linear, averaged (volumes) or quadratic.

    Raises:
        ValueError: The arrays are no body, or the scenario or the element is not known.
        SimulationDiverged: A step was not solved; carries the last good state.
    """
    if isinstance(scenario, str):
        scenario = make_scenario(scenario)
    model = with_element(SoftBodyModel.from_arrays(points, tets, material, device=device), element)
    return scenario.run(model, solver, record)
