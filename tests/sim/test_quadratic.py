"""Quadratic tets: derivatives, patch test, orders of convergence, the cantilever, locking, frequencies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import DeadLoad, Elastic, Gravity
from sim.integrator import ImplicitEuler
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel, State
from sim.modes import lowest_modes, stable_time_step
from sim.quadratic import QuadraticElastic, QuadraticModel, elastic_of, refine_degree
from sim.scenarios import Drop, Stretch
from sim.solver import Newton, NewtonConfig

EXACT = NewtonConfig(tolerance=1e-12)


def test_masses_and_loads_add_up(box: Callable) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(density=3.0))
    quadratic = refine_degree(model)
    assert quadratic.masses.min() > 0.0
    assert quadratic.masses.sum() == pytest.approx(3.0)
    assert quadratic.load_masses.sum() == pytest.approx(3.0)
    assert quadratic.vertex_areas.sum() == pytest.approx(6.0)
    # Integrals of the shape functions make the first moment exact: int x dV of the unit cube is 1/2.
    np.testing.assert_allclose(quadratic.load_masses @ quadratic.rest_positions, 3.0 * np.full(3, 0.5))


@pytest.mark.parametrize("name", ["stable_neo_hookean", "linear"])
def test_gradient_and_hessian_are_derivatives(name: str, box: Callable, device: str) -> None:
    points, tets = box((1, 1, 1))
    model = refine_degree(SoftBodyModel.from_arrays(points, tets, Material(name, 3.0, 0.3), device=device))
    elastic = QuadraticElastic(model, is_projected=False)
    rng = np.random.default_rng(0)
    x = model.rest_positions + 0.05 * rng.normal(size=(model.vertex_count, 3))
    d, e = rng.normal(size=x.shape), 1e-6

    def gradient(at: np.ndarray) -> np.ndarray:
        out = wp.zeros(len(at), dtype=wp.vec3d, device=device)
        elastic.gradient(model.to_device(at), out)
        return out.numpy()

    above, below = (elastic.value(model.to_device(x + s * e * d)) for s in (1, -1))
    assert (gradient(x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-6)
    rows, columns = elastic.pattern()
    blocks = wp.zeros(len(rows), dtype=wp.mat33d, device=device)
    elastic.hessian(model.to_device(x), blocks)
    found = np.zeros_like(d)
    np.add.at(found, rows, np.einsum("kij,kj->ki", blocks.numpy().reshape(-1, 3, 3), d[columns]))
    numeric = (gradient(x + e * d) - gradient(x - e * d)) / (2 * e)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("name", MATERIAL_NAMES[:1])
def test_patch_test(name: str, box: Callable) -> None:
    points, tets = box((2, 2, 2), jitter=0.3)
    model = refine_degree(SoftBodyModel.from_arrays(points, tets, Material(name, 1.0e5, 0.3)))
    X = model.rest_positions
    A = np.eye(3) + np.array([[0.05, 0.08, 0.0], [0.0, 0.1, -0.04], [0.03, 0.0, -0.02]])
    exact = X @ A.T
    fixed = ((X < 1e-9) | (X > 1.0 - 1e-9)).any(axis=1)
    free = np.repeat(~fixed[:, None], 3, axis=1).astype(float)
    start = exact + 0.01 * free * np.random.default_rng(0).normal(size=X.shape)
    found, _ = Newton(model, [elastic_of(model)], EXACT, free=free).solve(start)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)
    stress = elastic_of(model).stress(model.to_device(found))
    np.testing.assert_allclose(stress, np.tile(stress[0], (len(tets), 1, 1)), atol=1e-9 * 1e5)


def cantilever(cells: tuple[int, int, int], nu: float, degree: int, box: Callable) -> float:
    """Tip deflection under own weight over that of a Timoshenko beam: L = 1, h = 0.125, E = 1e7."""
    length, height, modulus, g = 1.0, 0.125, 1.0e7, 0.981
    points, tets = box(cells, (length, height, height))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, nu))
    model = refine_degree(model) if degree == 2 else model
    X = model.rest_positions
    free = np.repeat(X[:, :1] > 1e-9, 3, axis=1).astype(float)
    energies = [elastic_of(model), Gravity(model, (0.0, 0.0, -g))]
    x, _ = Newton(model, energies, NewtonConfig(tolerance=1e-9), free=free).solve(X)
    load, inertia = 1000.0 * g * height**2, height**4 / 12.0
    kappa, shear = 10.0 * (1.0 + nu) / (12.0 + 11.0 * nu), modulus / (2.0 * (1.0 + nu))
    timoshenko = load * length**4 / (8 * modulus * inertia) + load * length**2 / (
        2 * kappa * shear * height**2
    )
    tip = np.linalg.norm(X - [length, height / 2, height / 2], axis=1).argmin()
    return float((X - x)[tip, 2] / timoshenko)


@pytest.mark.parametrize(("nu", "linear", "quadratic"), [(0.3, 0.681, 0.986), (0.49, 0.197, 0.948)])
def test_cantilever_is_that_of_an_independent_code(
    nu: float, linear: float, quadratic: float, box: Callable
) -> None:
    # scikit-fem on the same 1,296 tets; it states three digits. Quadratic tets are within 2 % and 6 % of the
    # beam where linear ones lock.
    assert cantilever((24, 3, 3), nu, 1, box) == pytest.approx(linear, abs=6e-4)
    assert cantilever((24, 3, 3), nu, 2, box) == pytest.approx(quadratic, abs=6e-4)


def gauss_tet(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return barycentric points (q, 4) and weights (q,) of a unit-volume tet, from the cube collapsed."""
    x, w = np.polynomial.legendre.leggauss(order)
    x, w = (x + 1) / 2, w / 2
    a, b, c = (g.ravel() for g in np.meshgrid(x, x, x, indexing="ij"))
    wa, wb, wc = (g.ravel() for g in np.meshgrid(w, w, w, indexing="ij"))
    L1, L2, L3 = a, (1 - a) * b, (1 - a) * (1 - b) * c
    return np.stack([1 - L1 - L2 - L3, L1, L2, L3], 1), 6 * wa * wb * wc * (1 - a) ** 2 * (1 - b)


