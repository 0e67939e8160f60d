"""Small vibrations of a body about its rest shape: stable explicit step and lowest modes.

    K u = (2 pi f)^2 M u,      stable dt of symplectic Euler = 2 / (2 pi f_max)

K is the stiffness at rest, M the lumped masses. The lowest modes come from Rayleigh-Ritz on block Krylov
spaces of (M^-1/2 K M^-1/2 + shift)^-1: a block, because a method that follows one vector misses copies of a
repeated eigenvalue, and a free body has six at zero. The largest comes from Lanczos.

Source: Grimes, Lewis, Simon 1994, A shifted block Lanczos algorithm, for the block; Hughes 2000, The Finite
Element Method, section 9.2 for the step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, csc_matrix, csr_matrix, diags, identity
from scipy.sparse.linalg import eigsh

from sim.block_matrix import BlockMatrix
from sim.elimination import Elimination, factor_as_ordered
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of

Floats = NDArray[np.float64]

ZERO_MODE = 1e-12
"""Eigenvalues below this share of a bound of the largest are motions without resistance."""
_SLIVER = 1e4
"""Stiffness of a tet for its size, over the median, from where it is softened before modes are counted."""
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


def element_eigenvalues(model: SoftBodyModel) -> Floats:
    """Return the largest eigenvalue of each element stiffness [N/m], shape (t,)."""
    g = model.shape_gradients
    t = len(g)
    # Strain of the 12 displacements in Kelvin notation: shears times sqrt 2, D diagonal but for lam.
    strain = np.zeros((t, 6, 4, 3))
    root = np.sqrt(0.5)
    for k in range(3):
        strain[:, k, :, k] = g[:, :, k]
    for row, (i, j) in enumerate(((1, 2), (2, 0), (0, 1)), start=3):
        strain[:, row, :, i] = root * g[:, :, j]
        strain[:, row, :, j] = root * g[:, :, i]
    B = strain.reshape(t, 6, 12)
    # D^1/2: sqrt(2 mu) on the deviator and the shears, sqrt(3 lam + 2 mu) on the trace.
    ones = np.zeros((6, 6))
    ones[:3, :3] = 1.0 / 3.0
    shear, bulk = np.sqrt(2.0 * model.mu), np.sqrt(3.0 * model.lam + 2.0 * model.mu)
    root_d = shear[:, None, None] * (np.eye(6) - ones) + bulk[:, None, None] * ones
    C = root_d @ B
    return model.volumes * np.linalg.eigvalsh(C @ C.transpose(0, 2, 1))[:, -1]


def longest_edges(model: SoftBodyModel) -> Floats:
    """Return the longest edge of each tet [m], shape (t,)."""
    corner = model.rest_positions[model.tets]
    return np.linalg.norm(corner[:, :, None] - corner[:, None], axis=3).max(axis=(1, 2))


def softened_stiffness(model: SoftBodyModel, stiffness: bsr_matrix) -> bsr_matrix:
    """Return the stiffness at rest [N/m] with the tets that are stiff by their shape alone made softer.

    A sum of positive semi-definite matrices with positive weights has the null space of the plain sum, and a
    tet that is still much stiffer than the others bends as little: neither the motions without resistance nor
    the lowest modes change. What goes is the range in which rounding hides them.

    Args:
        stiffness: That of the model, returned as it is when no tet needs it.
    """
    # eig_max(K_e) = c (lam + 2 mu) (longest edge): c depends on the shape alone, without bound for flat ones.
    shape = element_eigenvalues(model) / ((model.lam + 2.0 * model.mu) * longest_edges(model))
    weight = np.minimum(1.0, _SLIVER * np.median(shape) / shape)
    if (weight == 1.0).all():
        return stiffness
    return rest_stiffness(replace(model, mu=weight * model.mu, lam=weight * model.lam))


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
        stiffness: [N/m], shape (3 n, 3 n); that at rest if None, tets that are stiff by their shape alone
            made softer (`softened_stiffness`): one sliver would lift the bound of zero above true modes.
        tolerance: Residual at which the iteration ends; rounding may end it before, see `Modes.residual`.

    Raises:
        ValueError: `count` is not in 1 .. number of free components.
    """
    free = np.ones((model.vertex_count, 3)) if free is None else np.asarray(free, dtype=np.float64)
    is_free = np.flatnonzero(free.reshape(-1) > 0)
    if not 1 <= count <= len(is_free):
        raise ValueError(f"count: expected 1 to {len(is_free)} (free components), got {count}")
    if stiffness is None:
        stiffness = softened_stiffness(model, rest_stiffness(model))
    order = Elimination.of(stiffness.indptr, stiffness.indices).order
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
