"""A block that is dropped: when it lands, and where it ends.

    first touch   t = sqrt(2 h / g); implicit Euler lands where g t (t + dt) / 2 = h: first order
    at the end    no tet is turned over, the block rests on its weight (1e-3)
    shape         its top has sunk by rho g H^2 / (2 E), nu = 0, as the column of study 14, to 2 %
                  (finite strain of 1 %, contact layer)

Source: Galilei; study 14.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.scenarios import Drop
from sim.verification.bodies import TIGHT, Floats, Ints, kuhn_box
from sim.verification.study import Row, Study, at_most, near, order_row

G, HEIGHT, SIDE, MODULUS, DENSITY = 9.81, 0.2, 0.2, 1.0e5, 1000.0


def touch_time(body: tuple[Floats, Ints], steps: int) -> float:
    """Return when the block comes into the contact layer, between two steps by the law of the fall [s]."""
    model = SoftBodyModel.from_arrays(*body, Material(youngs_modulus=MODULUS, poissons_ratio=0.0))
    ground = GroundContact(model, d_hat=1e-4, pressure=1.0e4, offset=-HEIGHT - 1e-4)
    dt = float(np.sqrt(2.0 * HEIGHT / G)) / steps
    euler = ImplicitEuler(model, [Elastic(model), Gravity(model, (0.0, 0.0, -G)), ground], dt, TIGHT)
    state = State.at_rest(model)
    # In the step of the impact the body would have gone on with its velocity.
    while True:
        after, _ = euler.step(state)
        if ground.reaction(model.to_device(after.positions)) > 0.0:
            gap = ground.gap(state.positions) - 1e-4
            speed = -float(state.velocities[:, 2].mean()) + G * dt
            return state.time + gap / speed
        state = after


def rows() -> list[Row]:
    """Time the touch with three steps; then the whole drop."""
    body = kuhn_box((4, 4, 4), (SIDE, SIDE, SIDE))
    exact = float(np.sqrt(2.0 * HEIGHT / G))
    times = [touch_time(body, n) for n in (25, 50, 100)]
    errors = [abs(t - exact) for t in times]
    found = [
        near("first touch, 100 steps [s]", times[-1], exact, 0.01),
        order_row("order of the touch time in dt", errors, [4.0, 2.0, 1.0], 0.9),
    ]
    material = Material(youngs_modulus=MODULUS, poissons_ratio=0.0, density=DENSITY)
    model = SoftBodyModel.from_arrays(*body, material)
    dropped = Drop(height=HEIGHT / SIDE, gravity=G, steps=20, contact_distance=1e-3).run(model)
    z, Z = dropped.frames[-1][:, 2], model.rest_positions[:, 2]
    sunk = SIDE - z[Z > SIDE - 1e-9].mean() + z[Z < 1e-9].mean()
    found.append(at_most("tets turned over at the end", dropped.results["inversions"], 0.0))
    found.append(at_most("reaction against weight", dropped.results["reaction_error"], 1e-3))
    found.append(near("sag at rest [m]", sunk, DENSITY * G * SIDE**2 / (2.0 * MODULUS), 0.02))
    return found


STUDY = Study(23, "Drop", rows)
