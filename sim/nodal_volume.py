"""A cure for volumetric locking of linear tets: the volume is watched around each vertex, not in each tet.

Near nu = 1/2 every linear tet keeps its own volume, and there are five to six tets for each vertex: too
many conditions for the motions that are left (locking). With one condition for each vertex they fit.
`average_volumes` turns a model into one that is solved so; energies, solvers, integrators and scenarios
take it as it is, with `elastic_of`.

    energy   sum_e W_e psi(F_e, mu_e, 0) + sum_a W_a lam_a/2 (J_a - 1)^2        J_a: mean of J around vertex a

Equations in `warp_kernels/nodal_volume.py`. Limits: bending with few tets across stays too stiff (it is
not the volume that locks there: use quadratic tets); the pressure may alternate from vertex to vertex
where a body is nearly incompressible and strongly pressed; materials whose volumetric energy is not lam/2
(J - 1)^2 (St. Venant-Kirchhoff, linear) are refused; the Hessian couples a vertex with the ring of its
neighbours, about 2.5 times the blocks.

Source: Bonet, Burton 1998, A simple average nodal pressure tetrahedral element for incompressible and
nearly incompressible dynamic explicit applications; Hughes 2000, section 4.4 for counting constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.energy import Elastic, total
from sim.model import Floats, Ints, SoftBodyModel
from warp_kernels import elasticity
from warp_kernels import nodal_volume as kernels
from warp_kernels.materials import MATERIALS

AVERAGED_MATERIALS = ("stable_neo_hookean", "fixed_corotated")
"""Materials with psi(F, mu, lam) = psi(F, mu, 0) + lam/2 (J - 1)^2."""


@dataclass(frozen=True)
class AveragedModel(SoftBodyModel):
    """Linear tets with averaged volumes; make one with `average_volumes`."""

    @cached_property
    def vertex_volumes(self) -> Floats:
        """A quarter of every tet around each vertex [m^3], shape (n,)."""
        return self.gather(self.volumes / 4.0)

    @cached_property
    def vertex_lam(self) -> Floats:
        """Mean of lam around each vertex, weighted with volume [Pa], shape (n,)."""
        return self.gather(self.lam * self.volumes / 4.0) / self.vertex_volumes

    def gather(self, per_tet: Floats) -> Floats:
        """Return the sum of a number of each tet around each vertex, shape (n,)."""
        n = self.vertex_count
        return np.bincount(self.tets.ravel(), np.repeat(per_tet, 4), minlength=n).astype(np.float64)

    @cached_property
    def slots(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Pairs (vertex, vertex of its ring), sorted.

        Returns:
            The vertex (s,) and the ring vertex (s,) of each slot; first entry of each slot (s + 1,) in
            4 * tet + corner (16 t,).
        """
        around = np.repeat(self.tets, 4, axis=1).ravel().astype(np.int64)
        ring = np.tile(self.tets, (1, 4)).ravel()
        corner = np.tile(np.arange(4 * self.tet_count).reshape(-1, 4), (1, 4)).ravel()
        order = np.lexsort((corner, ring, around))
        key = around[order] * self.vertex_count + ring[order]
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        keys = key[first]
        start = np.append(first, len(key))
        vertex, member = keys // self.vertex_count, keys % self.vertex_count
        return (
            vertex.astype(np.int32),
            member.astype(np.int32),
            start.astype(np.int32),
            corner[order].astype(np.int32),
        )


def average_volumes(model: SoftBodyModel) -> AveragedModel:
    """Return the model with averaged volumes.

    Raises:
        ValueError: The material has another volumetric energy, or the tets are not linear.
    """
    if model.material.name not in AVERAGED_MATERIALS:
        raise ValueError(
            f"average_volumes: expected one of {', '.join(AVERAGED_MATERIALS)}, got {model.material.name}"
        )
    if type(model) is not SoftBodyModel:
        raise ValueError(f"average_volumes: expected linear tets, got a {type(model).__name__}")
    return AveragedModel(**{f.name: getattr(model, f.name) for f in fields(SoftBodyModel)})


