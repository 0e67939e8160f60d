"""Sphere and triangle mesh obstacles: derivatives, no passage at any step, a floor of triangles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler, Relaxation
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.obstacles import SphereContact
from sim.self_contact import MeshContact
from sim.solver import NewtonConfig

PYRAMID = np.array(
    [[-20.0, -20.0, -6.0], [21.0, -20.0, -6.0], [21.0, 21.0, -6.0], [-20.0, 21.0, -6.0], [0.45, 0.4, -0.3]]
)
SIDES = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])


def test_gradient_and_exact_hessian_of_a_sphere_are_derivatives(box: Callable, device: str) -> None:
    points, tets = box((2, 2, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SphereContact(model, (0.4, 0.5, -1.2), 1.0, d_hat=0.8, pressure=2.0)
    rng = np.random.default_rng(0)
    x, d, e = points + 0.02 * rng.normal(size=points.shape), rng.normal(size=points.shape), 1e-6

    def gradient(at: np.ndarray) -> np.ndarray:
        out = wp.zeros(len(at), dtype=wp.vec3d, device=device)
        contact.gradient(model.to_device(at), out)
        return out.numpy()

    above, below = (contact.value(model.to_device(x + s * e * d)) for s in (1, -1))
    assert above > 0.0
    assert (gradient(x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-6)
    numeric = (gradient(x + e * d) - gradient(x - e * d)) / (2 * e)
    blocks = wp.zeros(len(x), dtype=wp.mat33d, device=device)
    contact.is_projected = False
    contact.hessian(model.to_device(x), blocks)
    found = np.einsum("pij,pj->pi", blocks.numpy().reshape(-1, 3, 3), d)
    np.testing.assert_allclose(found, numeric, atol=1e-6 * np.abs(numeric).max())
    contact.is_projected = True
    contact.hessian(model.to_device(x), blocks)
    values = np.linalg.eigvalsh(blocks.numpy().reshape(-1, 3, 3))
    assert values.min() >= -1e-12 * values.max()


@pytest.mark.parametrize("kind", ["sphere", "mesh"])
@pytest.mark.parametrize("dt", [0.003, 0.03, 0.3])
def test_no_vertex_passes_at_any_step(kind: str, dt: float, box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2))
    points = points + np.array([0.0, 0.0, 0.2])
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
    contact = (
        SphereContact(model, (0.4, 0.5, -1.2), 1.0, d_hat=0.02, pressure=1.0e4)
        if kind == "sphere"
        else MeshContact(model, PYRAMID, SIDES, d_hat=0.02, pressure=1.0e4)
    )
    euler = ImplicitEuler(model, [Elastic(model), Gravity(model), contact], dt, NewtonConfig(tolerance=1e-5))
    state = State(points, np.tile([0.0, 0.0, -5.0], (len(points), 1)))
    tip = PYRAMID[4]
    touched = 0.0
    for number in range(8 if dt < 0.1 else 3):
        state, _ = euler.step(state, number=number)
        x = state.positions[model.vertex_areas > 0]
        touched = max(touched, contact.reaction(model.to_device(state.positions))[2])
        if kind == "sphere":
            height = np.linalg.norm(x - [0.4, 0.5, -1.2], axis=1) - 1.0
        else:
            # Above one of its four planes at least; it is too wide to slide off.
            heights = []
            for side in SIDES:
                a, b, c = PYRAMID[side]
                n = np.cross(b - a, c - a)
                heights.append((x - tip) @ (n / np.linalg.norm(n)))
            height = np.max(heights, axis=0)
        assert height.min() > 0.0
    assert touched > 0.0 or dt != 0.03


def test_floor_of_triangles_carries_like_the_ground(box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2), (0.2, 0.2, 0.2))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
    floor = np.array([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [0.0, 20.0, 0.0]])
    start = points + np.array([0.0, 0.0, 1e-3])
    found = []
    for contact in (
        MeshContact(model, floor, [[0, 1, 2]], d_hat=2e-3, pressure=1.0e4),
        GroundContact(model, d_hat=2e-3, pressure=1.0e4),
    ):
        relaxation = Relaxation(
            model, [Elastic(model), Gravity(model), contact], 0.01, NewtonConfig(tolerance=1e-10)
        )
        x, _, _ = relaxation.settle(start, weight=model.mass * 9.81, tolerance=1e-7)
        force = np.asarray(contact.reaction(model.to_device(x))).reshape(-1)[-1]
        assert force == pytest.approx(model.mass * 9.81, rel=1e-5)
        found.append(x)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-9)


def test_bad_obstacles_are_refused(box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    with pytest.raises(ValueError, match="radius"):
        SphereContact(model, (0, 0, 0), 0.0, d_hat=0.1, pressure=1.0)
    with pytest.raises(ValueError, match="d_hat"):
        SphereContact(model, (0, 0, 0), 1.0, d_hat=0.0, pressure=1.0)
    with pytest.raises(ValueError, match="faces"):
        MeshContact(model, PYRAMID, [[0, 1, 9]], d_hat=0.1, pressure=1.0)
    with pytest.raises(ValueError, match="no area"):
        MeshContact(model, PYRAMID, [[0, 1, 1]], d_hat=0.1, pressure=1.0)


def test_sphere_that_could_slip_through_a_triangle_is_a_warning(
    box: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    # The triangles have legs of 1: the circle around one has the radius sqrt(1/2).
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    SphereContact(model, (0.5, 0.5, -2.0), 0.72, d_hat=0.1, pressure=1.0)
    assert not caplog.records
    SphereContact(model, (0.5, 0.5, -2.0), 0.70, d_hat=0.1, pressure=1.0)
    assert "give the sphere as a mesh" in caplog.text
