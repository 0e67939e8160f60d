"""Shape a beam so that its tip sinks by a wanted amount under its own weight, by gradients."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from sim import Material, NewtonConfig, SoftBodyModel, equilibrium_gradient
from sim.energy import Elastic, Gravity
from sim.solver import Newton
from sim.verification.bodies import kuhn_box

TARGET = 0.04
"""How far the tip shall sink [m]."""
STATIONS = 5
"""Places along the beam whose thickness may change."""
EXACT = NewtonConfig(tolerance=1e-10)


def main() -> None:
    """Optimise the thickness along the beam and print each try."""
    points, tets = kuhn_box((10, 2, 2), (1.0, 0.2, 0.2))
    material = Material(youngs_modulus=3.0e6, poissons_ratio=0.3)
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    tip = points[:, 0] > 1.0 - 1e-9
    # Thickness is linear between stations: z = 0.1 + s (Z - 0.1), dz/ds_k = share_k (Z - 0.1).
    stations = np.linspace(0.0, 1.0, STATIONS)
    shares = np.stack([np.interp(points[:, 0], stations, row) for row in np.eye(STATIONS)], axis=1)

    def build(scales: np.ndarray) -> np.ndarray:
        shaped = points.copy()
        shaped[:, 2] = 0.1 + (shares @ scales) * (points[:, 2] - 0.1)
        return shaped

    def loss(scales: np.ndarray) -> tuple[float, np.ndarray]:
        rest = build(scales)
        model = SoftBodyModel.from_arrays(rest, tets, material)
        energies = [Elastic(model), Gravity(model)]
        x, _ = Newton(model, energies, EXACT, free=free).solve(rest)
        sunk = float((rest - x)[tip, 2].mean())
        miss = sunk / TARGET - 1.0
        # The tip sinks by mean(Z - z): upstream of the equilibrium, and of the rest shape directly.
        at_x = np.zeros_like(rest)
        at_x[tip, 2] = -2.0 * miss / TARGET / tip.sum()
        g = equilibrium_gradient(model, energies, x, at_x, free=free, config=EXACT)
        at_rest = g.rest_positions + g.held_positions - at_x
        slope = shares.T @ (at_rest[:, 2] * (points[:, 2] - 0.1))
        print(f"thickness {np.array2string(0.2 * scales, precision=3)} m   tip sinks {1e3 * sunk:.2f} mm")
        change = scales - 1.0  # as little as will do
        return miss**2 + 1e-4 * float(change @ change), slope + 2e-4 * change

    start = np.ones(STATIONS)
    value, slope = loss(start)
    direction = np.array([1.0, -0.5, 0.3, 0.2, -0.7])
    difference = (loss(start + 1e-5 * direction)[0] - loss(start - 1e-5 * direction)[0]) / 2e-5
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.3, 3.0)] * STATIONS)
    change = found.x - 1.0
    miss = np.sqrt(max(found.fun - 1e-4 * float(change @ change), 0.0))
    print(f"loss {value:.4f} -> {found.fun:.2e}")
    print(f"gradient {slope @ direction:.8f}, by differences {difference:.8f}")
    is_right = abs(slope @ direction / difference - 1.0) < 1e-5
    print("PASS" if miss < 0.01 and is_right else "FAIL")


if __name__ == "__main__":
    main()
