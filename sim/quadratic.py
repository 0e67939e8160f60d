"""Quadratic tetrahedra (ten nodes, straight edges) behind the interface of the linear ones.

A `QuadraticModel` is a `SoftBodyModel` whose vertices are the nodes: the vertices of the mesh first, then the
midpoints of its edges. Energies, solvers, integrators and modes take it as they take a linear one, with
`elastic_of(model)` in place of `Elastic(model)`.

    masses       lumped by scaling the diagonal of the consistent mass: V/36 per corner, 4 V/27 per edge
    load_masses  integrals of the shape functions, for gravity: -V/20 per corner, V/5 per edge

By how much linear tets differ: `element_error.py`.

Source: Hinton, Rock, Zienkiewicz 1976 for the masses; Schneider et al. 2022, A Large-Scale Comparison of
Tetrahedral and Hexahedral Elements, for what quadratic tets are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.energy import Elastic
from sim.model import Floats, Ints, SoftBodyModel
from sim.nodal_volume import AveragedElastic, AveragedModel, average_volumes
from warp_kernels import quadratic_elasticity as kernels
from warp_kernels.elasticity import ElasticKernels
from warp_kernels.materials import MATERIALS

EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
"""Corners of the edge of each midpoint of a tet, in the order of the nodes 4 to 9."""
_MASS_SHARES = np.concatenate([np.full(4, 1.0 / 36.0), np.full(6, 4.0 / 27.0)])
_LOAD_SHARES = np.concatenate([np.full(4, -1.0 / 20.0), np.full(6, 1.0 / 5.0)])


@dataclass(frozen=True)
class QuadraticModel(SoftBodyModel):
    """Quadratic tetrahedra; make one with `refine_degree`."""

    nodes: Ints
    """Corners and edge midpoints of each tet, shape (t, 10)."""
    edges: Ints
    """Vertices of the edge of each midpoint, shape (n - v, 2)."""

    @cached_property
    def load_masses(self) -> Floats:
        return _to_nodes(self.nodes, self.material.density * self.volumes, _LOAD_SHARES, self.vertex_count)

    @cached_property
    def vertex_areas(self) -> Floats:
        """Surface area of each node [m^2]: of the four parts of a face, A/12 per corner, A/4 per midpoint."""
        first = self.vertex_count - len(self.edges)
        a, b, c = (self.rest_positions[self.surface[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2.0
        sides = np.sort(self.surface[:, [[0, 1], [1, 2], [2, 0]]], axis=2).astype(np.int64)
        # Edges are sorted by their vertices, and so are these keys.
        keys = self.edges[:, 0].astype(np.int64) * first + self.edges[:, 1]
        middle = first + np.searchsorted(keys, (sides[..., 0] * first + sides[..., 1]).ravel())
        n = self.vertex_count
        areas = np.bincount(self.surface.ravel(), np.repeat(area / 12.0, 3), minlength=n)
        areas = areas + np.bincount(middle, np.repeat(area / 4.0, 3), minlength=n)
        return areas.astype(np.float64)

    @cached_property
    def contact_faces(self) -> Ints:
        """Four triangles of corners and midpoints for each boundary triangle, shape (4 f, 3)."""
        first = self.vertex_count - len(self.edges)
        sides = np.sort(self.surface[:, [[0, 1], [1, 2], [2, 0]]], axis=2).astype(np.int64)
        keys = self.edges[:, 0].astype(np.int64) * first + self.edges[:, 1]
        wanted = (sides[..., 0] * first + sides[..., 1]).ravel()
        ab, bc, ca = (first + np.searchsorted(keys, wanted)).reshape(-1, 3).T
        a, b, c = self.surface.T
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        return np.stack([np.stack(p, axis=1) for p in parts], axis=1).reshape(-1, 3).astype(np.int32)

    @property
    def node_pairs(self) -> tuple[Ints, Ints]:
        return np.repeat(self.nodes[:, :1], 9, axis=1).ravel(), self.nodes[:, 1:].ravel()

    @cached_property
    def quadrature(self) -> Sequence[Floats]:
        g, points = self.shape_gradients, []
        for q in range(4):
            L = np.where(np.arange(4) == q, (5.0 + 3.0 * np.sqrt(5.0)) / 20.0, (5.0 - np.sqrt(5.0)) / 20.0)
            a, b = EDGES.T
            corners = (4.0 * L - 1.0)[:, None] * g
            middles = 4.0 * (L[a][:, None] * g[:, b] + L[b][:, None] * g[:, a])
            points.append(np.concatenate([corners, middles], axis=1))
        return points

    @property
    def element_nodes(self) -> Ints:
        return self.nodes

    def volume_slopes(self, by_mass: Floats, by_load_mass: Floats) -> Floats:
        shares = by_mass[self.nodes] @ _MASS_SHARES + by_load_mass[self.nodes] @ _LOAD_SHARES
        return self.material.density * shares

    @property
    def mesh_vertex_count(self) -> int:
        return self.vertex_count - len(self.edges)

    def onto_vertices(self, slopes: Floats) -> Floats:
        v = self.mesh_vertex_count
        found = slopes[:v].copy()
        for end in self.edges.T:
            np.add.at(found, end, 0.5 * slopes[v:])
        return found

    def at_nodes(self, vectors: ArrayLike) -> Floats:
        given = super().at_nodes(vectors)
        if len(given) != self.mesh_vertex_count:
            return given
        return np.concatenate([given, given[self.edges].mean(axis=1)])

    @cached_property
    def corners_of_vertex(self) -> tuple[wp.array, wp.array]:
        """Start per node (n + 1,) and 10 * tet + local node grouped by node (10 t,), on the device."""
        flat = self.nodes.ravel()
        corner = np.argsort(flat, kind="stable").astype(np.int32)
        start = np.zeros(self.vertex_count + 1, dtype=np.int32)
        np.cumsum(np.bincount(flat, minlength=self.vertex_count), out=start[1:])
        return (
            wp.array(start, dtype=wp.int32, device=self.device),
            wp.array(corner, dtype=wp.int32, device=self.device),
        )

    @cached_property
    def node_array(self) -> wp.array:
        """`nodes` on the device."""
        return wp.array(self.nodes, dtype=kernels.NODES, device=self.device)


def refine_degree(model: SoftBodyModel) -> QuadraticModel:
    """Return the model of the same tets with quadratic shape functions."""
    pairs = np.sort(model.tets[:, EDGES], axis=2)
    edges, number = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    v = model.vertex_count
    nodes = np.concatenate([model.tets, v + number.reshape(-1, 6)], axis=1).astype(np.int32)
    rest = np.concatenate([model.rest_positions, model.rest_positions[edges].mean(axis=1)])
    given = {f.name: getattr(model, f.name) for f in fields(SoftBodyModel)}
    given["rest_positions"] = rest
    given["masses"] = _to_nodes(nodes, model.material.density * model.volumes, _MASS_SHARES, len(rest))
    return QuadraticModel(**given, nodes=nodes, edges=edges.astype(np.int32))


def _to_nodes(nodes: Ints, values: Floats, shares: Floats, count: int) -> Floats:
    weights = (values[:, None] * shares).ravel()
    return np.bincount(nodes.ravel(), weights, minlength=count).astype(np.float64)


class QuadraticElastic(Elastic):
    """Energy of the quadratic tets of a model in its material; arguments as `Elastic`."""

    model: QuadraticModel

    def __init__(self, model: QuadraticModel, *, is_projected: bool = True) -> None:
        super().__init__(model, is_projected=is_projected)
        self.kernels = _kernels_of(model.material.name)
        self._corner = wp.zeros((model.tet_count, 10), dtype=wp.vec3d, device=model.device)

    def value(self, x: wp.array) -> float:
        m = self.model
        kernels.quadratic_energy(self.kernels, x, m.node_array, m.elements, self._energy, self._volume_ratio)
        return self.sum_of_tets()

    def gradient(self, x: wp.array, out: wp.array) -> None:
        m = self.model
        start, corner = m.corners_of_vertex
        kernels.quadratic_gradient(
            self.kernels, x, m.node_array, m.elements, start, corner, self._corner, out
        )

    def pattern(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        nodes = self.model.nodes
        return np.repeat(nodes, 10, axis=1).ravel(), np.tile(nodes, (1, 10)).ravel()

    def hessian(self, x: wp.array, out: wp.array) -> None:
        m = self.model
        kernels.quadratic_hessian(self.kernels, x, m.node_array, m.elements, self.is_projected, out)

    def stress(self, x: wp.array) -> Floats:
        """Return the mean first Piola-Kirchhoff stress of each tet [Pa], shape (t, 3, 3)."""
        out = wp.zeros(self.model.tet_count, dtype=wp.mat33d, device=x.device)
        kernels.quadratic_stress(self.kernels, x, self.model.node_array, self.model.elements, out)
        return out.numpy()


ELEMENTS = ("linear", "averaged", "quadratic")
"""What tets can be: linear, linear with averaged volumes, or quadratic."""


def with_element(model: SoftBodyModel, name: str) -> SoftBodyModel:
    """Return a model of linear tets with one of `ELEMENTS`.

    Raises:
        ValueError: The name is not known, or the material has no averaged volumes.
    """
    if name not in ELEMENTS:
        raise ValueError(f"element: unknown name {name!r}; known: {', '.join(ELEMENTS)}")
    if name == "linear":
        return model
    return refine_degree(model) if name == "quadratic" else average_volumes(model)


def elastic_of(model: SoftBodyModel, *, is_projected: bool = True) -> Elastic:
    """Return the elastic energy of a model in its element."""
    if isinstance(model, QuadraticModel):
        return QuadraticElastic(model, is_projected=is_projected)
    if isinstance(model, AveragedModel):
        return AveragedElastic(model, is_projected=is_projected)
    return Elastic(model, is_projected=is_projected)


@cache
def _kernels_of(name: str) -> ElasticKernels:
    return kernels.quadratic_kernels(name, MATERIALS[name])
