"""Least-squares fit on decided faces, safe moves, flips and collapse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from pipeline.dmesh import refinement
from pipeline.dmesh.coarsening import CoarseningConfig, CollapsingMesh, sample_quadrics
from pipeline.dmesh.refinement import closest_on_faces, refine_positions, safe_move, snap_border
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.border_samples import BorderSamples
from pipeline.points.sample_planes import estimate_planes
from pipeline.types import SurfaceMesh


def test_a_displaced_sphere_comes_back(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(15000)
    planes = estimate_planes(samples, device=device)
    x = points * (1 + 0.03 * np.sin(5 * points[:, :1]))
    before = closest_on_faces(x, faces, samples, device).distance.mean()
    step = None
    for _ in range(2):
        step = refine_positions(
            x,
            faces,
            samples,
            planes,
            BorderSamples.none(3),
            damping=0.05,
            normal_damping=0.005,
            largest_step=0.5,
            device=device,
        )
        x = step.points
    after = closest_on_faces(x, faces, samples, device).distance.mean()
    # What is left is the sagitta of the triangles, L^2 / 16 for vertices on the sphere, less for free ones.
    edge = np.linalg.norm(points[faces[0, 0]] - points[faces[0, 1]])
    assert before > 0.01
    assert after < edge**2 / 16


@pytest.mark.parametrize("dimension", [2, 3])
def test_closest_points_equal_brute_force(dimension: int, icosphere: Callable, device: str) -> None:
    rng = np.random.default_rng(0)
    if dimension == 3:
        points, faces = icosphere(1)
    else:
        turn = np.arange(60) * np.pi / 30
        points = np.column_stack([np.cos(turn), np.sin(turn)]) * (1 + 0.1 * np.cos(5 * turn[:, None]))
        faces = np.stack([np.arange(60), (np.arange(60) + 1) % 60], axis=1).astype(np.int32)
    samples = points[rng.integers(0, len(points), 100)] + 0.1 * rng.normal(size=(100, dimension))
    got = closest_on_faces(points, faces, samples, device)
    weights = rng.dirichlet(np.ones(dimension), 300)
    dense = np.einsum("wk,fkx->fwx", weights, points[faces]).reshape(-1, dimension)
    brute = np.linalg.norm(samples[:, None] - dense, axis=2).min(axis=1)
    again = np.einsum("mk,mkx->mx", got.barycentric, points[faces[got.face]])
    np.testing.assert_allclose(again, got.point, atol=1e-12)
    # Never farther than the nearest of many points of the faces, and no nearer than their spacing allows.
    assert (got.distance <= brute + 1e-9).all()
    assert (brute - got.distance).max() < 0.1


def test_safe_move_prevents_folds_and_intersections(icosphere: Callable, device: str) -> None:
    points, faces = icosphere(2)
    move = np.zeros_like(points)
    move[7] = -2.5 * points[7]
    move[20] = 0.01 * points[20]
    moved = safe_move(points, move, faces, device)
    assert not self_intersecting_faces(moved, faces, device=device).any()
    assert np.linalg.norm(moved[7] - points[7]) < 1
    np.testing.assert_allclose(moved[20], points[20] + move[20], atol=1e-15)


def test_border_moves_out_to_its_samples(device: str) -> None:
    rng = np.random.default_rng(0)
    samples = np.column_stack([rng.uniform(size=(20000, 2)), np.zeros(20000)])
    side = np.linspace(0.01, 0.99, 20)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    points = np.column_stack([grid, np.zeros(400)])
    a = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 21], 1), np.stack([a, a + 21, a + 20], 1)]).astype(
        np.int32
    )
    moved = snap_border(points, faces, samples, estimate_planes(samples, device=device), device)
    low = moved[1:19]
    # The border of the samples is at 0; the estimate is good to a fraction of their spacing of 0.007.
    np.testing.assert_allclose(low[:, 1], 0.0, atol=3e-3)
    np.testing.assert_allclose(moved[21 : 20 * 19 - 1 : 20], points[21 : 20 * 19 - 1 : 20], atol=1e-15)


def test_collapse_keeps_a_sphere_closed(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    config = CoarseningConfig()
    quadrics, weight = sample_quadrics(points, faces, samples, estimate_planes(samples), config, device)
    assert weight.sum() > 20000
    mesh = CollapsingMesh(points, faces, quadrics, weight, device)
    mesh.collapse(300, config)
    x, f = mesh.compact()
    s = surface_summary(SurfaceMesh(x, f))
    assert 298 <= s["faces"] <= 300
    assert (s["watertight"], s["oriented"], s["euler_characteristic"]) == (True, True, 2)
    assert not self_intersecting_faces(x, f, device=device).any()
    # The error of n equal triangles on a sphere is of the order of their sagitta, 4 pi / (n sqrt(3)) / 4.
    assert closest_on_faces(x, f, samples, device).distance.mean() < np.pi / (300 * np.sqrt(3)) * 2


def test_collapse_stops_at_the_error(icosphere: Callable, sphere_samples: Callable, device: str) -> None:
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    config = CoarseningConfig()
    quadrics, weight = sample_quadrics(points, faces, samples, estimate_planes(samples), config, device)
    left = []
    for limit in (0.003, 0.01):
        mesh = CollapsingMesh(points, faces, quadrics, weight, device)
        mesh.collapse(4, config, largest_error=limit)
        left.append(len(mesh.faces))
    assert 1280 > left[0] > 2 * left[1] > 8


def _random_rows(vertices: int, rows: int, own: bool) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Rows n . sum b_k v_k of random faces (`own`: of one vertex each), their blocks, and a target."""
    rng = np.random.default_rng(4)
    faces = rng.permuted(np.tile(np.arange(vertices), (rows, 1)), axis=1)[:, :3].astype(np.int32)
    weight = np.tile([1.0, 0, 0], (rows, 1)) if own else rng.dirichlet(np.ones(3), rows)
    normal = rng.normal(size=(rows, 3))
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    closest = refinement.Closest(np.arange(rows), weight, np.zeros((rows, 3)), np.zeros(rows))
    given = (faces, closest, normal, np.arange(rows), vertices)
    return refinement.plane_rows(*given), refinement.diagonal_blocks(*given), rng.normal(size=rows)


