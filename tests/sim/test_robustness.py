"""Crushed bodies return to rest, falling bodies never cross, and a run that fails says where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from sim import MeshObstacle, Motion, join_bodies, simulate
from sim.energy import DeadLoad, Elastic, Gravity, GroundContact
from sim.errors import SimulationDiverged
from sim.integrator import ImplicitEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.recovery import recover
from sim.scenarios import Stretch
from sim.self_contact import SelfContact
from sim.solver import NewtonConfig
from sim.surface_friction import SurfaceFriction
from sim.verification.inversion import distance_to_rest

from .conftest import count_crossings, kuhn_box, random_rotation

CRUSHES = ("random", "plane", "inverted")


def crushed(seed: int) -> tuple[SoftBodyModel, np.ndarray]:
    """Return a random box that nothing holds and its crushed positions."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.5, 2.0, 3)
    points, tets = kuhn_box(rng.integers(1, 4, 3), size, jitter=0.25, seed=seed)
    material = Material(youngs_modulus=10.0 ** rng.uniform(3.0, 7.0), poissons_ratio=rng.uniform(0.0, 0.45))
    model = SoftBodyModel.from_arrays(points, tets, material)
    axis, kind = rng.integers(3), CRUSHES[seed % 3]
    if kind == "random":
        return model, rng.uniform(0.0, 1.0, points.shape) * size
    start = points.copy()
    start[:, axis] *= 0.0 if kind == "plane" else -1.0
    # A plane is a saddle by symmetry: only a perturbation tells a side.
    return model, start + 1e-3 * model.size * rng.normal(size=points.shape)


def test_crushed_bodies_return_to_rest() -> None:
    returned, failures = 0, []
    for seed in range(100):
        model, start = crushed(seed)
        try:
            found = recover(model, start)
        except SimulationDiverged as error:
            failures.append(f"{seed} {CRUSHES[seed % 3]}: {error}")
            continue
        # Strains of 1e-5 at most are left by the bound of the energy.
        assert distance_to_rest(model, found.positions) <= 1e-4, seed
        returned += 1
    assert returned >= 95, failures


def test_body_crushed_to_a_point_expands_with_its_foot_held() -> None:
    points, tets = kuhn_box((2, 2, 2))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    is_held = points[:, 2:] < 1e-9
    rng = np.random.default_rng(0)
    start = np.where(is_held, points, 0.5 + 1e-6 * rng.normal(size=points.shape))
    found = recover(model, start, free=np.repeat(~is_held, 3, axis=1).astype(float))
    np.testing.assert_allclose(found.positions, points, rtol=0, atol=1e-4)


def test_body_that_cannot_come_to_rest_says_why() -> None:
    points, tets = kuhn_box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    with pytest.raises(SimulationDiverged, match="6 of 6 tets inverted") as caught:
        recover(model, points * [1.0, 1.0, -1.0], free=np.zeros_like(points))
    np.testing.assert_array_equal(caught.value.positions, points * [1.0, 1.0, -1.0])


def falling(seed: int) -> tuple[SoftBodyModel, np.ndarray, float]:
    """Return two turned boxes, one above the other, their velocities, and a time step; all random."""
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(2):
        points, tets = kuhn_box((2, 2, 2), rng.uniform(0.05, 0.15, 3))
        parts.append((points - points.mean(axis=0)) @ random_rotation(seed + 1000 * k).T)
    parts[1][:, 2] += parts[0][:, 2].max() - parts[1][:, 2].min() + 0.02
    parts[1][:, :2] += rng.uniform(-0.05, 0.05, 2)
    points = np.concatenate(parts)
    points[:, 2] -= points[:, 2].min() - 0.01
    modulus, ratio = 10.0 ** rng.uniform(3.5, 6.0), rng.uniform(0.0, 0.45)
    tets = np.concatenate([tets, tets + len(parts[0])])
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=modulus, poissons_ratio=ratio))
    velocities = np.zeros_like(points)
    velocities[len(parts[0]) :, 2] = -rng.uniform(0.0, 5.0)
    return model, velocities, 10.0 ** rng.uniform(-3.0, -1.0)


def fall(seed: int, steps: int = 12) -> SimulationDiverged | None:
    """Let two bodies fall on each other and the ground; assert that they never cross."""
    model, velocities, dt = falling(seed)
    d_hat, pressure = 2e-3 * model.size, 0.1 * model.material.youngs_modulus
    contact = SelfContact(model, d_hat=d_hat, pressure=pressure)
    energies = [
        Elastic(model), Gravity(model), GroundContact(model, d_hat=d_hat, pressure=pressure), contact
    ]  # fmt: skip
    if seed % 2:
        energies.append(SurfaceFriction(contact, 0.3))
    euler = ImplicitEuler(model, energies, dt, NewtonConfig(tolerance=1e-5))
    state = State(model.rest_positions, velocities)
    for number in range(steps):
        try:
            state, _ = euler.step(state, number=number)
        except SimulationDiverged as error:
            return error
        assert np.isfinite(state.positions).all()
        assert count_crossings(state.positions, model.surface) == 0, (seed, number)
        assert contact.gap(state.positions) > 0.0
        # Vertices inside a body are not held by the ground.
        assert state.positions[model.vertex_areas > 0.0, 2].min() > 0.0
    return None


# The last two meet a pair of edges at 1e-6 of the contact distance.
@pytest.mark.parametrize("seed", [*range(8), 29, 197])
def test_two_bodies_that_fall_on_each_other_never_cross(seed: int) -> None:
    assert fall(seed) is None


@pytest.mark.nightly
def test_two_hundred_pairs_of_bodies_never_cross() -> None:
    failures = {seed: error for seed in range(200) if (error := fall(seed)) is not None}
    assert not failures


