"""Preconditioners as matrices: symmetric, positive definite, exact where they can be, worth their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient
from sim.energy import Elastic
from sim.model import SoftBodyModel
from sim.preconditioners import PRECONDITIONERS, FactorizedInverse


def block_matrix(dense: np.ndarray, device: str, is_stored: np.ndarray | None = None) -> BlockMatrix:
    """Return the matrix of a dense one, shape (3 n, 3 n), without the blocks where `is_stored` is False."""
    n = len(dense) // 3
    rows, columns = np.nonzero(np.ones((n, n), dtype=bool) if is_stored is None else is_stored)
    matrix = BlockMatrix(n, rows.astype(np.int32), columns.astype(np.int32), np.ones((n, 3)), device)
    matrix.blocks.assign(dense.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)[rows, columns])
    matrix.assemble()
    return matrix


def definite(n: int, seed: int = 0) -> np.ndarray:
    """Return a random positive definite matrix, shape (3 n, 3 n)."""
    B = np.random.default_rng(seed).normal(size=(3 * n, 3 * n))
    return B @ B.T + np.eye(3 * n)


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_preconditioner_is_symmetric_and_positive_definite(
    name: str, system: tuple[SoftBodyModel, BlockMatrix], dense_of: Callable
) -> None:
    model, matrix = system
    preconditioner = PRECONDITIONERS[name](matrix)
    preconditioner.update()
    M = dense_of(preconditioner, model.vertex_count, model.device)
    np.testing.assert_allclose(M, M.T, rtol=0, atol=1e-14 * np.abs(M).max())
    assert np.linalg.eigvalsh(M).min() > 0.0


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_preconditioner_of_a_block_diagonal_matrix_is_its_inverse(
    name: str, dense_of: Callable, device: str
) -> None:
    n = 5
    dense = definite(n) * np.kron(np.eye(n), np.ones((3, 3)))
    preconditioner = PRECONDITIONERS[name](block_matrix(dense, device, np.eye(n, dtype=bool)))
    preconditioner.update()
    found = dense_of(preconditioner, n, device)
    np.testing.assert_allclose(found @ dense, np.eye(3 * n), rtol=0, atol=1e-12 * np.linalg.cond(dense))


def test_factorised_inverse_is_exact_where_the_pattern_holds_it(dense_of: Callable, device: str) -> None:
    # Two full groups of vertices, in an order that mixes them: the inverse factor has no block between them.
    n = 9
    group = np.arange(n) % 2
    is_stored = group[:, None] == group
    dense = definite(n) * np.kron(is_stored, np.ones((3, 3)))
    preconditioner = FactorizedInverse(block_matrix(dense, device, is_stored))
    preconditioner.update()
    found = dense_of(preconditioner, n, device)
    np.testing.assert_allclose(found @ dense, np.eye(3 * n), rtol=0, atol=1e-12 * np.linalg.cond(dense))


def test_factorised_inverse_gives_the_identity_on_the_diagonal(
    system: tuple[SoftBodyModel, BlockMatrix],
) -> None:
    # (G A G^T)_ii = I on 3x3 blocks, and G keeps to the lower triangle of the pattern.
    model, matrix = system
    preconditioner = FactorizedInverse(matrix)
    preconditioner.update()
    n = model.vertex_count
    G = np.zeros((n, 3, n, 3))
    is_lower = matrix.columns <= matrix.rows
    G[matrix.rows[is_lower], :, matrix.columns[is_lower], :] = preconditioner.factor.numpy()
    G = G.reshape(3 * n, 3 * n)
    product = (G @ matrix.to_scipy().toarray() @ G.T).reshape(n, 3, n, 3)
    blocks = product[np.arange(n), :, np.arange(n), :]
    np.testing.assert_allclose(blocks, np.broadcast_to(np.eye(3), blocks.shape), rtol=0, atol=1e-12)


def test_one_pass_over_the_factor_gives_what_two_products_give(
    system: tuple[SoftBodyModel, BlockMatrix],
) -> None:
    model, matrix = system
    preconditioner = FactorizedInverse(matrix)
    preconditioner.update()
    r = model.to_device(np.random.default_rng(0).normal(size=model.rest_positions.shape))
    found = [wp.zeros_like(r) for _ in range(2)]
    for out, is_cpu in zip(found, (True, False)):
        preconditioner._is_cpu = is_cpu
        preconditioner.apply(r, out)
    largest = np.abs(found[0].numpy()).max()
    np.testing.assert_allclose(found[1].numpy(), found[0].numpy(), rtol=0, atol=1e-14 * largest)


def test_factorised_inverse_halves_the_iterations(box: Callable, device: str) -> None:
    # Over six bodies and two Poisson ratios the iterations are 2.1 to 2.9 times fewer (implicit_euler.md).
    points, tets = box((24, 4, 4), (6.0, 1.0, 1.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    elastic = Elastic(model)
    matrix = BlockMatrix(len(points), *elastic.pattern(), free, device)
    elastic.hessian(model.to_device(points), matrix.blocks)
    matrix.assemble()
    b = model.to_device(free * [0.0, 0.0, 1.0])
    out = wp.zeros(len(points), dtype=wp.vec3d, device=device)
    steps = {
        name: ConjugateGradient(matrix, name, check_every=1).solve(b, out, 1e-8) for name in PRECONDITIONERS
    }
    assert steps["fsai"] <= 0.55 * steps["block_jacobi"]


@pytest.mark.parametrize("smallest", [0.0, -0.1])
def test_local_matrix_that_is_not_definite_is_an_arithmetic_error(smallest: float, device: str) -> None:
    n = 4
    values = np.append(np.linspace(1.0, 2.0, 3 * n - 1), smallest)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3 * n, 3 * n)))[0]
    matrix = block_matrix(Q @ np.diag(values) @ Q.T - 1e-12 * np.eye(3 * n), device)
    with pytest.raises(ArithmeticError, match=r"not positive definite: that of vertex 3"):
        FactorizedInverse(matrix).update()


def test_values_that_are_not_finite_are_an_arithmetic_error(device: str) -> None:
    dense = definite(3)
    dense[4, 4] = np.nan
    with pytest.raises(ArithmeticError, match="not positive definite"):
        FactorizedInverse(block_matrix(dense, device)).update()
