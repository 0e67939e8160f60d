"""Rayleigh damping as energies of an implicit step.

    force      -C v,   C = alpha M + beta K(x_0)            x_0: where the step begins
    energy     1/(2 h) (x - x_p)^T C (x - x_p),   v = (x - x_p) / h   (see `integrator.py`)

A mode of angular frequency w loses the share zeta = alpha / (2 w) + beta w / 2 of critical damping. K resists
the rate of Green's strain with the moduli of the body (`warp_kernels/damping.py`); it is the stiffness at
rest, positive semi-definite at every x_0, so that C never adds energy, without resistance to rigid motions,
and smooth, as gradients need it (the projected tangent has kinks where an eigenvalue passes zero). K does
not change within a step, which costs the second order of BDF2 and of the trapezoidal rule where K changes
(large rotations, large strains); alpha M costs nothing, but also slows free fall.

Source: Hughes 2000, The Finite Element Method, section 7.2; Kelvin and Voigt's solid for K.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.block_matrix import BlockMatrix
from sim.energy import Energy, diagonal_pattern, total
from sim.model import SoftBodyModel
from sim.quadratic import QuadraticModel
from warp_kernels import damping, time_integration


class MassDamping:
    """The part alpha M of Rayleigh damping.

    Args:
        rate: alpha [1/s].
    """

    name = "mass damping"

    def __init__(self, model: SoftBodyModel, rate: float) -> None:
        if not rate > 0.0:
            raise ValueError(f"rate: expected a positive number [1/s], got {rate}")
        self.model, self.rate = model, rate
        self._masses: wp.array = wp.array(model.masses, dtype=wp.float64, device=model.device)
        self._anchor = model.to_device(model.rest_positions)
        self._energy = wp.zeros(model.vertex_count, dtype=wp.float64, device=model.device)
        self._dt = 1.0

    def begin_step(self, start: wp.array, anchor: wp.array, length: float) -> None:
        """Take the state at the begin of a step: velocities are (x - anchor) / length."""
        wp.copy(self._anchor, anchor)
        # Inertia with 1 / dt^2 = alpha / h.
        self._dt = float(np.sqrt(length / self.rate))

    def value(self, x: wp.array) -> float:
        time_integration.inertia_energy(x, self._anchor, self._masses, self._dt, self._energy)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        time_integration.inertia_gradient(x, self._anchor, self._masses, self._dt, out)

    def force_per_mass(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return alpha v [m/s^2], shape (n, 3)."""
        return (positions - self._anchor.numpy()) / self._dt**2

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return diagonal_pattern(self.model.vertex_count)

    def hessian(self, x: wp.array, out: wp.array) -> None:
        time_integration.inertia_hessian(self._masses, self._dt, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf


class StiffnessDamping:
    """The part beta K of Rayleigh damping.

    Args:
        time: beta [s].
    """

    name = "stiffness damping"

    def __init__(self, model: SoftBodyModel, time: float) -> None:
        if not time > 0.0:
            raise ValueError(f"time: expected a positive number [s], got {time}")
        self.model, self.time = model, time
        nodes = model.nodes if isinstance(model, QuadraticModel) else model.tets
        width = nodes.shape[1]
        self._rows = np.repeat(nodes, width, axis=1).ravel()
        self._columns = np.tile(nodes, (1, width)).ravel()
        free = np.ones((model.vertex_count, 3))
        self._matrix = BlockMatrix(model.vertex_count, self._rows, self._columns, free, model.device)
        self._anchor = model.to_device(model.rest_positions)
        self._d, self._product = (
            wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device) for _ in range(2)
        )
        self._start = model.to_device(model.rest_positions)
        self.factor = 1.0
        """beta / h."""

    @property
    def anchor(self) -> NDArray[np.float64]:
        """Positions from which the displacement counts [m], shape (n, 3)."""
        return self._anchor.numpy()

    @property
    def start(self) -> NDArray[np.float64]:
        """Positions at which K is taken [m], shape (n, 3)."""
        return self._start.numpy()

    def begin_step(self, start: wp.array, anchor: wp.array, length: float) -> None:
        """Take the state at the begin of a step: K(start), and velocities (x - anchor) / length."""
        wp.copy(self._anchor, anchor)
        wp.copy(self._start, start)
        self.factor = self.time / length
        model, blocks = self.model, self._matrix.blocks
        if isinstance(model, QuadraticModel):
            damping.quadratic_strain_rate_blocks(start, model.node_array, model.elements, blocks)
        else:
            damping.strain_rate_blocks(start, model.elements, blocks)
        self._matrix.assemble()

    def _multiply(self, x: wp.array) -> None:
        time_integration.add_scaled(x, -1.0, self._anchor, self._d)
        self._matrix.multiply(self._d, self._product)

    def value(self, x: wp.array) -> float:
        self._multiply(x)
        return 0.5 * self.factor * float(cast(float, wp.utils.array_inner(self._d, self._product)))

    def gradient(self, x: wp.array, out: wp.array) -> None:
        self._multiply(x)
        time_integration.add_scaled(out, self.factor, self._product, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return self._rows, self._columns

    def hessian(self, x: wp.array, out: wp.array) -> None:
        damping.scale_blocks(self._matrix.blocks, self.factor, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf


def rayleigh_damping(model: SoftBodyModel, alpha: float = 0.0, beta: float = 0.0) -> list[Energy]:
    """Return the energies of C = alpha M + beta K, to be added to those of a body; alpha [1/s], beta [s]."""
    terms: list[Energy] = []
    if alpha:
        terms.append(MassDamping(model, alpha))
    if beta:
        terms.append(StiffnessDamping(model, beta))
    return terms


def rayleigh_coefficients(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return alpha [1/s] and beta [s] from two pairs (frequency [Hz], share of critical damping)."""
    w = 2.0 * np.pi * np.array([first[0], second[0]])
    alpha, beta = np.linalg.solve(np.stack([0.5 / w, 0.5 * w], axis=1), [first[1], second[1]])
    return float(alpha), float(beta)
