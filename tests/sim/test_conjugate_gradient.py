"""Conjugate gradients: what they tell about the matrix, how they end, and their replay as a graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.sparse.linalg import spsolve

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import CHUNK, ConjugateGradient
from sim.energy import Elastic
from sim.model import SoftBodyModel
from sim.preconditioners import PRECONDITIONERS


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_ritz_values_are_the_extreme_eigenvalues(
    name: str, system: tuple[SoftBodyModel, BlockMatrix], dense_of: Callable
) -> None:
    model, matrix = system
    b = matrix.free.numpy() * np.random.default_rng(0).normal(size=model.rest_positions.shape)
    out = wp.zeros(len(b), dtype=wp.vec3d, device=model.device)
    solver = ConjugateGradient(matrix, name)
    result = solver.run(model.to_device(b), out, 1e-12)
    free = matrix.free.numpy().ravel() > 0
    dense = matrix.to_scipy().toarray()
    M = dense_of(solver.preconditioner, model.vertex_count, model.device)
    values = np.linalg.eigvals((M @ dense)[np.ix_(free, free)]).real
    # The random right-hand side excites every mode; the residual of 1e-12 bounds the error.
    assert result.largest_eigenvalue == pytest.approx(values.max(), rel=1e-6)
    assert result.smallest_eigenvalue == pytest.approx(values.min(), rel=1e-6)


@pytest.mark.parametrize("check_every", [1, 25])
@pytest.mark.parametrize("is_definite", [False, True])
def test_negative_curvature_ends_conjugate_gradients_at_once(
    is_definite: bool,
    check_every: int,
    system: tuple[SoftBodyModel, BlockMatrix],
    negate: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, matrix = system
    negate(model, matrix)
    products = []
    multiply = matrix.multiply
    monkeypatch.setattr(matrix, "multiply", lambda x, out: (products.append(1), multiply(x, out)))
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    solver = ConjugateGradient(matrix, "block_jacobi", check_every=check_every, is_captured=False)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        solver.solve(b, out, 1e-12, is_definite=is_definite)
    # The Krylov space holds every direction after as many steps as there are free components.
    assert len(products) <= matrix.free.numpy().sum() + check_every


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


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_replayed_graph_gives_what_single_launches_give(
    name: str, system: tuple[SoftBodyModel, BlockMatrix]
) -> None:
    model, matrix = system
    b = model.to_device(matrix.free.numpy() * np.random.default_rng(0).normal(size=(model.vertex_count, 3)))
    solvers = [ConjugateGradient(matrix, name, check_every=4, is_captured=c) for c in (False, True)]
    found = [wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device) for _ in solvers]
    for scale in (1.0, 0.3):  # the graph of the first matrix serves the second
        matrix.blocks.assign(scale * matrix.blocks.numpy())
        matrix.assemble()
        results = [s.run(b, x, 1e-10) for s, x in zip(solvers, found)]
        assert results[0].iterations == results[1].iterations > 8
        # On a GPU the order of the sums is free: rounding times the condition number of about 1e2.
        np.testing.assert_allclose(found[0].numpy(), found[1].numpy(), rtol=0, atol=1e-9)
        expected = np.linalg.solve(matrix.to_scipy().toarray(), b.numpy().ravel()).reshape(-1, 3)
        np.testing.assert_allclose(found[1].numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.gpu
@pytest.mark.skipif(not wp.is_cuda_available(), reason="no CUDA device")
def test_steps_are_a_graph_on_a_gpu(box: Callable) -> None:
    points, tets = box((6, 6, 6), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, device="cuda:0")
    elastic = Elastic(model)
    free = np.repeat(points[:, 2:] > 1e-9, 3, axis=1).astype(float)
    matrix = BlockMatrix(len(points), *elastic.pattern(), free, "cuda:0")
    elastic.hessian(model.to_device(points), matrix.blocks)
    matrix.assemble()
    out = wp.zeros(len(points), dtype=wp.vec3d, device="cuda:0")
    solver = ConjugateGradient(matrix)
    assert solver.check_every == CHUNK
    iterations = solver.solve(model.to_device(free), out, 1e-12)
    assert iterations >= 2 * CHUNK
    assert solver._graph is not None
    expected = spsolve(matrix.to_scipy().tocsc(), free.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_unknown_preconditioner_lists_the_known_ones(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    with pytest.raises(ValueError, match="known: block_jacobi, fsai"):
        ConjugateGradient(system[1], "ilu")


def test_iteration_limit_is_an_arithmetic_error(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, matrix = system
    out = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=model.device)
    with pytest.raises(ArithmeticError, match="after 3 iterations"):
        ConjugateGradient(matrix, max_iterations=3).solve(model.to_device(matrix.free.numpy()), out, 1e-12)
