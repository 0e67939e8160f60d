"""How stiffness damping depends on moduli, rest shape and begin of a step.

    f = z^T C d,   C = beta / h K(x_0; mu, lam, X),   d = x - x_p
      = beta / h sum_t W (lam tr A tr B + 2 mu A : B),   A = sym(F^T Z),   B = sym(F^T D)

with F = sum x_0 g^T, Z = sum z g^T and D = sum d g^T of each tet, S = beta / h W (lam tr(.) I + 2 mu (.)):

    df/dF = Z S(B) + D S(A),   df/dZ = F S(B),   df/dD = F S(A)

and a motion w of the rest shape changes every G of these by -G grad w, and W by W tr grad w.

Source: plain differentiation; the chain is that of `sensitivity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.damping import StiffnessDamping

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
    """By the positions of the corners where the step begins [J/m], shape (t, 4, 3)."""


def damping_slopes(damping: StiffnessDamping, positions: Floats, z: Floats) -> DampingSlopes:
    """Differentiate z . gradient of a damping at `positions`, for z of shape (n, 3); after `begin_step`."""
    model = damping.model
    tets, g = model.tets, model.shape_gradients

    def gradient(vectors: Floats) -> Floats:
        return np.einsum("tai,taj->tij", vectors[tets], g)

    F, Z, D = gradient(damping.start), gradient(z), gradient(positions - damping.anchor)
    A, B = (0.5 * (M + M.transpose(0, 2, 1)) for M in (F.transpose(0, 2, 1) @ Z, F.transpose(0, 2, 1) @ D))
    weight = damping.factor * model.volumes
    by_lam = weight * np.einsum("tii->t", A) * np.einsum("tii->t", B)
    by_mu = 2.0 * weight * np.einsum("tij,tij->t", A, B)

    def stress(strain: Floats) -> Floats:
        volumetric = (model.lam * np.einsum("tii->t", strain))[:, None, None] * np.eye(3)
        return weight[:, None, None] * (volumetric + 2.0 * model.mu[:, None, None] * strain)

    at_a, at_b = stress(A), stress(B)
    by_f, by_z, by_d = Z @ at_b + D @ at_a, F @ at_b, F @ at_a
    value = model.lam * by_lam + model.mu * by_mu
    by_motion = value[:, None, None] * np.eye(3)
    for G, slope in ((F, by_f), (Z, by_z), (D, by_d)):
        by_motion -= G.transpose(0, 2, 1) @ slope
    return DampingSlopes(
        mu=by_mu,
        lam=by_lam,
        rest=np.einsum("tij,taj->tai", by_motion, g),
        start=np.einsum("tij,taj->tai", by_f, g),
    )
