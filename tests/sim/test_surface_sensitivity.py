"""Gradients of roll-outs with contact and friction between surfaces: remainders of second order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.energy import DeadLoad, Elastic, Gravity
from sim.friction import Friction
from sim.integrator import IMPLICIT_INTEGRATORS
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.obstacles import SphereContact
from sim.quadratic import elastic_of, with_element
from sim.self_contact import MeshContact, SelfContact
from sim.sensitivity import AdjointTerms
from sim.solver import Newton, NewtonConfig
from sim.surface_friction import SurfaceFriction
from sim.trajectory import Trajectory, roll_out

ROOF = np.array([[-3.0, -2.0, -0.1], [3.1, -2.2, -0.12], [0.1, 3.0, -0.09], [0.2, 0.3, 0.03]])
SIDES = np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3]])
EXACT = NewtonConfig(tolerance=1e-13)


def check_gradients(
    kind: str,
    friction: float,
    steps: int,
    name: str,
    box: Callable,
    slope_of: Callable,
    element: str = "linear",
) -> None:
    """Hold every gradient of one impact against the remainder of its Taylor expansion."""
    rng = np.random.default_rng(0)
    points, tets = box((1, 1, 1), (0.5, 0.5, 0.5))
    points = points + 0.02 * rng.normal(size=points.shape)
    free = np.ones_like(points)
    speed = np.tile([0.3, 0.1, -1.0], (8, 1))
    if kind == "self":  # one block falls on another that stands
        turn = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
        above = 0.8 * (points + 0.02 * rng.normal(size=points.shape)) @ turn.T + [0.1, 0.15, 0.62]
        free[points[:, 2].argsort()[:4]] = 0.0
        free = np.concatenate([free, np.ones_like(points)])
        speed = np.concatenate([np.zeros_like(speed), speed])
        points, tets = np.concatenate([points, above]), np.concatenate([tets, tets + 8])
    else:
        points = points + np.array([0.0, 0.0, 0.12])
    n, t = len(points), len(tets)
    base = Material("stable_neo_hookean", 2.0e4, 0.3)
    at_rest = with_element(SoftBodyModel.from_arrays(points, tets), element)
    nodes, free = at_rest.vertex_count, np.ceil(at_rest.at_nodes(free))
    weights, speeds = rng.normal(size=(2, steps + 1, nodes, 3))
    given = {
        "points": points,
        "mu": base.mu * rng.uniform(0.8, 1.2, t),
        "lam": base.lam * rng.uniform(0.8, 1.2, t),
        "density": 1000.0,
        "friction": friction,
        "loads": 5.0 * rng.normal(size=(nodes, 3)),
        "positions": at_rest.rest_positions + 0.002 * rng.normal(size=(nodes, 3)),
        "velocities": at_rest.at_nodes(speed) * free,
    }

    def run(**changes: object) -> tuple[float, Trajectory, float]:
        p = given | changes
        material = Material("stable_neo_hookean", 2.0e4, 0.3, p["density"])
        model = SoftBodyModel.from_arrays(p["points"], tets, material, mu=p["mu"], lam=p["lam"])
        model = with_element(model, element)
        if kind == "sphere":
            contact = SphereContact(model, (0.3, 0.25, -1.0), 1.03, d_hat=0.1, pressure=4.0e3)
        elif kind == "mesh":
            contact = MeshContact(model, ROOF, SIDES, d_hat=0.1, pressure=4.0e3)
        else:
            contact = SelfContact(model, d_hat=0.1, pressure=4.0e3)
        energies = [elastic_of(model), Gravity(model), DeadLoad(model, p["loads"]), contact]
        if friction:
            of = Friction if kind == "sphere" else SurfaceFriction
            energies.append(of(contact, p["friction"], slip_speed=0.1))
        integrator = IMPLICIT_INTEGRATORS[name](model, energies, 0.01, EXACT, free=free)
        trajectory = roll_out(integrator, State(p["positions"], p["velocities"]), steps)
        loss = (weights * trajectory.positions).sum() + 0.1 * (speeds * trajectory.velocities).sum()
        pressed = max(contact.value(model.to_device(state.positions)) for state in trajectory.states)
        return float(loss), trajectory, pressed

    zero, trajectory, pressed = run()
    assert pressed > 1.0  # J: the layers have met
    g = trajectory.backward(weights, 0.1 * speeds)
    directions = {
        "points": (0.01 * rng.normal(size=(n, 3)), g.rest_positions),
        "mu": (given["mu"] * rng.uniform(-0.5, 0.5, t), g.mu),
        "lam": (given["lam"] * rng.uniform(-0.5, 0.5, t), g.lam),
        "density": (500.0, g.density),
        "loads": (50.0 * rng.normal(size=(nodes, 3)), g.loads),
        "positions": (0.01 * rng.normal(size=(nodes, 3)), g.initial_positions),
        "velocities": (0.3 * free * rng.normal(size=(nodes, 3)), g.initial_velocities),
    }
    if friction:
        # The loss bends little with friction: with a step of a fifth rounding is a tenth of the remainder.
        directions["friction"] = (0.8 * friction, g.friction)
    # Where the nearest point of a pair passes from a face to an edge the derivative of its force jumps, and
    # that of the trajectory: beyond, on one side. A wrong derivative has slope one on both.
    signs = (1.0,) if kind == "sphere" else (1.0, -1.0)
    for key, (step, derivative) in directions.items():
        slopes = (
            slope_of(
                lambda e: run(**{key: given[key] + sign * e * step})[0] if e else zero,  # noqa: B023
                float(np.sum(sign * derivative * step)),
                (0.0002, 0.0001),
            )
            for sign in signs
        )
        assert any(slope >= 1.95 for slope in slopes), key


@pytest.mark.parametrize("friction", [0.0, 0.4], ids=["smooth", "rough"])
@pytest.mark.parametrize("kind", ["self", "mesh", "sphere"])
def test_gradients_have_a_remainder_of_second_order(
    kind: str, friction: float, box: Callable, remainder_slope: Callable
) -> None:
    check_gradients(kind, friction, 8, "implicit_euler", box, remainder_slope)


@pytest.mark.nightly
@pytest.mark.parametrize("friction", [0.0, 0.4], ids=["smooth", "rough"])
@pytest.mark.parametrize("name", IMPLICIT_INTEGRATORS)
@pytest.mark.parametrize("kind", ["self", "mesh", "sphere"])
def test_gradients_through_fifty_steps(
    kind: str, name: str, friction: float, box: Callable, remainder_slope: Callable
) -> None:
    check_gradients(kind, friction, 50, name, box, remainder_slope)


def test_thickness_of_a_pair_follows_its_distance_at_rest(box: Callable, remainder_slope: Callable) -> None:
    # A squeezed body whose layer is as thick as itself: pairs push at half their distance at rest.
    rng = np.random.default_rng(3)
    points, tets = box((2, 1, 1))
    points = points + 0.03 * rng.normal(size=points.shape)
    squeezed = points * [0.42, 1.0, 1.0]
    z = rng.normal(size=points.shape)
    step = 0.05 * rng.normal(size=points.shape)
    found = {}

    def work(e: float) -> float:
        model = SoftBodyModel.from_arrays(points + e * step, tets)
        contact = SelfContact(model, d_hat=3.0, pressure=2.0)
        x = model.to_device(squeezed)
        out = model.to_device(np.zeros_like(points))
        contact.gradient(x, out)
        if not e:
            terms = AdjointTerms(Newton(model, [Elastic(model), contact]))
            terms.add(squeezed, z, [contact])
            found["slope"] = -float((terms.gradient(np.zeros_like(points)).rest_positions * step).sum())
        return float((z * out.numpy()).sum())

    assert work(0.0) != 0.0
    assert remainder_slope(work, found["slope"], (0.002, 0.001)) >= 1.95


@pytest.mark.parametrize("kind", ["self", "mesh", "sphere"])
def test_gradients_of_quadratic_bodies(kind: str, box: Callable, remainder_slope: Callable) -> None:
    check_gradients(kind, 0.4, 6, "implicit_euler", box, remainder_slope, "quadratic")
