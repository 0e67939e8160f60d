"""Solid spheres that a body may not enter; triangle meshes: `MeshContact` in `self_contact.py`.

The surface vertices of the body feel a barrier and never pass, whatever the time step. Edges and faces of the
body do not feel the sphere, and one that is smaller than a surface triangle may go through it: a warning says
so, and `MeshContact` has no such limit.

Source: Li et al. 2020, Incremental Potential Contact.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.energy import diagonal_pattern, total
from sim.model import SoftBodyModel
from warp_kernels import obstacles, time_integration

Floats = NDArray[np.float64]

_logger = logging.getLogger(__name__)


def slips_through(model: SoftBodyModel, radius: float) -> bool:
    """Tell whether a sphere of that radius [m] could go through a triangle at rest and miss its corners."""
    corner = model.rest_positions[model.contact_faces]
    sides = np.sort(np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2), axis=1)
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2.0
    # The smallest circle around a triangle has an obtuse one's longest side as its diameter.
    is_obtuse = sides[:, 2] ** 2 >= sides[:, 0] ** 2 + sides[:, 1] ** 2
    around = np.where(is_obtuse, sides[:, 2] / 2.0, sides.prod(axis=1) / (4.0 * area))
    return bool(around.max() >= radius)


class SphereContact:
    """A solid sphere.

    Args:
        center: [m], shape (3,).
        radius: [m].
        d_hat: Distance at which the sphere begins to push [m].
        pressure: Scale of the barrier [Pa].
    """

    name = "sphere"

    def __init__(
        self, model: SoftBodyModel, center: ArrayLike, radius: float, *, d_hat: float, pressure: float
    ) -> None:
        if not (np.isfinite(radius) and radius > 0):
            raise ValueError(f"radius: expected a positive number [m], got {radius}")
        if not (d_hat > 0 and pressure > 0):
            raise ValueError(f"d_hat and pressure must be positive, got {d_hat} and {pressure}")
        if slips_through(model, radius):
            _logger.warning(
                "sphere of radius %g m: smaller than a surface triangle, whose corners alone feel it; "
                "refine the surface, or give the sphere as a mesh",
                radius,
            )
        self.model = model
        n, device = model.vertex_count, model.device
        shape: Any = obstacles.Sphere()
        shape.center = wp.vec3d(*np.asarray(center, dtype=np.float64))
        shape.radius = float(radius)
        shape.d_hat, shape.pressure = float(d_hat), float(pressure)
        shape.is_projected = True
        self.shape = shape
        self._areas: wp.array = wp.array(model.vertex_areas, dtype=wp.float64, device=device)
        self._energy, self._distance = (wp.zeros(n, dtype=wp.float64, device=device) for _ in range(2))
        self._gradient = wp.zeros(n, dtype=wp.vec3d, device=device)
        self._blocks = wp.zeros(n, dtype=wp.mat33d, device=device)
        self._bound = wp.zeros(1, dtype=wp.float64, device=device)

    @property
    def is_projected(self) -> bool:
        """Whether the Hessian leaves out the curvature of the distance, and so is semi-definite."""
        return bool(self.shape.is_projected)

    @is_projected.setter
    def is_projected(self, value: bool) -> None:
        self.shape.is_projected = value

    def _push(self, x: wp.array, blocks: wp.array | None = None) -> None:
        obstacles.sphere_push(
            x, self._areas, self.shape, self._energy, self._gradient,
            self._blocks if blocks is None else blocks, self._distance,
        )  # fmt: skip

    def value(self, x: wp.array) -> float:
        self._push(x)
        return total(self._energy)

    def gradient(self, x: wp.array, out: wp.array) -> None:
        self._push(x)
        time_integration.add_scaled(out, 1.0, self._gradient, out)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return diagonal_pattern(self.model.vertex_count)

    def hessian(self, x: wp.array, out: wp.array) -> None:
        self._push(x, out)

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        self._bound.fill_(np.inf)
        obstacles.sphere_step_bound(x, dx, self._areas, self.shape, self._bound)
        # A vertex keeps at least a tenth of its way, so that the barrier stays finite in floating point.
        return 0.9 * float(self._bound.numpy()[0])

    def reaction(self, x: wp.array) -> Floats:
        """Return the force of the sphere on the body [N], shape (3,)."""
        self._push(x)
        return -self._gradient.numpy().sum(axis=0)

    def work_per_area(self, x: wp.array, z: Floats) -> Floats:
        """Return gradient . z of each vertex over its area [N/m^2], shape (n,)."""
        self._push(x)
        areas = self.model.vertex_areas
        work = (self._gradient.numpy() * z).sum(axis=1)
        return np.divide(work, areas, out=np.zeros_like(work), where=areas > 0.0)

    def gap(self, positions: Floats) -> float:
        """Return the smallest distance of a surface vertex [m]."""
        self._push(self.model.to_device(positions))
        return float(self._distance.numpy().min())
