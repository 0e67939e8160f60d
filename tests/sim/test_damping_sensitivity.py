"""Gradients of a roll-out with stiffness damping: remainders of second order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.integrator import IMPLICIT_INTEGRATORS
from sim.material import Material
from sim.model import SoftBodyModel
from sim.motion import Motion
from sim.solver import NewtonConfig


@pytest.mark.parametrize("name", IMPLICIT_INTEGRATORS)
def test_gradients_have_a_remainder_of_second_order(
    name: str, box: Callable, remainder_slope: Callable
) -> None:
    rng = np.random.default_rng(0)
    points, tets = box((1, 1, 1))
    points = points + 0.02 * rng.normal(size=points.shape)
    n, t, steps = len(points), len(tets), 5
    base = Material("stable_neo_hookean", 2.0e4, 0.3)
    weights = rng.normal(size=(steps + 1, n, 3))
    given = {
        "points": points,
        "mu": base.mu * rng.uniform(0.8, 1.2, t),
        "lam": base.lam * rng.uniform(0.8, 1.2, t),
        "positions": points + 0.02 * rng.normal(size=points.shape),
        "velocities": rng.normal(size=points.shape),
    }

    def run(**changes: np.ndarray) -> tuple:
        p = given | changes
        model = SoftBodyModel.from_arrays(p["points"], tets, base, mu=p["mu"], lam=p["lam"])
        motion = Motion(
            dt=0.01, steps=steps, integrator=name, positions=p["positions"], velocities=p["velocities"],
            stiffness_damping=0.02,
        )  # fmt: skip
        trajectory = motion.run(model, NewtonConfig(tolerance=1e-13))
        return float((weights * trajectory.positions).sum()), trajectory

    zero, trajectory = run()
    g = trajectory.backward(weights)
    directions = {
        "points": (0.01 * rng.normal(size=(n, 3)), g.rest_positions),
        "mu": (given["mu"] * rng.uniform(-0.5, 0.5, t), g.mu),
        "lam": (given["lam"] * rng.uniform(-0.5, 0.5, t), g.lam),
        "positions": (0.01 * rng.normal(size=(n, 3)), g.initial_positions),
        "velocities": (0.3 * rng.normal(size=(n, 3)), g.initial_velocities),
    }
    for key, (step, derivative) in directions.items():
        slope = remainder_slope(
            lambda e: run(**{key: given[key] + e * step})[0] if e else zero,  # noqa: B023
            float(np.sum(derivative * step)),
            (0.02, 0.01),
        )
        assert slope >= 1.95, (key, slope)
