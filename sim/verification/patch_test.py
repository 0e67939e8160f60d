"""Patch test: an irregular mesh whose boundary follows x = A X + b has it inside too.

    x = A X + b on the boundary   =>   x = A X + b at every inner vertex, the stress P(A) everywhere

A must have equilibrium by itself, which any constant F has. Tolerance: 1e-10 of the size and of the
stress, a thousand roundings of the solve in float64.

Source: Irons, Razzaque 1972; Hughes 2000, The Finite Element Method, section 4.6.
"""

from __future__ import annotations

import numpy as np

from sim.material import MATERIAL_NAMES, Material
from sim.nodal_volume import AVERAGED_MATERIALS, average_volumes
from sim.quadratic import elastic_of
from sim.verification.bodies import hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, at_most

A = np.eye(3) + np.array([[0.05, 0.08, 0.0], [0.0, 0.1, -0.04], [0.03, 0.0, -0.02]])
B = np.array([0.3, -0.2, 0.1])


def rows() -> list[Row]:
    """Solve from disturbed inner vertices, every material with linear tets, some with the others."""
    found = []
    elements = (
        ("P1", MATERIAL_NAMES),
        ("P2", ("stable_neo_hookean", "linear")),
        ("P1 averaged", AVERAGED_MATERIALS[:1]),
    )
    for element, names in elements:
        for name in names:
            body, material = kuhn_box((3, 3, 3), jitter=0.25), Material(name, 1.0e5, 0.3)
            model = make_model(body, material, 2 if element == "P2" else 1)
            model = average_volumes(model) if element == "P1 averaged" else model
            X = model.rest_positions
            free = hold(((X < 1e-9) | (X > 1.0 - 1e-9)).any(axis=1))
            noise = 0.01 * free * np.random.default_rng(0).normal(size=X.shape)
            x = solve(model, [elastic_of(model)], free, X @ A.T + B + noise)
            stress = elastic_of(model).stress(model.to_device(x))
            spread = np.abs(stress - stress.mean(axis=0)).max() / np.abs(stress).max()
            label = f"{element} {name}"
            found.append(at_most(f"{label}: position error / size", np.abs(x - X @ A.T - B).max(), 1e-10))
            found.append(at_most(f"{label}: spread of the stress", spread, 1e-10))
    return found


STUDY = Study(1, "Patch test", rows)
