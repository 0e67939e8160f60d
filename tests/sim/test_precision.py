"""Hessians and linear systems in float32: the answers of float64, and clear errors where they cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient
from sim.energy import Elastic, Energy, Gravity, GroundContact, single_hessian
from sim.integrator import ImplicitEuler
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel, State
from sim.nodal_volume import average_volumes
from sim.precision import PRECISIONS
from sim.preconditioners import PRECONDITIONERS
from sim.quadratic import elastic_of, refine_degree
from sim.sensitivity import equilibrium_gradient
from sim.solver import Newton, NewtonConfig

ROUNDING = float(np.finfo(np.float32).eps)


def blocks_of(energy: Energy, model: SoftBodyModel, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Hessian blocks in float64 and in float32."""
    count = len(energy.pattern()[0])
    double = wp.zeros(count, dtype=wp.mat33d, device=model.device)
    single = wp.zeros(count, dtype=wp.mat33f, device=model.device)
    x = model.to_device(positions)
    energy.hessian(x, double)
    single_hessian(energy, x, single)
    return double.numpy(), single.numpy()


def beam(box: Callable, device: str, ratio: float = 0.3) -> tuple[SoftBodyModel, np.ndarray]:
    """Return a slender beam and which components are free when it is clamped."""
    points, tets = box((24, 3, 3), (1.0, 0.125, 0.125), jitter=0.1)
    model = SoftBodyModel.from_arrays(
        points, tets, Material(youngs_modulus=1.0e6, poissons_ratio=ratio), device=device
    )
    return model, np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)


@pytest.mark.parametrize("name", MATERIAL_NAMES)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_single_hessian_is_that_of_float64(offset: float, name: str, box: Callable, device: str) -> None:
    # Far away too: positions are made relative before they are rounded.
    points, tets = box((2, 2, 2), jitter=0.2)
    points = points + offset
    model = SoftBodyModel.from_arrays(points, tets, Material(name, 1.0e5, 0.4), device=device)
    positions = points + 0.05 * np.random.default_rng(0).normal(size=points.shape)
    double, single = blocks_of(Elastic(model), model, positions)
    # A tet is half as large as the body: its F has some ten roundings, its Hessian some ten times as many.
    np.testing.assert_allclose(single, double, rtol=0, atol=100.0 * ROUNDING * np.abs(double).max())


@pytest.mark.parametrize(
    "make", [lambda m: m, refine_degree, average_volumes], ids=["linear", "quadratic", "averaged"]
)
def test_hessian_of_other_elements_is_rounded(make: Callable, box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    model = make(SoftBodyModel.from_arrays(points, tets, Material(poissons_ratio=0.4), device=device))
    noise = 0.02 * np.random.default_rng(0).normal(size=model.rest_positions.shape)
    double, single = blocks_of(elastic_of(model), model, model.rest_positions + noise)
    np.testing.assert_allclose(single, double, rtol=0, atol=100.0 * ROUNDING * np.abs(double).max())


def test_single_hessian_turns_with_the_body(rotation: np.ndarray, box: Callable, device: str) -> None:
    # H(R x) = R H(x) R^T, block by block.
    points, tets = box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    positions = points + 0.05 * np.random.default_rng(0).normal(size=points.shape)
    straight = blocks_of(Elastic(model), model, positions)[1]
    turned = blocks_of(Elastic(model), model, positions @ rotation.T)[1]
    expected = rotation @ straight @ rotation.T
    np.testing.assert_allclose(turned, expected, rtol=0, atol=100.0 * ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("name", MATERIAL_NAMES)
def test_patch_test_holds_to_the_tolerance_of_float64(name: str, box: Callable, device: str) -> None:
    # A homogeneous deformation at the boundary is one inside: the residual is computed in float64.
    points, tets = box((3, 3, 3), jitter=0.3)
    model = SoftBodyModel.from_arrays(points, tets, Material(name, 1.0e5, 0.3), device=device)
    A = np.eye(3) + np.array([[0.05, 0.08, 0.0], [0.0, 0.1, -0.04], [0.03, 0.0, -0.02]])
    exact = points @ A.T + np.array([1.0, 2.0, 3.0])
    inner = ((points > 1e-9) & (points < 1.0 - 1e-9)).all(axis=1)
    free = np.repeat(inner[:, None], 3, axis=1).astype(float)
    start = exact + free * 0.02 * np.random.default_rng(0).normal(size=points.shape)
    config = NewtonConfig(tolerance=1e-11, precision="float32")
    found, _ = Newton(model, [Elastic(model)], config, free=free).solve(start)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9 * model.size)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("ratio", [0.3, 0.49])
def test_cantilever_sags_as_in_float64(ratio: float, preconditioner: str, box: Callable, device: str) -> None:
    model, free = beam(box, device, ratio)
    energies = [Elastic(model), Gravity(model)]
    found = []
    for precision in PRECISIONS:
        config = NewtonConfig(1e-10, linear_solver="cg", preconditioner=preconditioner, precision=precision)
        found.append(Newton(model, energies, config, free=free).solve(model.rest_positions)[0])
    sag = np.abs(found[0] - model.rest_positions).max()
    assert sag > 0.01
    # Both stop at 1e-10 of the largest force; the flexibility of the beam makes at most 1e4 of it.
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6 * sag)


