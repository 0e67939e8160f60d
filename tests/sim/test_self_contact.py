"""Contact between surfaces: derivatives, silence at rest, patterns, obstacles that poke and slice."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic, Gravity
from sim.integrator import ImplicitEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.quadratic import elastic_of, refine_degree
from sim.self_contact import MeshContact, SelfContact, SurfaceContact
from sim.solver import Newton, NewtonConfig

from .conftest import random_rotation

ROOF = np.array([[-3.0, -2.0, -0.6], [3.1, -2.2, -0.7], [0.1, 3.0, -0.5], [0.4, 0.5, -0.1]])
SIDES = np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3]])


def gradient_of(contact: SurfaceContact, x: np.ndarray) -> np.ndarray:
    out = wp.zeros(len(x), dtype=wp.vec3d, device=contact.model.device)
    contact.gradient(contact.model.to_device(x), out)
    return out.numpy().copy()


def hessian_of(contact: SurfaceContact, x: np.ndarray) -> np.ndarray:
    """Return the dense Hessian, shape (3 n, 3 n)."""
    at = contact.model.to_device(x)
    contact.find_pattern(at)
    rows, columns = contact.pattern()
    blocks = wp.zeros(len(rows), dtype=wp.mat33d, device=contact.model.device)
    contact.hessian(at, blocks)
    dense = np.zeros((len(x), len(x), 3, 3))
    np.add.at(dense, (rows, columns), blocks.numpy().reshape(-1, 3, 3))
    return dense.transpose(0, 2, 1, 3).reshape(3 * len(x), -1)


def make(kind: str, blocks: Callable, box: Callable, device: str) -> tuple[SurfaceContact, np.ndarray]:
    if kind == "mesh":
        model = SoftBodyModel.from_arrays(*box((2, 2, 1)), device=device)
        return MeshContact(model, ROOF, SIDES, d_hat=0.5, pressure=2.0), model.rest_positions
    model = SoftBodyModel.from_arrays(*blocks((2, 1, 1)), device=device)
    if kind == "quadratic":
        model = refine_degree(model)
    # Unequal lengths make edges of the two blocks nearly parallel somewhere: the mollifier is at work.
    return SelfContact(model, d_hat=0.4, pressure=2.0), model.rest_positions


@pytest.mark.parametrize("kind", ["self", "quadratic", "mesh"])
def test_gradient_and_exact_hessian_are_derivatives(
    kind: str, blocks: Callable, box: Callable, device: str
) -> None:
    contact, rest = make(kind, blocks, box, device)
    rng = np.random.default_rng(0)
    x, d, e = rest + 0.02 * rng.normal(size=rest.shape), rng.normal(size=rest.shape), 1e-6
    above, below = (contact.value(contact.model.to_device(x + s * e * d)) for s in (1, -1))
    assert above > 0.0
    # Truncation of central differences: e^2 times third derivatives of b, which reach 1e4 here.
    assert (gradient_of(contact, x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-6)
    numeric = (gradient_of(contact, x + e * d) - gradient_of(contact, x - e * d)) / (2 * e)
    contact.is_projected = False
    found = (hessian_of(contact, x) @ d.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(found, numeric, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("kind", ["self", "mesh"])
def test_projected_hessian_is_semi_definite_and_has_the_stiff_direction(
    kind: str, blocks: Callable, box: Callable, device: str
) -> None:
    contact, rest = make(kind, blocks, box, device)
    exact = None
    for scale in (1.0, 1e-3):  # of the distance: far in the layer, the barrier dominates
        contact.is_projected = True
        projected = hessian_of(contact, rest * [1.0, 1.0, 1.0 + 0.01 * scale])
        np.testing.assert_allclose(projected, projected.T, atol=1e-12 * np.abs(projected).max())
        values = np.linalg.eigvalsh(projected)
        assert values[0] >= -1e-12 * values[-1]
        contact.is_projected = False
        exact = hessian_of(contact, rest * [1.0, 1.0, 1.0 + 0.01 * scale])
        assert np.linalg.eigvalsh(exact)[-1] <= 1.5 * values[-1]


def test_forces_of_two_bodies_are_opposite_and_turn_with_them(
    blocks: Callable, rotation: np.ndarray, device: str
) -> None:
    points, tets = blocks()
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SelfContact(model, d_hat=0.4, pressure=2.0)
    g = gradient_of(contact, points)
    assert np.abs(g).max() > 0.0
    # Translation and rotation change no distance: no net force and no net torque, up to rounding.
    np.testing.assert_allclose(g.sum(axis=0), 0.0, atol=1e-12 * np.abs(g).max())
    np.testing.assert_allclose(np.cross(points, g).sum(axis=0), 0.0, atol=1e-11 * np.abs(g).max())
    turned = gradient_of(contact, points @ rotation.T + [3.0, -1.0, 2.0])
    np.testing.assert_allclose(turned, g @ rotation.T, atol=1e-11 * np.abs(g).max())


def test_body_at_rest_is_silent_however_thick_the_layer(box: Callable, device: str) -> None:
    # d_hat of five edges: a pair of one body begins to push at half its distance at rest.
    points, tets = box((4, 2, 2), jitter=0.3)
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SelfContact(model, d_hat=5.0, pressure=1.0)
    assert contact.value(model.to_device(points)) == 0.0
    assert contact.pair_count > 0
    np.testing.assert_array_equal(gradient_of(contact, points), 0.0)
    squeezed = points * [0.4, 1.0, 1.0]
    assert contact.value(model.to_device(squeezed)) > 0.0


def test_pairs_that_touch_at_rest_are_counted(
    box: Callable, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Two cubes that share one edge: beside it, faces of one body lie on each other once it is doubled.
    points, tets = box((1, 1, 1))
    second = points + np.array([1.0, 0.0, 0.0])
    joined, number = np.unique(np.concatenate([points, second]).round(9), axis=0, return_inverse=True)
    tets = number.reshape(-1)[np.concatenate([tets, tets + 8])].astype(np.int32)
    # Split the shared face but for one edge of it.
    shared = np.flatnonzero(joined[:, 0] == 1.0)
    split = shared[joined[shared, 2] == 1.0]
    copies = len(joined) + np.arange(len(split))
    right = joined[tets].mean(axis=1)[:, 0] > 1.0
    for old, new in zip(split, copies):
        tets[right] = np.where(tets[right] == old, new, tets[right])
    model = SoftBodyModel.from_arrays(np.concatenate([joined, joined[split]]), tets, device=device)
    contact = SelfContact(model, d_hat=0.1, pressure=1.0)
    with caplog.at_level(logging.WARNING):
        assert contact.value(model.to_device(model.rest_positions)) == 0.0
    assert "touch at rest" in caplog.text
    # They block nothing: a step apart is free.
    dx = np.zeros_like(model.rest_positions)
    dx[-2:] = [0.1, 0.0, 0.0]
    assert contact.step_bound(model.to_device(model.rest_positions), model.to_device(dx)) == 1.0


@pytest.mark.parametrize("speed", [0.3, 3.0, 300.0])
def test_step_bound_lets_no_surfaces_cross(
    speed: float, blocks: Callable, crossings: Callable, device: str
) -> None:
    points, tets = blocks((2, 2, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SelfContact(model, d_hat=0.01, pressure=1.0)
    rng = np.random.default_rng(1)
    assert crossings(points, model.surface) == 0
    met = 0
    for _ in range(6):
        dx = speed * rng.normal(size=points.shape)
        share = contact.step_bound(model.to_device(points), model.to_device(dx))
        assert share > 0.0
        for part in np.linspace(0.0, min(share, 1.0), 8)[1:]:
            assert crossings(points + part * dx, model.surface) == 0
        met += crossings(points + dx, model.surface) > 0
    assert met > 0  # the whole step would have crossed


def test_no_intersections_by_ipctk_either(blocks: Callable, device: str) -> None:
    ipctk = pytest.importorskip("ipctk")
    points, tets = blocks((2, 2, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    contact = SelfContact(model, d_hat=0.01, pressure=1.0)
    mesh = ipctk.CollisionMesh(points, ipctk.edges(model.surface), model.surface)
    rng = np.random.default_rng(2)
    for _ in range(5):
        dx = rng.normal(size=points.shape)
        share = contact.step_bound(model.to_device(points), model.to_device(dx))
        assert not ipctk.has_intersections(mesh, np.asfortranarray(points + share * dx))
        assert ipctk.is_step_collision_free(
            mesh, np.asfortranarray(points), np.asfortranarray(points + share * dx)
        )


def test_solvers_agree_while_the_pattern_grows(blocks: Callable, device: str) -> None:
    points, tets = blocks((2, 2, 1), gap=0.2)
    found = {}
    for name, precision in (("direct", "float64"), ("cg", "float64"), ("cg", "float32")):
        model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
        contact = SelfContact(model, d_hat=0.05, pressure=1.0e4)
        free = np.ones_like(points)
        free[points[:, 2] < 0.1] = 0.0
        config = NewtonConfig(tolerance=1e-9, linear_solver=name, precision=precision)
        euler = ImplicitEuler(model, [Elastic(model), contact], 0.02, config, free=free)
        speeds = np.where(points[:, 2:] > 1.1, [0.0, 0.0, -6.0], 0.0)
        state, sizes = State(points, speeds), set()
        for number in range(6):
            state, _ = euler.step(state, number=number)
            sizes.add(len(contact.pattern()[0]))
        assert len(sizes) > 1
        found[name, precision] = state.positions
    expected = found.pop(("direct", "float64"))
    for positions in found.values():
        np.testing.assert_allclose(positions, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dt", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("kind", ["spike", "blade"])
def test_body_stays_outside_of_what_is_thinner_than_its_triangles(
    kind: str, dt: float, box: Callable, crossings: Callable, device: str
) -> None:
    # A spike under the middle of a face, a blade across edges: no vertex of the body meets them.
    points, tets = box((1, 1, 1))
    if kind == "spike":
        obstacle = np.array([[0.3, 0.6, -0.2], [0.2, 0.5, -2.0], [0.5, 0.5, -2.0], [0.3, 0.8, -2.0]])
        faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    else:
        obstacle = np.array([[0.5, -5.0, -0.2], [0.55, 5.0, -0.2], [0.5, 0.0, -6.0]])
        faces = np.array([[0, 1, 2]])
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5), device=device)
    contact = MeshContact(model, obstacle, faces, d_hat=0.02, pressure=1.0e4)
    euler = ImplicitEuler(model, [Elastic(model), Gravity(model), contact], dt, NewtonConfig(tolerance=1e-5))
    state = State(points, np.tile([0.0, 0.0, -4.0], (8, 1)))
    both = np.concatenate([model.surface, faces + 8])
    pushed = 0.0
    for number in range(12 if dt < 0.1 else 3):
        state, _ = euler.step(state, number=number)
        assert crossings(np.concatenate([state.positions, obstacle]), both) == 0
        pushed = max(pushed, contact.reaction(model.to_device(state.positions))[2])
    assert pushed > 0.0 or dt == 0.003


def test_obstacle_moves_as_far_as_the_body_allows(box: Callable, device: str) -> None:
    points, tets = box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, device=device)
    plate = np.array([[-1.0, -1.0, 2.0], [3.0, -1.0, 2.0], [0.5, 3.0, 2.0]])
    contact = MeshContact(model, plate, [[0, 1, 2]], d_hat=0.1, pressure=1.0)
    assert contact.value(model.to_device(points)) == 0.0
    assert contact.move(plate - [0.0, 0.0, 0.95], points) == 1.0
    assert contact.gap(points) == pytest.approx(0.05, rel=1e-12)
    assert contact.reaction(model.to_device(points))[2] < 0.0
    # The rest of the way would pass: a tenth of the distance is kept.
    share = contact.move(plate - [0.0, 0.0, 1.5], points)
    assert 0.0 < share < 1.0
    assert contact.gap(points) == pytest.approx(0.005, rel=0.2)


def test_touching_start_names_the_contact(blocks: Callable) -> None:
    points, tets = blocks(gap=0.0)
    points[8:, 2] -= points[8:, 2].min() - 0.5  # one block inside the other
    points[8] = points[0]
    model = SoftBodyModel.from_arrays(points, tets)
    contact = SelfContact(model, d_hat=0.1, pressure=1.0)
    with pytest.raises(Exception, match="self-contact energy is inf") as caught:
        Newton(model, [Elastic(model), contact]).solve(points)
    assert caught.value.term == "self-contact"


def test_bad_obstacles_are_refused(box: Callable) -> None:
    model = SoftBodyModel.from_arrays(*box((1, 1, 1)))
    with pytest.raises(ValueError, match="d_hat"):
        SelfContact(model, d_hat=0.0, pressure=1.0)
    with pytest.raises(ValueError, match="faces"):
        MeshContact(model, ROOF, [[0, 1, 9]], d_hat=0.1, pressure=1.0)
    with pytest.raises(ValueError, match="no area"):
        MeshContact(model, ROOF, [[0, 1, 1]], d_hat=0.1, pressure=1.0)
    with pytest.raises(ValueError, match="at least one"):
        MeshContact(model, ROOF, np.zeros((0, 3), dtype=int), d_hat=0.1, pressure=1.0)


def test_quadratic_body_has_contact_of_its_parts(blocks: Callable, device: str) -> None:
    model = refine_degree(SoftBodyModel.from_arrays(*blocks((1, 1, 1)), device=device))
    contact = SelfContact(model, d_hat=0.1, pressure=1.0e4)
    assert contact.topology.face_areas.sum() == pytest.approx(model.vertex_areas.sum())
    euler = ImplicitEuler(model, [elastic_of(model), contact], 0.01, NewtonConfig(tolerance=1e-11))
    speeds = np.where(model.rest_positions[:, 2:] > 1.05, [0.0, 0.0, -5.0], 0.0)
    state = State(model.rest_positions, speeds)
    before = model.masses @ speeds
    for number in range(6):
        state, _ = euler.step(state, number=number)
    assert contact.value(model.to_device(state.positions)) > 0.0
    # Contact is between the two: their momentum stays, to the residual of the steps.
    np.testing.assert_allclose(model.masses @ state.velocities, before, atol=1e-9 * np.abs(before).max())


TET = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("seed", range(6))
def test_force_is_continuous_where_the_nearest_points_change_their_case(seed: int) -> None:
    # One tet turns and slides along another, from faces to edges to corners. Where the force changes most
    # between two of 300 places, and there in the half of the larger change, and so on, nothing is left of it.
    rng = np.random.default_rng(seed)
    turned = TET @ random_rotation(seed).T
    tets = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    points = np.concatenate([TET, turned - turned.mean(axis=0) + [1.6, 1.6, 1.6]])
    model = SoftBodyModel.from_arrays(points, tets)
    contact = SelfContact(model, d_hat=0.6, pressure=1.0)
    near = points.copy()
    while contact.gap(near) > 0.15:
        near[4:] += 0.02 * (near[:4].mean(axis=0) - near[4:].mean(axis=0))
    spin = 0.1 * rng.normal(size=(3, 3))
    slide = 0.1 * rng.normal(size=3)

    def force(u: float) -> np.ndarray:
        x = near.copy()
        center = x[4:].mean(axis=0)
        x[4:] = (x[4:] - center) @ (np.eye(3) + u * (spin - spin.T)) + center + u * slide
        assert contact.gap(x) > 1e-3
        return gradient_of(contact, x)

    places = np.linspace(-0.5, 0.5, 301)
    forces = np.array([force(u) for u in places])
    changes = np.abs(np.diff(forces, axis=0)).max(axis=(1, 2))
    k = int(changes.argmax())
    low, high = places[k : k + 2]
    for _ in range(30):
        middle = (low + high) / 2.0
        at_low, at_middle, at_high = force(low), force(middle), force(high)
        if np.abs(at_middle - at_low).max() >= np.abs(at_high - at_middle).max():
            high = middle
        else:
            low = middle
    assert np.abs(force(high) - force(low)).max() <= 1e-9 * np.abs(forces).max()


def test_force_is_continuous_where_edges_become_parallel(box: Callable) -> None:
    # The nearest points of two edges jump there from end to end: the mollifier takes their force away.
    points, tets = box((1, 1, 1))
    both = np.concatenate([points, points + np.array([0.2, 0.3, 1.05])])
    model = SoftBodyModel.from_arrays(both, np.concatenate([tets, tets + 8]))
    contact = SelfContact(model, d_hat=0.2, pressure=1.0)

    def force(angle: float) -> np.ndarray:
        x = both.copy()
        c, s = np.cos(angle), np.sin(angle)
        center = x[8:].mean(axis=0)
        # About an oblique axis, so that edges along all three sides turn.
        x[8:] = (x[8:] - center) @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + center
        x[8:, 2] += angle * x[8:, 0]
        return gradient_of(contact, x)

    before, at, after = force(-1e-9), force(0.0), force(1e-9)
    size = np.abs(at).max()
    assert size > 0.0
    np.testing.assert_allclose(before, at, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(after, at, rtol=0, atol=1e-6 * size)
