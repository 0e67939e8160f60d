"""Motions with obstacles, contact of bodies with themselves and each other, and friction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim import Material, MeshObstacle, Motion, SphereObstacle, Trajectory, join_bodies, simulate
from sim.solver import NewtonConfig

EXACT = NewtonConfig(tolerance=1e-13)
TABLE = np.array([[-1.0, -1.0, -0.1], [2.0, -1.0, -0.1], [0.5, 2.0, -0.1]])
SOFT = Material(youngs_modulus=1.0e4, poissons_ratio=0.3)


def scene(box: Callable, **settings: object) -> tuple[np.ndarray, np.ndarray, Motion]:
    """Return two blocks, one thrown onto the other on a table, beside a ball."""
    points, tets = box((1, 1, 1), (0.4, 0.4, 0.4))
    rng = np.random.default_rng(0)
    above = points + [0.15, 0.1, 0.45] + 0.01 * rng.normal(size=points.shape)
    points, tets = join_bodies((points, tets), (above, tets))
    velocities = np.where(np.arange(16)[:, None] < 8, 0.0, [0.0, 0.0, -1.0])
    given = {
        "dt": 0.02, "steps": 12, "velocities": velocities, "self_contact": True, "friction": 0.3,
        "obstacles": [SphereObstacle((0.75, 0.2, 0.1), 0.3), MeshObstacle(TABLE, [[0, 1, 2]])],
        "contact_distance": 0.02,
    }  # fmt: skip
    return points, tets, Motion(**(given | settings))


@pytest.mark.parametrize("element", ["linear", "quadratic"])
def test_bodies_and_obstacles_never_pass_each_other(element: str, box: Callable, crossings: Callable) -> None:
    points, tets, motion = scene(box)
    trajectory = simulate(points, tets, motion, SOFT, element=element)
    model = trajectory.integrator.model
    faces = np.concatenate([model.contact_faces, [model.vertex_count + np.arange(3)]])
    for positions in trajectory.positions:
        assert crossings(np.concatenate([positions, TABLE]), faces) == 0
        on_surface = positions[model.vertex_areas > 0.0]
        assert np.linalg.norm(on_surface - [0.75, 0.2, 0.1], axis=1).min() > 0.3
    # Both have come down: without contact they would be 0.3 m below.
    assert -0.1 < trajectory.positions[-1, :, 2].min() < 0.0


def test_bodies_pass_each_other_where_they_do_not_feel_each_other(box: Callable, crossings: Callable) -> None:
    points, tets, motion = scene(box, self_contact=False, obstacles=[])
    trajectory = simulate(points, tets, motion, SOFT)
    assert crossings(trajectory.positions[-1], trajectory.integrator.model.surface) > 0


def test_gradients_see_every_contact(box: Callable, remainder_slope: Callable) -> None:
    points, tets, motion = scene(box)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(13, 16, 3))
    step = 0.01 * rng.normal(size=points.shape)

    def run(e: float, friction: float = 0.3) -> Trajectory:
        settings = vars(motion) | {"positions": points, "friction": friction, "slip_speed": 0.1}
        return simulate(points + e * step, tets, Motion(**settings), SOFT, EXACT)

    def loss(trajectory: Trajectory) -> float:
        return float((weights * trajectory.positions).sum())

    g = run(0.0).backward(weights)
    slope = remainder_slope(lambda e: loss(run(e)), float((g.rest_positions * step).sum()), (0.002, 0.001))
    assert slope >= 1.95
    assert g.friction != 0.0
    slope = remainder_slope(lambda e: loss(run(0.0, 0.3 + e)), g.friction, (0.002, 0.001))
    assert slope >= 1.95


def test_bodies_that_cross_at_the_start_are_refused(box: Callable) -> None:
    points, tets, motion = scene(box)
    points[8:, 2] -= 0.2
    with pytest.raises(ValueError, match=r"self-contact: .* triangles cross at the start"):
        simulate(points, tets, motion, SOFT)
    points[8:, 2] += 0.2
    points[:, 2] -= 0.2
    with pytest.raises(ValueError, match=r"obstacle mesh: .* triangles cross at the start"):
        simulate(points, tets, motion, SOFT)


def test_joined_bodies_keep_their_tets(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    both, joined = join_bodies((points, tets), (points + 2.0, tets))
    np.testing.assert_array_equal(both[8:], points + 2.0)
    np.testing.assert_array_equal(joined[6:], tets + 8)
