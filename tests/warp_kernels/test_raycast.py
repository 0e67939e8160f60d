"""Rays, spheres and openness against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels import raycast


def camera(eye=(0.0, 0.0, 4.0), width=200, height=160, focal=400.0) -> raycast.Camera:
    """Look down the -z axis: right is +x, up is +y."""
    c = raycast.Camera()
    c.eye = wp.vec3(*eye)
    c.right, c.up, c.forward = wp.vec3(1.0, 0.0, 0.0), wp.vec3(0.0, 1.0, 0.0), wp.vec3(0.0, 0.0, -1.0)
    c.focal, c.width, c.height = focal, width, height
    return c


def mesh(points, faces, device) -> wp.Mesh:
    return wp.Mesh(
        points=wp.array(np.asarray(points, np.float32), dtype=wp.vec3, device=device),
        indices=wp.array(np.asarray(faces, np.int32).reshape(-1), dtype=wp.int32, device=device),
    )


def vectors(rows, device) -> wp.array:
    return wp.array(np.asarray(rows, np.float32), dtype=wp.vec3, device=device)


def sphere(rings: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of `rings` x 2 `rings` quads, split, oriented outward."""
    theta, phi = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    points = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a, b = i * 2 * rings + j, i * 2 * rings + (j + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    faces = np.concatenate([np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)])
    return points, faces


def pixel_rays(c: raycast.Camera) -> np.ndarray:
    u = (np.arange(c.width) + 0.5 - 0.5 * c.width) / c.focal
    v = (np.arange(c.height) + 0.5 - 0.5 * c.height) / c.focal
    return np.stack([*np.broadcast_arrays(u[None], -v[:, None]), -np.ones((c.height, c.width))], axis=-1)


def test_silhouette_of_a_sphere_has_the_closed_form_area(device):
    c, radius, distance = camera(), 0.5, 4.0
    points, faces = sphere(96)
    item = raycast.cast_rays(mesh(radius * points, faces, device), c).item.numpy()
    # On the axis a sphere is seen as a disc of radius f R / sqrt(D^2 - R^2).
    disc = c.focal * radius / np.sqrt(distance**2 - radius**2)
    # Counting pixel centres in a disc errs like its boundary (2 pi r pixels, random signs): well below 1 %.
    assert np.count_nonzero(item >= 0) == pytest.approx(np.pi * disc**2, rel=0.01)


def test_depth_of_a_tilted_plane_is_exact_at_every_pixel(device):
    c = camera()
    # z = x / 2, large enough to fill the picture.
    corners = np.array([[-9, -9, -4.5], [9, -9, 4.5], [9, 9, 4.5], [-9, 9, -4.5]]) * [0.3, 1, 0.3]
    hits = raycast.cast_rays(mesh(corners, [[0, 1, 2], [0, 2, 3]], device), c)
    ray = pixel_rays(c)
    # eye + t ray on z = x / 2 gives t = 4 / (1 + u / 2), and t is the depth because ray.forward = 1.
    expected = 4.0 / (1.0 + 0.5 * ray[..., 0])
    np.testing.assert_allclose(hits.depth.numpy(), expected, rtol=5e-6)  # float32, a few roundings


def test_weights_reproduce_the_point_that_is_hit(device):
    c = camera()
    corners = np.array([[-3, -3, 0.2], [3, -3, -0.4], [0, 4, 0.1]])
    hits = raycast.cast_rays(mesh(corners, [[0, 1, 2]], device), c)
    seen = hits.item.numpy() == 0
    found = hits.weights.numpy()[seen] @ corners
    expected = np.array([0, 0, 4.0]) + hits.depth.numpy()[seen][:, None] * pixel_rays(c)[seen]
    assert seen.sum() > 1000
    np.testing.assert_allclose(found, expected, atol=5e-6)  # float32 at coordinates up to 4


def test_edge_distance_is_that_of_the_projected_triangle_and_negative_behind(device):
    c = camera()
    corners = np.array([[-0.5, -0.4, 0.0], [0.5, -0.4, 0.0], [0.0, 0.5, 0.0]])
    front = raycast.cast_rays(mesh(corners, [[0, 1, 2]], device), c)
    back = raycast.cast_rays(mesh(corners, [[0, 2, 1]], device), c)
    seen = front.item.numpy() == 0
    at = np.stack([100 + 100 * corners[:, 0], 80 - 100 * corners[:, 1]], axis=1)  # focal / depth = 100
    y, x = np.nonzero(seen)
    p = np.stack([x, y], axis=1) + 0.5
    expected = np.full(len(p), np.inf)
    for k in range(3):
        a, e = at[k], at[(k + 1) % 3] - at[k]
        s = np.clip((p - a) @ e / (e @ e), 0, 1)
        expected = np.minimum(expected, np.linalg.norm(p - a - s[:, None] * e, axis=1))
    np.testing.assert_allclose(front.edge_distance.numpy()[seen], expected, atol=1e-3)  # pixels in float32
    np.testing.assert_allclose(back.edge_distance.numpy()[seen], -expected, atol=1e-3)


