"""Rest stability: the rest shape has no stress, whatever Poisson's ratio.

    P(I) = 0

Tolerance: eight roundings of the stiffest modulus lam + 2 mu over mu, which is what cancels.

Source: Smith, de Goes, Kim 2018, Stable Neo-Hookean Flesh Simulation, section 3.3.
"""

from __future__ import annotations

import numpy as np

from sim.material import MATERIAL_NAMES, Material
from sim.verification.bodies import stresses_at
from sim.verification.study import Row, Study, at_most


def rows() -> list[Row]:
    """Evaluate every material at rest."""
    found = []
    for name in MATERIAL_NAMES:
        for nu in (0.0, 0.3, 0.49):
            material = Material(name, 1.0e6, nu)
            stress = np.abs(stresses_at(material, np.eye(3))).max() / material.mu
            bound = 8.0 * np.finfo(float).eps * (material.lam + 2.0 * material.mu) / material.mu
            found.append(at_most(f"{name}, nu {nu}: |P(I)| / mu", stress, bound))
    return found


STUDY = Study(2, "Rest stability", rows)