class AveragedElastic(Elastic):
    """Energy of a model with averaged volumes; arguments as `Elastic`."""

    model: AveragedModel

    def __init__(self, model: AveragedModel, *, is_projected: bool = True) -> None:
        super().__init__(model, is_projected=is_projected)
        self._kernels = _kernels_of(model.material.name)
        n, t, device = model.vertex_count, model.tet_count, model.device
        vertex, member, start, corner = model.slots
        # Every pair of slots of one vertex is a block.
        size = np.bincount(vertex, minlength=n)
        first = np.repeat(np.cumsum(size) - size, size**2)
        within = np.arange(int((size**2).sum())) - np.repeat(np.cumsum(size**2) - size**2, size**2)
        width = np.repeat(size, size**2)
        i, j = (first + within // width).astype(np.int32), (first + within % width).astype(np.int32)
        self._rows, self._columns = member[i], member[j]
        self._pairs: wp.array = wp.array(np.stack([i, j], axis=1), dtype=wp.vec2i, device=device)
        self._slot_vertex: wp.array = wp.array(vertex, dtype=wp.int32, device=device)
        self._slot_start: wp.array = wp.array(start, dtype=wp.int32, device=device)
        self._slot_corner: wp.array = wp.array(corner, dtype=wp.int32, device=device)
        self._slot_gradient = wp.zeros(len(vertex), dtype=wp.vec3d, device=device)
        self._volumes: wp.array = wp.array(model.vertex_volumes, dtype=wp.float64, device=device)
        self._lam: wp.array = wp.array(model.vertex_lam, dtype=wp.float64, device=device)
        self._vertex_pressure, self._vertex_energy = (
            wp.zeros(n, dtype=wp.float64, device=device) for _ in range(2)
        )
        self._pressure = wp.zeros(t, dtype=wp.float64, device=device)

    def value(self, x: wp.array) -> float:
        self._press(x)
        return total(self._energy) + total(self._vertex_energy)

    def _press(self, x: wp.array) -> None:
        m = self.model
        wp.launch(
            self._kernels.energy, m.tet_count, [x, m.elements], [self._energy, self._volume_ratio],
            device=x.device,
        )  # fmt: skip
        start, corner = m.corners_of_vertex
        kernels.mean_pressures(
            start, corner, m.elements, self._volume_ratio, self._volumes, self._lam,
            self._vertex_pressure, self._vertex_energy, self._pressure,
        )  # fmt: skip

    def gradient(self, x: wp.array, out: wp.array) -> None:
        self._press(x)
        m = self.model
        start, corner = m.corners_of_vertex
        inputs = [x, m.elements, self._pressure]
        wp.launch(self._kernels.gradient, m.tet_count, inputs, [self._corner], device=x.device)
        wp.launch(elasticity.gather_kernel, len(out), [start, corner, self._corner], [out], device=x.device)

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        rows, columns = super().pattern()
        return np.concatenate([rows, self._rows]), np.concatenate([columns, self._columns])

    def hessian(self, x: wp.array, out: wp.array) -> None:
        self._press(x)
        m = self.model
        inputs = [x, m.elements, self._pressure, self.is_projected]
        tet_blocks = 16 * m.tet_count
        wp.launch(self._kernels.hessian, m.tet_count, inputs, [out[:tet_blocks]], device=x.device)
        kernels.vertex_hessian(
            x, m.elements, self._slot_start, self._slot_corner, self._slot_vertex, self._pairs, self._volumes,
            self._lam, self._corner, self._slot_gradient, out[tet_blocks:],
        )  # fmt: skip

    def stress(self, x: wp.array) -> Floats:
        """Return the first Piola stress of each tet under its mean pressure [Pa], shape (t, 3, 3)."""
        self._press(x)
        out = wp.zeros(self.model.tet_count, dtype=wp.mat33d, device=x.device)
        inputs = [x, self.model.elements, self._pressure]
        wp.launch(self._kernels.stress, len(out), inputs, [out], device=x.device)
        return out.numpy()


@cache
def _kernels_of(name: str) -> kernels.NodalKernels:
    return kernels.nodal_kernels(name, MATERIALS[name])
