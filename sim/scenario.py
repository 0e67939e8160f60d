"""Simulated tests of one body: boundary conditions, loads, duration, results.

A scenario is a dataclass of settings with `run(model)`; list it in `SCENARIOS` and config finds it by name.
Lengths and times are relative to the size of the body, so that the same settings suit a toy and a building:
`size` is the longest side of the bounding box at rest. Z is up.

    drop      falls from `height` onto a frictionless plane, then is relaxed to rest
    stretch   both ends along the longest axis are clamped and pulled apart, in steps of equilibrium
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler, Relaxation
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.solver import Newton, NewtonConfig

Floats = NDArray[np.float64]
Record = Callable[..., None]
"""record(step, total=..., **numbers), called after every step."""

FRAME_LIMIT = 20


@dataclass
class ScenarioResult:
    """What one scenario found."""

    results: dict[str, float]
    """Numbers by name."""
    series: dict[str, list[float]]
    """Numbers per step, lists of one length."""
    frames: list[Floats] = field(default_factory=list)
    """At most FRAME_LIMIT positions [m], shape (n, 3), evenly spaced in steps; the last is the end."""


class Scenario(Protocol):
    """Settings of one simulated test."""

    name: ClassVar[str]

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        """Simulate.

        Raises:
            SimulationDiverged: A step was not solved; carries the last good state.
        """


@dataclass
class Drop:
    """Fall of a body from rest onto a frictionless plane, and its rest there."""

    name: ClassVar[str] = "drop"

    height: float = 0.05
    """Free height under the body at the start, over its size."""
    gravity: float = 9.81
    """Acceleration [m/s^2]."""
    steps: int = 40
    """Time steps from the first touch on."""
    duration: float = 1.0
    """Time from the first touch on, over sqrt(2 size / g), in which the body would fall its own size."""
    contact_distance: float = 2e-3
    """Distance at which the ground begins to push, over the size."""
    contact_pressure: float = 0.1
    """Scale of the contact barrier over Young's modulus."""
    settle_tolerance: float = 1e-4
    """The body is at rest when weight and reaction differ by less than this share."""

    def __post_init__(self) -> None:
        _whole(self, "steps")
        _positive(self, "height", "gravity", "duration", "contact_distance", "contact_pressure")
        _positive(self, "settle_tolerance")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or _silent
        size, g = model.size, self.gravity
        d_hat = self.contact_distance * size
        contact = GroundContact(
            model, d_hat=d_hat, pressure=self.contact_pressure * model.material.youngs_modulus
        )
        elastic, gravity = elastic_of(model), Gravity(model, (0.0, 0.0, -g))
        dt = self.duration * np.sqrt(2.0 * size / g) / self.steps
        euler = ImplicitEuler(model, [elastic, gravity, contact], dt, solver)

        start = model.rest_positions.copy()
        centre = (start.min(axis=0) + start.max(axis=0)) / 2.0
        start -= (centre[0], centre[1], start[:, 2].min() - d_hat - self.height * size)
        # Steps of free fall until the body is about to touch, exact by the formula of implicit Euler.
        state = State(start, np.zeros_like(start))
        fall = int(np.floor(np.sqrt(0.25 + 2.0 * self.height * size / (g * dt**2)) - 0.5))
        total_steps = fall + self.steps
        scale = model.mass * g * max(size * self.height, d_hat)
        keep = _frame_steps(total_steps)
        history = _History(model, contact, elastic, gravity)
        frames = [start]
        history.add(state)
        iterations = 0
        for number in range(total_steps):
            guess = None
            if number < fall:
                guess = state.positions + dt * state.velocities - np.array([0.0, 0.0, g * dt**2])
            state, result = euler.step(state, guess=guess, number=number)
            iterations += result.iterations
            history.add(state)
            if number + 1 in keep:
                frames.append(state.positions)
            record(number + 1, total=total_steps, iterations=result.iterations, gap=history.series["gap"][-1])

        relaxation = Relaxation(model, [elastic, gravity, contact], 4.0 * dt, solver)
        settled, share, settle_steps = relaxation.settle(
            state.positions, tolerance=self.settle_tolerance, weight=model.mass * g
        )
        frames[-1] = settled
        x = model.to_device(settled)
        ratios = elastic.volume_ratios(x)
        series = history.series
        weight = model.mass * g
        energy = np.array(series["energy"])
        results = {
            "fall_height": self.height * size,
            "dt": dt,
            "weight": weight,
            "reaction": contact.reaction(x),
            "reaction_error": abs(contact.reaction(x) / weight - 1.0),
            "unsettled_share": share,
            "settle_steps": float(settle_steps),
            "smallest_gap": min(min(series["gap"]), contact.gap(settled)),
            "smallest_gap_over_size": min(min(series["gap"]), contact.gap(settled)) / size,
            "max_compression": max(series["compression"]),
            "settled_compression": compression(model, settled),
            "peak_reaction_over_weight": max(series["reaction"]) / weight,
            "inversions": float((ratios <= 0).sum()),
            "peak_inversions": max(series["inversions"]),
            "smallest_volume_ratio": float(ratios.min()),
            "peak_smallest_volume_ratio": min(series["smallest_volume_ratio"]),
            "energy_gain": float(np.diff(energy).max(initial=0.0)) / scale,
            "energy_lost": float(energy[0] - energy[-1]) / scale,
            "newton_iterations": float(iterations),
        }
        return ScenarioResult({k: float(v) for k, v in results.items()}, series, frames)


