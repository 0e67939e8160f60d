"""Every scenario: its closed form where there is one, its counts, its settings, its error estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from sim.material import Material
from sim.model import SoftBodyModel
from sim.quadratic import refine_degree
from sim.scenarios import (
    DEFAULT_SCENARIOS,
    FRAME_LIMIT,
    SCENARIOS,
    Cantilever,
    Compress,
    Incline,
    Modal,
    Press,
    Ring,
    Stretch,
    Twist,
    default_settings,
    make_scenario,
)
from sim.scenarios.error_estimate import estimate_errors
from sim.scenarios.ring import torus

STIFF = Material(youngs_modulus=1.0e8, poissons_ratio=0.3)


def bar(box: Callable, degree: int = 1) -> SoftBodyModel:
    """A bar of ten by one by one, two cells across."""
    model = SoftBodyModel.from_arrays(*box((20, 2, 2), (1.0, 0.1, 0.1)), STIFF)
    return refine_degree(model) if degree == 2 else model


def test_scenarios_are_found_by_name() -> None:
    assert tuple(default_settings()) == DEFAULT_SCENARIOS
    assert make_scenario("twist", {"angle": 30.0}) == Twist(angle=30.0)
    with pytest.raises(ValueError, match="known: drop, stretch, compress"):
        make_scenario("twirl")
    with pytest.raises(ValueError, match=r"unknown setting 'angel'; known: angle, "):
        make_scenario("twist", {"angel": 1.0})


@pytest.mark.parametrize("name", SCENARIOS)
def test_settings_out_of_range_are_refused(name: str) -> None:
    for setting in fields(SCENARIOS[name]):
        with pytest.raises(ValueError, match=setting.name):
            make_scenario(name, {setting.name: -1})


@pytest.mark.parametrize(
    ("scenario", "tolerance"),
    [
        # The clamps hinder contraction (about nu^2 of a width at each end) and warping.
        (Stretch(stretch=1.01, steps=1), 0.03),
        (Compress(stretch=0.99, steps=1), 0.03),
        (Twist(angle=1.0, steps=1), 0.06),
        (Cantilever(steps=1), 0.02),
        (Press(press=0.02, steps=2), 0.02),
        (Modal(), 0.06),  # shear and rotation of the sections
    ],
    ids=lambda s: getattr(s, "name", ""),
)
def test_value_of_a_bar_is_the_closed_form(scenario: object, tolerance: float, box: Callable) -> None:
    found = scenario.run(bar(box, degree=2))
    assert found.results["value"] == pytest.approx(found.results["reference"], rel=tolerance)
    assert found.results["peak_inversions"] == 0


def test_body_slides_at_the_slope_of_its_friction(box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((3, 3, 1), (0.3, 0.3, 0.1)), Material(youngs_modulus=1.0e6))
    found = Incline(steps=40).run(model)
    # One step is 1.9 % of the slope at which it slides; before, it leans and creeps.
    assert found.results["value"] == pytest.approx(0.5, rel=0.04)
    assert found.series["way"][-1] > 0.0


def test_torus_is_closed_and_outward() -> None:
    points, faces = torus(np.array([1.0, 2.0, 3.0]), 1, 2.0, 0.5, 96, 48)
    a, b, c = (points[faces[:, k]] - [1.0, 2.0, 3.0] for k in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0
    # Inscribed polygons: relative error (2 pi / n)^2 / 6 each.
    assert volume == pytest.approx(2.0 * np.pi**2 * 2.0 * 0.5**2, rel=0.01)


@pytest.mark.nightly
def test_body_is_pulled_through_a_ring(box: Callable) -> None:
    material = Material(youngs_modulus=1.0e5, poissons_ratio=0.3)
    model = SoftBodyModel.from_arrays(*box((6, 2, 2), (0.6, 0.2, 0.2)), material)
    found = Ring(way=0.6, steps=30).run(model)
    # The end is 0.6 lengths on its way, and stretched: about half of the body is through.
    assert 0.3 < found.results["passed"] < 0.7
    assert found.results["inversions"] == 0
    assert found.results["value"] > 0.0
    (ring,) = found.obstacles
    assert ring.name == "ring"
    assert len(ring.offsets) == len(found.frames)
    assert not ring.offsets.any()


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "ring"])
def test_every_scenario_reports_alike(name: str, box: Callable) -> None:
    points, tets = box((4, 2, 2), (0.4, 0.2, 0.2), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6))
    scenario = make_scenario(name, {} if name == "modal" else {"steps": 4})
    found = scenario.run(model)
    wanted = {"value", "newton_iterations", "linear_iterations", "inversions", "peak_inversions"}
    assert wanted | {"peak_smallest_volume_ratio"} <= set(found.results)
    assert all(isinstance(value, float) for value in found.results.values())
    assert all(isinstance(v, float) for values in found.series.values() for v in values)
    assert len({len(values) for values in found.series.values()}) == 1
    assert 2 <= len(found.frames) <= FRAME_LIMIT
    assert scenario.value_name
    assert [entry["value"] for entry in found.worst] == sorted(entry["value"] for entry in found.worst)
    assert found.results["peak_smallest_volume_ratio"] == found.worst[0]["value"]
    centroid = points[tets[found.worst[0]["tet"]]].mean(axis=0)
    np.testing.assert_allclose(found.worst[0]["position"], centroid)
    for obstacle in found.obstacles:
        assert obstacle.offsets.shape == (len(found.frames), 3)
        assert obstacle.offsets[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("drop", {"ground": 1.0}),
        ("incline", {"ground": 1.0}),
        ("press", {"lower plate": 1.0, "upper plate": -1.0}),
    ],
)
def test_the_body_stays_on_its_side_of_what_it_touches(
    name: str, expected: dict[str, float], box: Callable
) -> None:
    """Each slab faces the body with a side that no vertex reaches, and is closed, outward and wide enough."""
    points, tets = box((4, 2, 2), (0.4, 0.2, 0.2))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6))
    found = make_scenario(name, {"steps": 6}).run(model)
    assert {obstacle.name for obstacle in found.obstacles} == set(expected)
    for obstacle in found.obstacles:
        up = expected[obstacle.name]
        for x, way in zip(found.frames, obstacle.offsets):
            slab = obstacle.points + way
            gap = up * x[:, 2].min() - (up * slab[:, 2]).max() if up > 0 else slab[:, 2].min() - x[:, 2].max()
            # At contact the gap is a share of the contact distance, 2e-3 of the size of 0.4.
            assert 0.0 < gap <= (0.05 * 0.4 + 1e-3 if name == "drop" else 2e-3)
            assert (slab[:, :2].min(axis=0) < x[:, :2].min(axis=0)).all()
            assert (slab[:, :2].max(axis=0) > x[:, :2].max(axis=0)).all()
        a, b, c = (obstacle.points[obstacle.faces[:, k]] for k in range(3))
        volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0
        assert volume == pytest.approx(np.ptp(obstacle.points, axis=0).prod())


def test_work_becomes_energy(box: Callable) -> None:
    # The trapezoidal rule along the path: the error of the sum falls with the square of the step.
    model = bar(box)
    coarse, fine = (Twist(steps=n).run(model).results["energy_balance"] for n in (4, 8))
    assert fine < 0.02
    assert coarse / fine == pytest.approx(4.0, rel=0.3)


def test_error_estimate_sees_locking_and_steps(box: Callable) -> None:
    model = bar(box)
    settings = {"steps": 1}
    found = Cantilever(**settings).run(model)
    errors = estimate_errors(model, "cantilever", settings, found, "both")
    # Two linear cells across miss half of the sag; a small load needs no steps.
    assert errors["element"] < -0.3
    assert abs(errors["steps"]) < 0.01
    assert errors["element_value"] == pytest.approx(found.results["reference"], rel=0.02)


def test_error_of_the_steps_is_that_of_a_first_order_method(box: Callable) -> None:
    # The secant stiffness of the first step: its error is proportional to the step.
    model = bar(box)
    errors = {}
    for steps in (5, 8, 16):
        settings = {"stretch": 1.2, "steps": steps}
        errors[steps] = estimate_errors(model, "stretch", settings, Stretch(**settings).run(model), "steps")
    tangent = Stretch(stretch=1.0001, steps=1).run(model).results["value"]
    for steps, found in errors.items():
        value = Stretch(stretch=1.2, steps=steps).run(model).results["value"]
        assert found["steps"] == pytest.approx(value / tangent - 1.0, rel=0.15)


def test_scenario_without_a_value_has_no_error(box: Callable) -> None:
    # The tilt ends before the block slides.
    model = SoftBodyModel.from_arrays(*box((2, 2, 1), (1.0, 1.0, 0.3)), Material(youngs_modulus=1.0e7))
    settings = {"slope": 0.3, "steps": 4}
    found = Incline(**settings).run(model)
    assert np.isnan(found.results["value"])
    errors = estimate_errors(model, "incline", settings, found, "steps")
    assert errors == {"steps": None, "steps_value": None}


def test_pressing_stores_its_work(box: Callable) -> None:
    # The trapezoidal rule, and the first step in which the plates meet the body.
    model = SoftBodyModel.from_arrays(*box((2, 2, 2)), Material(youngs_modulus=1.0e5))
    coarse, fine = (Press(press=0.1, steps=n).run(model).results["energy_balance"] for n in (10, 20))
    assert fine < 0.1
    assert fine < coarse


@pytest.mark.parametrize("make", [lambda steps: Ring(steps=steps), lambda steps: Incline(steps=steps)])
def test_finer_steps_take_less_of_the_work(box: Callable, make: Callable) -> None:
    # Implicit Euler takes energy, the less the finer its step, and never gives any. The pull of the ring
    # starts with a jump, whose waves no step resolves.
    model = SoftBodyModel.from_arrays(*box((3, 3, 1), (0.6, 0.6, 0.15)), Material(youngs_modulus=1.0e5))
    coarse, fine = (make(steps).run(model).results["energy_balance"] for steps in (20, 80))
    assert 0.0 <= fine < 0.8 * coarse < 0.8
