"""Gradients of equilibria: Taylor remainders of second order for every parameter, and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import warp as wp

from sim.element_sensitivity import elastic_slopes
from sim.energy import DeadLoad, Elastic, Gravity, GroundContact
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel
from sim.nodal_volume import AVERAGED_MATERIALS
from sim.obstacles import SphereContact
from sim.quadratic import ELEMENTS, elastic_of, with_element
from sim.sensitivity import AdjointTerms, equilibrium_gradient, scatter
from sim.solver import Newton, NewtonConfig
from warp_kernels.elasticity_sensitivity import elastic_sensitivity, sensitivity_kernel
from warp_kernels.materials import MATERIALS

EXACT = NewtonConfig(tolerance=1e-13)


def equilibrium(
    points: np.ndarray,
    tets: np.ndarray,
    *,
    name: str = "stable_neo_hookean",
    mu: np.ndarray | None = None,
    lam: np.ndarray | None = None,
    density: float = 1000.0,
    loads: np.ndarray | None = None,
    held: np.ndarray | None = None,
    obstacle: str = "none",
    element: str = "linear",
) -> tuple:
    """Solve a block that is held at one side, under its weight and loads, and perhaps on the ground."""
    model = SoftBodyModel.from_arrays(points, tets, Material(name, 3.0e4, 0.3, density), mu=mu, lam=lam)
    model = with_element(model, element)
    grid_side = np.arange(len(points)) < np.sqrt(len(points) * 1.0)  # the first plane of the grid, x = 0
    free = np.ceil(model.at_nodes(np.repeat(~grid_side[:, None], 3, axis=1)))
    nothing = np.zeros_like(model.rest_positions)
    energies = [elastic_of(model), Gravity(model), DeadLoad(model, nothing if loads is None else loads)]
    if obstacle == "ground":
        energies.append(GroundContact(model, d_hat=0.1, pressure=3.0e3, offset=-0.08))
    if obstacle == "sphere":
        energies.append(SphereContact(model, (1.0, 0.5, -1.1), 1.0, d_hat=0.2, pressure=3.0e3))
    start = model.rest_positions if held is None else np.where(free == 0.0, held, model.rest_positions)
    x, _ = Newton(model, energies, EXACT, free=free).solve(start)
    return model, energies, x, free


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("obstacle", ["none", "ground", "sphere"])
def test_equilibrium_gradient_has_a_remainder_of_second_order(
    obstacle: str, element: str, box: Callable, remainder_slope: Callable
) -> None:
    points, tets = box((3, 2, 2), (1.5, 1.0, 1.0), jitter=0.2)
    rng = np.random.default_rng(0)
    at_rest = with_element(SoftBodyModel.from_arrays(points, tets), element)
    n, t = at_rest.vertex_count, len(tets)
    base = Material("stable_neo_hookean", 3.0e4, 0.3)
    mu, lam = (m * rng.uniform(0.8, 1.2, t) for m in (base.mu, base.lam))
    weights = rng.normal(size=(n, 3))
    loads = 5.0 * rng.normal(size=(n, 3))

    def solve(**changes: object) -> tuple:
        given = {"points": points, "mu": mu, "lam": lam, "loads": loads, "held": at_rest.rest_positions}
        given |= changes
        return equilibrium(given.pop("points"), tets, obstacle=obstacle, element=element, **given)

    def loss(x: np.ndarray) -> float:
        return float((weights * x).sum() + 0.5 * (x**2).sum())

    model, energies, x, free = solve()
    if obstacle != "none":
        assert np.linalg.norm(energies[-1].reaction(model.to_device(x))) > 0.1 * 9.81 * model.mass
    g = equilibrium_gradient(model, energies, x, weights + x, free=free)
    directions = {
        "points": (points, 0.02 * rng.normal(size=points.shape), g.rest_positions),
        "mu": (mu, mu * rng.normal(size=t), g.mu),
        "lam": (lam, lam * rng.normal(size=t), g.lam),
        "density": (1000.0, 1000.0, g.density),
        "loads": (loads, 5.0 * rng.normal(size=(n, 3)), g.loads),
        "held": (at_rest.rest_positions, 0.05 * rng.normal(size=(n, 3)), g.held_positions),
    }
    for name, (value, step, derivative) in directions.items():
        slope = remainder_slope(
            lambda e: loss(solve(**{name: value + e * step})[2]),  # noqa: B023
            float(np.sum(derivative * step)),
            (0.004, 0.002),
        )
        assert slope >= 1.95, (name, slope)


def test_moduli_of_a_hanging_bar_are_those_of_the_closed_form(box: Callable) -> None:
    # Linear, nu = 0, motion along z: tip displacement u = F L / (E A), so dL/dE = -u / E, dL/dF = L / (E A).
    points, tets = box((1, 1, 4), (0.5, 0.5, 2.0))
    modulus, area, force = 1.0e5, 0.25, 30.0
    model = SoftBodyModel.from_arrays(points, tets, Material("linear", modulus, 0.0))
    free = np.zeros_like(points)
    free[points[:, 2] > 1e-9, 2] = 1.0
    tip = points[:, 2] > 2.0 - 1e-9
    weights = np.zeros_like(points)
    loads = np.zeros_like(points)
    lumped = np.bincount(model.surface.ravel(), minlength=len(points)) * 0.0
    top = model.surface[tip[model.surface].all(axis=1)]
    np.add.at(lumped, top.ravel(), np.repeat(1.0 / (3.0 * len(top)), 3 * len(top)))
    weights[:, 2] = lumped  # mean displacement of the end
    loads[:, 2] = force * lumped
    energies = [Elastic(model), DeadLoad(model, loads)]
    x, _ = Newton(model, energies, EXACT, free=free).solve(points)
    u = ((x - points) * weights).sum()
    assert u == pytest.approx(force * 2.0 / (modulus * area), rel=1e-8)
    g = equilibrium_gradient(model, energies, x, weights, free=free)
    assert g.youngs_modulus.sum() == pytest.approx(-u / modulus, rel=1e-8)
    assert (g.loads * loads).sum() == pytest.approx(u, rel=1e-8)
    # Scaled by s, the end stands at s L + u(s) with u(s) = F s L / (E s^2 A) = u / s: slope L - u at s = 1.
    assert (g.rest_positions * points).sum() == pytest.approx(2.0 - u, rel=1e-8)


@pytest.mark.parametrize("name", MATERIAL_NAMES)
def test_sensitivity_kernel_agrees_with_central_differences(name: str, box: Callable, device: str) -> None:
    points, tets = box((1, 1, 1))
    rng = np.random.default_rng(1)
    x, y = points + 0.1 * rng.normal(size=points.shape), rng.normal(size=points.shape)
    base = Material(name, 3.0, 0.3)

    def directional(rest: np.ndarray, mu: np.ndarray, lam: np.ndarray) -> float:
        model = SoftBodyModel.from_arrays(rest, tets, base, mu=mu, lam=lam, device=device)
        out = wp.zeros(len(rest), dtype=wp.vec3d, device=device)
        Elastic(model).gradient(model.to_device(x), out)
        return float((out.numpy() * y).sum())

    mu, lam = base.mu * rng.uniform(0.5, 1.5, len(tets)), base.lam * rng.uniform(0.5, 1.5, len(tets))
    model = SoftBodyModel.from_arrays(points, tets, base, mu=mu, lam=lam, device=device)
    at_mu, at_lam = (wp.zeros(len(tets), dtype=wp.float64, device=device) for _ in range(2))
    at_rest = wp.zeros((len(tets), 4), dtype=wp.vec3d, device=device)
    elastic_sensitivity(
        sensitivity_kernel(name, MATERIALS[name]), model.to_device(x), model.to_device(y), model.elements,
        at_mu, at_lam, at_rest,
    )  # fmt: skip
    d = {
        "rest": rng.normal(size=points.shape),
        "mu": rng.normal(size=len(tets)),
        "lam": rng.normal(size=len(tets)),
    }
    found = {
        "rest": (at_rest.numpy() * d["rest"][tets]).sum(),
        "mu": at_mu.numpy() @ d["mu"],
        "lam": at_lam.numpy() @ d["lam"],
    }
    e = 1e-6
    for key, at in (("rest", points), ("mu", mu), ("lam", lam)):
        values = {"rest": points, "mu": mu, "lam": lam}
        above = directional(**(values | {key: at + e * d[key]}))
        below = directional(**(values | {key: at - e * d[key]}))
        # Central differences: truncation e^2 times third derivatives, rounding 1e-16 / e times forces.
        assert found[key] == pytest.approx((above - below) / (2 * e), rel=1e-6, abs=1e-7), key


@pytest.mark.parametrize("name", MATERIAL_NAMES)
@pytest.mark.parametrize("element", ["averaged", "quadratic"])
def test_elements_agree_with_central_differences(element: str, name: str, box: Callable, device: str) -> None:
    if element == "averaged" and name not in AVERAGED_MATERIALS:
        pytest.skip("has another volumetric energy")
    points, tets = box((1, 1, 1))
    rng = np.random.default_rng(1)
    base = Material(name, 3.0, 0.3)
    mu, lam = base.mu * rng.uniform(0.5, 1.5, len(tets)), base.lam * rng.uniform(0.5, 1.5, len(tets))

    def energy(rest: np.ndarray, mu: np.ndarray, lam: np.ndarray) -> Elastic:
        model = SoftBodyModel.from_arrays(rest, tets, base, mu=mu, lam=lam, device=device)
        return elastic_of(with_element(model, element))

    elastic = energy(points, mu, lam)
    model = elastic.model
    x = model.rest_positions + 0.1 * rng.normal(size=model.rest_positions.shape)
    z = rng.normal(size=x.shape)

    def directional(*given: np.ndarray) -> float:
        out = model.to_device(np.zeros_like(x))
        energy(*given).gradient(model.to_device(x), out)
        return float((out.numpy() * z).sum())

    found = elastic_slopes(elastic, model.to_device(x), z)
    slopes = [scatter(tets, found.rest, len(points)), found.mu, found.lam]
    given = [points, mu, lam]
    e = 1e-6
    for k, slope in enumerate(slopes):
        step = rng.normal(size=slope.shape)
        above, below = ([*given[:k], given[k] + s * e * step, *given[k + 1 :]] for s in (1.0, -1.0))
        difference = (directional(*above) - directional(*below)) / (2 * e)
        # Truncation e^2 times third derivatives, rounding 1e-16 / e times forces.
        assert (slope * step).sum() == pytest.approx(difference, rel=1e-6, abs=1e-7), k


def test_energy_without_known_derivative_is_refused(box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    terms = AdjointTerms(Newton(model, [Elastic(model)]))
    rest = model.rest_positions
    unknown = SimpleNamespace(name="magnets")
    with pytest.raises(TypeError, match="magnets: no derivative"):
        terms.add(rest, np.zeros_like(rest), [unknown])
