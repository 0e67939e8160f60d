"""A free body has exactly six motions without resistance: three translations, three infinitesimal turns.

    |w_i^2| / w_7^2 < 1e-8 for i = 1 .. 6,   dense eigenvalues of M^-1/2 K M^-1/2

and the sparse solver counts as many, for linear and quadratic tets and every material.

Source: K is the Hessian of an energy that rigid motions do not change.
"""

from __future__ import annotations

import numpy as np

from sim.material import MATERIAL_NAMES, Material
from sim.modes import lowest_modes, mass_scaled, rest_stiffness
from sim.verification.bodies import kuhn_box, make_model
from sim.verification.study import Row, Study, at_most, within


def rows() -> list[Row]:
    """Find all eigenvalues of a small body."""
    found = []
    for degree, names in ((1, MATERIAL_NAMES), (2, ("stable_neo_hookean",))):
        for name in names:
            model = make_model(kuhn_box((3, 2, 2), (1.5, 1.0, 1.0), jitter=0.2), Material(name), degree)
            values = np.linalg.eigvalsh(mass_scaled(model, rest_stiffness(model)).toarray())
            found.append(
                at_most(f"P{degree} {name}: zero over lowest", np.abs(values[:6]).max() / values[6], 1e-8)
            )
            count = lowest_modes(model, 8).zero_count
            found.append(within(f"P{degree} {name}: zero modes counted", count, 6, 0))
    return found


STUDY = Study(11, "Free-free modes", rows)