def compression(model: SoftBodyModel, positions: Floats) -> float:
    """Return the largest loss of extent along a side of the body's box, over that side.

    The rotation of the linear map that fits the motion best is taken out first: a fall on the side is none.
    """
    weights = model.masses / model.mass
    rest = model.rest_positions - weights @ model.rest_positions
    moved = positions - weights @ positions
    weighted = weights[:, None] * rest
    fit = np.linalg.solve(weighted.T @ rest, weighted.T @ moved).T
    U, _, Vt = np.linalg.svd(fit)
    U[:, 2] *= np.sign(np.linalg.det(U @ Vt))
    upright = moved @ (U @ Vt)
    return float((1.0 - np.ptp(upright, axis=0) / np.ptp(rest, axis=0)).max())


class _History:
    """Series of a drop: one row per step."""

    def __init__(
        self,
        model: SoftBodyModel,
        contact: GroundContact,
        elastic: Elastic,
        gravity: Gravity,
    ) -> None:
        self.model, self.contact, self.elastic, self.gravity = model, contact, elastic, gravity
        names = ("time", "energy", "kinetic_energy", "elastic_energy", "contact_energy", "gravity_energy")
        more = ("height", "compression", "gap", "reaction", "inversions", "smallest_volume_ratio")
        self.series: dict[str, list[float]] = {name: [] for name in (*names, *more)}

    def add(self, state: State) -> None:
        x = self.model.to_device(state.positions)
        kinetic = 0.5 * float(self.model.masses @ (state.velocities**2).sum(axis=1))
        elastic = self.elastic.value(x)
        ratios = self.elastic.last_volume_ratios
        contact, gravity = self.contact.value(x), self.gravity.value(x)
        row = {
            "time": state.time,
            "energy": kinetic + elastic + contact + gravity,
            "kinetic_energy": kinetic,
            "elastic_energy": elastic,
            "contact_energy": contact,
            "gravity_energy": gravity,
            "height": np.ptp(state.positions[:, 2]),
            "compression": compression(self.model, state.positions),
            "gap": self.contact.gap(state.positions),
            "reaction": self.contact.reaction(x),
            "inversions": (ratios <= 0).sum(),
            "smallest_volume_ratio": ratios.min(),
        }
        for name, value in row.items():
            self.series[name].append(float(value))


