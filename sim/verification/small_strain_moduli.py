"""Small strains: the tangent of every material at rest has the Lamé moduli that were put in.

    dP(I; e) = 2 mu e + lam tr(e) I   for symmetric e

Central differences of P about I: e = eps diag(1, 1, 1)/3 gives 3 lam + 2 mu, e = eps (e1 e2^T + e2
e1^T)/2 gives mu. Tolerance 1e-4 as in the table; the differences themselves are exact to eps^2 = 1e-8.

Source: Hooke's law; Smith, de Goes, Kim 2018, section 3.4 for why an energy may miss it.
"""

from __future__ import annotations

import numpy as np

from sim.material import MATERIAL_NAMES, Material
from sim.verification.bodies import stresses_at
from sim.verification.study import Row, Study, near, within

EPSILON = 1e-4


def rows() -> list[Row]:
    """Difference the stress about rest."""
    found = []
    dilation = np.eye(3) / 3.0
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 0.5
    for name in MATERIAL_NAMES:
        for nu in (0.0, 0.3, 0.49):
            material = Material(name, 1.0e6, nu)
            above, below = (
                stresses_at(material, np.stack([np.eye(3) + s * EPSILON * e for e in (dilation, shear)]))
                for s in (1.0, -1.0)
            )
            slope = (above - below) / (2.0 * EPSILON)
            mu = slope[1, 0, 1]
            lam = (3.0 * slope[0, 0, 0] - 2.0 * mu) / 3.0
            label = f"{name}, nu {nu}"
            found.append(near(f"{label}: mu [Pa]", mu, material.mu, 1e-4))
            if nu > 0.0:
                found.append(near(f"{label}: lam [Pa]", lam, material.lam, 1e-4))
            else:
                found.append(within(f"{label}: lam / mu", lam / mu, 0.0, 1e-4))
    return found


STUDY = Study(3, "Small-strain moduli", rows)
