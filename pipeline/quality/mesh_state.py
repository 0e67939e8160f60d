"""The mesh while it is optimised: points, tets, what each vertex may do, and the energy of each tet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.quality.connectivity import Connectivity
from pipeline.quality.energies import EnergyParameters
from pipeline.quality.reference import Curves, ReferenceSurface, sharp_edges
from warp_kernels.tet_quality import tet_energy_values

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

CORNER, CURVE, SURFACE, INTERIOR = 0, 1, 2, 3
"""What a vertex is: it stays, slides on a curve, belongs to the surface, or is free."""


_SAVED = ("points", "tets", "labels", "kind", "creases", "offset", "failed", "failed_energy")


@dataclass
class MeshState:
    """Arrays of a mesh that the operations of this package change in place."""

    points: Points
    """Shape (n, 3), in the unit of the bounding-box diagonal."""
    tets: Indices
    """Shape (t, 4)."""
    labels: Indices
    """Region of each tet, shape (t,)."""
    kind: NDArray[np.int8]
    """CORNER, CURVE, SURFACE or INTERIOR, shape (n,)."""
    creases: Indices
    """Edges that stay on their curve, shape (c, 2)."""
    reference: ReferenceSurface
    curves: Curves
    offset: Points
    """Distance of surface vertices from the reference along its normal, kept while they slide, shape (n,)."""
    parameters: EnergyParameters = field(default_factory=EnergyParameters)
    device: str = "cpu"
    value: Points = field(default_factory=lambda: np.zeros(0))
    """Energy of each tet, shape (t,)."""
    failed: Indices = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int32))
    """Edges at whose middle a vertex was tried in vain with these parameters, shape (k, 2)."""
    failed_energy: Points = field(default_factory=lambda: np.zeros(0))
    """Energy of the worst tet that offered each of those edges, shape (k,)."""
    counts: dict[str, int] = field(default_factory=dict)
    """How often each operation was applied."""
    _connectivity: Connectivity | None = None

    @property
    def connectivity(self) -> Connectivity:
        if self._connectivity is None:
            self._connectivity = Connectivity(self.tets, len(self.points))
        return self._connectivity

    def set_parameters(self, parameters: EnergyParameters) -> None:
        if parameters != self.parameters:
            self.failed, self.failed_energy = self.failed[:0], self.failed_energy[:0]
        self.parameters = parameters
        self.evaluate()

    def evaluate(self) -> None:
        """Compute the energy of every tet."""
        self.value = self.energies(self.tets)

    def energies(self, tets: Indices) -> Points:
        """Return the energy of the given tets, shape (k,)."""
        if not len(tets):
            return np.zeros(0)
        return tet_energy_values(
            self.device_points(), self.to_device(tets, wp.vec4i), self.parameters.to_struct()
        ).numpy()

    def device_points(self) -> wp.array:
        return self.to_device(self.points, wp.vec3d)

    def device_mesh(self) -> tuple[wp.array, wp.array, wp.array, wp.array, wp.array]:
        """Return points, tets, star_start, star and tet_value as the kernels take them."""
        c = self.connectivity
        return (
            self.device_points(),
            self.to_device(self.tets, wp.vec4i),
            self.to_device(c.star_start, int),
            self.to_device(c.star, int),
            self.to_device(self.value, wp.float64),
        )

    def between_regions(self) -> NDArray[np.bool_]:
        """True for edges of tets of more than one region, shape (e,)."""
        c = self.connectivity
        low = np.full(len(c.edges), np.iinfo(np.int32).max, dtype=np.int32)
        high = np.full(len(c.edges), np.iinfo(np.int32).min, dtype=np.int32)
        if len(self.labels) and (self.labels != self.labels[0]).any():
            label = np.repeat(self.labels, 6)
            np.minimum.at(low, c.tet_edges.ravel(), label)
            np.maximum.at(high, c.tet_edges.ravel(), label)
        return high > low

    def to_device(self, array: NDArray[Any], dtype: Any) -> wp.array:
        return wp.array(np.ascontiguousarray(array), dtype=dtype, device=self.device)

    def count(self, name: str, number: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + int(number)

    def remember_failures(self, edges: Indices, energy: Points) -> None:
        """Remember edges, shape (k, 2), where an insertion failed, with the energy that it was to lower."""
        self.failed = np.concatenate([self.failed, edges.astype(np.int32)])
        self.failed_energy = np.concatenate([self.failed_energy, energy])

    def replace_tets(self, removed: NDArray[np.bool_], tets: Indices, labels: Indices) -> None:
        """Remove tets, shape (t,) mask, and append new ones with their energies."""
        value = self.energies(tets)
        self.tets = np.concatenate([self.tets[~removed], tets.astype(np.int32)])
        self.labels = np.concatenate([self.labels[~removed], labels.astype(np.int32)])
        self.value = np.concatenate([self.value[~removed], value])
        self._connectivity = None

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` needs, as copies."""
        return {name: getattr(self, name).copy() for name in _SAVED}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        for name in _SAVED:
            setattr(self, name, arrays[name].copy())
        self._connectivity = None
        self.evaluate()

    def compact(self) -> None:
        """Drop vertices that no tet uses."""
        used = np.unique(self.tets)
        if len(used) == len(self.points):
            return
        index = np.full(len(self.points), -1, dtype=np.int32)
        index[used] = np.arange(len(used), dtype=np.int32)
        self.points, self.kind, self.offset = self.points[used], self.kind[used], self.offset[used]
        self.tets = index[self.tets]
        creases, failed = index[self.creases], index[self.failed]
        self.creases = creases[(creases >= 0).all(axis=1)]
        there = (failed >= 0).all(axis=1)
        self.failed, self.failed_energy = failed[there], self.failed_energy[there]
        self._connectivity = None


