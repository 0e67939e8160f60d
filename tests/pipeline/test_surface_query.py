"""Closest points and winding numbers against closed forms and plain sums."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidMeshError
from pipeline.surface_query import SurfaceQuery

CUBE_POINTS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_FACES = np.array(
    [
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]],
        [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
    ],
    dtype=np.int32,
).reshape(-1, 3)


def sphere(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return a closed outward latitude-longitude sphere of radius 1 with 2 * count * (count - 1) faces."""
    theta = np.pi * np.arange(1, count) / count
    phi = 2 * np.pi * np.arange(count) / count
    ring = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.outer(np.cos(theta), np.ones(count)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([ring, [[0, 0, 1], [0, 0, -1]]])
    i, j = (a.ravel() for a in np.meshgrid(np.arange(count - 2), np.arange(count), indexing="ij"))
    a, b = i * count + j, i * count + (j + 1) % count
    c, d = a + count, b + count
    k = np.arange(count)
    north, south = len(points) - 2, len(points) - 1
    last = (count - 2) * count
    cap = np.stack([np.full(count, north), k, (k + 1) % count], axis=1)
    foot = np.stack([np.full(count, south), last + (k + 1) % count, last + k], axis=1)
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1), cap, foot])
    return points, faces.astype(np.int32)


def solid_angle_sum(points: np.ndarray, faces: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Sum solid angles over 4 pi with NumPy (van Oosterom & Strackee 1983)."""
    a, b, c = (points[faces[:, k]][None] - queries[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    top = np.einsum("qfi,qfi->qf", a, np.cross(b, c))
    ab, bc, ca = ((x * y).sum(axis=2) for x, y in ((a, b), (b, c), (c, a)))
    return 2 * np.arctan2(top, la * lb * lc + ab * lc + bc * la + ca * lb).sum(axis=1) / (4 * np.pi)


def test_winding_number_is_one_inside_and_zero_outside_a_cube(device: str) -> None:
    query = SurfaceQuery(CUBE_POINTS, CUBE_FACES, device)
    rng = np.random.default_rng(0)
    inside, outside = rng.uniform(0.01, 0.99, (50, 3)), rng.uniform(1.01, 5.0, (50, 3))
    np.testing.assert_allclose(
        query.winding_number(inside), 1.0, atol=1e-12
    )  # 12 faces fit in two leaves: exact
    np.testing.assert_allclose(query.winding_number(outside), 0.0, atol=1e-2)  # the bound of ACCURACY
    np.testing.assert_allclose(query.winding_number(outside, np.inf), 0.0, atol=1e-12)


def test_winding_number_of_half_a_cube_at_its_centre_is_one_half(device: str) -> None:
    # Three faces that meet at a corner fill half of the full solid angle at the centre, by symmetry.
    half = CUBE_FACES[[0, 1, 4, 5, 8, 9]]
    value = SurfaceQuery(CUBE_POINTS, half, device).winding_number(np.full((1, 3), 0.5), np.inf)
    np.testing.assert_allclose(value, 0.5, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_clusters_agree_with_the_sum_over_triangles(device: str, shift: float) -> None:
    points, faces = sphere(40)
    faces = faces[np.random.default_rng(1).random(len(faces)) > 0.3]
    queries = np.random.default_rng(2).uniform(-1.5, 1.5, (400, 3))
    expected = solid_angle_sum(points, faces, queries)
    query = SurfaceQuery(points + shift, faces, device)
    # A shift of 1e6 costs six digits of the vertices themselves.
    np.testing.assert_allclose(
        query.winding_number(queries + shift, np.inf), expected, atol=1e-12 + 1e-15 * shift * 10
    )
    np.testing.assert_allclose(query.winding_number(queries + shift), expected, atol=1e-2)


def test_two_nested_spheres_add_up(device: str) -> None:
    points, faces = sphere(16)
    both = SurfaceQuery(
        np.concatenate([points, 0.3 * points]), np.concatenate([faces, faces + len(points)]), device
    )
    cavity = SurfaceQuery(
        np.concatenate([points, 0.3 * points]), np.concatenate([faces, faces[:, ::-1] + len(points)]), device
    )
    centre = np.zeros((1, 3))
    np.testing.assert_allclose(both.winding_number(centre, np.inf), 2.0, atol=1e-12)
    np.testing.assert_allclose(cavity.winding_number(centre, np.inf), 0.0, atol=1e-12)


def test_closest_point_on_a_cube_is_the_clamped_point(device: str) -> None:
    queries = np.random.default_rng(3).uniform(-2.0, 3.0, (500, 3))
    queries = queries[((queries < 0) | (queries > 1)).any(axis=1)]
    hit = SurfaceQuery(CUBE_POINTS, CUBE_FACES, device).closest(queries)
    expected = np.clip(queries, 0.0, 1.0)  # outside, the nearest point of a box is the clamped one
    np.testing.assert_allclose(hit.point, expected, atol=1e-14)
    np.testing.assert_allclose(hit.distance, np.linalg.norm(queries - expected, axis=1), atol=1e-14)
    rebuilt = np.einsum("qk,qki->qi", hit.barycentric, CUBE_POINTS[CUBE_FACES[hit.face]])
    np.testing.assert_allclose(rebuilt, hit.point, atol=1e-14)


def test_closest_point_keeps_its_precision_far_from_the_origin_and_in_small_units(device: str) -> None:
    points, faces = sphere(20)
    queries = np.random.default_rng(4).uniform(-1.5, 1.5, (300, 3))
    near = SurfaceQuery(points, faces, device).closest(queries)
    offset, scale = np.array([1e6, -2e6, 3e6]), 1e-3
    far = SurfaceQuery(scale * points + offset, faces, device).closest(scale * queries + offset)
    # Coordinates of 3e6 hold 5e-10, 5e-7 of this object; in float32 its vertices would all be equal.
    np.testing.assert_allclose(far.distance / scale, near.distance, atol=5e-6)


def test_faces_without_area_do_no_harm(device: str) -> None:
    points = np.concatenate([CUBE_POINTS, [[0.5, 0.5, 0.5]]])
    flat = np.array([[0, 1, 0], [8, 8, 8], [0, 7, 8]], dtype=np.int32)
    query = SurfaceQuery(points, np.concatenate([CUBE_FACES, flat]), device)
    queries = np.random.default_rng(5).uniform(-1.0, 2.0, (200, 3))
    assert np.isfinite(query.closest(queries).point).all()
    expected = SurfaceQuery(CUBE_POINTS, CUBE_FACES, device).winding_number(queries, np.inf)
    np.testing.assert_allclose(query.winding_number(queries, np.inf), expected, atol=1e-12)


def test_the_quick_look_at_sides_agrees_with_the_sum_over_triangles(device: str) -> None:
    points, faces = sphere(40)
    faces = faces[points[faces].mean(axis=1)[:, 2] < 0.5]  # open: the level passes through free space
    query = SurfaceQuery(points, faces, device)
    queries = np.random.default_rng(6).uniform(-1.2, 1.2, (2000, 3))
    exact = query.winding_number(queries, np.inf)
    clear = np.abs(exact - 0.5) > 2e-3  # the expansions themselves err by up to this much
    np.testing.assert_array_equal(query.is_inside(queries)[clear], exact[clear] > 0.5)
    np.testing.assert_array_equal(query.is_inside(queries, 0.2), query.winding_number(queries, np.inf) > 0.2)


def test_rays_from_the_centre_of_a_cube_reach_its_sides(device: str) -> None:
    query = SurfaceQuery(10.0 * CUBE_POINTS + 100.0, CUBE_FACES, device)
    directions = np.random.default_rng(7).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = 5.0 / np.abs(directions).max(axis=1)
    origins = np.full((200, 3), 105.0)
    np.testing.assert_allclose(query.ray_distance(origins, directions, 50.0), expected, rtol=1e-5)  # float32
    np.testing.assert_allclose(
        query.ray_distance(origins, directions, 6.0), np.minimum(expected, 6.0), rtol=1e-5
    )


def test_no_queries_give_empty_answers(device: str) -> None:
    query = SurfaceQuery(CUBE_POINTS, CUBE_FACES, device)
    assert query.winding_number(np.zeros((0, 3))).shape == (0,)
    assert query.closest(np.zeros((0, 3))).point.shape == (0, 3)


@pytest.mark.parametrize(
    ("points", "faces"),
    [
        (CUBE_POINTS[:, :2], CUBE_FACES),
        (CUBE_POINTS, CUBE_FACES[:0]),
        (CUBE_POINTS, CUBE_FACES + 1),
        (CUBE_POINTS, CUBE_FACES[:, :2]),
    ],
)
def test_arrays_that_are_no_surface_are_refused(points: np.ndarray, faces: np.ndarray) -> None:
    with pytest.raises(InvalidMeshError, match="surface"):
        SurfaceQuery(points, faces)
