"""Elastica: a slender cantilever bent far by a dead force at its tip.

    E I th'' = -F cos th,   th(0) = 0,  th'(L) = 0;   w = int sin th ds,  u = L - int cos th ds

solved here as an initial value problem by shooting: th'(0) is sought so that th'(L) vanishes. Known: F
L^2 / EI = 1 gives w/L = 0.3017, u/L = 0.0564; 10 gives 0.8106, 0.5550. The beam is of 40 by 1 by 1 cells
of quadratic tets, stable neo-Hookean, nu = 0, L/h = 40; the load rises in steps. Tolerance 2 %: the
section's shear takes 0.1 %, the rest is the element's.

Source: Bisshopp, Drucker 1945, Large deflection of cantilever beams.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from sim.energy import DeadLoad, Energy
from sim.material import Material
from sim.quadratic import elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, near, within

CELLS, SIDE, MODULUS = 40, 0.025, 1.0e7
KNOWN = {1.0: (0.3017, 0.0564), 10.0: (0.8106, 0.5550)}


def elastica(load: float) -> tuple[float, float]:
    """Return w/L and u/L of the thin rod at F L^2 / EI."""

    def shoot(slope: float) -> np.ndarray:
        def right(_: float, y: np.ndarray) -> list[float]:
            return [y[1], -load * np.cos(y[0]), np.sin(y[0]), np.cos(y[0])]

        return solve_ivp(right, (0.0, 1.0), [0.0, slope, 0.0, 0.0], rtol=1e-11, atol=1e-12).y[:, -1]

    slope = brentq(lambda s: shoot(s)[1], 0.0, np.sqrt(2.0 * load) * (1.0 - 1e-9), xtol=1e-12)
    end = shoot(float(slope))
    return float(end[2]), float(1.0 - end[3])


def rows() -> list[Row]:
    """Load one beam twice."""
    found = []
    material = Material("stable_neo_hookean", MODULUS, 0.0)
    model = make_model(kuhn_box((CELLS, 1, 1), (1.0, SIDE, SIDE)), material, 2)
    X = model.rest_positions
    free = hold(X[:, 0] < 1e-9)
    end = X[:, 0] > 1.0 - 1e-9
    unit = np.zeros_like(X)
    unit[end, 2] = 1.0 / end.sum()
    stiffness = MODULUS * SIDE**4 / 12.0
    x, applied = X, 0.0
    for load, steps in ((1.0, 4), (10.0, 12)):
        w, u = elastica(load)
        for given, known, name in zip((w, u), KNOWN[load], ("w", "u")):
            found.append(within(f"F L^2/EI {load:g}: {name}/L by the ODE, as published", given, known, 5e-5))
        for step in range(1, steps + 1):
            force = applied + (load - applied) * step / steps
            energies: list[Energy] = [elastic_of(model), DeadLoad(model, force * stiffness * unit)]
            x = solve(model, energies, free, x, NewtonConfig(tolerance=1e-7))
        applied = load
        moved = (x - X)[end].mean(axis=0)
        found.append(near(f"F L^2/EI {load:g}: w/L", moved[2], w, 0.02))
        found.append(near(f"F L^2/EI {load:g}: u/L", -moved[0], u, 0.02))
    return found


STUDY = Study(9, "Elastica", rows, is_long=True)
