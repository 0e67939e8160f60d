"""The error bar of an element: quadratic tets without a matrix against the assembled ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.element_error import ElementError, SmallLoad, discretization_error
from sim.energy import DeadLoad
from sim.material import Material
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of, refine_degree, with_element
from sim.scenarios import Cantilever, Stretch, Twist
from sim.scenarios.error_estimate import estimate_errors, estimate_small
from sim.solver import Newton, NewtonConfig


def leaning(
    box: Callable, n: int, nu: float = 0.3, device: str = "cpu", jitter: float = 0.0
) -> SoftBodyModel:
    """Return a leaning bar: it bends under its weight."""
    points, tets = box((n, n, 4 * n), (0.25, 0.25, 1.0), jitter=jitter)
    points = points @ np.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0, 1]])
    return SoftBodyModel.from_arrays(points, tets, Material("linear", 1.0e6, nu), device=device)


def solved(model: SoftBodyModel, load: SmallLoad) -> float:
    """Return the elastic energy of a linear body by Newton on the assembled matrix [J]."""
    free = np.ceil(model.at_nodes(load.free))
    weight = np.zeros(3) if load.acceleration is None else load.acceleration
    start = model.rest_positions.copy()
    if load.displacement is not None:
        start += (1.0 - free) * model.at_nodes(load.displacement)
    energies = [elastic_of(model), DeadLoad(model, model.load_masses[:, None] * weight)]
    x, result = Newton(model, energies, NewtonConfig(tolerance=1e-11), free=free).solve(start)
    assert np.isfinite(x).all()
    return result.energies["elastic"]


@pytest.mark.parametrize("nu", [0.0, 0.3, 0.49])
@pytest.mark.parametrize("kind", ["weight", "pull"])
def test_both_energies_are_those_of_the_assembled_systems(kind: str, nu: float, box: Callable) -> None:
    model = leaning(box, 2, nu, jitter=0.2)
    z = model.rest_positions[:, 2]
    load = SmallLoad(
        np.repeat((z > 0.05)[:, None], 3, axis=1).astype(float), acceleration=np.array([1.0, 0, -3])
    )
    if kind == "pull":
        is_held = (z < 0.05) | (z > 0.95)
        free = np.repeat(~is_held[:, None], 3, axis=1).astype(float)
        load = SmallLoad(free, np.where(z[:, None] > 0.5, [0.01, 0.0, 0.02], 0.0))
    linear, quadratic = ElementError(model).energies(load)
    assert linear == pytest.approx(solved(model, load), rel=1e-8)
    # The energy of the difference is known to a thousandth.
    exact = solved(refine_degree(model), load)
    assert quadratic == pytest.approx(exact, abs=2e-3 * abs(exact - linear))


def test_averaged_volumes_are_compared_with_the_same_quadratic_tets(box: Callable) -> None:
    points, tets = box((3, 3, 12), (0.25, 0.25, 1.0))
    linear = SoftBodyModel.from_arrays(points, tets, Material(poissons_ratio=0.49))
    errors = [discretization_error(with_element(linear, name)) for name in ("linear", "averaged")]
    assert errors[0]["quadratic_sag"] == pytest.approx(errors[1]["quadratic_sag"], rel=1e-12)
    assert errors[0]["sag_error"] > errors[1]["sag_error"]


def test_error_estimate_falls_with_refinement(box: Callable, device: str) -> None:
    errors = []
    for n in (2, 4):
        found = discretization_error(leaning(box, n, device=device))
        assert 0.0 < found["element_sag"] < found["quadratic_sag"]
        # Quadratic over linear sag: what the linear body is too stiff by.
        errors.append(found["quadratic_sag"] / found["element_sag"] - 1.0)
        assert found["sag_error"] == pytest.approx(1.0 - 1.0 / (1.0 + errors[-1]))
    assert np.log2(errors[0] / errors[1]) > 1.3  # towards two as the mesh resolves the bending


def test_a_homogeneous_strain_has_no_error(box: Callable) -> None:
    # nu = 0: a bar pulled between clamps is strained evenly, which linear tets represent.
    points, tets = box((4, 2, 2), (2.0, 1.0, 1.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(poissons_ratio=0.0))
    given, finer = ElementError(model).energies(Stretch(clamp=0.01).small_load(model))
    # E A / 2 L of a unit displacement.
    assert given == pytest.approx(1.0e6 / 4.0, rel=1e-9)
    assert finer == pytest.approx(given, rel=1e-9)


@pytest.mark.parametrize("scenario", [Stretch(steps=20), Twist(angle=2.0, steps=1), Cantilever(steps=1)])
def test_small_displacements_foretell_the_error_of_a_scenario(scenario: object, box: Callable) -> None:
    points, tets = box((12, 2, 2), (1.0, 0.2, 0.2), jitter=0.1)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=5.0e6, poissons_ratio=0.4))
    found = scenario.run(model)
    full = estimate_errors(model, scenario.name, vars(scenario), found, "element")
    small = estimate_small(ElementError(model), scenario)
    # Values are taken at a percent of strain; the sag of the end is not the mean sag.
    assert small["small"] == pytest.approx(full["element"], rel=0.1)


def test_no_body_is_held_by_nothing(box: Callable) -> None:
    model = leaning(box, 1)
    load = SmallLoad(np.ones_like(model.rest_positions), acceleration=np.array([0.0, 0.0, -9.81]))
    with pytest.raises(ArithmeticError):
        ElementError(model).energies(load)


def test_quadratic_tets_are_refused(box: Callable) -> None:
    with pytest.raises(ValueError, match="got quadratic ones"):
        ElementError(refine_degree(leaning(box, 1)))