def random_body(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a jittered box, a plate, a bar or a ball of size about one, turned at random."""
    kind = rng.integers(4)
    if kind == 3:
        sphere = rng.normal(size=(60, 3))
        points = np.concatenate(
            [0.5 * sphere / np.linalg.norm(sphere, axis=1, keepdims=True), 0.12 * rng.normal(size=(10, 3))]
        )
        tets = Delaunay(points).simplices
        six_volumes = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]])
        tets[six_volumes < 0.0] = tets[six_volumes < 0.0][:, [0, 2, 1, 3]]
        used, numbers = np.unique(tets[np.abs(six_volumes) > 1e-4], return_inverse=True)
        points, tets = points[used], numbers.reshape(-1, 4)
    else:
        cells = [(2, 2, 2), (4, 4, 1), (8, 1, 1)][kind]
        size = [rng.uniform(0.5, 1.2, 3), (1.2, 1.2, 0.1), (1.6, 0.15, 0.15)][kind]
        points, tets = kuhn_box(cells, size, jitter=0.2, seed=int(rng.integers(1000)))
    return (points - points.mean(axis=0)) @ random_rotation(int(rng.integers(1000))).T, tets


def random_scene(seed: int) -> tuple[np.ndarray, np.ndarray, Material, Motion]:
    """Return two bodies of 1 cm to 10 m, one thrown at the other, over ground and often a triangle."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2.0, 1.0)
    speed, time = np.sqrt(9.81 * scale), np.sqrt(scale / 9.81)
    (p, t), (q, u) = random_body(rng), random_body(rng)
    q[:, 2] += p[:, 2].max() - q[:, 2].min() + rng.uniform(0.01, 0.2)
    q[:, :2] += rng.uniform(-0.4, 0.4, 2)
    points, tets = join_bodies((scale * p, t), (scale * q, u))
    velocities = np.zeros_like(points)
    velocities[len(p) :] = speed * np.array([rng.uniform(-3.0, 3.0), 0.0, -rng.uniform(0.0, 6.0)])
    low, side = points[:, 2].min(), scale * rng.uniform(0.3, 3.0)
    z = low - 0.1 * scale
    blade = MeshObstacle(np.array([[-side, -side, z], [side, -side, z], [0.0, side, z]]), [[0, 1, 2]])
    # From rho g L / E of 0.2 on; 0.6 % to the whole of the time in which it falls its size.
    material = Material(
        youngs_modulus=9.81e3 * scale * 10.0 ** rng.uniform(0.7, 4.0), poissons_ratio=rng.uniform(0.0, 0.49)
    )
    motion = Motion(
        dt=2.0 * time * 10.0 ** rng.uniform(-2.5, -0.3), steps=10, velocities=velocities, self_contact=True,
        ground=low - scale * rng.uniform(0.11, 0.6), obstacles=[blade] if rng.random() < 0.5 else [],
        friction=float(rng.choice([0.0, 0.3, 1.0])),
        integrator=str(rng.choice(["implicit_euler", "implicit_euler", "bdf2", "trapezoidal"])),
    )  # fmt: skip
    return points, tets, material, motion


def play(seed: int) -> SimulationDiverged | None:
    """Let the bodies of a scene fall; assert that nothing ever crosses."""
    points, tets, material, motion = random_scene(seed)
    try:
        trajectory = simulate(points, tets, motion, material)
    except SimulationDiverged as error:
        return error
    surface = trajectory.integrator.model.surface
    for positions in trajectory.positions:
        assert np.isfinite(positions).all()
        everything, faces = positions, surface
        for blade in motion.obstacles:
            everything = np.concatenate([everything, blade.points])
            faces = np.concatenate([faces, [len(positions) + np.arange(3)]])
        assert count_crossings(everything, faces) == 0, seed
        assert positions[np.unique(surface), 2].min() > motion.ground
    return None


@pytest.mark.parametrize("seed", range(4))
def test_bodies_of_other_shapes_and_sizes_never_cross(seed: int) -> None:
    assert play(seed) is None


@pytest.mark.nightly
def test_hundred_scenes_of_other_shapes_and_sizes_never_cross() -> None:
    failures = {seed: error for seed in range(100) if (error := play(seed)) is not None}
    # As of the crushes: what does not end in 200 iterations (steps of the time of a fall) says so.
    assert len(failures) <= 5, failures


def test_failed_step_keeps_the_state_before_it(tmp_path: Path) -> None:
    points, tets = kuhn_box((1, 1, 1))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e4))
    pull = DeadLoad(model, np.full_like(points, 1.0e9))
    euler = ImplicitEuler(model, [Elastic(model), pull], 0.1, NewtonConfig(max_iterations=1))
    state = State.at_rest(model)
    with pytest.raises(SimulationDiverged, match="step 3, iteration 1: no equilibrium") as caught:
        euler.step(state, number=3)
    assert caught.value.term == "residual"
    np.testing.assert_array_equal(caught.value.positions, points)
    np.testing.assert_array_equal(caught.value.velocities, 0.0)
    caught.value.save(tmp_path / "last.npz")
    with np.load(tmp_path / "last.npz") as saved:
        assert (saved["step"], saved["term"]) == (3, "residual")
        np.testing.assert_array_equal(saved["positions"], points)


def test_failed_equilibrium_keeps_the_one_before_it() -> None:
    model = SoftBodyModel.from_arrays(*kuhn_box((3, 1, 1)), Material(youngs_modulus=1.0e4))
    with pytest.raises(SimulationDiverged, match="step 0") as caught:
        Stretch(stretch=3.0, steps=1).run(model, NewtonConfig(tolerance=1e-12, max_iterations=1))
    np.testing.assert_array_equal(caught.value.positions, model.rest_positions)