def make_state(
    points: Points,
    tets: Indices,
    labels: Indices | None = None,
    crease_edges: Indices | None = None,
    surface: tuple[Points, Indices] | None = None,
    crease_angle: float = 40.0,
    device: str = "cpu",
) -> MeshState:
    """Prepare a mesh for optimisation.

    Args:
        points, tets, labels: The mesh, shapes (n, 3), (t, 4) and (t,).
        crease_edges: Edges to keep on their curve, shape (c, 2); None finds the boundary edges that turn by
            more than `crease_angle`.
        surface: Points and triangles to stay on; None is the boundary of the mesh.
        crease_angle: Turn of a boundary edge from which it is a crease, and of a curve at a corner [deg].
        device: Warp device.
    """
    points = points.copy()
    tets = np.ascontiguousarray(tets, dtype=np.int32)
    connectivity = Connectivity(tets, len(points))
    if crease_edges is None:
        crease_edges = sharp_edges(points, connectivity.faces, crease_angle)
    kind = np.full(len(points), INTERIOR, dtype=np.int8)
    kind[connectivity.on_boundary] = SURFACE
    label = np.zeros(len(tets), dtype=np.int32) if labels is None else labels.astype(np.int32)
    # Vertices between regions stay: the interface is as much input as the boundary.
    low = np.full(len(points), np.iinfo(np.int32).max)
    high = np.full(len(points), np.iinfo(np.int32).min)
    np.minimum.at(low, tets.ravel(), np.repeat(label, 4))
    np.maximum.at(high, tets.ravel(), np.repeat(label, 4))
    kind[np.unique(crease_edges)] = CURVE
    kind[_crease_corners(points, crease_edges, crease_angle)] = CORNER
    kind[high > low] = CORNER
    if surface is None:
        used, inverse = np.unique(connectivity.faces, return_inverse=True)
        surface = points[used], inverse.reshape(-1, 3).astype(np.int32)
    reference = ReferenceSurface(*surface, device=device)
    state = MeshState(
        points=points,
        tets=tets,
        labels=label,
        kind=kind,
        creases=np.asarray(crease_edges, dtype=np.int32).reshape(-1, 2),
        reference=reference,
        curves=Curves(points, np.asarray(crease_edges).reshape(-1, 2)),
        offset=np.zeros(len(points)),
        device=device,
    )
    state._connectivity = connectivity
    state.evaluate()
    return state


def _crease_corners(points: Points, edges: Indices, angle: float) -> NDArray[np.int64]:
    """Return crease vertices that do not have two crease edges in one direction, within `angle` [deg]."""
    if not len(edges):
        return np.zeros(0, dtype=np.int64)
    n = len(points)
    ends = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(ends[:, 0], minlength=n)
    direction = points[ends[:, 1]] - points[ends[:, 0]]
    direction /= np.maximum(np.linalg.norm(direction, axis=1), 1e-300)[:, None]
    total = np.stack([np.bincount(ends[:, 0], direction[:, k], minlength=n) for k in range(3)], axis=1)
    # Two unit vectors u, w at a turn of angle a: |u + w| = 2 sin(a / 2).
    turns = np.linalg.norm(total, axis=1) > 2.0 * np.sin(np.radians(angle) / 2.0)
    return np.flatnonzero((degree > 0) & ((degree != 2) | turns))
