"""Inversion: the stable neo-Hookean energy is finite for det F <= 0, and crushed bodies recover.

    psi(F), P(F) finite for F = 0, rank one, rank two, reflections;   J -> 1 from any start

A block that nothing holds is crushed a hundred times (all vertices random in its box, mirrored through a
plane, or flattened to one with a seeded disturbance of a thousandth, for flattening is a saddle) and given
to `sim.recovery`; it has returned when every vertex is within 1e-3 of the size of the rest shape in its
best place, mirror images excluded. At least 95 must. A held side would be easier: it tells the others
where to go.

Source: Smith, de Goes, Kim 2018, sections 1 and 6.
"""

from __future__ import annotations

import numpy as np

from sim.errors import SimulationDiverged
from sim.material import Material
from sim.model import SoftBodyModel
from sim.recovery import recover
from sim.verification.bodies import Floats, energy_at, kuhn_box, make_model, stresses_at
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


def distance_to_rest(model: SoftBodyModel, x: Floats) -> float:
    """Return the largest distance of a vertex from the rest shape in its best place, over the size."""
    rest, moved = model.rest_positions - model.rest_positions.mean(axis=0), x - x.mean(axis=0)
    U, _, Vt = np.linalg.svd(rest.T @ moved)
    U[:, 2] *= np.linalg.det(U @ Vt)
    return float(np.abs(moved - rest @ U @ Vt).max() / model.size)


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
    returned = 0
    for number in range(CRUSHES):
        try:
            x = recover(model, crushed(model.rest_positions, number)).positions
        except SimulationDiverged:
            continue
        returned += distance_to_rest(model, x) <= 1e-3
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
