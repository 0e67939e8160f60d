"""Find Young's modulus of a beam from a recorded motion, by gradients through the simulation."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy.optimize import minimize

from sim import Material, Motion, simulate

TRUE_MODULUS = 2.0e5


def beam(cells: int = 5, length: float = 0.5, side: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return points [m] and tets of a bar of cubes, six tets each."""
    grid = np.stack(np.meshgrid(np.arange(cells + 1), [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    tets = []
    for order in permutations(range(3)):
        path = [grid[(grid < (cells, 1, 1)).all(axis=1)]]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        tet = np.stack([p @ [4, 2, 1] for p in path], axis=1)
        tets.append(tet[:, [0, 2, 1, 3]] if np.linalg.det(np.eye(3)[list(order)]) < 0 else tet)
    return grid * [length / cells, side, side], np.concatenate(tets).astype(np.int32)


def main() -> None:
    """Record, forget, identify, print."""
    points, tets = beam()
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    motion = Motion(dt=0.01, steps=20, integrator="bdf2", free=free)
    recorded = simulate(points, tets, motion, Material(youngs_modulus=TRUE_MODULUS)).positions
    noise = 1e-4 * np.random.default_rng(0).normal(size=recorded.shape)  # a tenth of a millimetre
    recorded = recorded + noise

    def misfit(logarithm: np.ndarray) -> tuple[float, np.ndarray]:
        modulus = float(np.exp(logarithm[0]))
        trajectory = simulate(points, tets, motion, Material(youngs_modulus=modulus))
        difference = trajectory.positions - recorded
        gradient = trajectory.backward(difference)
        print(f"E {modulus:12.0f} Pa   misfit {np.sqrt((difference**2).mean()) * 1e3:.4f} mm")
        slope = gradient.youngs_modulus.sum() * modulus
        return 0.5 * 1e4 * float((difference**2).sum()), 1e4 * np.array([slope])

    start = np.log([1.0e6])
    found = float(np.exp(minimize(misfit, start, jac=True, method="L-BFGS-B", tol=1e-9).x[0]))
    error = abs(found / TRUE_MODULUS - 1.0)
    print(f"true {TRUE_MODULUS:.0f} Pa, found {found:.0f} Pa, {100 * error:.2f} % off")
    print("PASS" if error < 0.01 else "FAIL")


if __name__ == "__main__":
    main()
