"""Quasi-static scenarios: some vertices are led along a path, the others follow in equilibrium."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sim.energy import Energy
from sim.errors import SimulationDiverged
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of
from sim.scenarios.scenario import Floats, Record, ScenarioResult, Tally, frame_steps
from sim.solver import Newton, NewtonConfig

Place = Callable[[float, float, Floats], Floats]
"""place(done, before, positions): where Newton starts [m], shape (n, 3), when the share `done` of the path is
reached after `before`; held vertices stay where this puts them."""
Measure = Callable[[Floats, Floats], dict[str, float]]
"""measure(positions, force): numbers of a step, from positions [m] and elastic gradient [N], (n, 3) each."""


def follow_path(
    model: SoftBodyModel,
    free: Floats,
    steps: int,
    place: Place,
    measure: Measure,
    *,
    energies: Sequence[Energy] = (),
    solver: NewtonConfig | None = None,
    record: Record,
) -> ScenarioResult:
    """Lead held vertices in equal steps and solve for the others.

    Args:
        free: Components that may move, shape (n, 3) of 0 and 1.
        energies: Besides the elastic one.

    Returns:
        `series`: "done", what `measure` says, "inversions", "smallest_volume_ratio"; `results`: the last of
        each, the tally, "residual" over the force scale, and "energy_balance": |work of the held vertices -
        elastic energy| over that energy, by the trapezoidal rule between steps.

    Raises:
        SimulationDiverged: An equilibrium was not found; carries the one before it.
    """
    elastic = elastic_of(model)
    newton = Newton(model, [elastic, *energies], solver, free=free)
    tally = Tally(elastic)
    positions = model.rest_positions.copy()
    frames, keep = [positions], frame_steps(steps)
    series: dict[str, list[float]] = {"done": []}
    force, work, residual = np.zeros_like(positions), 0.0, 0.0
    gradient = model.to_device(force)
    for number in range(steps):
        done = (number + 1) / steps
        before, last_force = positions, force
        try:
            positions, result = newton.solve(place(done, number / steps, positions), step=number)
        except SimulationDiverged as error:
            error.positions = before
            raise
        ratios = tally.add(result, positions)
        residual = result.residual / max(result.scale, 1e-300)
        gradient.zero_()
        elastic.gradient(model.to_device(positions), gradient)
        force = gradient.numpy().copy()
        work += float((0.5 * (force + last_force) * (positions - before)).sum())
        row = measure(positions, force)
        numbers = {"done": done, **row, "inversions": float((ratios <= 0).sum())}
        numbers["smallest_volume_ratio"] = float(ratios.min())
        for name, value in numbers.items():
            series.setdefault(name, []).append(float(value))
        if number + 1 in keep:
            frames.append(positions)
        record(number + 1, total=steps, iterations=result.iterations, **row)
    energy = elastic.value(model.to_device(positions))
    results = {name: values[-1] for name, values in series.items() if name != "done"}
    results |= tally.numbers()
    results["residual"] = residual
    results["energy_balance"] = abs(work - energy) / max(energy, 1e-300)
    return ScenarioResult(results, series, frames, tally.worst())
