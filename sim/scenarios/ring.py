"""Pull a body through a rigid ring that is too narrow for it; its surface feels the ring and itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.integrator import ImplicitEuler
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.scenarios.scenario import (
    Balance,
    Ends,
    Floats,
    Obstacle,
    Record,
    ScenarioResult,
    Tally,
    check_clamp,
    check_positive,
    check_whole,
    frame_steps,
    silent,
)
from sim.self_contact import SurfaceContact
from sim.solver import NewtonConfig


def torus(
    center: Floats, axis: int, radius: float, tube: float, around: int = 32, across: int = 12
) -> tuple[Floats, NDArray[np.int32]]:
    """Return points [m] and outward triangles of a torus about a coordinate axis.

    Args:
        radius: From the axis to the middle of the tube [m].
        tube: Radius of the tube [m].
    """
    a = 2.0 * np.pi * np.arange(around) / around
    b = 2.0 * np.pi * np.arange(across) / across
    a, b = (grid.ravel() for grid in np.meshgrid(a, b, indexing="ij"))
    points = np.zeros((len(a), 3))
    points[:, axis] = tube * np.sin(b)
    points[:, (axis + 1) % 3] = (radius + tube * np.cos(b)) * np.cos(a)
    points[:, (axis + 2) % 3] = (radius + tube * np.cos(b)) * np.sin(a)
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(around), np.arange(across), indexing="ij"))
    i1, j1 = (i + 1) % around, (j + 1) % across
    p, q, r, s = i * across + j, i1 * across + j, i1 * across + j1, i * across + j1
    faces = np.concatenate([np.stack([p, q, r], axis=1), np.stack([p, r, s], axis=1)])
    return points + center, faces.astype(np.int32)


@dataclass
class Ring:
    """The slimmer end of the longest side of the bounding box is pulled through a frictionless ring, in time.

    The ring is centred on that end. The value is the largest force of the pull; there is no closed form.
    """

    name: ClassVar[str] = "ring"
    value_name: ClassVar[str] = "largest pull"
    unit: ClassVar[str] = "N"

    opening: float = 0.9
    """Inner radius of the ring over that of the body, about the axis of the pull."""
    way: float = 0.6
    """Way of the pulled end, over the length of the body."""
    steps: int = 40
    """Time steps of equal way."""
    speed: float = 0.1
    """Speed of the pull over that of sound, sqrt(E / rho)."""
    clamp: float = 0.05
    """Thickness of the slab that is pulled, over the length."""
    contact_distance: float = 2e-3
    """Distance at which the ring begins to push, over the size."""
    contact_pressure: float = 0.1
    """Scale of the contact barrier over Young's modulus."""
    self_contact: bool = True
    """Whether the folds and limbs of the body push each other."""

    def __post_init__(self) -> None:
        if not isinstance(self.self_contact, bool):
            raise ValueError(f"ring.self_contact: expected true or false, got {self.self_contact!r}")
        check_whole(self, "steps")
        check_positive(self, "opening", "way", "speed", "contact_distance", "contact_pressure")
        check_clamp(self)

    def run(
        self, model: SoftBodyModel, solver: NewtonConfig | None = None, record: Record | None = None
    ) -> ScenarioResult:
        record = record or silent
        ends, rest = Ends.of(model), model.rest_positions
        cross = [(ends.axis + 1) % 3, (ends.axis + 2) % 3]

        def radii(points: Floats, center: Floats) -> Floats:
            return np.linalg.norm((points - center)[:, cross], axis=1)

        # The slimmer end goes first.
        slabs = ends.slabs(self.clamp)
        centers = [rest[slab].mean(axis=0) for slab in slabs]
        first = int(np.argmin([radii(rest[s], c).max() for s, c in zip(slabs, centers)]))
        slab, center, sign = slabs[first], centers[first].copy(), -1.0 if first == 0 else 1.0
        inner = self.opening * float(radii(rest, center).max())
        tube = 0.25 * inner
        d_hat = self.contact_distance * model.size
        tip = float(rest[slab, ends.axis].min() if first == 0 else rest[slab, ends.axis].max())
        center[ends.axis] = tip + sign * (tube + 2.0 * d_hat)
        ring = torus(center, ends.axis, inner + tube, tube)
        contact = SurfaceContact(
            model,
            *ring,
            d_hat=d_hat,
            pressure=self.contact_pressure * model.material.youngs_modulus,
            with_self=self.self_contact,
        )
        held = slab & (radii(rest, center) <= max(0.7 * inner, float(radii(rest[slab], center).min())))
        free = np.repeat(~held[:, None], 3, axis=1).astype(np.float64)
        elastic = elastic_of(model)
        tally = Tally(elastic)
        step = self.way * ends.length / self.steps
        sound = float(np.sqrt(model.material.youngs_modulus / model.material.density))
        euler = ImplicitEuler(model, [elastic, contact], step / (self.speed * sound), solver, free=free)
        pull = np.zeros(3)
        pull[ends.axis] = sign * step
        state = State.at_rest(model)
        frames, keep = [state.positions], frame_steps(self.steps)
        names = ("time", "way", "force", "passed", "inversions", "smallest_volume_ratio")
        series: dict[str, list[float]] = {name: [] for name in names}
        balance = Balance(model, [elastic, contact], rest)
        for number in range(self.steps):
            guess = state.positions.copy()
            guess[held] += pull
            before = state.positions
            state, result = euler.step(state, guess=guess, number=number)
            ratios = tally.add(result, state.positions)
            # What pulls bears all that does not balance there, inertia included.
            balance.add(
                (1.0 - free) * balance.gradient(euler.newton.energies, state.positions),
                state.positions - before,
            )
            along = sign * (state.positions[:, ends.axis] - center[ends.axis])
            row = (
                state.time,
                (number + 1) * step,
                sign * float(balance.gradient([elastic], state.positions)[held, ends.axis].sum()),
                float(model.masses[along > 0.0].sum()) / model.mass,
                (ratios <= 0).sum(),
                ratios.min(),
            )
            for values, value in zip(series.values(), row):
                values.append(float(value))
            if number + 1 in keep:
                frames.append(state.positions)
            record(number + 1, total=self.steps, iterations=result.iterations, force=row[2])
        results = {
            "value": max(series["force"]),
            "passed": series["passed"][-1],
            "inner_radius": inner,
            "length": ends.length,
            "held_vertices": float(held.sum()),
            "energy_balance": balance.share(state),
            "smallest_volume_ratio": series["smallest_volume_ratio"][-1],
            **tally.numbers(),
        }
        obstacle = Obstacle("ring", *ring, np.zeros((len(frames), 3)))
        numbers = {k: float(v) for k, v in results.items()}
        return ScenarioResult(numbers, series, frames, tally.worst(), [obstacle])