def test_a_ray_that_misses_sees_nothing(device):
    hits = raycast.cast_rays(mesh([[50, 50, 0], [51, 50, 0], [50, 51, 0]], [[0, 1, 2]], device), camera())
    assert (hits.item.numpy() == -1).all()
    assert (hits.depth.numpy() == raycast.FAR).all()


def test_a_point_covers_the_disc_of_its_sphere(device):
    c, radius = camera(), 0.3
    hits = raycast.splat_points(vectors([[0.2, -0.1, 0.0]], device), radius, c, 1.0, 8.0)
    seen = hits.item.numpy() == 0
    # The disc has radius f R / z = 30 pixels; its boundary of 190 pixels is counted with random signs.
    assert np.count_nonzero(seen) == pytest.approx(np.pi * 30.0**2, rel=0.02)
    y, x = np.nonzero(seen)
    np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], [120.0, 90.0], atol=0.1)
    assert hits.depth.numpy()[seen].min() == pytest.approx(4.0 - radius, abs=1e-3)
    np.testing.assert_allclose(np.linalg.norm(hits.weights.numpy()[seen], axis=1), 1.0, atol=1e-5)


def test_the_nearer_point_hides_the_farther_one_in_any_order(device):
    c = camera()
    near, far = [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]
    for rows, first in (([near, far], 0), ([far, near], 1)):
        item = raycast.splat_points(vectors(rows, device), 0.1, c, 1.0, 8.0).item.numpy()
        assert (item[item >= 0] == first).all()


def test_equal_points_show_the_lower_index(device):
    item = raycast.splat_points(vectors([[0, 0, 0]] * 5, device), 0.1, camera(), 1.0, 8.0).item.numpy()
    assert set(np.unique(item)) == {-1, 0}


def test_points_behind_the_camera_are_not_drawn(device):
    item = raycast.splat_points(vectors([[0, 0, 9.0]], device), 0.1, camera(), 1.0, 8.0).item.numpy()
    assert (item == -1).all()


@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (2.0, 1.0)])
def test_an_empty_depth_range_is_refused(near, far):
    with pytest.raises(ValueError, match="near, far"):
        raycast.splat_points(vectors([[0, 0, 0]], "cpu"), 0.1, camera(), near, far)


def test_a_wall_hides_half_of_the_sky(device):
    # An endless wall at x = 0 seen from a point just beside its foot hides the half space x < 0.
    wall = mesh([[0, -1e3, -1e3], [0, 1e3, -1e3], [0, 0, 2e3]], [[0, 1, 2]], device)
    point, up = vectors([[1e-3, 0, 0]], device), vectors([[0, 0, 1]], device)
    # 400 directions of an even spiral: the share on one side is known to about 1 / 400.
    found = raycast.openness(wall, point, up, 1e2, 0.0, rays=400).numpy()
    np.testing.assert_allclose(found, 0.5, atol=0.01)


def test_a_point_in_a_closed_sphere_is_enclosed_and_one_outside_reach_is_open(device):
    points, faces = sphere(24)
    ball = mesh(points, faces, device)
    center, up = vectors([[0, 0, 0]], device), vectors([[0, 0, 1]], device)
    assert raycast.openness(ball, center, up, 2.0, 0.0).numpy()[0] == 0.0
    assert raycast.openness(ball, center, up, 0.5, 0.0).numpy()[0] == 1.0


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 0, -1), (0.6, 0, 0.8), (0, -0.8, -0.6)])
def test_openness_follows_the_normal(normal, device):
    # A small plate at distance 1 along the normal hides directions around it; along -n it hides none.
    n = np.array(normal, dtype=float)
    side = np.cross(n, [1.0, 0.3, 0.2])
    side /= np.linalg.norm(side)
    other = np.cross(n, side)
    plate = mesh([n + 2 * side, n - side + 2 * other, n - side - 2 * other], [[0, 1, 2]], device)
    origin = vectors([[0, 0, 0]], device)
    assert raycast.openness(plate, origin, vectors([n], device), 5.0, 0.0).numpy()[0] < 0.7
    assert raycast.openness(plate, origin, vectors([-n], device), 5.0, 0.0).numpy()[0] == 1.0


def test_directions_are_unit_and_cosine_distributed():
    d = raycast.half_sphere(2000).astype(float)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0, atol=1e-6)
    # With density cos / pi the mean of cos is 2/3 and the horizontal mean vanishes; the spiral errs like 1/n.
    np.testing.assert_allclose(d.mean(axis=0), [0, 0, 2 / 3], atol=2e-3)
