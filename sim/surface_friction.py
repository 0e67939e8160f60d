"""Friction between surfaces: smoothed Coulomb on the pairs of a `SurfaceContact`, lagged by one step.

    friction force of a pair <= mu N,   against what its nearest points slide over each other

Bodies that move together do not feel it, and what is static does not move. Normal forces, normals and nearest
points are those of the begin of the step, as in `friction.py`.

Source: Li et al. 2020, Incremental Potential Contact, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.energy import total
from sim.friction import FrictionSettings
from sim.self_contact import PairPattern, SurfaceContact
from warp_kernels import surface_friction, time_integration
from warp_kernels.surface_friction import LaggedPairs

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class SurfaceFriction(FrictionSettings):
    """Friction of one `SelfContact` or `MeshContact`.

    Args:
        contact: Whose forces press; its own energy must be in the list too.
        coefficient: mu.
        slip_speed: Speed from which on the full force acts [m/s]; a body that sticks creeps slower than that.
    """

    name = "friction"

    def __init__(self, contact: SurfaceContact, coefficient: float, slip_speed: float = 1e-3) -> None:
        super().__init__(coefficient, slip_speed)
        self.contact = contact
        self.model = model = contact.model
        count, device = len(contact.topology.rest), model.device
        self.start: wp.array = wp.array(contact.topology.rest, dtype=wp.vec3d, device=device)
        """Positions of all points where the step begins."""
        self.anchor = wp.zeros_like(self.start)
        """Positions from which all points have moved."""
        self._out = wp.zeros(count, dtype=wp.vec3d, device=device)
        self._pattern = PairPattern(model.vertex_count)
        self._has_changed = True
        self._slot: wp.array | None = None
        self.lagged: Any = LaggedPairs()
        self.keys: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """Pairs that press where the step begins, by the keys of the contact."""
        self._energy: wp.array | None = None

    def begin_step(self, start: wp.array, anchor: wp.array, length: float) -> None:
        """Take the contacts at `start`; speeds are (x - anchor) / length."""
        self.law.slip = self.slip_speed * length
        contact, n = self.contact, self.model.vertex_count
        points = contact.all_points(start)
        contact.cover(points)
        wp.copy(self.start, points)
        wp.copy(self.anchor, points)
        wp.copy(self.anchor, anchor, count=n)
        count, device = contact.pair_count, self.model.device
        force = wp.zeros(count, dtype=wp.float64, device=device)
        weights = wp.zeros(count, dtype=wp.vec4d, device=device)
        normal = wp.zeros(count, dtype=wp.vec3d, device=device)
        if count:
            surface_friction.lag_pairs(points, contact.pairs, contact.pressure, weights, normal, force)
        pressing = np.flatnonzero(force.numpy() > 0.0)
        corners = contact.pairs.corners.numpy()[pressing].reshape(-1, 4)
        self.lagged.corners = wp.array(corners, dtype=wp.vec4i, device=device)
        self.lagged.weights = wp.array(weights.numpy()[pressing], dtype=wp.vec4d, device=device)
        self.lagged.normal = wp.array(normal.numpy()[pressing], dtype=wp.vec3d, device=device)
        self.lagged.force = wp.array(force.numpy()[pressing], dtype=wp.float64, device=device)
        self._energy = wp.zeros(len(pressing), dtype=wp.float64, device=device)
        self.keys = keys = contact.keys(pressing)
        if not self._pattern.has(keys):
            self._pattern.set(keys, corners)
            self._has_changed = True
        slots = self._pattern.slots(keys)
        self._slot = wp.array(slots, dtype=wp.int32, device=device) if len(pressing) else None

    def value(self, x: wp.array) -> float:
        if self._energy is None or self._slot is None:
            return 0.0
        surface_friction.pair_friction_energy(
            self.contact.all_points(x), self.anchor, self.lagged, self.law, self._energy
        )
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        if self._slot is None:
            return
        self._out.zero_()
        surface_friction.pair_friction_gradient(
            self.contact.all_points(x), self.anchor, self.lagged, self.law, self._out
        )
        time_integration.add_scaled(out, 1.0, self._out[: len(out)], out)

    def find_pattern(self, x: wp.array) -> bool:
        """Return whether the pairs that press have outgrown the pattern since the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    def pattern(self) -> tuple[Ints, Ints]:
        return self._pattern.rows, self._pattern.columns

    def hessian(self, x: wp.array, out: wp.array) -> None:
        out.zero_()
        if self._slot is not None:
            surface_friction.pair_friction_hessian(
                self.contact.all_points(x), self.anchor, self.lagged, self.law, self._slot, out
            )

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf
