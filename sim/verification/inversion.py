"""Inversion: the stable neo-Hookean energy is finite for det F <= 0, and crushed bodies recover.

    psi(F), P(F) finite for F = 0, rank one, rank two, reflections;   J -> 1 from any start

A block that stands on a held side is crushed a hundred times (all other vertices random in its box,
mirrored through a plane, or flattened to one with a seeded disturbance of a thousandth, for flattening is
a saddle) and brought to equilibrium; it has returned when every vertex is at rest to 1e-3 of the size. At
least 95 must. A block without any held vertex has more equilibria: from random positions about half of
them end folded through themselves, with every tet upright.

Source: Smith, de Goes, Kim 2018, sections 1 and 6.
"""

from __future__ import annotations

import numpy as np

from sim.errors import SimulationDiverged
from sim.material import Material
from sim.quadratic import elastic_of
from sim.solver import Newton, NewtonConfig
from sim.verification.bodies import Floats, energy_at, hold, kuhn_box, make_model, stresses_at
from sim.verification.study import Row, Study, at_least, near

CRUSHES = 100
MATERIAL = Material("stable_neo_hookean", 1.0e5, 0.4)


def crushed(X: Floats, number: int) -> Floats:
    """Return start positions of one crush: random, flat and inverted take turns."""
    rng = np.random.default_rng(number)
    kind = number % 3
    if kind == 0:
        return rng.uniform(0.0, 1.0, X.shape)
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    away = ((X - 0.5) @ normal)[:, None] * normal
    if kind == 1:
        return X - away + 1e-3 * rng.normal(size=X.shape)
    return X - 2.0 * away + 1e-3 * rng.normal(size=X.shape)


def rows() -> list[Row]:
    """Evaluate singular deformations, then crush one block."""
    rng = np.random.default_rng(0)
    singular = [
        np.zeros((3, 3)),
        np.outer(*rng.normal(size=(2, 3))),
        np.diag([1.0, 1.0, 0.0]),
        np.diag([1.0, 1.0, -1.0]),
        -np.eye(3),
        np.diag([-3.0, -2.0, 1.0]) @ rng.normal(size=(3, 3)),
    ]
    is_finite = [
        np.isfinite(energy_at(MATERIAL, F)) and np.isfinite(stresses_at(MATERIAL, F)).all() for F in singular
    ]
    model = make_model(kuhn_box((2, 2, 2)), MATERIAL)
    X = model.rest_positions
    free = hold(X[:, 2] < 1e-9)
    newton = Newton(model, [elastic_of(model)], NewtonConfig(max_iterations=500), free=free)
    returned = 0
    for number in range(CRUSHES):
        try:
            x, _ = newton.solve(np.where(free > 0.0, crushed(X, number), X))
        except SimulationDiverged:
            continue
        returned += bool(np.abs(x - X).max() <= 1e-3 * model.size)
    return [
        near(
            "share of singular F with finite energy and stress",
            float(np.mean(is_finite)),
            1.0,
            0.0,
        ),
        at_least("share of crushed blocks that return to rest", returned / CRUSHES, 0.95),
    ]


STUDY = Study(7, "Inversion", rows, is_long=True)
