"""Cantilever under its own weight, small displacements.

The beam of `beam.py`, clamped at one end, middle of the free end at nu = 0.3:

    linear tets      the same answer as an independent code on the same mesh (1e-6), and an error that falls
                     with h^2 against the quadratic solution: slope >= 1.8 between the finest two of three
    quadratic tets   1,296 of them within 2 % of Timoshenko's beam

The independent code is scikit-fem where it is installed, otherwise the three digits that it gave. The
full clamp hinders the Poisson contraction, which no beam theory knows: 2 % is for that.

Source: `beam.py`; Hughes 2000, section 4.1 for the order.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from sim.model import SoftBodyModel
from sim.quadratic import refine_degree
from sim.verification.beam import DENSITY, GRAVITY, beam_model, sagged, timoshenko, tip
from sim.verification.bodies import Floats
from sim.verification.study import Row, Study, near, order_row

CELLS = ((24, 3, 3), (48, 6, 6), (96, 12, 12))
TABLE = 0.681
"""Tip over Timoshenko's of 1,296 linear tets at nu = 0.3, scikit-fem 12."""


def peer_displacements(model: SoftBodyModel) -> Floats:
    """Return the displacements of the linear tets of a model by scikit-fem [m], shape (n, 3)."""
    from skfem import Basis, ElementTetP1, ElementVector, MeshTet, condense
    from skfem import solve as solve_system
    from skfem.models.elasticity import linear_elasticity

    mesh = MeshTet(np.ascontiguousarray(model.rest_positions.T), np.ascontiguousarray(model.tets.T))
    basis = Basis(mesh, ElementVector(ElementTetP1()))
    stiffness = linear_elasticity(model.material.lam, model.material.mu).assemble(basis)
    load = np.zeros(basis.N)
    # The weight of a linear tet is a quarter at each corner.
    for axis, force in enumerate((0.0, 0.0, -GRAVITY)):
        np.add.at(load, basis.nodal_dofs[axis][model.tets], (DENSITY * model.volumes * force / 4.0)[:, None])
    held = basis.get_dofs(lambda x: x[0] < 1e-9)
    u = solve_system(*condense(stiffness, load, D=held))
    return u[basis.nodal_dofs].T


def rows() -> list[Row]:
    """Solve three meshes with linear tets, the coarsest with quadratic ones."""
    beam, found, models = timoshenko(0.3), [], [beam_model(cells, 0.3) for cells in CELLS]
    tips = [tip(model, sagged(model)) for model in models]
    coarse = models[0]
    if find_spec("skfem") is not None:
        peer = tip(coarse, peer_displacements(coarse))
        found.append(near("P1, 1,296 tets: tip [m], expected by scikit-fem", tips[0], peer, 1e-6))
    found.append(near("P1, 1,296 tets: tip / Timoshenko, expected by table", tips[0] / beam, TABLE, 1e-3))
    quadratic = refine_degree(coarse)
    best = tip(quadratic, sagged(quadratic))
    found.append(near("P2, 1,296 tets: tip / Timoshenko", best / beam, 1.0, 0.02))
    fine = refine_degree(beam_model((40, 5, 5), 0.3))
    reference = tip(fine, sagged(fine))
    errors = [reference - value for value in tips]
    found.append(order_row("P1: order of the tip against P2", errors, [1.0 / c[0] for c in CELLS], 1.8))
    found.append(near("P1, 82,944 tets: tip / P2", tips[-1] / reference, 1.0, 0.05))
    return found


STUDY = Study(8, "Cantilever, small displacements", rows, is_long=True)
