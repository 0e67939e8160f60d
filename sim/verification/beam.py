"""The cantilever that several studies share: L = 1 m, square section 0.125 m, E = 10 MPa, its own weight.

    Euler-Bernoulli  w = q L^4 / (8 E I)
    Timoshenko       w = q L^4 / (8 E I) + q L^2 / (2 k G A),   k = 10 (1 + nu) / (12 + 11 nu)

Source: Timoshenko, Gere 1972, Mechanics of Materials; Cowper 1966 for k.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Gravity
from sim.material import Material
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import Floats, hold, kuhn_box, make_model, solve

LENGTH, SIDE, MODULUS, DENSITY, GRAVITY = 1.0, 0.125, 1.0e7, 1000.0, 0.981


def beam_model(cells: tuple[int, int, int], nu: float, degree: int = 1) -> SoftBodyModel:
    """Return the linear elastic beam."""
    body = kuhn_box(cells, (LENGTH, SIDE, SIDE))
    return make_model(body, Material("linear", MODULUS, nu, DENSITY), degree)


def sagged(model: SoftBodyModel, tolerance: float = 1e-9) -> Floats:
    """Return the displacements under the own weight, clamped at x = 0 [m], shape (n, 3)."""
    X = model.rest_positions
    weight = Gravity(model, (0.0, 0.0, -GRAVITY))
    x = solve(model, [elastic_of(model), weight], hold(X[:, 0] < 1e-9), config=NewtonConfig(tolerance))
    return x - X


def tip(model: SoftBodyModel, displacements: Floats) -> float:
    """Return how far the middle of the free end sinks [m]."""
    target = [LENGTH, SIDE / 2.0, SIDE / 2.0]
    return -float(displacements[np.linalg.norm(model.rest_positions - target, axis=1).argmin(), 2])


def bernoulli() -> float:
    """Return the deflection of the Euler-Bernoulli beam [m]."""
    load, inertia = DENSITY * GRAVITY * SIDE**2, SIDE**4 / 12.0
    return load * LENGTH**4 / (8.0 * MODULUS * inertia)


def timoshenko(nu: float) -> float:
    """Return the deflection of the Timoshenko beam [m]."""
    load, kappa = DENSITY * GRAVITY * SIDE**2, 10.0 * (1.0 + nu) / (12.0 + 11.0 * nu)
    shear = MODULUS / (2.0 * (1.0 + nu))
    return bernoulli() + load * LENGTH**2 / (2.0 * kappa * shear * SIDE**2)