def test_body_lands_on_the_ground_as_in_float64(box: Callable, device: str) -> None:
    points, tets = box((3, 3, 3), jitter=0.2)
    points[:, 2] += 0.05
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1e5), device=device)
    found = []
    for precision in PRECISIONS:
        energies = [Elastic(model), Gravity(model), GroundContact(model, d_hat=0.02, pressure=1e5)]
        config = NewtonConfig(1e-10, linear_solver="cg", precision=precision)
        euler = ImplicitEuler(model, energies, 0.02, config)
        state = State.at_rest(model)
        for number in range(10):
            state, _ = euler.step(state, number=number)
        found.append(state.positions)
    assert found[0][:, 2].min() < 0.02  # it touches
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-7)


def test_matrix_takes_half_the_memory(box: Callable, device: str) -> None:
    model, free = beam(box, device)
    sizes = []
    for precision in PRECISIONS:
        newton = Newton(
            model, [Elastic(model)], NewtonConfig(linear_solver="cg", precision=precision), free=free
        )
        solver = newton.linear_solver
        arrays = (newton.matrix.blocks, newton.matrix.matrix.values, solver.preconditioner.factor, solver._x)
        sizes.append(sum(a.capacity for a in arrays))
    assert 2 * sizes[1] == sizes[0]


def test_tolerance_out_of_reach_names_the_remedy(system: tuple[SoftBodyModel, BlockMatrix]) -> None:
    model, double = system
    matrix = BlockMatrix(
        model.vertex_count,
        double.rows,
        double.columns,
        double.free.numpy(),
        model.device,
        PRECISIONS["float32"],
    )
    b = model.to_device(double.free.numpy())
    with pytest.raises(ValueError, match=r"1\.0e-08 is out of reach of float32.*take float64"):
        ConjugateGradient(matrix).solve(b, wp.zeros_like(b), 1e-8)


def test_gradients_ask_for_float64(box: Callable, device: str) -> None:
    model, free = beam(box, device)
    config = NewtonConfig(precision="float32")
    with pytest.raises(ValueError, match="take float64"):
        equilibrium_gradient(
            model, [Elastic(model)], model.rest_positions, np.ones((model.vertex_count, 3)),
            free=free, config=config,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["direct", "lagged"])
def test_factorisations_take_no_float32(name: str, box: Callable, device: str) -> None:
    model, free = beam(box, device)
    with pytest.raises(ValueError, match="takes no float32; known: auto, cg"):
        Newton(model, [Elastic(model)], NewtonConfig(linear_solver=name, precision="float32"), free=free)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="precision: unknown name 'float16'; known: float64, float32"):
        NewtonConfig(precision="float16")
    with pytest.raises(ValueError, match="preconditioner: unknown name 'ilu'; known: block_jacobi, fsai"):
        NewtonConfig(preconditioner="ilu")
