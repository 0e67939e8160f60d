"""Small vibrations of a body about its rest shape: stable explicit step and lowest modes.

    K u = (2 pi f)^2 M u,      stable dt of symplectic Euler = 2 / (2 pi f_max)

K is the stiffness at rest, M the lumped masses. The lowest modes come from Rayleigh-Ritz on block Krylov
spaces of (M^-1/2 K M^-1/2 + shift)^-1: a block, because a method that follows one vector misses copies of a
repeated eigenvalue, and a free body has six at zero. The largest comes from Lanczos.

Source: Grimes, Lewis, Simon 1994, A shifted block Lanczos algorithm, for the block; Hughes 2000, The Finite
Element Method, section 9.2 for the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, csc_matrix, csr_matrix, diags, identity
from scipy.sparse.linalg import eigsh

from sim.linear_solver import BlockMatrix, factor_as_ordered, fill_reducing_order
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of

Floats = NDArray[np.float64]

ZERO_MODE = 1e-12
"""Eigenvalues below this share of a bound of the largest are motions without resistance."""
_SHIFT = 1e-10
_GUARD = 4
_DEPTH = 3


@dataclass(frozen=True)
class Modes:
    """The lowest modes of a body, from the lowest up."""

    frequencies: Floats
    """[Hz], shape (k,); 0 for a motion without resistance."""
    shapes: Floats
    """Displacements [m/sqrt(kg)], shape (k, n, 3): sum_p m_p |u_p|^2 = 1, zero where the body is held."""
    zero_count: int
    """Motions without resistance among them: six for a free body in one piece."""
    residual: float
    """Largest |K u - w^2 M u| in the norm of M^-1, over w^2 of the highest of them."""


def rest_stiffness(model: SoftBodyModel) -> bsr_matrix:
    """Return the stiffness matrix at rest in the element of the model [N/m], shape (3 n, 3 n)."""
    elastic = elastic_of(model, is_projected=False)
    rows, columns = elastic.pattern()
    matrix = BlockMatrix(model.vertex_count, rows, columns, np.ones((model.vertex_count, 3)), model.device)
    elastic.hessian(model.to_device(model.rest_positions), matrix.blocks)
    matrix.assemble()
    return matrix.to_scipy()


def mass_scaled(model: SoftBodyModel, stiffness: bsr_matrix, free: Floats | None = None) -> csr_matrix:
    """Return M^-1/2 K M^-1/2 [1/s^2], zero in the rows and columns of components that are not free."""
    root = np.repeat(1.0 / np.sqrt(model.masses), 3)
    scale = diags(root if free is None else root * np.asarray(free).reshape(-1))
    return csr_matrix(scale @ stiffness.tocsr() @ scale)


def highest_eigenvalue(scaled: csr_matrix) -> float:
    """Return the largest eigenvalue of a mass-scaled stiffness [1/s^2], by Lanczos to 1e-6."""
    start = np.random.default_rng(0).normal(size=scaled.shape[0])
    return float(eigsh(scaled, k=1, which="LA", tol=1e-6, v0=start, return_eigenvectors=False)[0])


def stable_time_step(model: SoftBodyModel, free: Floats | None = None) -> float:
    """Return the largest stable step of symplectic Euler about the rest shape [s], exact to 1e-6.

    Args:
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
    """
    return 2.0 / float(np.sqrt(highest_eigenvalue(mass_scaled(model, rest_stiffness(model), free))))


def lowest_modes(
    model: SoftBodyModel,
    count: int = 10,
    *,
    free: Floats | None = None,
    stiffness: bsr_matrix | None = None,
    tolerance: float = 1e-8,
    max_restarts: int = 30,
) -> Modes:
    """Return the lowest modes of vibration about the rest shape.

    Args:
        count: How many; at most the free components.
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
        stiffness: [N/m], shape (3 n, 3 n); that at rest if None.
        tolerance: Residual at which the iteration ends; rounding may end it before, see `Modes.residual`.

    Raises:
        ValueError: `count` is not in 1 .. number of free components.
    """
    free = np.ones((model.vertex_count, 3)) if free is None else np.asarray(free, dtype=np.float64)
    is_free = np.flatnonzero(free.reshape(-1) > 0)
    if not 1 <= count <= len(is_free):
        raise ValueError(f"count: expected 1 to {len(is_free)} (free components), got {count}")
    stiffness = rest_stiffness(model) if stiffness is None else stiffness
    order = fill_reducing_order(stiffness.indptr, stiffness.indices)
    order = order[np.isin(order, is_free)]
    A = csc_matrix(mass_scaled(model, stiffness)[order][:, order])
    bound = float(abs(A).sum(axis=1).max())
    shifted = csc_matrix(A + _SHIFT * bound * identity(len(order), format="csc"))
    values, vectors, residual = _lowest(A, shifted, bound, count, tolerance, max_restarts)
    is_zero = values <= ZERO_MODE * bound
    shapes = np.zeros((count, 3 * model.vertex_count))
    shapes[:, order] = vectors.T
    shapes = shapes.reshape(count, -1, 3) / np.sqrt(model.masses)[:, None]
    frequencies = np.where(is_zero, 0.0, np.sqrt(np.maximum(values, 0.0)) / (2.0 * np.pi))
    return Modes(frequencies, shapes, int(is_zero.sum()), residual)


def _lowest(
    A: csc_matrix, shifted: csc_matrix, bound: float, count: int, tolerance: float, max_restarts: int
) -> tuple[Floats, Floats, float]:
    """Return the lowest eigenvalues, their vectors (m, count), and the largest residual over the highest."""
    size = A.shape[0]
    block = min(count + _GUARD, size)
    factor = factor_as_ordered(shifted)
    start = np.linalg.qr(np.random.default_rng(0).normal(size=(size, block)))[0]
    best: tuple[Floats, Floats, float] | None = None
    for _ in range(max_restarts):
        basis = [start]
        for _ in range(min(_DEPTH, size // block - 1)):
            new = factor.solve(basis[-1])
            for _ in range(2):  # twice is enough (Kahan)
                for old in basis:
                    new = new - old @ (old.T @ new)
                new = np.linalg.qr(new)[0]
            basis.append(new)
        Q = np.linalg.qr(np.concatenate(basis, axis=1))[0] if len(basis) > 1 else factor.solve(start)
        Q = np.linalg.qr(Q)[0]
        values, turn = np.linalg.eigh(Q.T @ (A @ Q))
        start = Q @ turn[:, :block]
        wanted, vectors = values[:count], start[:, :count]
        scale = max(float(wanted[-1]), ZERO_MODE * bound)
        residual = float(np.linalg.norm(A @ vectors - vectors * wanted, axis=0).max()) / scale
        if best is not None and residual > 0.5 * best[2] and best[2] < 1e-4:
            break  # rounding has been reached
        best = (wanted, vectors, residual)
        if residual <= tolerance:
            break
    assert best is not None
    return best
