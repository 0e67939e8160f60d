"""Gradients of roll-outs: Taylor remainders of second order for every parameter, with and without contact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim import ELEMENTS, Material, Motion, SoftBodyModel, simulate, with_element
from sim.integrator import IMPLICIT_INTEGRATORS
from sim.solver import NewtonConfig

EXACT = NewtonConfig(tolerance=1e-13)


def check_gradients(
    box: Callable,
    slope_of: Callable,
    name: str,
    steps: int,
    *,
    has_ground: bool,
    is_held: bool = False,
    friction: float = 0.0,
    element: str = "linear",
) -> None:
    """Hold every gradient of one roll-out against the remainder of its Taylor expansion."""
    points, tets = box((1, 1, 1), (0.5, 0.5, 0.5), jitter=0.0)
    rng = np.random.default_rng(0)
    points = points + 0.02 * rng.normal(size=points.shape)
    n, t = len(points), len(tets)
    base = Material("stable_neo_hookean", 2.0e4, 0.3)
    low = points[:, 2].min()
    free = np.ones((n, 3))
    if is_held:
        free[:2] = 0.0
    nodes = with_element(SoftBodyModel.from_arrays(points, tets), element).vertex_count
    weights, speeds = rng.normal(size=(2, steps + 1, nodes, 3))
    given = {
        "points": points,
        "mu": base.mu * rng.uniform(0.8, 1.2, t),
        "lam": base.lam * rng.uniform(0.8, 1.2, t),
        "density": 1000.0,
        "friction": friction,
        "loads": 5.0 * rng.normal(size=(nodes, 3)),
        "positions": points + 0.005 * rng.normal(size=(n, 3)),
        "velocities": np.array([0.2, 0.1, -1.0]) * free + 0.1 * free * rng.normal(size=(n, 3)),
    }

    def run(**changes: object) -> tuple:
        p = given | changes
        material = Material("stable_neo_hookean", 2.0e4, 0.3, p["density"])
        model = SoftBodyModel.from_arrays(p["points"], tets, material, mu=p["mu"], lam=p["lam"])
        model = with_element(model, element)
        motion = Motion(
            dt=0.01, steps=steps, integrator=name, positions=p["positions"], velocities=p["velocities"],
            loads=p["loads"], free=free, ground=low - 0.06 if has_ground else None, contact_distance=0.1,
            contact_pressure=4.0e3, mass_damping=0.5, stiffness_damping=0.002, friction=p["friction"],
            slip_speed=0.1,
        )  # fmt: skip
        trajectory = motion.run(model, EXACT)
        loss = (weights * trajectory.positions).sum() + 0.1 * (speeds * trajectory.velocities).sum()
        return float(loss), trajectory

    _, trajectory = run()
    if has_ground:
        assert trajectory.positions[:, :, 2].min() < low  # it has met the layer above the ground
    g = trajectory.backward(weights, 0.1 * speeds)
    onto = trajectory.integrator.model.onto_vertices
    directions = {
        "points": (0.01 * rng.normal(size=(n, 3)), g.rest_positions),
        "mu": (given["mu"] * rng.uniform(-0.5, 0.5, t), g.mu),
        "lam": (given["lam"] * rng.uniform(-0.5, 0.5, t), g.lam),
        "density": (500.0, g.density),
        "loads": (50.0 * rng.normal(size=(nodes, 3)), g.loads),
        "positions": (0.01 * rng.normal(size=(n, 3)), onto(g.initial_positions)),
        "velocities": (0.3 * free * rng.normal(size=(n, 3)), onto(g.initial_velocities)),
    }
    if friction:
        directions["friction"] = (0.2 * friction, g.friction)
    for key, (step, derivative) in directions.items():
        slope = slope_of(
            lambda e: run(**{key: given[key] + e * step})[0],  # noqa: B023
            float(np.sum(derivative * step)),
            (0.00025, 0.000125),
        )
        assert slope >= 1.95, (key, slope)


@pytest.mark.parametrize("has_ground", [False, True], ids=["free", "ground"])
def test_gradients_have_a_remainder_of_second_order(
    has_ground: bool, box: Callable, remainder_slope: Callable
) -> None:
    check_gradients(box, remainder_slope, "implicit_euler", 8, has_ground=has_ground)


@pytest.mark.parametrize("name", ["bdf2", "trapezoidal"])
def test_gradients_of_second_order_integrators(name: str, box: Callable, remainder_slope: Callable) -> None:
    check_gradients(box, remainder_slope, name, 4, has_ground=False, is_held=True)


@pytest.mark.parametrize("element", ["averaged", "quadratic"])
def test_gradients_of_elements(element: str, box: Callable, remainder_slope: Callable) -> None:
    check_gradients(box, remainder_slope, "implicit_euler", 4, has_ground=True, friction=0.4, element=element)


def test_gradients_with_friction(box: Callable, remainder_slope: Callable) -> None:
    check_gradients(box, remainder_slope, "implicit_euler", 8, has_ground=True, friction=0.4)


@pytest.mark.nightly
@pytest.mark.parametrize("name", IMPLICIT_INTEGRATORS)
@pytest.mark.parametrize("element", ELEMENTS)
def test_gradients_with_friction_through_fifty_steps(
    element: str, name: str, box: Callable, remainder_slope: Callable
) -> None:
    check_gradients(box, remainder_slope, name, 50, has_ground=True, friction=0.4, element=element)


@pytest.mark.nightly
@pytest.mark.parametrize("has_ground", [False, True], ids=["free", "ground"])
@pytest.mark.parametrize("name", IMPLICIT_INTEGRATORS)
def test_gradients_through_fifty_steps(
    name: str, has_ground: bool, box: Callable, remainder_slope: Callable
) -> None:
    check_gradients(box, remainder_slope, name, 50, has_ground=has_ground)


def test_free_fall_has_the_gradients_of_its_closed_form(box: Callable, device: str) -> None:
    # Implicit Euler: z_k = z_0 + v_0 k dt + (f / m - g) dt^2 k (k + 1) / 2 of the centre of mass; density
    # and moduli do not matter.
    points, tets = box((1, 1, 1))
    k, dt, n = 5, 0.01, len(points)
    trajectory = simulate(
        points, tets, Motion(dt=dt, steps=k), Material("linear", 1.0e4), NewtonConfig(tolerance=1e-12),
        device=device,
    )  # fmt: skip
    upstream = np.zeros((k + 1, n, 3))
    model = trajectory.integrator.model
    share = model.masses / model.mass  # the centre of mass moves without any elastic force
    upstream[-1, :, 2] = share
    g = trajectory.backward(upstream)
    assert trajectory.times[-1] == pytest.approx(k * dt)
    assert g.initial_positions[:, 2].sum() == pytest.approx(1.0, rel=1e-10)
    assert g.initial_velocities[:, 2].sum() == pytest.approx(k * dt, rel=1e-10)
    assert g.loads[:, 2].sum() == pytest.approx(n * dt**2 * k * (k + 1) / 2 / model.mass, rel=1e-8)
    assert abs(g.density) < 1e-12
    assert np.abs(g.mu).max() < 1e-12


def test_upstream_of_another_shape_is_refused(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    trajectory = simulate(points, tets, Motion(dt=0.01, steps=2))
    with pytest.raises(ValueError, match=r"position_gradient: expected shape \(3, 8, 3\)"):
        trajectory.backward(np.zeros((2, 8, 3)))


@pytest.mark.parametrize("wrong", [{"dt": 0.0}, {"steps": 0}, {"integrator": "verlet"}])
def test_bad_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"motion.{next(iter(wrong))}"):
        Motion(**({"dt": 0.01, "steps": 1} | wrong))
