"""How stiffness damping depends on moduli, rest shape and begin of a step.

    f = z^T C d,   C = beta / h K(x_0; mu, lam, X),   d = x - x_p
      = beta / h sum_t W (lam tr A tr B + 2 mu A : B),   A = sym(F^T Z),   B = sym(F^T D)

with F = sum x_0 g^T, Z = sum z g^T and D = sum d g^T of each tet, S = beta / h W (lam tr(.) I + 2 mu (.)):

    df/dF = Z S(B) + D S(A),   df/dZ = F S(B),   df/dD = F S(A)

and a motion w of the rest shape changes every G of these by -G grad w, and W by W tr grad w. In quadratic
tets the same holds at each point of quadrature, with its share of W.

Source: plain differentiation; the chain is that of `sensitivity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.damping import StiffnessDamping
from sim.model import SoftBodyModel

Floats = NDArray[np.float64]


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
    """By the positions of the nodes where the step begins [J/m], shape (t, k, 3)."""


def damping_slopes(damping: StiffnessDamping, positions: Floats, z: Floats) -> DampingSlopes:
    """Differentiate z . gradient of a damping at `positions`, for z of shape (n, 3); after `begin_step`."""
    model = damping.model
    nodes = model.element_nodes
    start, change = damping.start, positions - damping.anchor
    t = model.tet_count
    found = DampingSlopes(np.zeros(t), np.zeros(t), np.zeros((t, 4, 3)), np.zeros((*nodes.shape, 3)))
    weight = damping.factor * model.volumes / len(model.quadrature)
    for g in model.quadrature:
        F, Z, D = (np.einsum("tai,taj->tij", v[nodes], g) for v in (start, z, change))
        A, B = (0.5 * (M + M.transpose(0, 2, 1)) for M in (F.transpose(0, 2, 1) @ G for G in (Z, D)))
        by_lam = weight * np.einsum("tii->t", A) * np.einsum("tii->t", B)
        by_mu = 2.0 * weight * np.einsum("tij,tij->t", A, B)
        at_a, at_b = (_stress(strain, weight, model) for strain in (A, B))
        by_f, by_z, by_d = Z @ at_b + D @ at_a, F @ at_b, F @ at_a
        by_motion = (model.lam * by_lam + model.mu * by_mu)[:, None, None] * np.eye(3)
        for G, slope in ((F, by_f), (Z, by_z), (D, by_d)):
            by_motion -= G.transpose(0, 2, 1) @ slope
        found.mu[:] += by_mu
        found.lam[:] += by_lam
        found.rest[:] += np.einsum("tij,taj->tai", by_motion, model.shape_gradients)
        found.start[:] += np.einsum("tij,taj->tai", by_f, g)
    return found


def _stress(strain: Floats, weight: Floats, model: SoftBodyModel) -> Floats:
    volumetric = (model.lam * np.einsum("tii->t", strain))[:, None, None] * np.eye(3)
    return weight[:, None, None] * (volumetric + 2.0 * model.mu[:, None, None] * strain)
