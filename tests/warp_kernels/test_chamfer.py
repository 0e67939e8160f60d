"""Expected Chamfer distance: closed forms, a numpy reference, gradients against central differences."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels import chamfer as kernels
from warp_kernels import chamfer_lists as lists

FALLBACK = 2.5


class Case:
    """Random faces with probabilities, targets, and lists that hold for small changes."""

    def __init__(self, d: int, device: str, normals: bool = False, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.d, self.device = d, device
        self.vector, index = (wp.vec2d, wp.vec2i) if d == 2 else (wp.vec3d, wp.vec3i)
        self.points = rng.normal(size=(30, d))
        self.faces = np.stack([rng.choice(30, d, replace=False) for _ in range(6)]).astype(np.int32)
        self.prob = rng.uniform(0.1, 0.9, size=6)
        self.targets = 2.0 * rng.normal(size=(25, d))
        rows = rng.normal(size=(25 if normals else 0, d))
        self.normals = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self.face = wp.array(self.faces, dtype=index, device=device)
        self.target = wp.array(self.targets, dtype=self.vector, device=device)
        self.normal = wp.array(self.normals, dtype=self.vector, device=device)
        weight = rng.dirichlet(np.ones(d), size=4)
        self.weights = np.c_[weight, np.zeros((4, 3 - d))]
        self.places = wp.array(self.weights, dtype=wp.vec3d, device=device)
        self.nearest = rng.integers(0, 25, size=(6, 4)).astype(np.int32)
        self.area = rng.random(6)
        all_vertices = np.tile(np.arange(30, dtype=np.int32), (25, 1))
        start, face_of = lists.faces_of_vertices(self.face, 30)
        self.layer = wp.empty((25, kernels.LAYERS), dtype=wp.int32, device=device)
        near = wp.array(all_vertices, dtype=wp.int32, device=device)
        x, prob = self.upload(self.points, self.prob)
        lists.nearest_faces(x, self.face, prob, 0.0, self.target, near, start, face_of, self.layer)

    def upload(self, points: np.ndarray, prob: np.ndarray) -> tuple[wp.array, wp.array]:
        return (
            wp.array(points, dtype=self.vector, device=self.device),
            wp.array(prob, dtype=wp.float64, device=self.device),
        )

    def run(self, which: str, points: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, ...]:
        x, p = self.upload(points, prob)
        g_x, g_p = wp.zeros_like(x), wp.zeros_like(p)
        if which == "targets to faces":
            loss = wp.zeros(25, dtype=wp.float64, device=self.device)
            kernels.targets_to_faces(x, self.face, p, self.target, self.layer, FALLBACK, 0.04, loss, g_x, g_p)
        else:
            loss = wp.zeros(6, dtype=wp.float64, device=self.device)
            area = wp.array(self.area, dtype=wp.float64, device=self.device)
            nearest = wp.array(self.nearest, dtype=wp.int32, device=self.device)
            kernels.faces_to_targets(
                x, self.face, p, self.places, self.target, self.normal, nearest, area, loss, g_x, g_p
            )
        return loss.numpy(), g_x.numpy(), g_p.numpy()


def closest_by_cases(corners: np.ndarray, x: np.ndarray) -> float:
    """Distance from x to a segment or triangle, by trying every corner, side and the inside."""
    best = np.linalg.norm(corners - x, axis=1).min()
    for i in range(len(corners)):
        a, b = corners[i], corners[(i + 1) % len(corners)]
        t = np.clip(np.dot(x - a, b - a) / np.dot(b - a, b - a), 0, 1)
        best = min(best, np.linalg.norm(a + t * (b - a) - x))
    if len(corners) == 3:
        edges = (corners[1:] - corners[0]).T
        w = np.linalg.lstsq(edges, x - corners[0], rcond=None)[0]
        if (w >= 0).all() and w.sum() <= 1:
            best = min(best, np.linalg.norm(corners[0] + edges @ w - x))
    return float(best)


@pytest.mark.parametrize("d", [2, 3])
def test_value_equals_the_expectation_over_all_faces(d: int, device: str) -> None:
    case = Case(d, device)
    loss, _, _ = case.run("targets to faces", case.points, case.prob)
    for value, x in zip(loss, case.targets, strict=True):
        distance = np.array([closest_by_cases(case.points[f], x) for f in case.faces])
        order = np.argsort(distance)
        rest, expected = 1.0, 0.0
        for k in order:
            expected += rest * case.prob[k] * distance[k]
            rest *= 1 - case.prob[k]
        assert value == pytest.approx(0.04 * (expected + rest * FALLBACK), rel=1e-12)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("which", ["targets to faces", "faces to targets", "faces to planes"])
def test_gradient_equals_central_differences(which: str, d: int, device: str) -> None:
    case = Case(d, device, normals=which == "faces to planes", seed=3)
    _, g_x, g_p = case.run(which, case.points, case.prob)
    h = 1e-6
    by_x, by_p = np.zeros_like(g_x), np.zeros_like(g_p)
    for i in np.ndindex(*g_x.shape):
        step = np.zeros_like(case.points)
        step[i] = h
        up, down = (case.run(which, case.points + s * step, case.prob)[0].sum() for s in (1, -1))
        by_x[i] = (up - down) / (2 * h)
    for i in range(len(g_p)):
        step = np.zeros_like(case.prob)
        step[i] = h
        up, down = (case.run(which, case.points, case.prob + s * step)[0].sum() for s in (1, -1))
        by_p[i] = (up - down) / (2 * h)
    # Central differences with h = 1e-6: truncation 1e-12, rounding 1e-16 / 1e-6.
    np.testing.assert_allclose(g_x, by_x, atol=2e-9)
    np.testing.assert_allclose(g_p, by_p, atol=2e-9)


def test_certain_faces_hide_what_is_behind_and_none_costs_the_fallback(device: str) -> None:
    case = Case(3, device)
    loss, g_x, _ = case.run("targets to faces", case.points, np.zeros(6))
    np.testing.assert_allclose(loss, 0.04 * FALLBACK)
    assert (g_x == 0).all()
    loss, g_x, _ = case.run("targets to faces", case.points, np.ones(6))
    for value, x in zip(loss, case.targets, strict=True):
        nearest = min(closest_by_cases(case.points[f], x) for f in case.faces)
        assert value == pytest.approx(0.04 * nearest, rel=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_a_target_on_a_face_has_a_finite_gradient(d: int, device: str) -> None:
    case = Case(d, device)
    case.target.assign(np.tile(case.points[case.faces[0]].mean(axis=0), (25, 1)))
    case.points[case.faces[1]] = case.points[case.faces[1][0]]
    for part in case.run("targets to faces", case.points, case.prob):
        assert np.isfinite(part).all()


@pytest.mark.parametrize("d", [2, 3])
def test_faces_of_vertices_lists_every_corner_once(d: int, device: str) -> None:
    case = Case(d, device)
    start, face_of = (a.numpy() for a in lists.faces_of_vertices(case.face, 30))
    for v in range(30):
        wanted = np.flatnonzero((case.faces == v).any(axis=1))
        np.testing.assert_array_equal(np.sort(face_of[start[v] : start[v + 1]]), wanted)


@pytest.mark.parametrize("d", [2, 3])
def test_face_weights_are_shares_of_the_expected_size(d: int, device: str) -> None:
    case = Case(d, device)
    case.prob[2] = 1e-6
    x, prob = case.upload(case.points, case.prob)
    weight = lists.face_weights(x, case.face, prob, 1e-3).numpy()
    edges = case.points[case.faces[:, 1:]] - case.points[case.faces[:, :1]]
    size = np.sqrt(np.linalg.det(np.einsum("fid,fjd->fij", edges, edges))) / (d - 1)
    wanted = size / (case.prob * size).sum()
    wanted[2] = 0  # unlikely
    # The determinant loses digits on slender triangles.
    np.testing.assert_allclose(weight, wanted, rtol=1e-10)
    nowhere = lists.face_weights(x, case.face, wp.zeros_like(prob), 1e-3).numpy()
    assert (nowhere == 0).all()
