"""A block on an incline: it sticks below the angle of friction and slides above it.

    tan th < mu   speed = slip speed (1 - sqrt(1 - tan th / mu)), the creep of smoothed friction, 2 %
    tan th > mu   a = g (sin th - mu cos th), 2 %

Smoothed Coulomb friction has force mu N (2 r - r^2) with r = speed / slip speed < 1, which gives the
creep. The block is settled on the plane before it may move; the acceleration is that of the second half
of the run.

Source: Coulomb's law; Li et al. 2020, section 5, for the smoothing.
"""

from __future__ import annotations

import numpy as np

from sim.energy import Elastic, Energy, Gravity, GroundContact
from sim.friction import Friction
from sim.integrator import ImplicitEuler, Relaxation
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.verification.bodies import TIGHT, kuhn_box
from sim.verification.study import Row, Study, near

G, SLIP, DURATION, STEPS = 9.81, 1e-3, 0.4, 20


def slide(angle: float, mu: float) -> tuple[float, float]:
    """Return the speed of a block down an incline at the middle and at the end [m/s], from rest."""
    points, tets = kuhn_box((2, 2, 1), (0.2, 0.2, 0.1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6, poissons_ratio=0.3))
    # The ground stays level, gravity leans: x points down the slope.
    down = G * np.array([np.sin(angle), 0.0, -np.cos(angle)])
    contact = GroundContact(model, d_hat=1e-3, pressure=1.0e5, offset=-1e-3)
    elastic = Elastic(model)
    pressing = Gravity(model, down * [0.0, 0.0, 1.0])
    settled, _, _ = Relaxation(model, [elastic, pressing, contact], 0.01, TIGHT).settle(
        points, weight=model.mass * G, tolerance=1e-8
    )
    energies: list[Energy] = [elastic, Gravity(model, down), contact, Friction(contact, mu, slip_speed=SLIP)]
    euler = ImplicitEuler(model, energies, DURATION / STEPS, TIGHT)
    state, speeds = State(settled, np.zeros_like(points)), []
    for number in range(STEPS):
        state, _ = euler.step(state, number=number)
        speeds.append(float(model.masses @ state.velocities[:, 0]) / model.mass)
    return speeds[STEPS // 2 - 1], speeds[-1]


def rows() -> list[Row]:
    """Put blocks on four slopes for each coefficient."""
    found = []
    for mu in (0.2, 0.5):
        for share in (0.6, 0.9):
            _, speed = slide(float(np.arctan(share * mu)), mu)
            creep = SLIP * (1.0 - np.sqrt(1.0 - share))
            found.append(near(f"mu {mu}, tan th = {share} mu: creep [m/s]", speed, creep, 0.02))
        for share in (1.2, 2.0):
            angle = float(np.arctan(share * mu))
            middle, end = slide(angle, mu)
            exact = G * (np.sin(angle) - mu * np.cos(angle))
            slope = (end - middle) / (DURATION / 2.0)
            found.append(near(f"mu {mu}, tan th = {share} mu: acceleration [m/s^2]", slope, exact, 0.02))
    return found


STUDY = Study(22, "Friction on an incline", rows)
