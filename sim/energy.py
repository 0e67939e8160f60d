"""Energies of positions: elastic, dead loads such as gravity, ground contact, and inertia of a time step.

One protocol, so that any solver minimises any sum. An energy names the block pattern of its Hessian once
(`rows`, `columns`); `hessian` then fills the values of just those blocks. All arrays live on the device of
the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.material import kernels_of, single_kernels_of
from sim.model import SoftBodyModel
from warp_kernels import contact, elasticity, rounding, time_integration

Floats = NDArray[np.float64]


class Energy(Protocol):
    """A scalar function of the positions of one model."""

    name: str

    def value(self, x: wp.array) -> float:
        """Return the energy [J] at positions `x`, vec3d of shape (n,); inf where it is not defined."""

    def gradient(self, x: wp.array, out: wp.array) -> None:
        """Add the gradient [N] to `out`, vec3d of shape (n,)."""

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return block rows and columns of the Hessian, both of shape (k,); empty for a linear energy."""

    def hessian(self, x: wp.array, out: wp.array) -> None:
        """Write the semi-definite Hessian blocks [N/m] in the order of `pattern`, mat33d of shape (k,)."""

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        """Return the fraction of `dx` that may be taken, at most inf; the energy is finite below it."""


@runtime_checkable
class ChangingEnergy(Energy, Protocol):
    """An energy whose Hessian has blocks at other places from time to time: contact between surfaces."""

    def find_pattern(self, x: wp.array) -> bool:
        """Settle the blocks that `hessian` fills at `x`; return whether `pattern` has changed since."""


@contextmanager
def exact_hessian(energy: Energy) -> Iterator[None]:
    """Leave the projection of the Hessian of an energy out for a while."""
    before = getattr(energy, "is_projected", None)
    if before is not None:
        energy.is_projected = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if before is not None:
            energy.is_projected = before  # type: ignore[attr-defined]


def empty_pattern() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the pattern of an energy without Hessian."""
    empty = np.zeros(0, dtype=np.int32)
    return empty, empty


def diagonal_pattern(n: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the pattern of an energy whose n vertices do not know each other."""
    index = np.arange(n, dtype=np.int32)
    return index, index


def total(values: wp.array) -> float:
    """Return the sum of a float64 array."""
    # numpy sums pairwise, and on the CPU without a copy; Warp's own sum is used where a copy would cost.
    if wp.get_device(values.device).is_cpu:
        return float(values.numpy().sum())
    return float(cast(float, wp.utils.array_sum(values)))


