"""Order of the integrators: differences of runs with dt, dt/2 and dt/4.

    |x_dt - x_dt/2| / |x_dt/2 - x_dt/4| = 2^p

A spinning, stretched block of stable neo-Hookean material in free fall, positions and velocities after 20
ms. p >= 0.9 for implicit and symplectic Euler, p >= 1.8 for BDF2 and the trapezoidal rule (Newmark's with
beta = 1/4).

Source: Hairer, Norsett, Wanner 1993, Solving Ordinary Differential Equations I, section II.3.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Elastic, Energy, Gravity
from sim.integrator import IMPLICIT_INTEGRATORS, SymplecticEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.verification.bodies import EXACT, Floats, kuhn_box
from sim.verification.study import Row, Study, order_row

DURATION = 0.02


def end_of(name: str, model: SoftBodyModel, start: State, steps: int) -> Floats:
    """Return positions [m] and velocities times the duration [m] at the end, shape (2 n, 3)."""
    energies: list[Energy] = [Elastic(model), Gravity(model)]
    state = start
    if name == "symplectic_euler":
        explicit = SymplecticEuler(model, energies, DURATION / steps)
        for _ in range(steps):
            state = explicit.step(state)
    else:
        implicit = IMPLICIT_INTEGRATORS[name](model, energies, DURATION / steps, EXACT)
        for _ in range(steps):
            state, _ = implicit.step(state)
    return np.concatenate([state.positions, DURATION * state.velocities])


def rows() -> list[Row]:
    """Run each integrator three times."""
    points, tets = kuhn_box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    start = State(points * [1.1, 1.0, 1.0], np.cross([0.0, 0.0, 2.0], points - 0.5))
    found = []
    orders = {"symplectic_euler": 1, **{name: kind.order for name, kind in IMPLICIT_INTEGRATORS.items()}}
    for name, order in orders.items():
        steps = 400 if name == "symplectic_euler" else 40
        a, b, c = (end_of(name, model, start, steps * k) for k in (1, 2, 4))
        errors = [np.linalg.norm(a - b), np.linalg.norm(b - c)]
        found.append(order_row(f"{name}: order", errors, [1.0, 0.5], 0.9 * order))
    return found


STUDY = Study(16, "Order of the integrators", rows)
