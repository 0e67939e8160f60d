"""Every energy: its gradient, its Hessian, its step bound; and what an elastic energy must not see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import ENERGIES, DeadLoad, Elastic, Energy, Gravity, GroundContact, Inertia
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel

MATERIAL = Material(youngs_modulus=3.0, poissons_ratio=0.35, density=2.0)


def make(kind: type, model: SoftBodyModel) -> Energy:
    if kind is DeadLoad:
        return DeadLoad(model, np.random.default_rng(5).normal(size=model.rest_positions.shape))
    if kind is GroundContact:
        return GroundContact(model, d_hat=0.5, pressure=2.0, normal=(0.1, 0.2, 1.0), offset=-0.3)
    if kind is Inertia:
        return Inertia(model, 0.1)
    if kind is Elastic:
        return Elastic(model, is_projected=False)
    return kind(model)


def gradient(energy: Energy, model: SoftBodyModel, x: np.ndarray) -> np.ndarray:
    out = wp.zeros(len(x), dtype=wp.vec3d, device=model.device)
    energy.gradient(model.to_device(x), out)
    return out.numpy()


def hessian_product(energy: Energy, model: SoftBodyModel, x: np.ndarray, d: np.ndarray) -> np.ndarray:
    rows, columns = energy.pattern()
    out = wp.zeros(len(rows), dtype=wp.mat33d, device=model.device)
    energy.hessian(model.to_device(x), out)
    result = np.zeros_like(d)
    np.add.at(result, rows, np.einsum("kij,kj->ki", out.numpy().reshape(-1, 3, 3), d[columns]))
    return result


@pytest.fixture
def scene(box: Callable, device: str) -> tuple[SoftBodyModel, np.ndarray, np.ndarray]:
    """A model, deformed positions and a direction."""
    points, tets = box((2, 2, 2), jitter=0.2)
    rng = np.random.default_rng(2)
    model = SoftBodyModel.from_arrays(points, tets, MATERIAL, device=device)
    return model, points + 0.05 * rng.normal(size=points.shape), rng.normal(size=points.shape)


@pytest.mark.parametrize("kind", ENERGIES)
def test_force_is_minus_energy_gradient(kind: type, scene: tuple) -> None:
    model, x, d = scene
    energy, step = make(kind, model), 1e-5
    above, below = (energy.value(model.to_device(x + s * step * d)) for s in (1, -1))
    numeric = (above - below) / (2 * step)
    # Truncation of central differences: h^2 = 1e-10 times third derivatives of order 1 to 100.
    assert (gradient(energy, model, x) * d).sum() == pytest.approx(numeric, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", ENERGIES)
def test_hessian_is_gradient_of_gradient(kind: type, scene: tuple) -> None:
    model, x, d = scene
    energy, step = make(kind, model), 1e-6
    numeric = (gradient(energy, model, x + step * d) - gradient(energy, model, x - step * d)) / (2 * step)
    found = hessian_product(energy, model, x, d)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-6 * max(1.0, np.abs(numeric).max()))


@pytest.mark.parametrize("kind", ENERGIES)
def test_energy_is_finite_below_its_step_bound(kind: type, scene: tuple) -> None:
    model, x, _ = scene
    energy = make(kind, model)
    dx = np.tile([0.0, 0.0, -5.0], (len(x), 1))
    fraction = min(1.0, energy.step_bound(model.to_device(x), model.to_device(dx)))
    assert np.isfinite(energy.value(model.to_device(x + fraction * dx)))
    if kind is GroundContact:
        assert fraction < 1.0
        assert energy.value(model.to_device(x + dx)) == np.inf


@pytest.mark.parametrize("name", MATERIAL_NAMES)
def test_forces_add_up_to_zero(name: str, scene: tuple) -> None:
    model, x, _ = scene
    model = SoftBodyModel.from_arrays(model.rest_positions, model.tets, Material(name, 3.0, 0.35))
    force = gradient(Elastic(model), model, x)
    np.testing.assert_allclose(force.sum(axis=0), 0.0, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in MATERIAL_NAMES if name != "linear"])
def test_rotation_rotates_the_forces(name: str, scene: tuple, rotation: np.ndarray) -> None:
    model, x, _ = scene
    model = SoftBodyModel.from_arrays(model.rest_positions, model.tets, Material(name, 3.0, 0.35))
    elastic = Elastic(model)
    moved = x @ rotation.T + np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(
        gradient(elastic, model, moved), gradient(elastic, model, x) @ rotation.T, atol=1e-12
    )
    assert elastic.value(model.to_device(moved)) == pytest.approx(
        elastic.value(model.to_device(x)), rel=1e-12
    )


@pytest.mark.parametrize("name", MATERIAL_NAMES)
def test_uniform_deformation_has_uniform_stress_and_no_inner_force(name: str, box: Callable) -> None:
    points, tets = box((3, 3, 3), jitter=0.3)
    model = SoftBodyModel.from_arrays(points, tets, Material(name, 1.0e5, 0.3))
    A = np.array([[1.1, 0.1, 0.0], [0.05, 0.9, -0.1], [0.0, 0.2, 1.05]])
    elastic = Elastic(model)
    x = points @ A.T
    stress = elastic.stress(model.to_device(x))
    np.testing.assert_allclose(stress, np.tile(stress[0], (len(tets), 1, 1)), rtol=0, atol=1e-9 * 1e5)
    inner = ((points > 1e-9) & (points < 1 - 1e-9)).all(axis=1)
    force = gradient(elastic, model, x)
    assert np.abs(force[inner]).max() <= 1e-12 * np.abs(force).max() * len(tets)


def test_renumbering_changes_nothing(scene: tuple) -> None:
    model, x, _ = scene
    rng = np.random.default_rng(4)
    order, rows = rng.permutation(len(x)), rng.permutation(len(model.tets))
    number = np.argsort(order)
    turned = number[model.tets][rows][:, [1, 2, 0, 3]]  # an even permutation keeps the volume positive
    other = SoftBodyModel.from_arrays(model.rest_positions[order], turned, MATERIAL)
    a, b = Elastic(model), Elastic(other)
    assert b.value(other.to_device(x[order])) == pytest.approx(a.value(model.to_device(x)), rel=1e-12)
    np.testing.assert_allclose(gradient(b, other, x[order]), gradient(a, model, x)[order], atol=1e-12)


def test_weight_is_mass_times_gravity(scene: tuple) -> None:
    model, x, _ = scene
    gravity = Gravity(model, (0.0, 0.0, -9.81))
    np.testing.assert_allclose(
        gradient(gravity, model, x).sum(axis=0), [0.0, 0.0, 9.81 * MATERIAL.density], atol=1e-12
    )
