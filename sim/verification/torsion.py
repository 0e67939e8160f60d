"""Torsion of prismatic bars whose ends turn but may warp (Saint-Venant).

    square of side a   T = k G a^4 th / L,  k = 1/3 (1 - 192/pi^5 sum_odd tanh(n pi / 2) / n^5) = 0.1406
    circle, radius R   T = G (pi R^4 / 2) th / L

Both ends are turned in their plane as rigid sections and left free along the axis, so that the same
warping holds in every section. The torque of linear tets comes from above, with h^2: slope >= 1.8 between
the finest two meshes, limit by Richardson within 0.5 %. The circle is a square grid pressed to a disk,
whose polygon adds an error of h^2 too.

Source: Timoshenko, Goodier 1970, Theory of Elasticity, sections 109 and 111.
"""

from __future__ import annotations

import numpy as np

from sim.material import Material
from sim.quadratic import elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import Floats, elastic_force, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, near, order_row

MATERIAL = Material("linear", 1.0e6, 0.3)
ANGLE = 1e-3
LENGTH = 1.0 / 3.0


def to_disk(points: Floats) -> Floats:
    """Press the square [-1, 1]^2 of x and y to the unit disk, straight through the squares' rings."""
    x, y = points[:, 0], points[:, 1]
    ring = np.maximum(np.abs(x), np.abs(y))
    length = np.hypot(x, y)
    scale = np.divide(ring, length, out=np.ones_like(ring), where=length > 0.0)
    return np.stack([x * scale, y * scale, points[:, 2]], axis=1)


def torque(n: int, is_round: bool) -> float:
    """Return the torque of a bar of n cells across, side 2 or radius 1 [N m]."""
    points, tets = kuhn_box((n, n, n // 6), (2.0, 2.0, LENGTH))
    points = points - [1.0, 1.0, 0.0]
    if is_round:
        points = to_disk(points)
    model = make_model((points, tets), MATERIAL)
    X = model.rest_positions
    low, high = X[:, 2] < 1e-9, X[:, 2] > LENGTH - 1e-9
    free = np.ones_like(X)
    free[low | high, :2] = 0.0
    # The axis itself does not warp; holding one vertex takes the translation away.
    free[np.linalg.norm(X, axis=1).argmin(), 2] = 0.0
    start = X.copy()
    start[high, 0] -= ANGLE * X[high, 1]
    start[high, 1] += ANGLE * X[high, 0]
    x = solve(model, [elastic_of(model)], free, start, NewtonConfig(tolerance=1e-9))
    force = elastic_force(model, x)[high]
    return float((X[high, 0] * force[:, 1] - X[high, 1] * force[:, 0]).sum())


def square_constant() -> float:
    """Return k of the square."""
    n = np.arange(1, 400, 2)
    return float((1.0 - 192.0 / np.pi**5 * (np.tanh(n * np.pi / 2.0) / n**5).sum()) / 3.0)


def rows() -> list[Row]:
    """Turn both bars on three meshes."""
    found = [near("k of the square by its series, as published", square_constant(), 0.1406, 5e-4)]
    exact = {
        "square": square_constant() * MATERIAL.mu * 2.0**4 * ANGLE / LENGTH,
        "circle": MATERIAL.mu * np.pi / 2.0 * ANGLE / LENGTH,
    }
    counts = (6, 12, 24)
    for name, value in exact.items():
        torques = [torque(n, name == "circle") for n in counts]
        errors = np.abs(np.array(torques) / value - 1.0)
        found.append(order_row(f"{name}: order of the torque", errors, [1.0 / n for n in counts], 1.8))
        limit = torques[-1] + (torques[-1] - torques[-2]) / 3.0
        found.append(near(f"{name}: torque by Richardson [N m]", limit, value, 0.005))
    return found


STUDY = Study(12, "Torsion", rows, is_long=True)
