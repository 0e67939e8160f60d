"""Ball, signed distance, probability and gradient of single faces; every face has points of its own."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels import minimum_ball as kernels
from warp_kernels.simplex import ball_offset, corner_values, edges_of
from warp_kernels.smooth import sigmoid, soft_minimum

SHARPNESS = 3.0


@wp.kernel
def probability_with_adjoint(
    points: wp.array[wp.vec3d],
    real: wp.array[wp.float64],
    faces: wp.array[wp.vec3i],
    nearest: wp.array[wp.int32],
    sharpness: wp.float64,
    prob: wp.array[wp.float64],
):
    f = wp.tid()
    face = faces[f]
    u, v = edges_of(points, face)
    o, _valid = ball_offset(u, v)
    d = wp.length(points[nearest[f]] - points[face[0]] - o) - wp.length(o)
    prob[f] = sigmoid(sharpness * d) * soft_minimum(corner_values(real, face))


class Faces:
    """f faces of dimension d, each with its own d vertices and its own nearest other point."""

    def __init__(self, d: int, count: int = 200, device: str = "cpu") -> None:
        rng = np.random.default_rng(d)
        self.d, self.count, self.device = d, count, device
        self.points = rng.normal(size=(count, d + 1, d))
        self.real = rng.uniform(0.4, 0.6, size=(count, d + 1))
        self.gain = rng.normal(size=count)
        self.vector, self.index = (wp.vec2d, wp.vec2i) if d == 2 else (wp.vec3d, wp.vec3i)
        first = (d + 1) * np.arange(count)[:, None]
        self.faces = wp.array((first + np.arange(d)).astype(np.int32), dtype=self.index, device=device)
        self.nearest = wp.array((first[:, 0] + d).astype(np.int32), dtype=wp.int32, device=device)
        self.scale = wp.full(count * (d + 1), 1.0, dtype=wp.float64, device=device)

    def upload(self, points: np.ndarray, real: np.ndarray) -> tuple[wp.array, wp.array]:
        x = wp.array(points.reshape(-1, self.d), dtype=self.vector, device=self.device)
        return x, wp.array(real.ravel(), dtype=wp.float64, device=self.device)

    def probability(self, points: np.ndarray, real: np.ndarray) -> np.ndarray:
        x, psi = self.upload(points, real)
        out = wp.zeros(self.count, dtype=wp.float64, device=self.device)
        kernels.face_probability(x, psi, self.scale, self.faces, self.nearest, SHARPNESS, out)
        return out.numpy()

    def gradient(self, points: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, psi = self.upload(points, real)
        gain = wp.array(self.gain, dtype=wp.float64, device=self.device)
        g_x, g_psi = wp.zeros_like(x), wp.zeros_like(psi)
        kernels.face_probability_gradient(
            x, psi, self.scale, self.faces, self.nearest, SHARPNESS, gain, g_x, g_psi
        )
        return g_x.numpy().reshape(points.shape), g_psi.numpy().reshape(real.shape)


@pytest.mark.parametrize("d", [2, 3])
def test_gradient_equals_central_differences(d: int, device: str) -> None:
    case = Faces(d, device=device)
    g_x, g_psi = case.gradient(case.points, case.real)
    h = 1e-6
    by_x, by_psi = np.zeros_like(g_x), np.zeros_like(g_psi)
    for i in range(d + 1):
        for axis in range(d):
            step = np.zeros_like(case.points)
            step[:, i, axis] = h
            change = case.probability(case.points + step, case.real)
            change = change - case.probability(case.points - step, case.real)
            by_x[:, i, axis] = case.gain * change / (2 * h)
        step = np.zeros_like(case.real)
        step[:, i] = h
        change = case.probability(case.points, case.real + step)
        change = change - case.probability(case.points, case.real - step)
        by_psi[:, i] = case.gain * change / (2 * h)
    # Generic faces: the ball is not much larger than the face, and the sigmoid is not saturated.
    x = case.points
    u = x[:, 1] - x[:, 0]
    v = x[:, -2] - x[:, 0] if d == 3 else u
    sine = np.linalg.norm(np.cross(u, v), axis=1) / np.linalg.norm(u, axis=1) if d == 3 else np.ones(len(x))
    prob = case.probability(case.points, case.real)
    generic = (sine > 0.1) & (prob > 1e-3)
    assert generic.sum() > case.count // 3
    error = np.linalg.norm((g_x - by_x).reshape(case.count, -1), axis=1)
    size = np.linalg.norm(by_x.reshape(case.count, -1), axis=1)
    assert (error[generic] <= 1e-5 * size[generic]).all()
    error = np.linalg.norm(g_psi - by_psi, axis=1)
    assert (error[generic] <= 1e-5 * np.linalg.norm(by_psi, axis=1)[generic]).all()


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("height", [1e-2, 1e-4, 1e-6])
def test_gradient_equals_central_differences_on_slivers(d: int, height: float, device: str) -> None:
    # Triangles of that height and a ball of about 1 / height, or segments of that length; the other point at
    # a distance that does not saturate the sigmoid.
    case = Faces(d, device=device)
    rng = np.random.default_rng(1)
    x = case.points
    if d == 3:
        x[:, 0], x[:, 1] = 0.0, [1.0, 0.0, 0.0]
        x[:, 2] = np.c_[rng.uniform(0.2, 0.8, case.count), np.full(case.count, height), np.zeros(case.count)]
        x[:, 3] = rng.uniform([0.0, -0.3, -0.3], [1.0, 0.3, 0.3], (case.count, 3))
    else:
        turn, far = rng.uniform(0.0, 2.0 * np.pi, (2, case.count))
        x[:, 1] = x[:, 0] + height * np.c_[np.cos(turn), np.sin(turn)]
        x[:, 2] = x[:, 0] + 0.3 * np.c_[np.cos(far), np.sin(far)]
    gradient, _ = case.gradient(x, case.real)
    numeric = np.zeros_like(gradient)
    h = 1e-3 * height
    for i, axis in np.ndindex(d + 1, d):
        step = np.zeros_like(x)
        step[:, i, axis] = h
        change = case.probability(x + step, case.real) - case.probability(x - step, case.real)
        numeric[:, i, axis] = case.gain * change / (2 * h)
    error = np.linalg.norm((gradient - numeric).reshape(case.count, -1), axis=1)
    # Truncation (h / height)^2 = 1e-6; rounding of the points, 1e-16, over h = 1e-9 at least.
    assert (error <= 1e-5 * np.linalg.norm(numeric.reshape(case.count, -1), axis=1)).all()


def test_gradient_equals_the_generated_adjoint(device: str) -> None:
    case = Faces(3, device=device)
    x, psi = case.upload(case.points, case.real)
    x.requires_grad = psi.requires_grad = True
    prob = wp.zeros(case.count, dtype=wp.float64, device=device, requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(
            probability_with_adjoint,
            dim=case.count,
            inputs=[x, psi, case.faces, case.nearest, wp.float64(SHARPNESS)],
            outputs=[prob],
            device=device,
        )
    tape.backward(grads={prob: wp.array(case.gain, dtype=wp.float64, device=device)})
    g_x, g_psi = case.gradient(case.points, case.real)
    # |w - o| - |o| loses digits where the ball is large, the stable form does not: hence 1e-8, not 1e-12.
    np.testing.assert_allclose(g_x, x.grad.numpy().reshape(g_x.shape), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(g_psi, psi.grad.numpy().reshape(g_psi.shape), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("height", [0.0, 1e-300, 1e-20, 1e-14, 1e-12, 1e-10, 1e-6])
def test_gradient_is_finite_on_degenerate_faces(d: int, height: float, device: str) -> None:
    case = Faces(d, device=device)
    n = case.count // 4
    if d == 3:
        # Vertices on a line but for the height.
        a, b = case.points[:, 0], case.points[:, 1]
        case.points[:, 2] = a + np.linspace(-2.0, 3.0, case.count)[:, None] * (b - a)
        case.points[:, 2, 2] += height
    case.points[:n, 1] = case.points[:n, 0] + height
    case.points[n : n + 5] = case.points[n : n + 5, :1]
    case.points[n + 5 : n + 10, d] = case.points[n + 5 : n + 10, 0]
    case.real[::3] = 0.0
    prob = case.probability(case.points, case.real)
    assert np.isfinite(prob).all()
    assert ((prob >= 0) & (prob <= 1)).all()
    for gradient in case.gradient(case.points, case.real):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("d", [2, 3])
def test_ball_passes_through_the_vertices_and_is_smallest(d: int, device: str) -> None:
    case = Faces(d, device=device)
    x, _ = case.upload(case.points, case.real)
    center = wp.empty(case.count, dtype=case.vector, device=device)
    radius = wp.empty(case.count, dtype=wp.float64, device=device)
    kernels.minimum_ball(x, case.faces, center, radius)
    c, r = center.numpy(), radius.numpy()
    corners = case.points[:, :d]
    reach = np.linalg.norm(corners - c[:, None], axis=2)
    np.testing.assert_allclose(reach, np.repeat(r[:, None], d, axis=1), rtol=1e-9)
    # Smallest: the centre lies in the affine hull of the face, so it is an affine combination of the corners.
    for corner, middle in zip(corners, c, strict=True):
        edges = (corner[1:] - corner[0]).T
        weight, *_ = np.linalg.lstsq(edges, middle - corner[0], rcond=None)
        np.testing.assert_allclose(edges @ weight, middle - corner[0], atol=1e-8 * (1 + np.abs(middle).max()))


def test_signed_distance_keeps_its_digits_for_a_large_ball(device: str) -> None:
    # An arc of the circle |x - (0, -R)| = R through the origin in the plane z = 0, and a point at height t
    # above the origin: d = t exactly. The plain difference of two distances would have an error of 1e-8.
    radius, t = 1e8, 1e-3
    angle = np.array([0.0, 1e-8, -1e-8])
    # cos(angle) - 1 = -2 sin^2(angle / 2), without cancellation.
    arc = np.c_[radius * np.sin(angle), -2 * radius * np.sin(angle / 2) ** 2, np.zeros(3)]
    x = wp.array(np.r_[arc, [[0.0, t, 0.0]]], dtype=wp.vec3d, device=device)
    face = wp.array([[0, 1, 2]], dtype=wp.vec3i, device=device)
    out = wp.zeros(1, dtype=wp.float64, device=device)
    kernels.signed_distance(x, face, wp.array([3], dtype=wp.int32, device=device), out)
    assert out.numpy()[0] == pytest.approx(t, rel=1e-9)


def test_a_wrong_array_is_named(device: str) -> None:
    x = wp.zeros(3, dtype=wp.vec3d, device=device)
    segments = wp.zeros(1, dtype=wp.vec2i, device=device)
    out = wp.zeros(1, dtype=wp.float64, device=device)
    with pytest.raises(TypeError, match="faces: expected vec3i"):
        kernels.minimum_ball(x, segments, x, out)
    triangles = wp.zeros(1, dtype=wp.vec3i, device=device)
    with pytest.raises(ValueError, match="center: expected shape"):
        kernels.minimum_ball(x, triangles, x, out)
