"""The linear solvers of a Newton step against a dense solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.sparse import csc_matrix

from sim.energy import Elastic
from sim.linear_solver import (
    LINEAR_SOLVERS,
    BlockMatrix,
    ConjugateGradient,
    Elimination,
    factor_as_ordered,
    make_linear_solver,
)
from sim.material import Material
from sim.model import SoftBodyModel


@pytest.fixture
def system(box: Callable, device: str) -> tuple[SoftBodyModel, BlockMatrix]:
    """Stiffness of a box that is held at the bottom."""
    points, tets = box((3, 3, 3), jitter=0.2)
    model = SoftBodyModel.from_arrays(
        points, tets, Material(youngs_modulus=1.0, poissons_ratio=0.3), device=device
    )
    elastic = Elastic(model)
    rows, columns = elastic.pattern()
    free = np.repeat(points[:, 2:] > 1e-9, 3, axis=1).astype(float)
    matrix = BlockMatrix(len(points), rows, columns, free, device)
    elastic.hessian(model.to_device(points), matrix.blocks)
    matrix.assemble()
    return model, matrix


@pytest.mark.parametrize("name", [*LINEAR_SOLVERS, "auto"])
def test_solver_agrees_with_a_dense_solve(name: str, system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=model.rest_positions.shape)
    out = wp.zeros(len(b), dtype=wp.vec3d, device=model.device)
    solver = make_linear_solver(name, matrix)
    expected = np.linalg.solve(matrix.to_scipy().toarray(), b.ravel()).reshape(-1, 3)
    for factor in (1.0, 2.0):  # twice: work arrays and order are used again
        solver.solve(model.to_device(factor * b), out, 1e-12)
        error = np.abs(out.numpy() - factor * expected).max()
        assert error <= 1e-8 * np.abs(expected).max()


def test_ritz_values_are_the_extreme_eigenvalues(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=model.rest_positions.shape)
    out = wp.zeros(len(b), dtype=wp.vec3d, device=model.device)
    result = ConjugateGradient(matrix).run(model.to_device(b), out, 1e-12)
    dense = matrix.to_scipy().toarray()
    n = model.vertex_count
    D = np.zeros_like(dense)
    for p in range(n):
        rows = slice(3 * p, 3 * p + 3)
        D[rows, rows] = dense[rows, rows]
    free = matrix.free.numpy().ravel() > 0
    values = np.linalg.eigvals(np.linalg.solve(D, dense)[np.ix_(free, free)]).real
    # The random right-hand side excites every mode; the residual of 1e-12 bounds the error.
    assert result.largest_eigenvalue == pytest.approx(values.max(), rel=1e-6)
    assert result.smallest_eigenvalue == pytest.approx(values.min(), rel=1e-6)


def test_unknown_solver_lists_the_known_ones(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    with pytest.raises(ValueError, match=r"known: auto, direct, lagged, cg"):
        make_linear_solver("multigrid", system[1])


def test_singular_matrix_is_an_arithmetic_error(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    matrix.blocks.zero_()
    matrix.assemble()
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError):
        make_linear_solver("direct", matrix).solve(model.to_device(np.ones((model.vertex_count, 3))), out)


def soften(model: SoftBodyModel, matrix: BlockMatrix) -> None:
    """Shift the spectrum so that one eigenvalue is negative and every diagonal block stays definite."""
    free = matrix.free.numpy().ravel() > 0
    lowest = np.linalg.eigvalsh(matrix.to_scipy().toarray()[np.ix_(free, free)])[:2]
    rows, columns = Elastic(model).pattern()
    on_diagonal = np.flatnonzero(rows == columns)
    once = on_diagonal[np.unique(rows[on_diagonal], return_index=True)[1]]
    blocks = matrix.blocks.numpy()
    blocks[once] -= lowest.mean() * np.eye(3)
    matrix.blocks.assign(blocks)
    matrix.assemble()
    values = np.linalg.eigvalsh(matrix.to_scipy().toarray())
    assert (values < 0.0).sum() == 1
    assert np.linalg.eigvalsh(matrix.matrix.values.numpy()[matrix.diagonal.numpy()]).min() > 0.0


@pytest.mark.parametrize("name", LINEAR_SOLVERS)
def test_negative_curvature_is_found(name: str, system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    soften(model, matrix)
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        make_linear_solver(name, matrix).solve(b, out, 1e-12, is_definite=False)


@pytest.mark.parametrize("check_every", [1, 25])
@pytest.mark.parametrize("is_definite", [False, True])
def test_negative_curvature_ends_conjugate_gradients_at_once(
    is_definite: bool,
    check_every: int,
    system: tuple[SoftBodyModel, BlockMatrix],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, matrix = system
    soften(model, matrix)
    products = []
    multiply = matrix.multiply
    monkeypatch.setattr(matrix, "multiply", lambda x, out: (products.append(1), multiply(x, out)))
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = ConjugateGradient(matrix, check_every=check_every)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        solver.solve(b, out, 1e-12, is_definite=is_definite)
    # The Krylov space holds every direction after as many steps as there are free components.
    assert len(products) <= matrix.free.numpy().sum() + check_every


@pytest.mark.parametrize("name", LINEAR_SOLVERS)
def test_definite_matrix_is_not_mistaken(name: str, system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    make_linear_solver(name, matrix).solve(model.to_device(b), out, 1e-12, is_definite=False)
    expected = np.linalg.solve(matrix.to_scipy().toarray(), b.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_solution_met_between_two_looks_is_no_negative_curvature(
    system: tuple[SoftBodyModel, BlockMatrix],
) -> None:
    # Every component held: the matrix is the identity, and one step leaves a residual of exactly zero.
    model, matrix = system
    matrix.free.zero_()
    matrix.assemble()
    b = np.ones((model.vertex_count, 3))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    ConjugateGradient(matrix, check_every=25).solve(model.to_device(b), out, 1e-12, is_definite=False)
    np.testing.assert_array_equal(out.numpy(), b)


def test_iteration_limit_is_an_arithmetic_error(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError, match="after 3 iterations"):
        ConjugateGradient(matrix, max_iterations=3).solve(model.to_device(matrix.free.numpy()), out, 1e-12)


def test_earlier_factor_serves_a_changed_matrix(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = make_linear_solver("lagged", matrix)
    assert solver.solve(model.to_device(b), out, 1e-10) == 0  # factored
    blocks = matrix.blocks.numpy()
    # Moduli that differ by a fifth: the condition number is at most 1.5, each step a tenth of the error.
    scale = np.repeat(np.random.default_rng(1).uniform(0.8, 1.2, model.tet_count), 16)
    matrix.blocks.assign(scale[:, None, None] * blocks)
    matrix.assemble()
    steps = solver.solve(model.to_device(b), out, 1e-10)
    assert 0 < steps <= 15
    expected = np.linalg.solve(matrix.to_scipy().toarray(), b.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_factor_that_is_too_old_is_replaced(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = model.to_device(matrix.free.numpy())
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = make_linear_solver("lagged", matrix)
    solver.solve(b, out, 1e-10)
    blocks = matrix.blocks.numpy()
    scale = np.repeat(10.0 ** np.random.default_rng(1).uniform(-6.0, 6.0, model.tet_count), 16)
    matrix.blocks.assign(scale[:, None, None] * blocks)
    matrix.assemble()
    assert solver.solve(b, out, 1e-8) > 0
    assert solver.solve(b, out, 1e-8) <= 3  # that of the matrix itself


def test_earlier_factor_hides_no_negative_curvature(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = make_linear_solver("lagged", matrix)
    solver.solve(b, out, 1e-12)
    soften(model, matrix)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        solver.solve(b, out, 1e-12, is_definite=False)


def test_fill_is_that_of_the_factor(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    _, matrix = system
    elimination = Elimination.of(matrix.offsets, matrix.columns)
    order = elimination.order
    scalar = csc_matrix(matrix.to_scipy().tocsr()[order][:, order])
    scalar.data = np.where(scalar.data == 0.0, 1e-30, scalar.data)
    blocks = np.abs(factor_as_ordered(scalar).L).tocoo()
    pairs = np.unique(np.stack([blocks.row // 3, blocks.col // 3]), axis=1)
    # SuperLU pads its supernodes.
    assert elimination.fill == pytest.approx(pairs.shape[1] / matrix.block_count, rel=0.1)
