"""How stiffness damping depends on moduli, rest shape and begin of a step, by differences of each element.

    f = z^T C d,   C = beta / h K(x_0; mu, lam, X),   d = x - x_p

K is a projected Hessian: its derivative is a third derivative of the energy with kinks where an eigenvalue
passes zero. f is a sum over tets of functions of 26 numbers each, so that central differences of all tets at
once need two evaluations per number, whatever the mesh. With steps of 1e-5 their error is 1e-10, truncation
and rounding alike.

Source: plain central differences; the chain is that of `sensitivity.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.damping import StiffnessDamping
from sim.model import shape_gradients
from warp_kernels.elasticity import CORNER_GRADIENTS, TetElements, elastic_hessian

Floats = NDArray[np.float64]

_STEP = 1e-5
"""Step of the differences, over an edge or a modulus."""


@dataclass(frozen=True)
class DampingSlopes:
    """Derivatives of z . (gradient of stiffness damping), per tet."""

    mu: Floats
    """[J/Pa], shape (t,)."""
    lam: Floats
    """[J/Pa], shape (t,)."""
    rest: Floats
    """By the rest positions of the corners [J/m], shape (t, 4, 3)."""
    start: Floats
    """By the positions of the corners where the step begins [J/m], shape (t, 4, 3)."""


def damping_slopes(damping: StiffnessDamping, positions: Floats, z: Floats) -> DampingSlopes:
    """Differentiate z . gradient of a damping at `positions`, for z of shape (n, 3); after `begin_step`."""
    model = damping.model
    tets = model.tets
    way, along = (positions - damping.anchor)[tets], z[tets]
    corners = np.arange(4 * len(tets), dtype=np.int32).reshape(-1, 4)
    device = model.device
    blocks = wp.zeros(16 * len(tets), dtype=wp.mat33d, device=device)
    elements: Any = TetElements()
    elements.tets = wp.array(corners, dtype=wp.vec4i, device=device)

    def work(rest: Floats, start: Floats, mu: Floats, lam: Floats) -> Floats:
        """Return f of each tet, (t,); every tet has corners of its own, (t, 4, 3)."""
        gradients, volumes = shape_gradients(rest.reshape(-1, 3), corners)
        elements.shape_gradients = wp.array(gradients, dtype=CORNER_GRADIENTS, device=device)
        elements.volumes = wp.array(volumes, dtype=wp.float64, device=device)
        elements.mu = wp.array(mu, dtype=wp.float64, device=device)
        elements.lam = wp.array(lam, dtype=wp.float64, device=device)
        x: wp.array = wp.array(start.reshape(-1, 3), dtype=wp.vec3d, device=device)
        elastic_hessian(damping.elastic.kernels, x, elements, True, blocks)
        K = blocks.numpy().reshape(-1, 4, 4, 3, 3)
        return damping.factor * np.einsum("tai,tabij,tbj->t", along, K, way, optimize=True)

    rest, start = model.rest_positions[tets], damping.start[tets]
    edge = np.cbrt(model.volumes)

    def slope(of: Callable[[Floats], Floats], h: Floats) -> Floats:
        return (of(h) - of(-h)) / (2.0 * h)

    by_rest, by_start = np.zeros_like(rest), np.zeros_like(start)
    for corner in range(4):
        for axis in range(3):
            unit = np.zeros((1, 4, 3))
            unit[0, corner, axis] = 1.0

            def moved(where: Floats, h: Floats, unit: Floats = unit) -> Floats:
                return where + h[:, None, None] * unit

            by_rest[:, corner, axis] = slope(
                lambda h: work(moved(rest, h), start, model.mu, model.lam),
                _STEP * edge,
            )
            by_start[:, corner, axis] = slope(
                lambda h: work(rest, moved(start, h), model.mu, model.lam),
                _STEP * edge,
            )
    # lam alone may be zero: both moduli step by the same.
    modulus = _STEP * (model.lam + 2.0 * model.mu)
    return DampingSlopes(
        mu=slope(lambda h: work(rest, start, model.mu + h, model.lam), modulus),
        lam=slope(lambda h: work(rest, start, model.mu, model.lam + h), modulus),
        rest=by_rest,
        start=by_start,
    )
