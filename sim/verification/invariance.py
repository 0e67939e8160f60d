"""Invariance: the result does not depend on how vertices and tets are numbered, nor on the unit of length.

    an equilibrium after a permutation of vertices, of tets, an even permutation within every tet
    the same in millimetres: lengths and g times 1000, E over 1e6, forces equal

Tolerance 1e-6 as in the table, of the largest displacement.

Source: a solution is a property of the body; dimensional analysis.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Elastic, Energy, Gravity
from sim.material import Material
from sim.model import SoftBodyModel
from sim.verification.bodies import EXACT, Floats, Ints, hold, kuhn_box, solve
from sim.verification.study import Row, Study, at_most

EVEN = ((1, 2, 0, 3), (1, 0, 3, 2), (2, 0, 1, 3), (3, 2, 1, 0))


def _sag(points: Floats, tets: Ints, unit: float = 1.0) -> Floats:
    """Return the sag of a clamped block [unit], shape (n, 3); `unit` is how many make a metre."""
    # N = kg m / s^2: with the force unit kept, [Pa] goes with 1 / unit^2, mass with 1 / unit, so that density
    # goes with 1 / unit^4 and density times g stays a force per volume.
    material = Material("stable_neo_hookean", 2.0e4 / unit**2, 0.4, 1000.0 / unit**4)
    model = SoftBodyModel.from_arrays(points * unit, tets, material)
    free = hold(points[:, 0] < 1e-9)
    energies: list[Energy] = [Elastic(model), Gravity(model, (0.0, 0.0, -9.81 * unit))]
    return solve(model, energies, free, config=EXACT) - model.rest_positions


def rows() -> list[Row]:
    """Solve one block in six descriptions."""
    points, tets = kuhn_box((4, 2, 2), (1.0, 0.5, 0.5), jitter=0.2)
    rng = np.random.default_rng(0)
    base = _sag(points, tets)
    scale = np.abs(base).max()
    order = rng.permutation(len(points))
    number = np.argsort(order)
    permuted = np.stack([row[list(EVEN[k % len(EVEN)])] for k, row in enumerate(tets)])
    others = {
        "vertices renumbered": _sag(points[order], number[tets].astype(np.int32))[number],
        "tets renumbered": _sag(points, tets[rng.permutation(len(tets))]),
        "corners of tets permuted evenly": _sag(points, permuted),
        "in millimetres": _sag(points, tets, 1000.0) / 1000.0,
    }
    return [
        at_most(f"{name}: error / largest sag", np.abs(u - base).max() / scale, 1e-6)
        for name, u in others.items()
    ]


STUDY = Study(19, "Invariance", rows)
