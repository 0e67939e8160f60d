"""Hertz: a rigid sphere pressed into an elastic half-space.

    F = 4/3 E* sqrt(R) d^(3/2),  E* = E / (1 - nu^2);   contact radius a = sqrt(R d) = R/10

The law is that of an elastic sphere on a rigid plane too. A quarter of a block, symmetric in x and y, 60
a deep and wide, held at the bottom, cells growing from a/3 at the contact by 1.6 each; quadratic tets,
linear elasticity. The sphere is larger by the gap that the barrier leaves, at most 2 % of d, which is
added to the indentation. Tolerance 5 % as in the table: the finite depth adds 0.88 a/H = 1.5 %, the mesh
of the contact about as much. Linear tets are 8 to 16 % too stiff on such meshes.

Source: Johnson 1985, Contact Mechanics, section 4.2; Dimitriadis et al. 2002 for the depth.
"""

from __future__ import annotations

import numpy as np

from sim.material import Material
from sim.obstacles import SphereContact
from sim.quadratic import elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import kuhn_box, make_model, solve
from sim.verification.study import Row, Study, at_most, near

RADIUS, MODULUS, NU = 1.0, 1.0e6, 0.3
CONTACT = 0.1
CELLS, GROWTH = 10, 1.6


def rows() -> list[Row]:
    """Press once."""
    indentation = CONTACT**2 / RADIUS
    d_hat = 0.02 * indentation
    grid = CONTACT / 3.0 * (GROWTH ** np.arange(CELLS + 1) - 1.0) / (GROWTH - 1.0)
    points, tets = kuhn_box((CELLS, CELLS, CELLS), (CELLS, CELLS, CELLS))
    points = grid[np.rint(points).astype(int)]
    model = make_model((points, tets), Material("linear", MODULUS, NU), 2)
    X = model.rest_positions
    # The contact is at the origin, the block above it, the sphere below; the far face comes down.
    free = np.ones_like(X)
    free[X[:, 0] < 1e-12, 0] = 0.0
    free[X[:, 1] < 1e-12, 1] = 0.0
    far = X[:, 2] > grid[-1] - 1e-9
    free[far] = 0.0
    start = X.copy()
    start[far, 2] -= indentation
    sphere = SphereContact(model, (0.0, 0.0, -RADIUS - d_hat), RADIUS, d_hat=d_hat, pressure=0.3 * MODULUS)
    x = solve(model, [elastic_of(model), sphere], free, start, NewtonConfig(tolerance=1e-6))
    force = 4.0 * float(sphere.reaction(model.to_device(x))[2])
    pole = float(np.linalg.norm(x[np.linalg.norm(X, axis=1).argmin()] - [0.0, 0.0, -RADIUS - d_hat])) - RADIUS
    depth = indentation - d_hat + pole
    exact = 4.0 / 3.0 * MODULUS / (1.0 - NU**2) * np.sqrt(RADIUS) * depth**1.5
    return [
        at_most("gap at the pole / d_hat", pole / d_hat, 1.0),
        near("force of the sphere [N]", force, exact, 0.05),
    ]


STUDY = Study(24, "Hertz contact", rows, is_long=True)
