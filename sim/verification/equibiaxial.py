"""Equibiaxial tension of a stable neo-Hookean block whose third direction is free.

    F = diag(l, l, l3),  J = l^2 l3
    free      0 = mu l3 + lam' (J - a) l^2
    in plane  P = mu l + lam' (J - a) l l3

With lam' and a as in the uniaxial study; l3 follows in closed form, and P from it. Tolerance 1e-8.

Source: as the uniaxial study.
"""

from __future__ import annotations

from sim.quadratic import elastic_of
from sim.verification.bodies import elastic_force, hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, near
from sim.verification.uniaxial import MATERIAL


def rows() -> list[Row]:
    """Stretch one block in its plane."""
    found = []
    model = make_model(kuhn_box((2, 2, 2), jitter=0.2), MATERIAL)
    X = model.rest_positions
    far = X > 1.0 - 1e-9
    free = hold(X[:, 0] < -1.0)
    free[X < 1e-9] = 0.0
    free[far[:, 0], 0] = 0.0
    free[far[:, 1], 1] = 0.0
    mu, k = MATERIAL.mu, MATERIAL.lam + MATERIAL.mu
    a = 1.0 + mu / k
    for stretch in (0.85, 1.3):
        l3 = k * a * stretch**2 / (mu + k * stretch**4)
        exact = mu * stretch + k * (stretch**2 * l3 - a) * stretch * l3
        x = solve(model, [elastic_of(model)], free, X * [stretch, stretch, 1.0])
        force = elastic_force(model, x)
        found.append(near(f"l {stretch}: stress along x [Pa]", force[far[:, 0], 0].sum(), exact, 1e-8))
        found.append(near(f"l {stretch}: stress along y [Pa]", force[far[:, 1], 1].sum(), exact, 1e-8))
        found.append(near(f"l {stretch}: thickness", x[:, 2].max(), l3, 1e-8))
    return found


STUDY = Study(5, "Equibiaxial tension", rows)
