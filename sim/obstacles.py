"""Obstacles that a body may not enter, besides the ground: spheres and static triangle meshes.

The surface vertices of the body feel a barrier and never pass, whatever the time step. Edges and faces of the
body do not feel the obstacle: choose surface triangles smaller than what sticks out of it.

Source: Li et al. 2020, Incremental Potential Contact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.energy import diagonal_pattern, total
from sim.model import SoftBodyModel
from warp_kernels import obstacles, time_integration

Floats = NDArray[np.float64]


class ObstacleContact:
    """What sphere and mesh share.

    Args:
        d_hat: Distance at which the obstacle begins to push [m].
        pressure: Scale of the barrier [Pa].
    """

    name = "obstacle"

    def __init__(self, model: SoftBodyModel, *, d_hat: float, pressure: float) -> None:
        if not (d_hat > 0 and pressure > 0):
            raise ValueError(f"d_hat and pressure must be positive, got {d_hat} and {pressure}")
        self.model = model
        n, device = model.vertex_count, model.device
        shape: Any = obstacles.Obstacle()
        shape.mesh = 0
        shape.corners = wp.zeros((0, 3), dtype=wp.vec3d, device=device)
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
        obstacles.obstacle_push(
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
        obstacles.obstacle_step_bound(x, dx, self._areas, self.shape, self._bound)
        # A vertex keeps at least a tenth of its way, so that the barrier stays finite in floating point.
        return 0.9 * float(self._bound.numpy()[0])

    def reaction(self, x: wp.array) -> Floats:
        """Return the force of the obstacle on the body [N], shape (3,)."""
        self._push(x)
        return -self._gradient.numpy().sum(axis=0)

    def work_per_area(self, x: wp.array, z: Floats) -> Floats:
        """Return gradient . z of each vertex over its area [N/m^2], shape (n,)."""
        self._push(x)
        areas = self.model.vertex_areas
        work = (self._gradient.numpy() * z).sum(axis=1)
        return np.divide(work, areas, out=np.zeros_like(work), where=areas > 0.0)

    def gap(self, positions: Floats) -> float:
        """Return the smallest distance of a surface vertex [m]; of a mesh inf where none is in its layer."""
        self._push(self.model.to_device(positions))
        return float(self._distance.numpy().min())


class SphereContact(ObstacleContact):
    """A solid sphere.

    Args:
        center: [m], shape (3,).
        radius: [m].
    """

    name = "sphere"

    def __init__(
        self, model: SoftBodyModel, center: ArrayLike, radius: float, *, d_hat: float, pressure: float
    ) -> None:
        super().__init__(model, d_hat=d_hat, pressure=pressure)
        if not (np.isfinite(radius) and radius > 0):
            raise ValueError(f"radius: expected a positive number [m], got {radius}")
        self.shape.center = wp.vec3d(*np.asarray(center, dtype=np.float64))
        self.shape.radius = float(radius)


class MeshContact(ObstacleContact):
    """A static triangle surface, open or closed; both sides push.

    Args:
        points: [m], shape (m, 3).
        faces: Vertex indices, shape (f, 3); triangles of positive area.
    """

    name = "obstacle mesh"

    def __init__(
        self, model: SoftBodyModel, points: ArrayLike, faces: ArrayLike, *, d_hat: float, pressure: float
    ) -> None:
        super().__init__(model, d_hat=d_hat, pressure=pressure)
        p, f = np.asarray(points, dtype=np.float64), np.asarray(faces, dtype=np.int32)
        if p.ndim != 2 or p.shape[1] != 3 or not np.isfinite(p).all():
            raise ValueError(f"points: expected finite (m, 3), got shape {p.shape}")
        if f.ndim != 2 or f.shape[1] != 3 or not len(f) or f.min() < 0 or f.max() >= len(p):
            raise ValueError(f"faces: expected (f, 3) with indices in 0..{len(p) - 1}, got shape {f.shape}")
        corners = p[f]
        double = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        if not (double > 0.0).all():
            raise ValueError(f"faces: {int((double == 0).sum())} triangles have no area")
        self._mesh = wp.Mesh(
            wp.array(p, dtype=wp.vec3f, device=model.device),
            wp.array(f.ravel(), dtype=wp.int32, device=model.device),
        )
        self.shape.mesh = self._mesh.id
        self.shape.corners = wp.array(corners, dtype=wp.vec3d, device=model.device)
        extent = max(np.abs(p).max(), np.abs(model.rest_positions).max(), 1e-30)
        self.shape.margin = float(16.0 * np.finfo(np.float32).eps * extent)
