"""The linear solvers of a Newton step against a dense solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.sparse import csc_matrix

from sim.linear_solver import (
    LINEAR_SOLVERS,
    BlockMatrix,
    Elimination,
    factor_as_ordered,
    make_linear_solver,
)
from sim.model import SoftBodyModel


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


@pytest.mark.parametrize("name", LINEAR_SOLVERS)
def test_negative_curvature_is_found(
    name: str, system: tuple[SoftBodyModel, BlockMatrix], negate: Callable
) -> None:
    model, matrix = system
    negate(model, matrix)
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        make_linear_solver(name, matrix).solve(b, out, 1e-12, is_definite=False)


@pytest.mark.parametrize("name", LINEAR_SOLVERS)
def test_definite_matrix_is_not_mistaken(name: str, system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    make_linear_solver(name, matrix).solve(model.to_device(b), out, 1e-12, is_definite=False)
    expected = np.linalg.solve(matrix.to_scipy().toarray(), b.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


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


def test_earlier_factor_hides_no_negative_curvature(
    system: tuple[SoftBodyModel, BlockMatrix], negate: Callable
) -> None:
    model, matrix = system
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = make_linear_solver("lagged", matrix)
    solver.solve(b, out, 1e-12)
    negate(model, matrix)
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
