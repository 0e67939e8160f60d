"""How contact and friction between surfaces depend on rest positions, areas and the begin of a step.

Everything is contracted with a vector of displacements z, as an adjoint needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.self_contact import SurfaceContact
from sim.surface_friction import SurfaceFriction
from warp_kernels import surface_contact_sensitivity as kernels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceSlopes:
    """Derivatives of z . (gradient of an energy)."""

    rest: Floats
    """By the rest positions at constant areas [J/m], shape (n, 3)."""
    face_areas: Floats
    """By the areas of the triangles of the bodies [N/m], shape (f,)."""
    start: Floats
    """By the positions where the step begins [J/m], shape (n, 3)."""
    work: float
    """z . gradient itself [J]."""


def contact_slopes(contact: SurfaceContact, x: wp.array, z: Floats) -> SurfaceSlopes:
    """Differentiate z . gradient of a contact at positions x, for z of shape (n, 3)."""
    points = contact.all_points(x)
    contact.gap(x.numpy())  # fills the distances of the pairs
    which = np.flatnonzero(contact.distances() < contact.thicknesses())
    pairs = _Pairs(contact, which)
    moved = wp.clone(points)
    with wp.Tape() as tape:
        kernels.contact_work(
            moved, pairs.along(z), pairs.rest, pairs.corners, pairs.is_edges, pairs.in_one_body,
            pairs.weight, pairs.scale, pairs.work,
        )  # fmt: skip
    return pairs.slopes(tape, None)


def friction_slopes(friction: SurfaceFriction, x: wp.array, z: Floats) -> SurfaceSlopes:
    """Differentiate z . gradient of a friction at positions x, for z of shape (n, 3); after `begin_step`."""
    contact = friction.contact
    moved = wp.clone(contact.all_points(x))
    start = wp.clone(friction.start, requires_grad=True)
    contact.cover(friction.start)
    pairs = _Pairs(contact, contact.numbers(friction.keys))
    with wp.Tape() as tape:
        kernels.friction_work(
            start, moved, friction.anchor, pairs.along(z), pairs.rest, pairs.corners, pairs.is_edges,
            pairs.in_one_body, pairs.weight, pairs.scale, friction.law, pairs.work,
        )  # fmt: skip
    return pairs.slopes(tape, start)


class _Pairs:
    """Some pairs of a contact, and what is differentiated by."""

    def __init__(self, contact: SurfaceContact, which: NDArray[np.int64]) -> None:
        self.contact, self.which = contact, which
        topology, device = contact.topology, contact.model.device
        corners = contact.pairs.corners.numpy()[which].reshape(-1, 4)
        is_edges = contact.pairs.is_edges.numpy()[which]
        second = corners[np.arange(len(corners)), np.where(is_edges, 2, 1)]
        in_one_body = topology.body[corners[:, 0]] == topology.body[second] if len(corners) else is_edges
        self.corners: wp.array = wp.array(corners, dtype=wp.vec4i, device=device)
        self.is_edges: wp.array = wp.array(is_edges, dtype=wp.bool, device=device)
        self.in_one_body: wp.array = wp.array(in_one_body, dtype=wp.bool, device=device)
        weight = contact.pairs.weight.numpy()[which]
        self.weight: wp.array = wp.array(weight, dtype=wp.float64, device=device, requires_grad=True)
        self.rest: wp.array = wp.array(topology.rest, dtype=wp.vec3d, device=device, requires_grad=True)
        self.work = wp.zeros(len(which), dtype=wp.float64, device=device, requires_grad=True)
        scale: Any = kernels.PairScale()
        scale.d_hat, scale.pressure = contact.d_hat, contact.pressure
        self.scale = scale

    def along(self, z: Floats) -> wp.array:
        """Return z for all points: what is static does not move."""
        static = np.zeros((len(self.contact.topology.rest) - len(z), 3))
        return wp.array(np.concatenate([z, static]), dtype=wp.vec3d, device=self.contact.model.device)

    def slopes(self, tape: wp.Tape, start: wp.array | None) -> SurfaceSlopes:
        n, faces = self.contact.model.vertex_count, len(self.contact.topology.body_faces)
        if not len(self.which):
            return SurfaceSlopes(np.zeros((n, 3)), np.zeros(faces), np.zeros((n, 3)), 0.0)
        work = float(self.work.numpy().sum())
        tape.backward(grads={self.work: wp.ones_like(self.work, requires_grad=False)})
        queries, partners = self.contact.pair_ids()
        by_area = self.contact.topology.slopes_by_face(
            queries[self.which], partners[self.which], _gradient(self.weight)
        )
        at_start = np.zeros((n, 3)) if start is None else _gradient(start)[:n]
        return SurfaceSlopes(_gradient(self.rest)[:n], by_area, at_start, work)


def _gradient(array: wp.array) -> Floats:
    assert array.grad is not None
    return array.grad.numpy().copy()
