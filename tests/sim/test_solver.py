"""Newton against closed forms of finite elasticity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.optimize import brentq

from sim.energy import DeadLoad, Elastic, Gravity
from sim.errors import SimulationDiverged
from sim.linear_solver import LINEAR_SOLVERS
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel
from sim.solver import Newton, NewtonConfig

EXACT = NewtonConfig(tolerance=1e-12)


def boundary(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return ((points < low + 1e-9) | (points > high - 1e-9)).any(axis=1)


@pytest.mark.parametrize("name", MATERIAL_NAMES)
def test_patch_test(name: str, box: Callable, device: str) -> None:
    # Boundary at x -> A x + b: the inner vertices of an irregular mesh follow exactly (Irons).
    points, tets = box((3, 3, 3), jitter=0.3)
    model = SoftBodyModel.from_arrays(points, tets, Material(name, 1.0e5, 0.3), device=device)
    A = np.eye(3) + np.array([[0.05, 0.08, 0.0], [0.0, 0.1, -0.04], [0.03, 0.0, -0.02]])
    exact = points @ A.T + np.array([1.0, 2.0, 3.0])
    fixed = boundary(points)
    free = np.repeat(~fixed[:, None], 3, axis=1).astype(float)
    start = exact.copy()
    start[~fixed] += 0.02 * np.random.default_rng(0).normal(size=(int((~fixed).sum()), 3))
    found, _ = Newton(model, [Elastic(model)], EXACT, free=free).solve(start)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9 * model.size)


@pytest.mark.parametrize("linear_solver", LINEAR_SOLVERS)
@pytest.mark.parametrize("stretch", [0.7, 1.2, 1.8])
def test_stretched_bar_has_the_force_of_the_closed_form(
    stretch: float, linear_solver: str, box: Callable, device: str
) -> None:
    # F = diag(l1, l2, l2), J = l1 l2^2, L = lam + mu, a = 1 + mu / L (stable neo-Hookean):
    #   lateral  P2 = mu l2 + L (J - a) l1 l2 = 0,    axial  P1 = mu l1 + L (J - a) l2^2
    length, side = 2.0, 0.5
    points, tets = box((6, 3, 3), (length, side, side), jitter=0.2)
    material = Material(youngs_modulus=1.0e5, poissons_ratio=0.4)
    model = SoftBodyModel.from_arrays(points, tets, material, device=device)
    free = (points > 1e-9).astype(float)  # rollers on the three planes through the origin
    end = points[:, 0] > length - 1e-9
    free[end, 0] = 0.0
    config = NewtonConfig(tolerance=1e-10, linear_solver=linear_solver)
    positions = points * np.array([stretch, 1.0, 1.0])
    positions, _ = Newton(model, [Elastic(model)], config, free=free).solve(positions)
    mu, volume_modulus = material.mu, material.lam + material.mu
    a = 1.0 + mu / volume_modulus
    lateral = brentq(lambda s: mu + volume_modulus * (stretch * s * s - a) * stretch, 0.3, 2.0, xtol=1e-15)
    axial = mu * stretch + volume_modulus * (stretch * lateral**2 - a) * lateral**2
    np.testing.assert_allclose(positions, points * [stretch, lateral, lateral], rtol=0, atol=1e-8)
    gradient = wp.zeros(model.vertex_count, dtype=wp.vec3d, device=device)
    Elastic(model).gradient(model.to_device(positions), gradient)
    force = gradient.numpy()[end, 0].sum()
    assert force == pytest.approx(axial * side**2, rel=1e-6)


def test_simple_shear_has_the_stress_of_the_closed_form(box: Callable) -> None:
    # F = I + g e1 e2: J = 1 and P12 = mu g exactly.
    points, tets = box((2, 2, 2))
    material = Material(youngs_modulus=7.0, poissons_ratio=0.3)
    model = SoftBodyModel.from_arrays(points, tets, material)
    x = points + 0.4 * points[:, 1:2] * np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(
        Elastic(model).stress(model.to_device(x))[:, 0, 1], 0.4 * material.mu, rtol=1e-12
    )


def test_weight_of_a_hanging_column_is_held_at_the_top(box: Callable) -> None:
    points, tets = box((2, 2, 4), (1.0, 1.0, 2.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6))
    top = points[:, 2] > 2.0 - 1e-9
    free = np.repeat(~top[:, None], 3, axis=1).astype(float)
    newton = Newton(model, [Elastic(model), Gravity(model)], NewtonConfig(tolerance=1e-9), free=free)
    x, _ = newton.solve(points)
    gradient = wp.zeros(model.vertex_count, dtype=wp.vec3d)
    Elastic(model).gradient(model.to_device(x), gradient)
    # What the clamp carries is the weight of everything below it, less the share lumped to the clamp itself.
    carried = gradient.numpy()[top, 2].sum()
    assert carried == pytest.approx(9.81 * model.masses[~top].sum(), rel=1e-7)


def cantilever(box: Callable, cells: tuple[int, int, int]) -> float:
    """Tip deflection under own weight over that of a Timoshenko beam: L = 1, h = 0.125, E = 1e7, nu = 0.3."""
    length, height, modulus, nu, g = 1.0, 0.125, 1.0e7, 0.3, 0.981
    points, tets = box(cells, (length, height, height))
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, nu))
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    energies = [Elastic(model), Gravity(model, (0.0, 0.0, -g))]
    x, result = Newton(model, energies, NewtonConfig(tolerance=1e-9), free=free).solve(points)
    assert result.iterations == 1  # a quadratic energy
    end = points[:, 0] > length - 1e-9
    load, inertia, area = 1000.0 * g * height**2, height**4 / 12.0, height**2
    kappa = 10.0 * (1.0 + nu) / (12.0 + 11.0 * nu)
    shear = modulus / (2.0 * (1.0 + nu))
    timoshenko = load * length**4 / (8.0 * modulus * inertia) + load * length**2 / (
        2.0 * kappa * shear * area
    )
    return float((points - x)[end, 2].mean() / timoshenko)


def test_cantilever_converges_to_the_beam(box: Callable) -> None:
    # Linear tets are too stiff in bending. An independent linear-tet code gives 0.504, 0.681 and 0.883 of
    # Timoshenko at 384, 1,296 and 10,368 Kuhn tets; other diagonals of the cells move the third digit.
    ratios = [cantilever(box, cells) for cells in ((16, 2, 2), (24, 3, 3), (48, 6, 6))]
    np.testing.assert_allclose(ratios, [0.504, 0.681, 0.883], atol=1e-3)
    # Error against the limit: halving h from 24 to 48 cells divides it by nearly four.
    assert np.log2((1.0 - ratios[1]) / (1.0 - ratios[2])) > 1.3


def test_first_linear_solve_is_loose_and_a_linear_problem_still_converges(box: Callable, device: str) -> None:
    points, tets = box((6, 2, 2), (3.0, 1.0, 1.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e6), device=device)
    free = np.repeat(points[:, :1] > 1e-9, 3, axis=1).astype(float)
    found = {}
    for name in LINEAR_SOLVERS:
        config = NewtonConfig(tolerance=1e-9, linear_solver=name)
        newton = Newton(model, [Elastic(model), Gravity(model)], config, free=free)
        asked = []
        inner = newton.linear_solver.solve

        def solve(b, out, tolerance, inner=inner, asked=asked, **settings):
            asked.append(tolerance)
            return inner(b, out, tolerance, **settings)

        newton.linear_solver.solve = solve  # type: ignore[method-assign]
        found[name], result = newton.solve(points)
        assert asked[0] == 1e-2
        assert result.residual <= 1e-9 * result.scale
        if name == "cg":  # each solve is asked to be as exact as the one before turned out
            assert len(asked) > 1
            assert min(asked[1:]) < 1e-2
    # A residual of 1e-9 of the forces, times a condition number of about 1e4.
    np.testing.assert_allclose(found["cg"], found["direct"], rtol=0, atol=1e-5 * model.size)


@pytest.mark.parametrize("crush", ["random", "plane", "inverted"])
def test_crushed_body_returns_to_rest(crush: str, box: Callable) -> None:
    points, tets = box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5, poissons_ratio=0.3))
    rng = np.random.default_rng(1)
    start = {
        "random": rng.uniform(0.0, 1.0, points.shape),
        "plane": points * [1.0, 1.0, 0.0] + 1e-3 * rng.normal(size=points.shape),
        "inverted": points * [1.0, 1.0, -1.0] + 1e-3 * rng.normal(size=points.shape),
    }[crush]
    free = np.ones_like(points)
    free[points[:, 2] < 1e-9] = 0.0
    start[points[:, 2] < 1e-9] = points[points[:, 2] < 1e-9]
    config = NewtonConfig(tolerance=1e-8, max_iterations=500)
    elastic = Elastic(model)
    x, _ = Newton(model, [elastic], config, free=free).solve(start)
    assert elastic.volume_ratios(model.to_device(x)).min() > 0.0
    np.testing.assert_allclose(x, points, rtol=0, atol=1e-6)


def test_unsolvable_load_says_so_and_keeps_the_state(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0))
    push = DeadLoad(model, np.tile([0.0, 0.0, -1.0], (len(points), 1)))  # nothing holds the body
    with pytest.raises(SimulationDiverged) as caught:
        Newton(model, [Elastic(model), push], NewtonConfig(max_iterations=20)).solve(points, step=7)
    assert caught.value.step == 7
    assert caught.value.positions is not None
    assert caught.value.positions.shape == points.shape


def test_energy_that_is_not_finite_is_named(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets)
    with pytest.raises(SimulationDiverged, match="elastic") as caught:
        Newton(model, [Elastic(model)]).solve(np.full_like(points, np.nan))
    assert caught.value.term == "elastic"
