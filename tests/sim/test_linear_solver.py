"""The linear solvers of a Newton step against a dense solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic
from sim.linear_solver import LINEAR_SOLVERS, BlockMatrix, ConjugateGradient, make_linear_solver
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
    with pytest.raises(ValueError, match=r"known: auto, direct, cg"):
        make_linear_solver("multigrid", system[1])


def test_singular_matrix_is_an_arithmetic_error(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    matrix.blocks.zero_()
    matrix.assemble()
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError):
        make_linear_solver("direct", matrix).solve(model.to_device(np.ones((model.vertex_count, 3))), out)


def test_iteration_limit_is_an_arithmetic_error(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError, match="after 3 iterations"):
        ConjugateGradient(matrix, max_iterations=3, check_every=1).solve(
            model.to_device(matrix.free.numpy()), out, 1e-12
        )
