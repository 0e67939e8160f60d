"""Gradients of roll-outs by implicit differentiation, 50 steps.

    Taylor remainder  |L(p + e d) - L(p) - e dL/dp . d| = O(e^2): slope >= 1.95 between e and e/2
    differences       dL/dp . d = (8 L(e) - 8 L(-e) - L(2e) + L(-2e)) / 12e to 1e-6, exact to e^4

for p: rest positions, mu and lam per tet, density, loads, first positions and velocities, friction; a
loss on all positions and velocities; without contact, with impact on the ground, and with friction there.
Each step is solved to 1e-13, so that what is left of a residual does not show.

Source: Griewank, Walther 2008, Evaluating Derivatives, chapter 15 (implicit function theorem).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.material import Material
from sim.model import SoftBodyModel
from sim.motion import Motion
from sim.solver import NewtonConfig
from sim.trajectory import Trajectory
from sim.verification.bodies import Floats, kuhn_box
from sim.verification.study import Row, Study, at_least, at_most

STEPS = 50
STEP = 0.001
CASES = {
    "implicit_euler, free": ("implicit_euler", False, 0.0),
    "implicit_euler, ground": ("implicit_euler", True, 0.0),
    "implicit_euler, ground and friction": ("implicit_euler", True, 0.4),
    "bdf2, ground and friction": ("bdf2", True, 0.4),
    "trapezoidal, free": ("trapezoidal", False, 0.0),
}


class _Scene:
    """One roll-out as a function of its parameters."""

    def __init__(self, integrator: str, has_ground: bool, friction: float) -> None:
        points, self.tets = kuhn_box((1, 1, 1), (0.5, 0.5, 0.5))
        rng = np.random.default_rng(0)
        points = points + 0.02 * rng.normal(size=points.shape)
        n, t = len(points), len(self.tets)
        base = Material("stable_neo_hookean", 2.0e4, 0.3)
        self.integrator, self.ground = integrator, points[:, 2].min() - 0.06 if has_ground else None
        self.weights, self.speeds = rng.normal(size=(2, STEPS + 1, n, 3))
        self.given: dict[str, Any] = {
            "rest positions": points,
            "mu": base.mu * rng.uniform(0.8, 1.2, t),
            "lam": base.lam * rng.uniform(0.8, 1.2, t),
            "density": 1000.0,
            "loads": 5.0 * rng.normal(size=(n, 3)),
            "first positions": points + 0.005 * rng.normal(size=(n, 3)),
            "first velocities": np.array([0.2, 0.1, -1.0]) + 0.1 * rng.normal(size=(n, 3)),
            "friction": friction,
        }
        self.directions: dict[str, Any] = {
            "rest positions": 0.01 * rng.normal(size=(n, 3)),
            "mu": self.given["mu"] * rng.uniform(-0.5, 0.5, t),
            "lam": self.given["lam"] * rng.uniform(-0.5, 0.5, t),
            "density": 500.0,
            "loads": 5.0 * rng.normal(size=(n, 3)),
            "first positions": 0.01 * rng.normal(size=(n, 3)),
            "first velocities": 0.3 * rng.normal(size=(n, 3)),
        }
        if friction:
            self.directions["friction"] = 0.2 * friction

    def run(self, **changes: Any) -> tuple[float, Trajectory]:
        p = self.given | changes
        material = Material("stable_neo_hookean", 2.0e4, 0.3, p["density"])
        model = SoftBodyModel.from_arrays(p["rest positions"], self.tets, material, mu=p["mu"], lam=p["lam"])
        motion = Motion(
            dt=0.01, steps=STEPS, integrator=self.integrator, positions=p["first positions"],
            velocities=p["first velocities"], loads=p["loads"], ground=self.ground, contact_distance=0.1,
            contact_pressure=4.0e3, mass_damping=0.5, friction=p["friction"], slip_speed=0.1,
        )  # fmt: skip
        trajectory = motion.run(model, NewtonConfig(tolerance=1e-13))
        loss = (self.weights * trajectory.positions).sum() + 0.1 * (self.speeds * trajectory.velocities).sum()
        return float(loss), trajectory

    def gradients(self) -> tuple[float, dict[str, Floats]]:
        loss, trajectory = self.run()
        g = trajectory.backward(self.weights, 0.1 * self.speeds)
        found = {
            "rest positions": g.rest_positions,
            "mu": g.mu,
            "lam": g.lam,
            "density": np.array(g.density),
            "loads": g.loads,
            "first positions": g.initial_positions,
            "first velocities": g.initial_velocities,
            "friction": np.array(g.friction),
        }
        return loss, found


def rows() -> list[Row]:
    """Differentiate every roll-out by every parameter."""
    found = []
    for label, settings in CASES.items():
        scene = _Scene(*settings)
        loss, gradients = scene.gradients()
        slopes, errors = {}, {}
        for key, step in scene.directions.items():
            derivative = float(np.sum(gradients[key] * step))

            def at(e: float, key: str = key, step: Any = step, scene: _Scene = scene) -> float:
                return scene.run(**{key: scene.given[key] + e * step})[0]

            values = {k: at(k * STEP) for k in (-2, -1, 1, 2)}
            remainders = [abs(values[k] - loss - k * STEP * derivative) for k in (2, 1)]
            slopes[key] = float(np.log2(remainders[0] / remainders[1]))
            difference = (8.0 * (values[1] - values[-1]) - values[2] + values[-2]) / (12.0 * STEP)
            errors[key] = abs(derivative - difference) / abs(difference)
        least, worst = min(slopes, key=slopes.__getitem__), max(errors, key=errors.__getitem__)
        found.append(at_least(f"{label}: slope of the remainder, least ({least})", slopes[least], 1.95))
        found.append(at_most(f"{label}: error against differences, worst ({worst})", errors[worst], 1e-6))
    return found


STUDY = Study(20, "Gradients through 50 steps", rows, is_long=True)
