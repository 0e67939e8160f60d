"""A block at rest on the ground, and one that lands.

    sum of normal forces = weight             1e-3 as in the table; relaxed to 1e-6
    0 < gap < d_hat                           at rest; above zero in every step of the landing
    energy after <= energy before             implicit Euler, and the barrier is an energy: 1e-6 of the fall's

Source: Li et al. 2020, Incremental Potential Contact; balance of forces.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler, Relaxation
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.verification.bodies import TIGHT, kuhn_box
from sim.verification.study import Row, Study, at_least, at_most, near

G, HEIGHT, D_HAT = 9.81, 0.1, 1e-3


def rows() -> list[Row]:
    """Drop one block and let it rest."""
    points, tets = kuhn_box((3, 3, 3), (0.2, 0.2, 0.2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5))
    ground = GroundContact(model, d_hat=D_HAT, pressure=1.0e4, offset=-HEIGHT)
    elastic, gravity = Elastic(model), Gravity(model, (0.0, 0.0, -G))
    dt = np.sqrt(2.0 * HEIGHT / G) / 20.0
    euler = ImplicitEuler(model, [elastic, gravity, ground], dt, TIGHT)
    state, gaps, energies = State.at_rest(model), [], []
    for number in range(60):
        state, _ = euler.step(state, number=number)
        x = model.to_device(state.positions)
        kinetic = 0.5 * model.masses @ (state.velocities**2).sum(axis=1)
        energies.append(kinetic + sum(e.value(x) for e in (elastic, gravity, ground)))
        gaps.append(ground.gap(state.positions))
    growth = np.diff(energies).max() / (model.mass * G * HEIGHT)
    weight = model.mass * G
    rest, _, _ = Relaxation(model, [elastic, gravity, ground], 4.0 * dt, TIGHT).settle(
        state.positions, weight=weight, tolerance=1e-6
    )
    return [
        near("reaction at rest [N]", ground.reaction(model.to_device(rest)), weight, 1e-3),
        at_least("gap at rest / d_hat, above", ground.gap(rest) / D_HAT, 1e-6),
        at_most("gap at rest / d_hat, below", ground.gap(rest) / D_HAT, 1.0),
        at_least("smallest gap of the landing / d_hat", min(gaps) / D_HAT, 1e-9),
        at_most("growth of energy in a step / fall", growth, 1e-6),
    ]


STUDY = Study(21, "Ground contact", rows)
