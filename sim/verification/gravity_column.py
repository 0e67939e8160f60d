"""A column under its own weight.

    sides held    u(z) = rho g (z^2/2 - H z) / (lam + 2 mu)                 exact in quadratic tets: 1e-9
    sides free    nu = 0: u(H) = -rho g H^2 / (2 E)                         exact too: 1e-9
                  nu > 0: the same for the mean of the top             1 %: the held bottom hinders widening
    reaction      forces of the support = weight                            1e-6

Source: uniaxial strain and uniaxial stress of Hooke's law with sigma_zz = -rho g (H - z).
"""

from __future__ import annotations

import numpy as np

from sim.energy import Gravity
from sim.material import Material
from sim.quadratic import elastic_of
from sim.verification.bodies import elastic_force, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, at_most, near

HEIGHT, MODULUS, DENSITY, G = 2.0, 1.0e6, 1000.0, 9.81


def rows() -> list[Row]:
    """Let three columns sag."""
    found = []
    for label, nu, is_confined, size in (
        ("sides held, nu 0.3", 0.3, True, (0.5, 0.5, HEIGHT)),
        ("sides free, nu 0", 0.0, False, (0.5, 0.5, HEIGHT)),
        ("sides free, nu 0.3", 0.3, False, (0.1, 0.1, HEIGHT)),
    ):
        material = Material("linear", MODULUS, nu, DENSITY)
        model = make_model(kuhn_box((2, 2, 10), size, jitter=0.1), material, 2)
        X = model.rest_positions
        z = X[:, 2]
        free = np.ones_like(X)
        if is_confined:
            free[:, :2] = 0.0
        free[z < 1e-9] = 0.0
        x = solve(model, [elastic_of(model), Gravity(model, (0.0, 0.0, -G))], free)
        u = (x - X)[:, 2]
        if is_confined:
            exact = DENSITY * G * (z**2 / 2.0 - HEIGHT * z) / (material.lam + 2.0 * material.mu)
            error = np.abs(u - exact).max() / np.abs(exact).max()
            found.append(at_most(f"{label}: error of u(z) / largest u", error, 1e-9))
        else:
            top = np.abs(z - HEIGHT) < 1e-9
            exact_top = -DENSITY * G * HEIGHT**2 / (2.0 * MODULUS)
            found.append(
                near(f"{label}: u of the top [m]", u[top].mean(), exact_top, 1e-9 if nu == 0.0 else 0.01)
            )
        reaction = elastic_force(model, x)[z < 1e-9, 2].sum() + G * model.load_masses[z < 1e-9].sum()
        found.append(near(f"{label}: reaction [N]", reaction, G * model.mass, 1e-6))
    return found


STUDY = Study(14, "Gravity column", rows)
