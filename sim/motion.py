"""A differentiable roll-out as settings: what falls, on what, how fast; `Trajectory` holds what comes of it.

Several bodies are several connected parts of one mesh (`join_bodies`). What touches starts apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.damping import rayleigh_damping
from sim.energy import DeadLoad, Energy, Gravity, GroundContact
from sim.friction import Friction
from sim.integrator import IMPLICIT_INTEGRATORS
from sim.model import SoftBodyModel, State
from sim.obstacles import SphereContact
from sim.quadratic import elastic_of
from sim.self_contact import MeshContact, SelfContact, SurfaceContact
from sim.solver import NewtonConfig
from sim.surface_friction import SurfaceFriction
from sim.trajectory import Trajectory, roll_out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SphereObstacle:
    """A solid sphere that does not move."""

    center: ArrayLike
    """[m], shape (3,)."""
    radius: float
    """[m]."""

    def contact(self, model: SoftBodyModel, d_hat: float, pressure: float) -> SphereContact:
        """Return the energy that keeps a model out."""
        return SphereContact(model, self.center, self.radius, d_hat=d_hat, pressure=pressure)


@dataclass(frozen=True)
class MeshObstacle:
    """A triangle surface that does not move, open or closed; both sides push."""

    points: ArrayLike
    """[m], shape (m, 3)."""
    faces: ArrayLike
    """Vertex indices, shape (g, 3)."""

    def contact(self, model: SoftBodyModel, d_hat: float, pressure: float) -> MeshContact:
        """Return the energy that keeps a model out."""
        return MeshContact(model, self.points, self.faces, d_hat=d_hat, pressure=pressure)


@dataclass
class Motion:
    """A differentiable roll-out in SI units, for `simulate`.

    What is given at the vertices of the mesh alone is carried on to the midpoints of quadratic tets:
    positions and velocities as means, `free` where one end is.
    """

    name: ClassVar[str] = "motion"

    dt: float
    """Time step [s]."""
    steps: int
    """Number of steps."""
    integrator: str = "implicit_euler"
    """One of `IMPLICIT_INTEGRATORS`."""
    gravity: tuple[float, float, float] = (0.0, 0.0, -9.81)
    """Acceleration [m/s^2]."""
    positions: Floats | None = None
    """Where the vertices begin [m], shape (n, 3); the rest positions if None."""
    velocities: Floats | None = None
    """How fast they begin [m/s], shape (n, 3); zero if None."""
    free: Floats | None = None
    """Components that may move, shape (n, 3) of 0 and 1; all if None."""
    loads: Floats | None = None
    """Constant forces [N], shape (n, 3)."""
    ground: float | None = None
    """Height of a plane below the body [m]; none if None."""
    obstacles: Sequence[SphereObstacle | MeshObstacle] = ()
    """What stands in the way."""
    self_contact: bool = False
    """Bodies feel themselves and each other."""
    contact_distance: float | None = None
    """Distance at which contacts begin to push [m]; 2e-3 of the size if None. Constant for the gradients,
    like `contact_pressure`."""
    contact_pressure: float | None = None
    """Scale of the contact barrier [Pa]; a tenth of Young's modulus if None."""
    friction: float = 0.0
    """Coefficient of friction of all contacts."""
    slip_speed: float = 1e-3
    """Speed from which on friction is full [m/s]."""
    mass_damping: float = 0.0
    """alpha of C = alpha M + beta K [1/s]."""
    stiffness_damping: float = 0.0
    """beta [s]."""

    def __post_init__(self) -> None:
        if not 0.0 < self.dt < np.inf:
            raise ValueError(f"motion.dt: expected a positive number [s], got {self.dt}")
        if self.steps < 1:
            raise ValueError(f"motion.steps: expected at least 1, got {self.steps}")
        if self.integrator not in IMPLICIT_INTEGRATORS:
            raise ValueError(
                f"motion.integrator: unknown name {self.integrator!r}; known: "
                f"{', '.join(IMPLICIT_INTEGRATORS)}"
            )

    def run(
        self,
        model: SoftBodyModel,
        solver: NewtonConfig | None = None,
        record: Callable[..., None] | None = None,
    ) -> Trajectory:
        """Simulate; Newton's tolerance is 1e-9 if no solver is given, for the sake of the gradients.

        Raises:
            SimulationDiverged: A step was not solved; carries the last good state.
        """
        energies: list[Energy] = [elastic_of(model), Gravity(model, self.gravity)]
        if self.loads is not None:
            energies.append(DeadLoad(model, self.loads))
        positions = model.rest_positions if self.positions is None else model.at_nodes(self.positions)
        velocities = np.zeros_like(positions) if self.velocities is None else model.at_nodes(self.velocities)
        for contact in self._contacts(model):
            _check_apart(contact, positions)
            energies.append(contact)
            if self.friction:
                of = SurfaceFriction if isinstance(contact, SurfaceContact) else Friction
                energies.append(of(contact, self.friction, self.slip_speed))
        energies += rayleigh_damping(model, self.mass_damping, self.stiffness_damping)
        kind = IMPLICIT_INTEGRATORS[self.integrator]
        config = solver or NewtonConfig(tolerance=1e-9)
        free = None if self.free is None else np.ceil(model.at_nodes(self.free))
        integrator = kind(model, energies, self.dt, config, free=free)
        return roll_out(integrator, State(positions, velocities), self.steps, record)

    def _contacts(self, model: SoftBodyModel) -> Iterable[Any]:
        pressure, d_hat = self.contact_pressure, self.contact_distance
        d_hat = 2e-3 * model.size if d_hat is None else d_hat
        pressure = 0.1 * model.material.youngs_modulus if pressure is None else pressure
        if self.ground is not None:
            yield GroundContact(model, d_hat=d_hat, pressure=pressure, offset=self.ground)
        for obstacle in self.obstacles:
            yield obstacle.contact(model, d_hat, pressure)
        if self.self_contact:
            yield SelfContact(model, d_hat=d_hat, pressure=pressure)


def join_bodies(*bodies: tuple[ArrayLike, ArrayLike]) -> tuple[Floats, NDArray[np.int32]]:
    """Return points, shape (n, 3), and tets, shape (t, 4), of several bodies as one mesh, in their order."""
    points = [np.asarray(p, dtype=np.float64) for p, _ in bodies]
    first = np.cumsum([0, *(len(p) for p in points)])
    tets = [np.asarray(t, dtype=np.int32) + start for (_, t), start in zip(bodies, first)]
    return np.concatenate(points), np.concatenate(tets).astype(np.int32)


def _check_apart(contact: Any, positions: Floats) -> None:
    """Refuse surfaces that cross at the start: they would stay so.

    Raises:
        ValueError: The message names the contact and the first triangles.
    """
    if not isinstance(contact, SurfaceContact):
        return
    crossed = contact.topology.crossed_faces(positions, with_self=contact.surface.with_self)
    if len(crossed):
        raise ValueError(
            f"{contact.name}: {len(crossed)} triangles cross at the start, first {crossed[:5].tolist()} "
            "(those of the bodies are counted first); move them apart"
        )
