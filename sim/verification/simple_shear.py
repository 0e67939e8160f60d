"""Simple shear of a stable neo-Hookean block.

    F = I + g e1 e2^T   =>   J = 1,  P12 = mu g exactly

The boundary is sheared, the inside solved for. Tolerance 1e-8.

Source: as the uniaxial study; the determinant does not change with g, and dJ/dF12 = 0.
"""

from __future__ import annotations

import numpy as np

from sim.quadratic import elastic_of
from sim.verification.bodies import hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, near
from sim.verification.uniaxial import MATERIAL


def rows() -> list[Row]:
    """Shear one block."""
    found = []
    model = make_model(kuhn_box((3, 3, 3), jitter=0.2), MATERIAL)
    X = model.rest_positions
    free = hold(((X < 1e-9) | (X > 1.0 - 1e-9)).any(axis=1))
    elastic = elastic_of(model)
    for g in (0.1, 1.0):
        F = np.eye(3)
        F[0, 1] = g
        noise = 0.01 * free * np.random.default_rng(0).normal(size=X.shape)
        x = solve(model, [elastic], free, X @ F.T + noise)
        stress = elastic.stress(model.to_device(x))[:, 0, 1]
        ratios = elastic.volume_ratios(model.to_device(x))
        worst = stress[np.abs(stress - MATERIAL.mu * g).argmax()]
        found.append(near(f"g {g}: P12, worst tet [Pa]", worst, MATERIAL.mu * g, 1e-8))
        found.append(near(f"g {g}: J, worst tet", ratios[np.abs(ratios - 1.0).argmax()], 1.0, 1e-8))
    return found


STUDY = Study(6, "Simple shear", rows)