def manufactured_error(n: int, degree: int, box: Callable) -> float:
    """L2 error of u = a sin(s), s = k . x + 1: body force (mu k^2 a + (lam + mu) (a . k) k) sin(s)."""
    points, tets = box((n, n, n), jitter=0.1)
    material = Material("linear", 1.0, 0.3)
    model = SoftBodyModel.from_arrays(points, tets, material)
    model = refine_degree(model) if degree == 2 else model
    nodes = model.nodes if isinstance(model, QuadraticModel) else model.tets
    a, k = np.array([0.3, -0.2, 0.5]), np.array([2.0, 1.0, -1.5])
    force = material.mu * (k @ k) * a + (material.lam + material.mu) * (a @ k) * k
    L, weights = gauss_tet(4)
    shapes = L
    if degree == 2:
        pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        shapes = np.concatenate([L * (2 * L - 1), np.stack([4 * L[:, i] * L[:, j] for i, j in pairs], 1)], 1)
    where = np.einsum("qc,tcd->tqd", L, points[tets])
    wave = np.sin(where @ k + 1.0)
    per_node = np.einsum("t,q,tq,qn->tn", model.volumes, weights, wave, shapes)
    loads = np.bincount(nodes.ravel(), per_node.ravel(), minlength=model.vertex_count)[:, None] * force
    X = model.rest_positions
    exact = np.sin(X @ k + 1.0)[:, None] * a
    is_inner = ((X > 1e-9) & (X < 1 - 1e-9)).all(axis=1)
    free = np.repeat(is_inner[:, None], 3, axis=1).astype(float)
    x, _ = Newton(
        model, [elastic_of(model), DeadLoad(model, loads)], NewtonConfig(tolerance=1e-10), free=free
    ).solve(X + exact * (1 - free))
    error = np.einsum("qn,tnd->tqd", shapes, (x - X)[nodes]) - wave[:, :, None] * a
    return float(np.sqrt(np.einsum("t,q,tqd->", model.volumes, weights, error**2)))


@pytest.mark.parametrize(("degree", "cells", "order"), [(1, (6, 12), 1.9), (2, (3, 6), 2.8)])
def test_manufactured_solution_converges_with_the_order_of_the_element(
    degree: int, cells: tuple[int, int], order: float, box: Callable
) -> None:
    coarse, fine = (manufactured_error(n, degree, box) for n in cells)
    assert np.log2(coarse / fine) >= order


def test_bending_frequency_is_that_of_the_beam(box: Callable) -> None:
    # f_1 = 1.8751^2 / (2 pi) sqrt(E I / (rho A L^4)), slender: L / h = 20, shear takes 0.2 %.
    length, height, modulus = 1.0, 0.05, 1.0e7
    points, tets = box((20, 1, 1), (length, height, height))
    model = refine_degree(SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, 0.0)))
    free = np.repeat(model.rest_positions[:, :1] > 1e-9, 3, axis=1).astype(float)
    found = lowest_modes(model, 1, free=free).frequencies[0]
    exact = 1.87510407**2 / (2 * np.pi) * np.sqrt(modulus * height**2 / 12 / 1000.0 / length**4)
    assert found == pytest.approx(exact, rel=0.01)


def test_quadratic_body_falls_like_any_other(box: Callable) -> None:
    model = refine_degree(SoftBodyModel.from_arrays(*box((1, 1, 1)), Material(youngs_modulus=1.0e5)))
    state = State(model.rest_positions, np.zeros_like(model.rest_positions))
    load = Gravity(model)
    euler = ImplicitEuler(model, [elastic_of(model), load], 0.01, EXACT)
    for _ in range(5):
        state, _ = euler.step(state)
    moved = model.masses @ (state.positions - model.rest_positions) / model.mass
    # Of the centre of mass exactly: -g t (t + dt) / 2; nodes vibrate, for loads are not lumped as masses are.
    np.testing.assert_allclose(moved, [0.0, 0.0, -9.81 * 0.05 * 0.06 / 2.0], atol=1e-9)


def test_free_quadratic_body_has_six_zero_modes_and_a_stable_step(box: Callable) -> None:
    model = refine_degree(SoftBodyModel.from_arrays(*box((1, 1, 1))))
    count = 3 * model.vertex_count
    modes = lowest_modes(model, count)
    assert modes.zero_count == 6
    assert stable_time_step(model) == pytest.approx(1.0 / (np.pi * modes.frequencies[-1]), rel=1e-5)


def test_scenarios_take_a_quadratic_body(box: Callable) -> None:
    linear = SoftBodyModel.from_arrays(*box((3, 1, 1), (3.0, 1.0, 1.0)), Material(youngs_modulus=1.0e6))
    model = refine_degree(linear)
    soft, stiff = (Stretch(steps=2).run(m).results["force"] for m in (model, linear))
    assert 0.5 * stiff < soft < stiff  # both minimise the same energy, one over more shapes
    drop = Drop(steps=8).run(model).results
    assert drop["reaction_error"] < 1e-3
    assert drop["inversions"] == 0


def test_linear_model_keeps_its_element(box: Callable) -> None:
    assert type(elastic_of(SoftBodyModel.from_arrays(*box((1, 1, 1))))) is Elastic
