"""What a scenario is, what it finds, and what all of them count.

A scenario is a dataclass of settings with `run(model)`. Lengths and times are relative to the size of the
body, so that the same settings suit a toy and a building: `size` is the longest side of the bounding box
at rest. Z is up.

Every result has `value`, the number that the scenario is about, `reference` where a closed form exists
for the shape, `newton_iterations`, `linear_iterations`, `inversions` at the end, `peak_inversions`, the
smallest volume ratio of any tet at any step, and, where anything is put in, `energy_balance`: of equilibria
|work - energy| over the energy, in time what the steps of implicit Euler took over the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.energy import Elastic, Energy
from sim.model import SoftBodyModel, State
from sim.solver import NewtonConfig, SolveResult

Floats = NDArray[np.float64]
Record = Callable[..., None]
"""record(step, total=..., **numbers), called after every step."""

FRAME_LIMIT = 40
WORST_COUNT = 5
_PRISM = 0.995
"""Share of its bounding box from which on a body counts as a bar of constant rectangular section."""


@dataclass(frozen=True)
class Obstacle:
    """A rigid thing that the body touches, for those who watch: it moves as a whole and never turns."""

    name: str
    points: Floats
    """At the first kept frame [m], shape (m, 3)."""
    faces: NDArray[np.int32]
    """Outward triangles, shape (f, 3)."""
    offsets: Floats
    """Way from there at each kept frame [m], shape (k, 3)."""

    @staticmethod
    def slab(name: str, frames: list[Floats], face: Floats, below: bool) -> Obstacle:
        """A thick plate under or over a body, a quarter larger than all that the body covers.

        Args:
            frames: Kept positions [m], each of shape (n, 3).
            face: Height of the side that faces the body at each frame [m], shape (k,).
            below: Whether the body is above it.
        """
        low = np.min([x.min(axis=0) for x in frames], axis=0)
        high = np.max([x.max(axis=0) for x in frames], axis=0)
        margin = 0.125 * (high - low)[:2].max()
        thickness = 0.02 * float((high - low).max())
        corner = np.array([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)], dtype=np.float64)
        start = np.append(low[:2] - margin, face[0] - thickness if below else face[0])
        points = start + corner * np.append((high - low)[:2] + 2.0 * margin, thickness)
        offsets = np.zeros((len(frames), 3))
        offsets[:, 2] = face - face[0]
        return Obstacle(name, points, _BOX.copy(), offsets)


_BOX = np.array(
    [
        [[0, 2, 1], [1, 2, 3]],
        [[4, 5, 6], [5, 7, 6]],
        [[0, 1, 4], [1, 5, 4]],
        [[2, 6, 3], [3, 6, 7]],
        [[0, 4, 2], [2, 4, 6]],
        [[1, 3, 5], [3, 7, 5]],
    ],
    dtype=np.int32,
).reshape(-1, 3)
"""Outward triangles of a box whose corner k is at the bits of k: x, y, z."""


@dataclass
class ScenarioResult:
    """What one scenario found."""

    results: dict[str, float]
    """Numbers by name."""
    series: dict[str, list[float]]
    """Numbers per step, lists of one length."""
    frames: list[Floats] = field(default_factory=list)
    """At most FRAME_LIMIT positions [m], shape (n, 3), evenly spaced in steps; the last is the end."""
    worst: list[dict[str, Any]] = field(default_factory=list)
    """Tets that were squeezed most: tet, position at rest [m], metric, value."""
    obstacles: list[Obstacle] = field(default_factory=list)
    """What the body touched."""


class Scenario(Protocol):
    """Settings of one simulated test."""

    name: ClassVar[str]
    value_name: ClassVar[str]
    """What `value` is, in a few words."""
    unit: ClassVar[str]
    """Unit of `value`; empty for a ratio."""

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        """Simulate.

        Raises:
            SimulationDiverged: A step was not solved; carries the last good state.
        """


class Tally:
    """Counts what every scenario reports: iterations, and how far each tet was squeezed."""

    def __init__(self, elastic: Elastic) -> None:
        self.elastic = elastic
        self.newton = self.linear = self.peak = self.inverted = 0
        self.lowest = np.full(elastic.model.tet_count, np.inf)

    def add(self, result: SolveResult | None, positions: Floats) -> Floats:
        """Take one step; return the volume ratio of each tet, shape (t,)."""
        if result is not None:
            self.newton += result.iterations
            self.linear += result.linear_iterations
        ratios = self.elastic.volume_ratios(self.elastic.model.to_device(positions))
        self.lowest = np.minimum(self.lowest, ratios)
        self.inverted = int((ratios <= 0).sum())
        self.peak = max(self.peak, self.inverted)
        return ratios

    def numbers(self) -> dict[str, float]:
        """Return the counts as results."""
        return {
            "inversions": float(self.inverted),
            "peak_inversions": float(self.peak),
            "peak_smallest_volume_ratio": float(self.lowest.min()),
            "newton_iterations": float(self.newton),
            "linear_iterations": float(self.linear),
        }

    def worst(self) -> list[dict[str, Any]]:
        """Return the tets that were squeezed most."""
        model = self.elastic.model
        centroid = model.rest_positions[model.tets].mean(axis=1)
        return [
            {
                "tet": int(t),
                "position": centroid[t].tolist(),
                "metric": "smallest volume ratio",
                "value": float(self.lowest[t]),
            }
            for t in np.argsort(self.lowest)[:WORST_COUNT]
        ]


class Balance:
    """Work done on a body in time beside the energy in it.

    With forces at the end of each step, work - energy is what implicit Euler takes: never less than zero
    where the energies are convex.

    Args:
        model: Of the body.
        energies: That are stored in it.
        start: Positions at rest in them [m], shape (n, 3).
    """

    def __init__(self, model: SoftBodyModel, energies: Sequence[Energy], start: Floats) -> None:
        self._model, self._energies = model, list(energies)
        self._first = self._stored(start)
        self._work = self._largest = 0.0
        self._force = model.to_device(np.zeros_like(start))

    def _stored(self, positions: Floats) -> float:
        x = self._model.to_device(positions)
        return sum(energy.value(x) for energy in self._energies)

    def add(self, forces: Floats, way: Floats) -> None:
        """Take the work of forces [N] along a way [m], shape (n, 3) each."""
        self._work += float((forces * way).sum())
        self._largest = max(self._largest, abs(self._work))

    def gradient(self, energies: Sequence[Energy], positions: Floats) -> Floats:
        """Return the sum of the gradients of some energies [N], shape (n, 3)."""
        self._force.zero_()
        x = self._model.to_device(positions)
        for energy in energies:
            energy.gradient(x, self._force)
        return self._force.numpy().copy()

    def share(self, state: State) -> float:
        """Return the work that is not in the body any more, over the largest work so far."""
        kinetic = 0.5 * float(self._model.masses @ (state.velocities**2).sum(axis=1))
        kept = self._stored(state.positions) - self._first + kinetic
        return (self._work - kept) / max(self._largest, 1e-300)


@dataclass(frozen=True)
class Ends:
    """The two ends of a body along the longest side of its bounding box."""

    axis: int
    low: float
    """Lowest coordinate [m]."""
    length: float
    """[m]."""
    share: Floats
    """Place of each node between the ends, 0 to 1, shape (n,)."""
    model: SoftBodyModel

    @staticmethod
    def of(model: SoftBodyModel) -> Ends:
        rest = model.rest_positions
        axis = int(np.argmax(np.ptp(rest, axis=0)))
        low, length = float(rest[:, axis].min()), float(np.ptp(rest[:, axis]))
        return Ends(axis, low, length, (rest[:, axis] - low) / length, model)

    def slabs(self, thickness: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the vertices in the slab at each end, whose thickness is a share of the length.

        A midpoint belongs to a slab with both ends of its edge, so that all elements hold the same parts.
        """
        share = self.share[: self.model.mesh_vertex_count]
        low, high = (
            self.model.at_nodes(np.column_stack([share <= thickness, share >= 1.0 - thickness])) == 1.0
        ).T
        return low, high


