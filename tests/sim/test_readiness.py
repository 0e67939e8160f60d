"""Readiness numbers against dense linear algebra and hand-made defects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.energy import Elastic
from sim.material import Material
from sim.model import SoftBodyModel
from sim.modes import element_eigenvalues, rest_stiffness
from sim.readiness import measure_readiness, structure

MATERIAL = Material(youngs_modulus=1.0e6, poissons_ratio=0.3)


@pytest.fixture
def model(box: Callable, device: str) -> SoftBodyModel:
    """An irregular box."""
    points, tets = box((3, 3, 3), jitter=0.25)
    return SoftBodyModel.from_arrays(points, tets, MATERIAL, device=device)


def mass_scaled(model: SoftBodyModel) -> np.ndarray:
    root = np.repeat(1.0 / np.sqrt(model.masses), 3)
    return root[:, None] * rest_stiffness(model).toarray() * root


def test_time_steps_are_those_of_the_dense_matrices(model: SoftBodyModel) -> None:
    found = measure_readiness(model)
    highest = np.linalg.eigvalsh(mass_scaled(model))[-1]
    assert found["explicit_time_step"] == pytest.approx(2.0 / np.sqrt(highest), rel=1e-5)
    assert found["element_time_step"] <= found["explicit_time_step"]
    assert found["element_time_step_tets"][0] in range(model.tet_count)


def test_element_eigenvalues_are_those_of_the_element_matrices(model: SoftBodyModel) -> None:
    import warp as wp

    blocks = wp.zeros(16 * model.tet_count, dtype=wp.mat33d, device=model.device)
    Elastic(model, is_projected=False).hessian(model.to_device(model.rest_positions), blocks)
    matrices = blocks.numpy().reshape(-1, 4, 4, 3, 3).transpose(0, 1, 3, 2, 4).reshape(-1, 12, 12)
    np.testing.assert_allclose(element_eigenvalues(model), np.linalg.eigvalsh(matrices)[:, -1], rtol=1e-10)


def test_explicit_step_is_the_edge_of_stability(model: SoftBodyModel) -> None:
    # Symplectic Euler of the linearised body: bounded just below the exact step, growing just above.
    dt = measure_readiness(model)["explicit_time_step"]
    A = mass_scaled(model)
    for factor, is_stable in ((0.99, True), (1.01, False)):
        x, v = np.random.default_rng(0).normal(size=(2, len(A)))
        v = v / dt
        start = np.linalg.norm(x)
        for _ in range(400):
            v = v - factor * dt * (A @ x)
            x = x + factor * dt * v
        assert (np.linalg.norm(x) < 100.0 * start) == is_stable


def test_inversion_margin_is_the_smallest_height(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    found = measure_readiness(SoftBodyModel.from_arrays(points, tets, MATERIAL))
    # A Kuhn tet of an edge a has the heights a and a / sqrt 2, both twice.
    assert found["inversion_margin"] == pytest.approx(0.5 / np.sqrt(2.0), rel=1e-12)


def test_free_body_has_six_zero_modes(model: SoftBodyModel) -> None:
    found = measure_readiness(model)
    assert found["zero_modes"] == 6
    values = np.linalg.eigvalsh(mass_scaled(model))
    assert found["lowest_frequency"] == pytest.approx(np.sqrt(values[6]) / (2.0 * np.pi), rel=1e-4)


def test_condition_number_and_iterations_grow_with_a_sliver(box: Callable) -> None:
    points, tets = box((3, 3, 3))
    good = measure_readiness(SoftBodyModel.from_arrays(points, tets, MATERIAL))
    inner = int(np.flatnonzero(((points > 0.1) & (points < 0.9)).all(axis=1))[0])
    squeezed = points.copy()
    squeezed[inner, 2] -= 0.99 / 3.0 * 0.999
    bad = measure_readiness(SoftBodyModel.from_arrays(squeezed, tets, MATERIAL))
    assert bad["explicit_time_step"] < 0.5 * good["explicit_time_step"]
    assert bad["inversion_margin"] < 0.05 * good["inversion_margin"]
    # Block Jacobi hardly notices one bad element.
    assert good["cg_iterations"] <= bad["cg_iterations"] <= 2 * good["cg_iterations"]


def test_iterations_are_those_of_a_plain_loop(model: SoftBodyModel) -> None:
    # Whatever the device: a count in steps of the looks at the residual would not compare.
    z = model.rest_positions[:, 2]
    free = np.repeat(z > z.min() + 0.05 * np.ptp(z), 3)
    A = rest_stiffness(model).toarray()[np.ix_(free, free)]
    inverse = np.zeros_like(A)
    for p in range(0, len(A), 3):
        inverse[p : p + 3, p : p + 3] = np.linalg.inv(A[p : p + 3, p : p + 3])
    r = (model.masses[:, None] * np.array([0.0, 0.0, -9.81])).ravel()[free]
    start, count, direction, old = np.linalg.norm(r), 0, np.zeros_like(r), np.inf
    while np.linalg.norm(r) > 1e-8 * start:
        preconditioned = inverse @ r
        new = r @ preconditioned
        direction = preconditioned + new / old * direction
        r = r - new / (direction @ A @ direction) * (A @ direction)
        old, count = new, count + 1
    assert 1 < count % 25 < 24
    assert abs(measure_readiness(model)["cg_iterations"] - count) <= 1  # rounding


@pytest.mark.parametrize("cells", [(3, 3, 3), (12, 2, 2)])
@pytest.mark.parametrize("flatness", [1e-2, 1e-6, 1e-10, 1e-12])
def test_flat_tets_hide_no_modes(flatness: float, cells: tuple[int, int, int], box: Callable) -> None:
    points, tets = box(cells, tuple(n / 2.0 for n in cells))
    inner = int(np.flatnonzero(((points > 0.1) & (points < points.max(axis=0) - 0.1)).all(axis=1))[0])
    frequencies = []
    for share in (1e-3, flatness):
        squeezed = points.copy()
        squeezed[inner, 2] -= 0.5 * (1.0 - share)
        found = measure_readiness(SoftBodyModel.from_arrays(squeezed, tets, MATERIAL))
        assert found["zero_modes"] == 6
        frequencies.append(found["lowest_frequency"])
    # One vertex moves by less than 1 % of a cell, and thin tets are as good as rigid.
    assert frequencies[1] == pytest.approx(frequencies[0], rel=1e-3)


def test_flat_tets_hide_no_hinge(box: Callable) -> None:
    points, tets = box((3, 3, 3))
    other = points + np.array([1.0, 1.0, 0.0])
    number = np.arange(len(points)) + len(points)
    for p in np.flatnonzero((points[:, :2] < 1e-9).all(axis=1)):  # this edge is one of the first box
        number[p] = int(np.argmin(np.linalg.norm(points - other[p], axis=1)))
    inner = int(np.flatnonzero(((points > 0.1) & (points < 0.9)).all(axis=1))[0])
    squeezed = points.copy()
    squeezed[inner, 2] -= (1.0 - 1e-10) / 3.0
    joined, index = np.unique(np.concatenate([tets, number[tets]]), return_inverse=True)
    model = SoftBodyModel.from_arrays(np.vstack([squeezed, other])[joined], index.reshape(-1, 4), MATERIAL)
    found = measure_readiness(model)
    assert (found["components"], found["hinges"], found["zero_modes"]) == (2, 1, 7)


def test_parts_joined_by_an_edge_can_swing(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    both = np.vstack([points, points + np.array([1.0, 1.0, 0.0])])
    unique, number = np.unique(both.round(9), axis=0, return_inverse=True)
    joined = number.ravel()[np.concatenate([tets, tets + len(points)])].astype(np.int32)
    found = measure_readiness(SoftBodyModel.from_arrays(unique, joined, MATERIAL))
    assert (found["components"], found["hinges"]) == (2, 1)
    assert found["zero_modes"] == 7  # six and the hinge


def test_two_separate_bodies_have_twelve_zero_modes(box: Callable) -> None:
    points, tets = box((2, 2, 2))
    both = np.concatenate([points, points + 3.0])
    found = measure_readiness(
        SoftBodyModel.from_arrays(both, np.concatenate([tets, tets + len(points)]), MATERIAL)
    )
    assert (found["components"], found["hinges"], found["zero_modes"]) == (2, 0, 12)


def test_defects_are_counted(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    assert not any(v for k, v in structure(points, tets).items() if k != "components")
    spoilt = tets.copy()
    spoilt[0] = spoilt[0][[1, 0, 2, 3]]
    spoilt = np.concatenate([spoilt, tets[1:2]])
    extra = np.concatenate([points, [[5.0, 5.0, 5.0]], points[:1]])
    found = structure(extra, spoilt)
    assert found["flipped_tets"] == 1
    assert found["duplicate_tets"] == 1
    assert found["unreferenced_vertices"] == 2
    assert found["coincident_vertices"] == 1
    assert found["faces_in_more_than_two_tets"] > 0
