"""Scenarios: a body that has fallen stands on its weight; a body that is pulled pulls back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.material import Material
from sim.model import SoftBodyModel
from sim.scenarios import (
    FRAME_LIMIT,
    Drop,
    Stretch,
    compression,
    make_scenario,
)
from sim.solver import NewtonConfig


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_drop_settles_on_its_weight(size: float, box: Callable, device: str) -> None:
    points, tets = box((3, 3, 3), (size, size, size), jitter=0.2)
    material = Material(youngs_modulus=1.0e6 * max(1.0, size))
    model = SoftBodyModel.from_arrays(points, tets, material, device=device)
    drop = Drop(steps=20).run(model)
    found = drop.results
    weight = 9.81 * model.mass
    assert found["weight"] == pytest.approx(weight, rel=1e-13)
    assert abs(found["reaction"] - weight) <= 1e-3 * weight
    assert found["smallest_gap"] > 0.0
    assert found["inversions"] == 0
    # Implicit Euler gives no energy; Newton's residual lets through about its square root of rounding.
    assert found["energy_gain"] <= 1e-6
    assert 0.0 < found["settled_compression"] < found["max_compression"] < 0.1
    assert len({len(values) for values in drop.series.values()}) == 1
    assert 2 <= len(drop.frames) <= FRAME_LIMIT
    # It fell from its height: the energy lost is the potential energy of the fall and a little sag.
    assert found["energy_lost"] == pytest.approx(1.0, abs=0.15)


def test_compression_does_not_see_a_rigid_motion(box: Callable, rotation: np.ndarray) -> None:
    points, tets = box((2, 2, 2), (1.0, 2.0, 3.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets)
    moved = points @ rotation.T + np.array([1.0, 2.0, 3.0])
    assert compression(model, moved) == pytest.approx(0.0, abs=1e-12)
    squeezed = (points * [1.0, 0.7, 1.0]) @ rotation.T
    assert compression(model, squeezed) == pytest.approx(0.3, abs=1e-12)


def test_settled_box_sags_like_a_column(box: Callable) -> None:
    # Frictionless column under its own weight, nu = 0: the top sinks by rho g H^2 / (2 E) on average; finite
    # strains of up to 1 % change that by as much.
    points, tets = box((4, 4, 4))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6, poissons_ratio=0.0))
    z = Drop(steps=20).run(model).frames[-1][:, 2]
    height = z[points[:, 2] > 1.0 - 1e-9].mean() - z[points[:, 2] < 1e-9].mean()
    assert 1.0 - height == pytest.approx(1000.0 * 9.81 / (2.0 * 1.0e6), rel=0.01)


def test_conjugate_gradients_give_the_same_drop(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets)
    direct, cg = (
        Drop(steps=10).run(model, NewtonConfig(tolerance=1e-9, linear_solver=name)).frames[-1]
        for name in ("direct", "cg")
    )
    np.testing.assert_allclose(cg, direct, rtol=0, atol=1e-6)


def test_stretched_block_pulls_with_its_modulus(box: Callable, device: str) -> None:
    # A long block pulled a little: force = E A strain; the clamps, which hinder the lateral contraction over
    # about a width at each end, add less than 10 % on a bar ten widths long.
    points, tets = box((20, 2, 2), (1.0, 0.1, 0.1))
    model = SoftBodyModel.from_arrays(
        points, tets, Material(youngs_modulus=1.0e5, poissons_ratio=0.3), device=device
    )
    found = Stretch(stretch=1.001, steps=2).run(model)
    strain = 0.001 / 0.9  # all of it between the slabs
    expected = 1.0e5 * 0.01 * strain
    assert expected <= found.results["force"] <= 1.1 * expected
    assert found.results["inversions"] == 0
    assert found.results["residual"] <= 1e-6


def test_stretch_chooses_the_longest_axis(box: Callable) -> None:
    points, tets = box((2, 3, 2), (1.0, 1.5, 1.0))
    assert Stretch(steps=1).run(SoftBodyModel.from_arrays(points, tets)).results["axis"] == 1


def test_progress_is_recorded(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    seen: list[tuple[int, int]] = []
    Stretch(steps=3).run(
        SoftBodyModel.from_arrays(points, tets), record=lambda step, total=0, **_: seen.append((step, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("drop", {"height": 0.0}),
        ("drop", {"steps": 2.5}),
        ("stretch", {"clamp": 0.5}),
        ("stretch", {"stretch": -1}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_scenario(name, bad)
