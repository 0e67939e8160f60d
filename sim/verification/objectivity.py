"""Objectivity: nothing depends on where the observer stands.

    E(R x) = E(x),   f(R x) = R f(x),   a scene that is rotated gives the rotated roll-out

for the materials of finite strain (linear elasticity is not objective, by its making). Tolerance 1e-10:
the table's 1e-6 is that of float32, this code computes in float64.

Source: Gurtin 1981, An Introduction to Continuum Mechanics, section 20.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of
from sim.verification.bodies import EXACT, Floats, elastic_force, kuhn_box, make_model
from sim.verification.study import Row, Study, at_most, near

STEPS = 20


def _roll(R: Floats) -> Floats:
    points, tets = kuhn_box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points @ R.T, tets, Material(youngs_modulus=1.0e4))
    ground = GroundContact(model, d_hat=0.05, pressure=1.0e3, normal=R[:, 2], offset=-0.1)
    euler = ImplicitEuler(model, [Elastic(model), Gravity(model, -9.81 * R[:, 2]), ground], 0.01, EXACT)
    state = State(points @ R.T, np.tile(R @ [0.5, 0.0, -1.0], (len(points), 1)))
    for number in range(STEPS):
        state, _ = euler.step(state, number=number)
    return state.positions


def rows() -> list[Row]:
    """Rotate a deformed body, then a scene."""
    R = Rotation.random(random_state=3).as_matrix()
    found = []
    for name in MATERIAL_NAMES:
        if name == "linear":
            continue
        for degree in (1, 2) if name == "stable_neo_hookean" else (1,):
            model = make_model(kuhn_box((2, 2, 2), jitter=0.2), Material(name, 1.0e5), degree)
            noise = np.random.default_rng(0).normal(size=(model.vertex_count, 3))
            x = model.rest_positions * [1.1, 0.9, 1.0] + 0.02 * noise
            elastic = elastic_of(model)
            energies = [elastic.value(model.to_device(y)) for y in (x @ R.T, x)]
            force = elastic_force(model, x)
            wrong = np.abs(elastic_force(model, x @ R.T) - force @ R.T).max() / np.abs(force).max()
            found.append(near(f"P{degree} {name}: energy, turned and not", energies[0], energies[1], 1e-10))
            found.append(at_most(f"P{degree} {name}: error of the turned force", wrong, 1e-10))
    error = np.abs(_roll(R) - _roll(np.eye(3)) @ R.T).max()
    found.append(at_most(f"roll-out with impact, {STEPS} steps: error / size", error, 1e-9))
    return found


STUDY = Study(18, "Objectivity", rows)
