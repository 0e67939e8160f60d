"""The linear solvers of a Newton step against a dense solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.sparse import csc_matrix

from sim.linear_solver import LINEAR_SOLVERS, BlockMatrix, factor_in_single, make_linear_solver
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
    assert solver.solve(model.to_device(b), out, 1e-10) <= 4  # factored, in float32: 3 digits a step and more
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


def test_factor_of_float32_does_not_cost_digits(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    make_linear_solver("lagged", matrix).solve(model.to_device(b), out, 1e-13)
    left = b.ravel() - matrix.to_scipy() @ out.numpy().ravel()
    assert np.linalg.norm(left) <= 1e-12 * np.linalg.norm(b)


@pytest.mark.parametrize("unit", [1e-45, 1e45])
def test_factor_of_float32_does_not_see_the_units(unit: float) -> None:
    # Far beyond what float32 can hold: entries are scaled to a diagonal of one, vectors to a largest of one.
    matrix = csc_matrix(unit * np.array([[4.0, 1.0], [1.0, 3e-6]]))
    solve = factor_in_single(matrix)
    assert solve is not None
    b = unit * np.array([1.0, 2.0])
    np.testing.assert_allclose(solve(b), np.linalg.solve(matrix.toarray() / unit, b / unit), rtol=1e-5)
    assert not solve(np.zeros(2)).any()


def test_matrix_that_float32_takes_for_singular_is_solved_in_float64() -> None:
    # A chain of springs that a spring of 1e-12 of their stiffness holds: its condition is 1e14.
    n = 40
    rows = np.arange(n, dtype=np.int32)
    index = np.concatenate([rows, rows[1:], rows[:-1]]), np.concatenate([rows, rows[:-1], rows[1:]])
    matrix = BlockMatrix(n, *index, np.ones((n, 3)))
    diagonal = np.where((rows == 0) | (rows == n - 1), 1.0, 2.0) + 1e-12 * (rows == 0)
    values = np.concatenate([diagonal, np.full(2 * n - 2, -1.0)])
    matrix.blocks.assign(values[:, None, None] * np.eye(3))
    matrix.assemble()
    b = np.zeros((n, 3))
    b[-1] = 1.0
    out = wp.zeros(n, dtype=wp.vec3d)
    make_linear_solver("lagged", matrix).solve(wp.array(b, dtype=wp.vec3d), out, 1e-10)
    # The whole pull goes through the weak spring: 1e12, and the others add one each.
    np.testing.assert_allclose(out.numpy()[0], 1e12, rtol=1e-3)
    np.testing.assert_allclose(out.numpy()[-1], 1e12, rtol=1e-3)