def _pull(vertices: int) -> np.ndarray:
    """Damping blocks mu (1 - m m^T) + nu m m^T of random normals m."""
    m = np.random.default_rng(5).normal(size=(vertices, 3))
    m /= np.linalg.norm(m, axis=1)[:, None]
    return 0.3 * np.eye(3) - 0.29 * m[:, :, None] * m[:, None, :]


def _dense(matrix: sp.csr_matrix, pull: np.ndarray) -> np.ndarray:
    return (matrix.T @ matrix).toarray() + sp.block_diag(list(pull)).toarray()


def test_the_preconditioner_is_the_diagonal_of_the_normal_equations() -> None:
    matrix, blocks, _ = _random_rows(9, 60, own=False)
    dense = (matrix.T @ matrix).toarray()
    for v in range(9):
        np.testing.assert_allclose(blocks[v], dense[3 * v : 3 * v + 3, 3 * v : 3 * v + 3], atol=1e-13)


def test_the_fit_solves_the_normal_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    # (M^T M + W) x = M^T t
    monkeypatch.setattr(refinement, "_TOLERANCE", 1e-12)
    matrix, blocks, target = _random_rows(9, 60, own=False)
    pull = _pull(9)
    x = refinement.conjugate_gradient(matrix, target, pull, blocks)
    np.testing.assert_allclose(_dense(matrix, pull) @ x.ravel(), matrix.T @ target, atol=1e-10)


def test_vertices_without_a_face_in_common_are_fitted_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # Then M^T M + W is block diagonal, and its preconditioned form is the identity. A diagonal alone would
    # need a step per different eigenvalue.
    monkeypatch.setattr(refinement, "_CG_STEPS", 1)
    matrix, blocks, target = _random_rows(9, 60, own=True)
    pull = _pull(9)
    x = refinement.conjugate_gradient(matrix, target, pull, blocks)
    np.testing.assert_allclose(_dense(matrix, pull) @ x.ravel(), matrix.T @ target, atol=1e-10)


def test_a_vertex_without_samples_stays() -> None:
    matrix, blocks, target = _random_rows(9, 60, own=False)
    wider = sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(60, 30))
    pull = np.concatenate([_pull(9), np.zeros((1, 3, 3))])
    x = refinement.conjugate_gradient(wider, target, pull, np.concatenate([blocks, np.zeros((1, 3, 3))]))
    assert np.isfinite(x).all()
    assert (x[9] == 0).all()
