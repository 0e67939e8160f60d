"""Uniaxial tension and compression of a stable neo-Hookean block with free sides.

    F = diag(l1, l2, l2),  J = l1 l2^2,  lam' = lam + mu,  a = 1 + mu / lam'
    axial    P1 = mu l1 + lam' (J - a) l2^2
    lateral  0  = mu l2 + lam' (J - a) l1 l2

The lateral stretch is found by a scalar root solve, the block by finite elements on an irregular mesh:
force over rest area and lateral extent. Tolerance 1e-8: the residuals of two solves to 1e-12.

Source: stress of psi = mu/2 (I_C - 3) + lam'/2 (J - a)^2, Smith, de Goes, Kim 2018, equation 14 without
the logarithm.
"""

from __future__ import annotations

from scipy.optimize import brentq

from sim.material import Material
from sim.quadratic import elastic_of
from sim.verification.bodies import elastic_force, hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, near

MATERIAL = Material("stable_neo_hookean", 1.0e5, 0.4)


def lateral_stretch(axial: float, mu: float, lam: float) -> float:
    """Return l2 at the axial stretch l1."""
    k = lam + mu
    a = 1.0 + mu / k
    # The lateral equation over l2: mu + lam' (l1 l2^2 - a) l1 = 0 has one positive root.
    return float(brentq(lambda l2: mu + k * (axial * l2**2 - a) * axial, 0.1, 10.0, xtol=1e-15))


def rows() -> list[Row]:
    """Pull and press one block."""
    found = []
    model = make_model(kuhn_box((3, 2, 2), jitter=0.2), MATERIAL)
    X = model.rest_positions
    far = X[:, 0] > 1.0 - 1e-9
    free = hold(X[:, 0] < -1.0)
    free[X < 1e-9] = 0.0  # three planes of symmetry
    free[far, 0] = 0.0
    mu, lam = MATERIAL.mu, MATERIAL.lam
    k = lam + mu
    for l1 in (0.7, 1.2, 1.6):
        l2 = lateral_stretch(l1, mu, lam)
        x = solve(model, [elastic_of(model)], free, X * [l1, 1.0, 1.0])
        exact = mu * l1 + k * (l1 * l2**2 - 1.0 - mu / k) * l2**2
        found.append(near(f"l1 {l1}: axial stress [Pa]", elastic_force(model, x)[far, 0].sum(), exact, 1e-8))
        found.append(near(f"l1 {l1}: lateral stretch", x[:, 1].max(), l2, 1e-8))
    return found


STUDY = Study(4, "Uniaxial tension", rows)
