"""Friction of a body on anything it touches: smoothed Coulomb with normal forces of the begin of the step.

    friction force <= mu N;   full above the slip speed, proportional to the speed far below it

The normal forces lag by one step: a body must have been pressed to the ground to feel friction there. An
energy of an implicit step, see `begin_step` in `integrator.py`.

Source: Li et al. 2020, Incremental Potential Contact, section 5.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.energy import Energy, diagonal_pattern, exact_hessian, total
from sim.model import SoftBodyModel
from warp_kernels import friction

Floats = NDArray[np.float64]


class Contact(Energy, Protocol):
    """An energy whose gradient at a vertex is minus the contact force."""

    model: SoftBodyModel


class FrictionSettings:
    """Coefficient and slip speed of friction, checked.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, coefficient: float, slip_speed: float) -> None:
        if not (np.isfinite(coefficient) and coefficient >= 0.0):
            raise ValueError(f"coefficient: expected a number from 0 on, got {coefficient}")
        if not (np.isfinite(slip_speed) and slip_speed > 0.0):
            raise ValueError(f"slip_speed: expected a positive number [m/s], got {slip_speed}")
        self.slip_speed = slip_speed
        law: Any = friction.FrictionLaw()
        law.coefficient = float(coefficient)
        law.slip = slip_speed
        self.law = law

    @property
    def coefficient(self) -> float:
        """mu."""
        return float(self.law.coefficient)


class Friction(FrictionSettings):
    """Friction of the vertices on the ground or a sphere; between surfaces: `SurfaceFriction`.

    Args:
        contact: Whose forces press; its own energy must be in the list too.
        coefficient: mu.
        slip_speed: Speed from which on the full force acts [m/s]; a body that sticks creeps slower than that.
    """

    name = "friction"

    def __init__(self, contact: Contact, coefficient: float, slip_speed: float = 1e-3) -> None:
        super().__init__(coefficient, slip_speed)
        if hasattr(contact, "find_pattern"):
            raise TypeError(f"contact: {contact.name} is between surfaces, which needs SurfaceFriction")
        self.contact = contact
        self.model = model = contact.model
        n, device = model.vertex_count, model.device
        self._anchor = model.to_device(model.rest_positions)
        self._start = model.to_device(model.rest_positions)
        self._pressing, self._normal = (wp.zeros(n, dtype=wp.vec3d, device=device) for _ in range(2))
        self._force, self._energy = (wp.zeros(n, dtype=wp.float64, device=device) for _ in range(2))

    def begin_step(self, start: wp.array, anchor: wp.array, length: float) -> None:
        """Take normal forces at `start`; speeds are (x - anchor) / length."""
        wp.copy(self._anchor, anchor)
        wp.copy(self._start, start)
        self.law.slip = self.slip_speed * length
        self._pressing.zero_()
        self.contact.gradient(start, self._pressing)
        friction.lag_contact(self._pressing, self._normal, self._force)

    def value(self, x: wp.array) -> float:
        friction.friction_energy(x, self._anchor, self._normal, self._force, self.law, self._energy)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        friction.friction_gradient(x, self._anchor, self._normal, self._force, self.law, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return diagonal_pattern(self.model.vertex_count)

    def hessian(self, x: wp.array, out: wp.array) -> None:
        friction.friction_hessian(x, self._anchor, self._normal, self._force, self.law, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf

    def lagged_slopes(self, positions: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return what lagging adds to an adjoint z at `positions`.

        With the contact gradient g at the begin of the step, N = |g|, n = -g / N, and the gradient of
        friction r = mu N s(|u|) u of `warp_kernels/friction.py`, q = d(z . r)/dg is

            q = -(z . r / N) n + mu (I - n n^T) ((n . G) (x - x_p) + (n . (x - x_p)) G),
            G = s z + s' (u . z) u / |u|

        Returns:
            z . dr/dN times N, shape (n,); q . dg/d area [N/m^2], (n,), 0 without area; q . dg/dx_start [N],
            (n, 3).
        """
        model = self.model
        out = model.to_device(np.zeros_like(positions))
        self.gradient(model.to_device(positions), out)
        work = (z * out.numpy()).sum(axis=1)  # linear in N
        force, n = self._force.numpy()[:, None], self._normal.numpy()
        way = positions - self._anchor.numpy()
        along = (n * way).sum(axis=1, keepdims=True)
        u = way - along * n
        y, slip = np.linalg.norm(u, axis=1, keepdims=True), self.law.slip
        safe = np.where(y > 0.0, y, 1.0)
        # s = f1 / y and s' / y: (2 - y / eps) / eps and -1 / (eps^2 y) below eps, 1 / y and -1 / y^3 above.
        s = np.where(y < slip, (2.0 - y / slip) / slip, 1.0 / safe)
        s_slope = np.where(y < slip, -1.0 / (slip**2 * safe), -1.0 / safe**3)
        G = s * z + s_slope * (u * z).sum(axis=1, keepdims=True) * u
        turn = (n * G).sum(axis=1, keepdims=True) * way + along * G
        turn -= (n * turn).sum(axis=1, keepdims=True) * n
        pressed = force > 0.0
        q = np.where(
            pressed, self.coefficient * turn - work[:, None] / np.where(pressed, force, 1.0) * n, 0.0
        )
        blocks = wp.zeros(model.vertex_count, dtype=wp.mat33d, device=model.device)
        with exact_hessian(self.contact):
            self.contact.hessian(self._start, blocks)
        at_start = np.einsum("pi,pij->pj", q, blocks.numpy().reshape(-1, 3, 3))
        areas = model.vertex_areas
        per_area = np.divide(work, areas, out=np.zeros_like(work), where=areas > 0.0)
        return work, per_area, at_start