def prism_section(model: SoftBodyModel, ends: Ends) -> tuple[float, float] | None:
    """Return the sides of the section [m], larger first, of a body that fills its bounding box; else None."""
    sides = np.ptp(model.rest_positions, axis=0)
    if float(model.volumes.sum()) < _PRISM * float(sides.prod()):
        return None
    a, b = sorted(np.delete(sides, ends.axis).tolist(), reverse=True)
    return a, b


def check_positive(settings: Any, *names: str) -> None:
    """Refuse values that are not positive and finite."""
    for name in names:
        value = getattr(settings, name)
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{settings.name}.{name}: expected a positive number, got {value}")


def check_whole(settings: Any, *names: str) -> None:
    """Refuse values that are no whole number from one on."""
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{settings.name}.{name}: expected a whole number from 1 on, got {value!r}")


def check_clamp(settings: Any) -> None:
    """Refuse a clamp that is no share below one half."""
    check_positive(settings, "clamp")
    if settings.clamp >= 0.5:
        raise ValueError(f"clamp: expected a share below 0.5, got {settings.clamp}")


def frame_steps(steps: int) -> set[int]:
    """Return the steps, of 1 to `steps`, after which positions are kept."""
    count = min(steps, FRAME_LIMIT - 1)
    return {int(s) for s in np.round(np.linspace(0, steps, count + 1))[1:]}


def silent(step: int, **values: float) -> None:
    """Record nothing."""
