"""Nearest neighbours against scipy's cKDTree, on even, crowded, empty and degenerate clouds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.errors import InputError
from pipeline.points import neighbors
from pipeline.points.neighbors import PointCells, nearest_neighbors, neighbor_table, rank_morton, to_device


def clouds(d: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(d)
    direction = rng.normal(size=(3000, d))
    sphere = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return {
        "uniform": rng.random((3000, d)),
        "one point": rng.random((1, d)),
        "fewer than k": rng.random((5, d)),
        "sphere": sphere,
        "line": np.c_[rng.random(2000), np.zeros((2000, d - 1))],
        "duplicates": np.repeat(rng.random((40, d)), 80, axis=0),
        "far away": 1e6 + rng.random((1000, d)),
        "tiny": 1e-12 * rng.random((1000, d)),
        "clusters": np.r_[
            rng.random((500, d)),
            0.3 + 1e-6 * rng.random((3000, d)),
            0.7 + 1e-10 * rng.random((1000, d)),
        ],
        "all scales": sphere * np.exp(-25.0 * rng.random((3000, 1))),
        "lattice": np.stack(np.meshgrid(*[np.arange(12.0)] * d), axis=-1).reshape(-1, d),
    }


def check(points: np.ndarray, queries: np.ndarray | None, k: int, device: str) -> None:
    index, distance = nearest_neighbors(points, k, queries, device)
    tree = cKDTree(points)
    if queries is None:
        # The point itself is among the zero distances; drop the first of them.
        wanted = tree.query(points, k + 1)[0].reshape(len(points), -1)[:, 1:]
        at = points
        assert (index != np.arange(len(points))[:, None]).all()
    else:
        wanted = tree.query(queries, k)[0].reshape(len(queries), k)
        at = queries
    assert index.dtype == np.int32
    assert distance.dtype == np.float64
    # Both sum squares in float64; only the order of the sum may differ.
    np.testing.assert_allclose(distance, wanted, rtol=1e-13, atol=0.0)
    assert (np.diff(np.where(np.isfinite(distance), distance, 1e300), axis=1) >= 0).all()
    there = index >= 0
    assert (there == np.isfinite(distance)).all()
    again = np.linalg.norm(points[np.maximum(index, 0)] - at[:, None], axis=2)
    np.testing.assert_allclose(again[there], distance[there], rtol=1e-13)
    for row in index[:: max(1, len(index) // 200)]:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", list(clouds(2)))
def test_neighbors_of_points_equal_a_tree(name: str, d: int, device: str) -> None:
    check(clouds(d)[name], None, 8, device)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", ["uniform", "clusters", "all scales", "fewer than k", "duplicates"])
def test_neighbors_of_queries_inside_and_far_outside_equal_a_tree(name: str, d: int, device: str) -> None:
    rng = np.random.default_rng(1)
    queries = np.r_[rng.random((300, d)), 3.0 * rng.normal(size=(300, d)), 1e9 * rng.normal(size=(20, d))]
    check(clouds(d)[name], queries, 5, device)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("k", [1, 3, 64])
def test_any_number_of_neighbors(d: int, k: int, device: str) -> None:
    check(clouds(d)["uniform"], None, k, device)


@pytest.mark.parametrize("name", ["uniform", "clusters", "duplicates"])
def test_a_table_in_blocks_holds_the_same_neighbors(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = clouds(3)[name]
    monkeypatch.setattr(neighbors, "_BLOCK", 700)
    table = neighbor_table(points, 8, device)
    assert (table != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == 8 for row in table[::50])
    distance = np.linalg.norm(points[table] - points[:, None], axis=2)
    # Equally distant points may change places.
    np.testing.assert_allclose(distance, nearest_neighbors(points, 8, device=device)[1], rtol=1e-13)


def test_a_hundred_thousand_equal_points_end(device: str) -> None:
    # Quadratic work would be 1e10 distances, hours; the walk through boxes needs a second.
    points = np.r_[np.full((100_000, 3), 0.5), np.random.default_rng(0).random((1000, 3))]
    _, distance = nearest_neighbors(points, 8, device=device)
    assert (distance[:100_000] == 0.0).all()
    np.testing.assert_allclose(distance[100_000:], cKDTree(points).query(points[100_000:], 9)[0][:, 1:])


@pytest.mark.nightly
def test_a_million_equal_points_end(device: str) -> None:
    _, distance = nearest_neighbors(np.ones((1_000_000, 3)), 8, device=device)
    assert (distance == 0.0).all()


def test_moved_points_are_found_in_the_kept_grid(device: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.random((2000, 3))
    cells = PointCells(points, device=device)
    # They also leave the box of the grid: border cells are unbounded.
    moved = points + rng.normal(scale=0.3, size=points.shape)
    cells.update(to_device(moved, device))
    _, distance = cells.nearest(6)
    np.testing.assert_allclose(distance.numpy(), cKDTree(moved).query(moved, 7)[0][:, 1:], rtol=1e-13)


def test_rank_curve_does_not_depend_on_the_scale_of_an_axis() -> None:
    points = np.random.default_rng(0).random((500, 3))
    stretched = points**3 * np.array([1e-9, 1.0, 1e9])
    np.testing.assert_array_equal(rank_morton(points), rank_morton(stretched))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((3, 4)), "expected shape"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf, 1.0]]), "infinite"),
    ],
)
def test_bad_points_are_refused(points: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        nearest_neighbors(points, 2)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="k: expected"):
        nearest_neighbors(np.zeros((3, 2)), 0)
    with pytest.raises(InputError, match="queries"):
        nearest_neighbors(np.zeros((3, 2)), 1, np.zeros((3, 3)))


def test_no_queries_give_no_rows(device: str) -> None:
    index, distance = nearest_neighbors(np.zeros((3, 2)), 2, np.zeros((0, 2)), device)
    assert index.shape == distance.shape == (0, 2)
