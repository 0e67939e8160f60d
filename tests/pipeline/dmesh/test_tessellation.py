"""Candidates against numpy, signed distances against brute force, accepted faces against Qhull."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import warp as wp
from scipy.spatial import Delaunay

from pipeline.dmesh.candidate_faces import candidate_faces
from pipeline.dmesh.point_features import PointFeatures
from pipeline.dmesh.tessellation import (
    MinimumBallTessellation,
    minimum_ball,
    minimum_ball_share,
    signed_distance,
)
from pipeline.errors import InputError
from pipeline.points.neighbors import nearest_neighbors
from warp_kernels.minimum_ball import CLOSED, FREE


def rows(faces: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, faces.tolist()))


def brute_force(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    balls = minimum_ball(points, faces)
    distance = np.linalg.norm(points[None] - balls.center[:, None], axis=2)
    np.put_along_axis(distance, faces.astype(np.int64), np.inf, axis=1)
    return distance.min(axis=1) - balls.radius, balls.radius


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_candidates_are_the_unique_combinations_of_neighbors(d: int, k: int, device: str) -> None:
    points = np.random.default_rng(k).random((800, d))
    index, _ = nearest_neighbors(points, k)
    index[::7, k // 2 :] = -1
    own = np.arange(len(points))[:, None]
    raw = [np.hstack([own, index[:, list(c)]]) for c in combinations(range(k), d - 1)]
    wanted = np.concatenate(raw) if raw else np.zeros((0, d), dtype=np.int32)
    wanted = np.unique(np.sort(wanted[(wanted >= 0).all(axis=1)], axis=1), axis=0)
    found = candidate_faces(index, dimension=d, device=device)
    assert found.dtype == np.int32
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_array_equal(found[np.lexsort(found.T[::-1])], wanted)


def test_candidates_of_no_points() -> None:
    assert candidate_faces(np.zeros((0, 5), dtype=np.int32)).shape == (0, 3)
    assert candidate_faces(np.full((4, 1), -1), dimension=2).shape == (0, 2)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kind", ["uniform", "sphere", "clusters"])
def test_signed_distance_equals_brute_force(d: int, kind: str, device: str) -> None:
    rng = np.random.default_rng(d)
    points = rng.random((600, d))
    if kind == "sphere":
        points = points - 0.5
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    if kind == "clusters":
        points[:400] = 0.5 + 1e-3 * points[:400]
    faces = np.sort(np.stack([rng.choice(600, d, replace=False) for _ in range(300)]), axis=1)
    near = candidate_faces(nearest_neighbors(points, 8)[0], dimension=d)
    faces = np.concatenate([faces, near[:: max(1, len(near) // 700)]]).astype(np.int32)
    distance, nearest = signed_distance(points, faces, device=device)
    wanted, radius = brute_force(points, faces)
    # The reference subtracts two lengths of the size of the radius.
    assert (np.abs(distance - wanted) <= 1e-13 * (1 + radius)).all()
    assert (nearest[:, None] != faces).all()

    # Neighbour lists, long or short, change nothing.
    for k in (4, 20):
        listed = signed_distance(points, faces, neighbors=nearest_neighbors(points, k), device=device)
        np.testing.assert_array_equal(listed[0], distance)

    # Within a reach the answer is the same, beyond it is infinite with the right sign.
    reach = 0.05
    near_distance, near_nearest = signed_distance(points, faces, reach=reach, device=device)
    inside = np.abs(distance) <= reach * (1 - 1e-9)
    np.testing.assert_array_equal(near_distance[inside], distance[inside])
    np.testing.assert_array_equal(near_nearest[inside], nearest[inside])
    assert (np.sign(near_distance[~inside]) == np.sign(distance[~inside])).all()


@pytest.mark.parametrize("d", [2, 3])
def test_accepted_faces_are_the_delaunay_faces_with_an_empty_ball(d: int, device: str) -> None:
    for seed in range(10):
        points = np.random.default_rng(seed).random((350, d))
        candidates = candidate_faces(nearest_neighbors(points, 14)[0], dimension=d, device=device)
        accepted = rows(candidates[signed_distance(points, candidates, device=device)[0] > 0])
        cells = Delaunay(points).simplices
        sides = np.concatenate([cells[:, list(c)] for c in combinations(range(d + 1), d)])
        delaunay = np.unique(np.sort(sides, axis=1), axis=0).astype(np.int32)
        assert accepted <= rows(delaunay)
        empty = rows(delaunay[brute_force(points, delaunay)[0] > 0])
        assert accepted == empty & rows(candidates)


@pytest.mark.parametrize("d", [2, 3])
def test_device_path_gives_the_probabilities_of_the_exact_distances(d: int, device: str) -> None:
    rng = np.random.default_rng(d)
    points, real = rng.random((1500, d)), rng.random(1500)
    scale = 0.25 * 1500 ** (-1 / d)
    features = PointFeatures(points, real, scale, device)
    tessellation = MinimumBallTessellation(features, neighbors=9, sharpness=32.0)
    tessellation.refresh(features)
    faces, nearest = tessellation.faces.numpy(), tessellation.nearest.numpy()
    prob = wp.zeros(len(faces), dtype=wp.float64, device=device)
    tessellation.probability(features, prob)
    distance, exact_nearest = signed_distance(points, faces)
    psi = real[faces]
    low = psi.min(axis=1, keepdims=True)
    soft = low[:, 0] - np.log(np.exp(-100.0 * (psi - low)).mean(axis=1)) / 100.0
    wanted = soft / (1.0 + np.exp(-32.0 * distance / scale))
    # Saturation cuts the sigmoid off at 10: 1 / (1 + e^10) = 4.5e-5.
    np.testing.assert_allclose(prob.numpy(), wanted, atol=4.6e-5)
    within = nearest >= 0
    np.testing.assert_array_equal(nearest[within], exact_nearest[within])
    assert (distance[nearest == FREE] > 0).all()
    assert (distance[nearest == CLOSED] < 0).all()

    # No face within reach was left out.
    everything = candidate_faces(nearest_neighbors(points, 9)[0], dimension=d)
    reach = tessellation.reach * scale
    alive = everything[signed_distance(points, everything)[0] > -reach * (1 - 1e-9)]
    assert rows(alive) <= rows(faces)


def test_refresh_follows_moved_points(device: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.random((500, 3))
    features = PointFeatures(points, scale=0.03, device=device)
    tessellation = MinimumBallTessellation(features)
    tessellation.refresh(features)
    moved = points + 0.05 * rng.normal(size=points.shape)
    features.points.assign(moved)
    tessellation.refresh(features)
    fresh_features = PointFeatures(moved, scale=0.03, device=device)
    fresh = MinimumBallTessellation(fresh_features)
    fresh.refresh(fresh_features)
    np.testing.assert_array_equal(tessellation.faces.numpy(), fresh.faces.numpy())
    np.testing.assert_array_equal(tessellation.nearest.numpy(), fresh.nearest.numpy())


def test_faces_without_a_ball_never_exist(device: str) -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0], [0, 1, 0], [5, 5, 5]])
    faces = np.array([[0, 1, 2], [0, 3, 4]], dtype=np.int32)
    distance, nearest = signed_distance(points, faces, device=device)
    assert (distance == -np.inf).all()
    assert (nearest == -1).all()
    assert (minimum_ball(points, faces, device).radius == np.inf).all()
    distance, _ = signed_distance(np.array([[0.0, 0], [0, 0], [1, 1]]), np.array([[0, 1]]), device=device)
    assert distance[0] == -np.inf


def test_a_face_of_the_whole_cloud_has_a_free_ball(device: str) -> None:
    distance, nearest = signed_distance(np.eye(3), np.array([[0, 1, 2]]), device=device)
    assert distance[0] == np.inf
    assert nearest[0] == -1


def test_no_faces(device: str) -> None:
    none = np.zeros((0, 3), dtype=np.int32)
    assert signed_distance(np.eye(3), none, device=device)[0].shape == (0,)
    assert minimum_ball(np.eye(3), none, device).center.shape == (0, 3)


@pytest.mark.parametrize("faces", [np.array([[0, 1]]), np.array([[0, 1, 9]]), np.array([[0.0, 1, 2]])])
def test_bad_faces_are_refused(faces: np.ndarray) -> None:
    with pytest.raises(InputError, match="faces"):
        signed_distance(np.eye(3), faces)


def test_share_of_faces_with_an_empty_ball(device: str) -> None:
    # The flat quadrilateral with diagonals 4 and 2: cut along the short one both balls are empty, cut along
    # the long one the ball of each obtuse half is that of the diagonal, and holds the other corner.
    points = np.array([[-2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    points[1:, 2] = 1e-3
    short = np.array([[0, 1, 3], [1, 2, 3]], dtype=np.int32)
    long = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    assert minimum_ball_share(points, short, device) == 1.0
    assert minimum_ball_share(points, long, device) == 0.0
    assert minimum_ball_share(points, np.concatenate([short, long[:1]]), device) == pytest.approx(2 / 3)
