"""A soft body: what does not change during a simulation (`SoftBodyModel`) and what does (`State`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.material import Material
from warp_kernels import elasticity
from warp_kernels.elasticity import TetElements
from warp_kernels.single_precision import in_single_precision

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

_OUTWARD = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])


def shape_gradients(points: Floats, tets: Ints) -> tuple[Floats, Floats]:
    """Return the gradients of the shape functions [1/m], (t, 4, 3), and the signed volumes [m^3], (t,)."""
    corner = points[tets]
    rest_edges = (corner[:, 1:] - corner[:, :1]).transpose(0, 2, 1)
    volumes = np.linalg.det(rest_edges) / 6.0
    inverse = np.linalg.inv(rest_edges)
    return np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1), volumes


def surface_faces(tets: Ints) -> Ints:
    """Return the outward triangles that belong to one tet only, shape (f, 3)."""
    faces = tets[:, _OUTWARD].reshape(-1, 3)
    key = np.sort(faces, axis=1)
    order = np.lexsort(key.T)
    same = (key[order][1:] == key[order][:-1]).all(axis=1)
    alone = np.ones(len(faces), dtype=bool)
    alone[order[1:][same]] = False
    alone[order[:-1][same]] = False
    return faces[alone]


@dataclass(frozen=True)
class SoftBodyModel:
    """Linear tetrahedra with lumped masses on one device.

    Make one with `from_arrays`.
    """

    rest_positions: Floats
    """[m], shape (n, 3)."""
    tets: Ints
    """Shape (t, 4), positive volume at rest."""
    material: Material
    volumes: Floats
    """Rest volume of each tet [m^3]."""
    shape_gradients: Floats
    """[1/m], shape (t, 4, 3)."""
    mu: Floats
    """[Pa], shape (t,)."""
    lam: Floats
    """[Pa], shape (t,)."""
    masses: Floats
    """Lumped mass of each vertex [kg]: a quarter of every tet around it."""
    surface: Ints
    """Outward boundary triangles, shape (f, 3)."""
    device: str

    @staticmethod
    def from_arrays(
        points: ArrayLike,
        tets: ArrayLike,
        material: Material | None = None,
        *,
        mu: ArrayLike | None = None,
        lam: ArrayLike | None = None,
        device: str = "cpu",
    ) -> SoftBodyModel:
        """Build a model from plain arrays.

        Args:
            points: Rest positions [m], shape (n, 3).
            tets: Vertex indices, shape (t, 4).
            mu: Shear modulus per tet [Pa], shape (t,) or a number; the material's if None.
            lam: Second Lamé modulus per tet [Pa], shape (t,) or a number; the material's if None.

        Raises:
            ValueError: Wrong shapes, indices out of range, coordinates not finite, tets without positive
                volume, vertices that no tet uses.
        """
        material = material or Material()
        p = np.ascontiguousarray(points, dtype=np.float64)
        t = np.ascontiguousarray(tets, dtype=np.int32)
        if p.ndim != 2 or p.shape[1] != 3 or not np.isfinite(p).all():
            raise ValueError(f"points: expected finite (n, 3), got shape {p.shape}")
        if t.ndim != 2 or t.shape[1] != 4 or not len(t):
            raise ValueError(f"tets: expected (t, 4) with at least one row, got {t.shape}")
        if t.min() < 0 or t.max() >= len(p):
            raise ValueError(f"tets: indices must lie in 0..{len(p) - 1}, got {t.min()}..{t.max()}")
        corner = p[t]
        bad = np.flatnonzero(~(np.linalg.det(corner[:, 1:] - corner[:, :1]) > 0))
        if len(bad):
            raise ValueError(
                f"tets: {len(bad)} of {len(t)} have no positive volume at rest, first {bad[:5].tolist()}"
            )
        gradients, volumes = shape_gradients(p, t)
        masses = np.bincount(
            t.ravel(), np.repeat(material.density * volumes / 4.0, 4), minlength=len(p)
        ).astype(np.float64)
        unused = np.flatnonzero(masses == 0)
        if len(unused):
            raise ValueError(
                f"points: {len(unused)} of {len(p)} belong to no tet, "
                f"first {unused[:5].tolist()}; remove them"
            )
        moduli = [
            np.broadcast_to(
                np.asarray(default if given is None else given, dtype=np.float64), (len(t),)
            ).copy()
            for given, default in ((mu, material.mu), (lam, material.lam))
        ]
        return SoftBodyModel(
            p, t, material, volumes, gradients, moduli[0], moduli[1], masses, surface_faces(t), device
        )

    @property
    def vertex_count(self) -> int:
        return len(self.rest_positions)

    @property
    def mesh_vertex_count(self) -> int:
        """Vertices of the mesh, the first of the nodes."""
        return self.vertex_count

    @property
    def tet_count(self) -> int:
        return len(self.tets)

    @cached_property
    def mass(self) -> float:
        """[kg]."""
        return float(self.masses.sum())

    @cached_property
    def load_masses(self) -> Floats:
        """Mass that the weight of each vertex counts [kg], shape (n,): the integral of its shape function."""
        return self.masses

    @cached_property
    def size(self) -> float:
        """Longest side of the bounding box [m]."""
        return float(np.ptp(self.rest_positions, axis=0).max())

    @cached_property
    def vertex_areas(self) -> Floats:
        """Surface area of each vertex [m^2]: a third of every boundary triangle around it."""
        a, b, c = (self.rest_positions[self.surface[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2.0
        areas = np.bincount(self.surface.ravel(), np.repeat(area / 3.0, 3), minlength=self.vertex_count)
        return areas.astype(np.float64)

    @property
    def contact_faces(self) -> Ints:
        """Triangles that touch, shape (f, 3)."""
        return self.surface

    @property
    def node_pairs(self) -> tuple[Ints, Ints]:
        """Vertices that share an element: enough pairs to connect each, shape (k,) and (k,)."""
        return np.repeat(self.tets[:, :1], 3, axis=1).ravel(), self.tets[:, 1:].ravel()

    @cached_property
    def elements(self) -> TetElements:
        """The tets on the device."""
        return self._elements(elasticity, wp.float64)

    @cached_property
    def single_elements(self) -> TetElements:
        """The tets on the device, in float32."""
        return self._elements(in_single_precision(elasticity), wp.float32)

    def _elements(self, kernels: Any, scalar: Any) -> TetElements:
        e = kernels.TetElements()
        e.tets = wp.array(self.tets, dtype=wp.vec4i, device=self.device)
        e.shape_gradients = wp.array(self.shape_gradients, dtype=kernels.CORNER_GRADIENTS, device=self.device)
        e.volumes = wp.array(self.volumes, dtype=scalar, device=self.device)
        e.mu = wp.array(self.mu, dtype=scalar, device=self.device)
        e.lam = wp.array(self.lam, dtype=scalar, device=self.device)
        return e

    @cached_property
    def corners_of_vertex(self) -> tuple[wp.array, wp.array]:
        """Start per vertex (n + 1,) and 4 * tet + corner grouped by vertex (4 t,), on the device."""
        flat = self.tets.ravel()
        corner = np.argsort(flat, kind="stable").astype(np.int32)
        start = np.zeros(self.vertex_count + 1, dtype=np.int32)
        np.cumsum(np.bincount(flat, minlength=self.vertex_count), out=start[1:])
        return (
            wp.array(start, dtype=wp.int32, device=self.device),
            wp.array(corner, dtype=wp.int32, device=self.device),
        )

    @property
    def quadrature(self) -> Sequence[Floats]:
        """Gradients of the shape functions at points of equal weight in each tet [1/m], (t, k, 3) each."""
        return [self.shape_gradients]

    @property
    def element_nodes(self) -> Ints:
        """Vertices of the shape functions of each tet, shape (t, k)."""
        return self.tets

    def volume_slopes(self, by_mass: Floats, by_load_mass: Floats) -> Floats:
        """Trace derivatives by masses and by load masses, shape (n,), back to volumes at rest, shape (t,)."""
        return self.material.density / 4.0 * (by_mass + by_load_mass)[self.tets].sum(axis=1)

    def onto_vertices(self, slopes: Floats) -> Floats:
        """Trace derivatives by positions of all nodes, shape (n, 3), back to those of the mesh, (v, 3)."""
        return slopes

    def at_nodes(self, vectors: ArrayLike) -> Floats:
        """Return vectors at all nodes, shape (n, 3), from those at the vertices of the mesh, (v, 3)."""
        return np.asarray(vectors, dtype=np.float64)

    def to_device(self, vectors: ArrayLike) -> wp.array:
        """Copy vectors, shape (n, 3), to a vec3d array on the model's device."""
        a = np.ascontiguousarray(vectors, dtype=np.float64)
        if a.shape != (self.vertex_count, 3):
            raise ValueError(f"expected shape ({self.vertex_count}, 3), got {a.shape}")
        return wp.array(a, dtype=wp.vec3d, device=self.device)


@dataclass(frozen=True)
class State:
    """Positions and velocities of one moment."""

    positions: Floats
    """[m], shape (n, 3)."""
    velocities: Floats
    """[m/s], shape (n, 3)."""
    time: float = 0.0
    """[s]."""
    accelerations: Floats | None = None
    """[m/s^2], shape (n, 3), where an integrator carries them on."""
    earlier: State | None = None
    """The state one step before, where an integrator needs it."""

    @staticmethod
    def at_rest(model: SoftBodyModel) -> State:
        return State(model.rest_positions.copy(), np.zeros_like(model.rest_positions))
