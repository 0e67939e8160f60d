"""Natural frequencies of a clamped-free beam in bending and of a clamped-free bar along its axis.

    bending  f_n = b_n^2 / (2 pi) sqrt(E I / (rho A L^4)),  cos b cosh b = -1:  b = 1.8751, 4.6941, 7.8548
    axial    f_n = (2 n - 1) / (4 L) sqrt(E / rho)

The roots b_n are found here. Modal analysis to 1 %, quadratic tets, nu = 0, first two bending modes (L/h
= 40; shear and rotation of the sections lower the second by 0.3 %). Dynamics to 2 %: the bar is let go
from its first mode and followed for three periods by the trapezoidal rule with 60 steps a period; the
frequency is that of the least-squares cosine.

Source: Timoshenko, Young, Weaver 1974, Vibration Problems in Engineering.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sim.integrator import Trapezoidal
from sim.material import Material
from sim.model import State
from sim.modes import lowest_modes
from sim.quadratic import elastic_of
from sim.verification.bodies import TIGHT, hold, kuhn_box, make_model
from sim.verification.study import Row, Study, near

MODULUS, DENSITY, SIDE = 1.0e7, 1000.0, 0.025
KNOWN = (1.8751, 4.6941, 7.8548)


def beam_roots() -> list[float]:
    """Return b_1, b_2, b_3."""

    def condition(b: float) -> float:
        return float(np.cos(b) + 1.0 / np.cosh(b))

    return [float(brentq(condition, (n - 0.9) * np.pi, (n - 0.1) * np.pi)) for n in (1, 2, 3)]


def rows() -> list[Row]:
    """Solve for modes, then swing."""
    found = []
    roots = beam_roots()
    for number, (root, known) in enumerate(zip(roots, KNOWN), start=1):
        found.append(near(f"root b_{number} of the closed form, as published", root, known, 5e-5))
    material = Material("linear", MODULUS, 0.0, DENSITY)
    beam = make_model(kuhn_box((40, 1, 1), (1.0, SIDE, SIDE)), material, 2)
    modes = lowest_modes(beam, 4, free=hold(beam.rest_positions[:, 0] < 1e-9)).frequencies
    unit = np.sqrt(MODULUS * SIDE**2 / 12.0 / DENSITY) / (2.0 * np.pi)
    # Every bending mode comes twice, once in each direction.
    for number in (1, 2):
        exact = roots[number - 1] ** 2 * unit
        found.append(near(f"bending f_{number}, modal [Hz]", modes[2 * number - 2], exact, 0.01))
    bar = make_model(kuhn_box((40, 1, 1), (1.0, SIDE, SIDE)), material)
    X = bar.rest_positions
    free = np.zeros_like(X)
    free[X[:, 0] > 1e-9, 0] = 1.0
    axial = lowest_modes(bar, 3, free=free)
    speed = np.sqrt(MODULUS / DENSITY)
    for number in (1, 2, 3):
        exact = (2 * number - 1) / 4.0 * speed
        found.append(near(f"axial f_{number}, modal [Hz]", axial.frequencies[number - 1], exact, 0.01))
    period = 4.0 / speed
    stepper = Trapezoidal(bar, [elastic_of(bar)], period / 60.0, TIGHT, free=free)
    shape = axial.shapes[0] / np.abs(axial.shapes[0]).max()
    state = stepper.begin(State(X + 1e-3 * shape, np.zeros_like(X)))
    times, swing = [0.0], [1.0]
    for number in range(180):
        state, _ = stepper.step(state, number=number)
        times.append(state.time)
        swing.append(float(((state.positions - X) * shape).sum() / (1e-3 * (shape**2).sum())))
    t, y = np.array(times), np.array(swing)

    def misfit(frequency: float) -> float:
        return float(((y - np.cos(2.0 * np.pi * frequency * t)) ** 2).sum())

    fitted = minimize_scalar(misfit, bounds=(0.8 / period, 1.2 / period), method="bounded").x
    found.append(near("axial f_1, in time [Hz]", fitted, 1.0 / period, 0.02))
    return found


STUDY = Study(10, "Natural frequencies", rows)
