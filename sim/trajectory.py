"""Roll-outs that can be differentiated: `simulate(points, tets, Motion(...))` returns a `Trajectory`.

    step k    r(x_k; x_p, v_p, p) = 0,   v_k = (x_k - x_p) / h,   a_k = (v_k - v_p) / h

with the predictor x_p, v_p of `integrator.py`, linear in the states before. `backward` runs the chain in
reverse: one solve with the exact Hessian of each step, found again from the kept states. Memory is that of
the states alone, 48 to 72 bytes a vertex and step.

Source: as `sensitivity.py`; Geilinger et al. 2020, ADD, for the same of BDF steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.damping import rayleigh_damping
from sim.energy import DeadLoad, Energy, Gravity, GroundContact
from sim.friction import Friction
from sim.integrator import IMPLICIT_INTEGRATORS, ImplicitEuler, begin_step, predict
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.sensitivity import AdjointTerms, ParameterGradient
from sim.solver import NewtonConfig

Floats = NDArray[np.float64]


@dataclass
class TrajectoryGradient(ParameterGradient):
    """Derivatives of a loss on a trajectory."""

    initial_positions: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """[L/m], shape (n, 3)."""
    initial_velocities: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """[L s/m], shape (n, 3)."""


@dataclass
class Trajectory:
    """States of a body at every step, the first included."""

    integrator: ImplicitEuler
    states: list[State]
    newton_iterations: int = 0

    @property
    def times(self) -> Floats:
        """[s], shape (k + 1,)."""
        return np.array([state.time for state in self.states])

    @property
    def positions(self) -> Floats:
        """[m], shape (k + 1, n, 3)."""
        return np.stack([state.positions for state in self.states])

    @property
    def velocities(self) -> Floats:
        """[m/s], shape (k + 1, n, 3)."""
        return np.stack([state.velocities for state in self.states])

    def backward(
        self, position_gradient: Floats, velocity_gradient: Floats | None = None
    ) -> TrajectoryGradient:
        """Differentiate a loss on positions and velocities by all that the trajectory depends on.

        Args:
            position_gradient: dL/d positions, shape (k + 1, n, 3).
            velocity_gradient: dL/d velocities, shape (k + 1, n, 3); zero if None.

        Raises:
            ValueError: Wrong shape.
            TypeError: An energy has no derivative by its parameters (quadratic tets).
        """
        integrator, model = self.integrator, self.integrator.model
        shape = (len(self.states), model.vertex_count, 3)
        x_bar = np.array(position_gradient, dtype=np.float64)
        v_bar = np.zeros(shape) if velocity_gradient is None else np.array(velocity_gradient, np.float64)
        for name, given in (("position_gradient", x_bar), ("velocity_gradient", v_bar)):
            if given.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {given.shape}")
        a_bar = np.zeros(shape)
        terms = AdjointTerms(integrator.newton)
        lagged = [e for e in integrator.potential if hasattr(e, "begin_step")]
        for k in reversed(range(len(self.states) - 1)):
            state, after = self.states[k], self.states[k + 1]
            p = integrator.predictor(state)
            anchor, velocities = predict(p, state)
            h = p.length
            v_now = v_bar[k + 1] + a_bar[k + 1] / h
            x_now = x_bar[k + 1] + v_now / h
            anchor_bar, velocity_bar = -v_now / h, -a_bar[k + 1] / h
            integrator.inertia.dt = h
            integrator.inertia.target.assign(anchor + h * velocities)
            begin_step(integrator.potential, model.to_device(state.positions), model.to_device(anchor), h)
            terms.start[:] = 0.0
            z, held = terms.solve(after.positions, x_now)
            terms.add(after.positions, z, integrator.newton.energies)
            inertial = model.masses[:, None] * z / h**2
            # Damping and friction see x - x_p alone, so that their dr/dx_p is minus their Hessian.
            anchor_bar += inertial + terms.product(lagged, z)
            velocity_bar += inertial * h
            # A component that is held stays where it was.
            x_bar[k] += p.now * anchor_bar + held + terms.start
            v_bar[k] += p.now * velocity_bar + p.velocity * anchor_bar
            a_bar[k] += p.acceleration * velocity_bar
            if p.before:
                x_bar[k - 1] += p.before * anchor_bar
                v_bar[k - 1] += p.before * velocity_bar
        if a_bar[0].any():
            self._add_initial_acceleration(terms, lagged, x_bar, v_bar, a_bar)
        found = terms.gradient(np.zeros(shape[1:]))
        return TrajectoryGradient(**vars(found), initial_positions=x_bar[0], initial_velocities=v_bar[0])

    def _add_initial_acceleration(
        self, terms: AdjointTerms, lagged: list[Energy], x_bar: Floats, v_bar: Floats, a_bar: Floats
    ) -> None:
        # a_0 = -M^-1 grad E(x_0, v_0), see `accelerations_of`.
        integrator, model, state = self.integrator, self.integrator.model, self.states[0]
        assert state.accelerations is not None
        dt = integrator.dt
        z = integrator.newton.free * a_bar[0] / model.masses[:, None]
        anchor = model.to_device(state.positions - dt * state.velocities)
        begin_step(integrator.potential, model.to_device(state.positions), anchor, dt)
        terms.assemble(state.positions)
        terms.start[:] = 0.0
        terms.add(state.positions, z, integrator.potential)
        terms.masses -= (z * state.accelerations).sum(axis=1)
        anchor_bar = terms.product(lagged, z)
        x_bar[0] += anchor_bar + terms.start - terms.product(integrator.potential, z)
        v_bar[0] -= dt * anchor_bar


def roll_out(
    integrator: ImplicitEuler,
    state: State,
    steps: int,
    record: Callable[..., None] | None = None,
) -> Trajectory:
    """Take implicit steps and keep every state.

    Args:
        record: Called as record(step, total=..., iterations=...) after every step.

    Raises:
        SimulationDiverged: A step was not solved; carries the last good state.
    """
    states = [integrator.begin(state)]
    iterations = 0
    for number in range(steps):
        after, result = integrator.step(states[-1], number=number)
        states.append(after)
        iterations += result.iterations
        if record is not None:
            record(number + 1, total=steps, iterations=result.iterations)
    return Trajectory(integrator, states, iterations)


@dataclass
class Motion:
    """A differentiable roll-out in SI units, for `simulate`."""

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
    contact_distance: float | None = None
    """Distance at which the ground begins to push [m]; 2e-3 of the size if None. Constant for the gradients,
    like `contact_pressure`."""
    contact_pressure: float | None = None
    """Scale of the contact barrier [Pa]; a tenth of Young's modulus if None."""
    friction: float = 0.0
    """Coefficient of friction on the ground."""
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
        if self.ground is not None:
            pressure, distance = self.contact_pressure, self.contact_distance
            contact = GroundContact(
                model,
                d_hat=2e-3 * model.size if distance is None else distance,
                pressure=0.1 * model.material.youngs_modulus if pressure is None else pressure,
                offset=self.ground,
            )
            energies.append(contact)
            if self.friction:
                energies.append(Friction(contact, self.friction, self.slip_speed))
        energies += rayleigh_damping(model, self.mass_damping, self.stiffness_damping)
        start = State.at_rest(model)
        start = State(
            start.positions if self.positions is None else np.asarray(self.positions, dtype=np.float64),
            start.velocities if self.velocities is None else np.asarray(self.velocities, dtype=np.float64),
        )
        kind = IMPLICIT_INTEGRATORS[self.integrator]
        config = solver or NewtonConfig(tolerance=1e-9)
        return roll_out(kind(model, energies, self.dt, config, free=self.free), start, self.steps, record)