@dataclass
class Stretch:
    """Both ends of the longest side of the bounding box clamped and pulled apart, quasi-static."""

    name: ClassVar[str] = "stretch"

    stretch: float = 1.2
    """Length at the end over the length at rest; below 1 compresses."""
    steps: int = 8
    """Steps of equal displacement."""
    clamp: float = 0.05
    """Thickness of the clamped slab at each end, over the length."""

    def __post_init__(self) -> None:
        _whole(self, "steps")
        _positive(self, "stretch", "clamp")
        if self.clamp >= 0.5:
            raise ValueError(f"clamp: expected a share below 0.5, got {self.clamp}")

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or _silent
        rest = model.rest_positions
        axis = int(np.argmax(np.ptp(rest, axis=0)))
        along = rest[:, axis]
        low, length = float(along.min()), float(np.ptp(along))
        share = (along - low) / length
        left, right = share <= self.clamp, share >= 1.0 - self.clamp
        fixed = left | right
        free = np.repeat(~fixed[:, None], 3, axis=1).astype(np.float64)
        elastic = elastic_of(model)
        newton = Newton(model, [elastic], solver, free=free)
        # Slabs stay rigid; between them the guess is stretched evenly.
        inner = np.clip((share - self.clamp) / (1.0 - 2.0 * self.clamp), 0.0, 1.0)
        positions = rest.copy()
        series: dict[str, list[float]] = {
            name: [] for name in ("stretch", "displacement", "force", "inversions", "smallest_volume_ratio")
        }
        frames = [positions]
        keep = _frame_steps(self.steps)
        iterations = 0
        pull = (self.stretch - 1.0) * length / self.steps
        gradient = model.to_device(np.zeros_like(rest))
        residual = 0.0
        for number in range(self.steps):
            positions = positions.copy()
            positions[:, axis] += pull * inner
            positions, result = newton.solve(positions, step=number)
            iterations += result.iterations
            residual = result.residual / max(result.scale, 1e-300)
            x = model.to_device(positions)
            ratios = elastic.volume_ratios(x)
            gradient.zero_()
            elastic.gradient(x, gradient)
            force = float(gradient.numpy()[right, axis].sum())
            done = (number + 1) / self.steps
            row = (
                1 + (self.stretch - 1) * done,
                pull * (number + 1),
                force,
                (ratios <= 0).sum(),
                ratios.min(),
            )
            for values, value in zip(series.values(), row):
                values.append(float(value))
            if number + 1 in keep:
                frames.append(positions)
            record(number + 1, total=self.steps, iterations=result.iterations, force=force)
        results = {
            "axis": float(axis),
            "length": length,
            "clamped_vertices": float(fixed.sum()),
            "force": series["force"][-1],
            "initial_stiffness": series["force"][0] / series["displacement"][0],
            "final_stiffness": series["force"][-1] / series["displacement"][-1],
            "inversions": series["inversions"][-1],
            "peak_inversions": max(series["inversions"]),
            "smallest_volume_ratio": series["smallest_volume_ratio"][-1],
            "residual": residual,
            "newton_iterations": float(iterations),
        }
        return ScenarioResult(results, series, frames)


SCENARIOS: dict[str, type] = {scenario.name: scenario for scenario in (Drop, Stretch)}
"""Every scenario by the name that a config gives."""


def default_settings() -> dict[str, dict[str, Any]]:
    """Return the settings of every scenario by name, as plain dictionaries."""
    return {name: settings_of(scenario()) for name, scenario in SCENARIOS.items()}


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


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{settings.name}.{name}: expected a positive number, got {value}")


def _whole(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{settings.name}.{name}: expected a whole number from 1 on, got {value!r}")


def _frame_steps(steps: int) -> set[int]:
    count = min(steps, FRAME_LIMIT - 1)
    return {int(s) for s in np.round(np.linspace(0, steps, count + 1))[1:]}


def _silent(step: int, **values: float) -> None:
    pass