class Elastic:
    """Energy of the tets of a model in its material.

    Args:
        is_projected: Clamp the Hessian's eigenvalues at zero; turn it off for the tangent of a modal
            analysis.
    """

    name = "elastic"

    def __init__(self, model: SoftBodyModel, *, is_projected: bool = True) -> None:
        self.model = model
        self.is_projected = is_projected
        self.kernels = kernels_of(model.material.name)
        t, device = model.tet_count, model.device
        self._energy = wp.zeros(t, dtype=wp.float64, device=device)
        self._volume_ratio = wp.zeros(t, dtype=wp.float64, device=device)
        self._corner = wp.zeros((t, 4), dtype=wp.vec3d, device=device)

    def value(self, x: wp.array) -> float:
        elasticity.elastic_energy(self.kernels, x, self.model.elements, self._energy, self._volume_ratio)
        return self.sum_of_tets()

    def sum_of_tets(self) -> float:
        """Return the sum of the energies of the tets as evaluated last [J]."""
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        start, corner = self.model.corners_of_vertex
        elasticity.elastic_gradient(self.kernels, x, self.model.elements, start, corner, self._corner, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        tets = self.model.tets
        return np.repeat(tets, 4, axis=1).ravel(), np.tile(tets, (1, 4)).ravel()

    def hessian(self, x: wp.array, out: wp.array) -> None:
        elasticity.elastic_hessian(self.kernels, x, self.model.elements, self.is_projected, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf

    def volume_ratios(self, x: wp.array) -> Floats:
        """Return J = det F of each tet, shape (t,); negative for an inverted one."""
        self.value(x)
        return self._volume_ratio.numpy().copy()

    @property
    def last_volume_ratios(self) -> Floats:
        """J of the positions at which `value` was asked last, shape (t,)."""
        return self._volume_ratio.numpy()

    def stress(self, x: wp.array) -> Floats:
        """Return the first Piola-Kirchhoff stress of each tet [Pa], shape (t, 3, 3)."""
        out = wp.zeros(self.model.tet_count, dtype=wp.mat33d, device=x.device)
        elasticity.elastic_stress(self.kernels, x, self.model.elements, out)
        return out.numpy()


def single_hessian(energy: Energy, x: wp.array, out: wp.array) -> None:
    """Write the Hessian blocks of an energy at float64 positions to `out`, mat33f in the order of `pattern`.

    Those of linear tets, most of all, are computed in float32; those of other energies are rounded.
    """
    if type(energy) is Elastic:  # a kind of it has a Hessian of its own
        model = energy.model
        # Relative to a vertex, so that what is rounded does not grow with the distance from the origin.
        positions = wp.empty(len(x), dtype=wp.vec3f, device=x.device)
        rounding.round_positions(x, positions)
        elasticity.elastic_hessian(
            single_kernels_of(model.material.name), positions, model.single_elements, energy.is_projected, out
        )
    else:
        blocks = wp.empty(len(out), dtype=wp.mat33d, device=x.device)
        energy.hessian(x, blocks)
        rounding.round_blocks(blocks, out)


class DeadLoad:
    """Forces that do not change: E = -f . (x - x_rest).

    Args:
        forces: [N], shape (n, 3).
    """

    name = "load"

    def __init__(self, model: SoftBodyModel, forces: ArrayLike) -> None:
        self.forces = np.asarray(forces, dtype=np.float64)
        self._loads = model.to_device(self.forces)
        self._negative = model.to_device(-self.forces)
        self._origin = model.to_device(model.rest_positions)
        self._energy = wp.zeros(model.vertex_count, dtype=wp.float64, device=model.device)

    def value(self, x: wp.array) -> float:
        time_integration.load_energy(x, self._origin, self._loads, self._energy)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        time_integration.add_scaled(out, 1.0, self._negative, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return empty_pattern()

    def hessian(self, x: wp.array, out: wp.array) -> None:
        pass

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf


class Gravity(DeadLoad):
    """Weight of a model: f = m g.

    Args:
        acceleration: g [m/s^2], shape (3,).
    """

    name = "gravity"

    def __init__(self, model: SoftBodyModel, acceleration: ArrayLike = (0.0, 0.0, -9.81)) -> None:
        self.acceleration = np.asarray(acceleration, dtype=np.float64)
        super().__init__(model, model.load_masses[:, None] * self.acceleration)


class GroundContact:
    """Frictionless barrier that keeps the surface of a model above a plane.

    Args:
        normal: Points away from the ground, shape (3,); normalised.
        offset: normal . x on the ground [m].
        d_hat: Distance at which the ground begins to push [m].
        pressure: Scale of the barrier [Pa].
    """

    name = "contact"

    def __init__(
        self,
        model: SoftBodyModel,
        *,
        d_hat: float,
        pressure: float,
        normal: ArrayLike = (0.0, 0.0, 1.0),
        offset: float = 0.0,
    ) -> None:
        if not (d_hat > 0 and pressure > 0):
            raise ValueError(f"d_hat and pressure must be positive, got {d_hat} and {pressure}")
        n = np.asarray(normal, dtype=np.float64)
        self.normal = n / np.linalg.norm(n)
        plane: Any = contact.Plane()
        plane.normal = wp.vec3d(*self.normal)
        plane.offset = float(offset)
        plane.d_hat = float(d_hat)
        plane.pressure = float(pressure)
        self.plane = plane
        self.model = model
        self._areas: wp.array = wp.array(model.vertex_areas, dtype=wp.float64, device=model.device)
        self._energy = wp.zeros(model.vertex_count, dtype=wp.float64, device=model.device)
        self._bound = wp.zeros(1, dtype=wp.float64, device=model.device)

    def value(self, x: wp.array) -> float:
        contact.contact_energy(x, self._areas, self.plane, self._energy)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        contact.contact_gradient(x, self._areas, self.plane, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return diagonal_pattern(self.model.vertex_count)

    def hessian(self, x: wp.array, out: wp.array) -> None:
        contact.contact_hessian(x, self._areas, self.plane, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        self._bound.fill_(np.inf)
        contact.contact_step_bound(x, dx, self._areas, self.plane, self._bound)
        # A vertex keeps at least a tenth of its distance, so that the barrier stays finite in floating point.
        return 0.9 * float(self._bound.numpy()[0])

    def reaction(self, x: wp.array) -> float:
        """Return the force of the ground on the body along its normal [N]."""
        out = wp.zeros(self.model.vertex_count, dtype=wp.vec3d, device=x.device)
        self.gradient(x, out)
        return -float(out.numpy().sum(axis=0) @ self.normal)

    def gap(self, positions: Floats) -> float:
        """Return the smallest distance of the surface to the ground [m]."""
        d = positions[self.model.vertex_areas > 0] @ self.normal - self.plane.offset
        return float(d.min())


class Inertia:
    """What an implicit Euler step adds to the potential energy: m / (2 dt^2) |x - y|^2, y = x_0 + dt v_0."""

    name = "inertia"

    def __init__(self, model: SoftBodyModel, dt: float) -> None:
        self.model = model
        self.dt = dt
        self.masses: wp.array = wp.array(model.masses, dtype=wp.float64, device=model.device)
        self.target = model.to_device(model.rest_positions)
        self._energy = wp.zeros(model.vertex_count, dtype=wp.float64, device=model.device)

    def value(self, x: wp.array) -> float:
        time_integration.inertia_energy(x, self.target, self.masses, self.dt, self._energy)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        time_integration.inertia_gradient(x, self.target, self.masses, self.dt, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return diagonal_pattern(self.model.vertex_count)

    def hessian(self, x: wp.array, out: wp.array) -> None:
        time_integration.inertia_hessian(self.masses, self.dt, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        return np.inf


ENERGIES: Sequence[type] = (Elastic, DeadLoad, Gravity, GroundContact, Inertia)
"""Every energy; the tests run over them."""
