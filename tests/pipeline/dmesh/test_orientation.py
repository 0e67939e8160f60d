"""Which way the faces of a finished surface look."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dmesh.orientation import orient_outward
from pipeline.metrics.surface import signed_volume
from pipeline.topology import manifold_parts


@pytest.mark.parametrize("given", [False, True])
def test_components_face_outward_and_cavities_inward(icosphere: Callable, given: bool, device: str) -> None:
    points, faces = icosphere(1)
    n = len(points)
    shells = np.concatenate([3 * points, points, points + np.array([9.0, 0.0, 0.0])])
    mixed = np.concatenate([faces, faces + n, faces + 2 * n])
    rng = np.random.default_rng(0)
    turn = rng.uniform(size=len(mixed)) < 0.5
    mixed[turn] = mixed[turn][:, [0, 2, 1]]
    # Given normals say that every shell faces inward; estimated sides make the second one a cavity.
    normals = np.concatenate([-points] * 3) if given else None
    oriented, bad = orient_outward(shells, mixed.astype(np.int32), shells, normals, device)
    assert bad == 0
    signs = [np.sign(signed_volume(shells, oriented[80 * i : 80 * (i + 1)])) for i in range(3)]
    assert signs == ([-1, -1, -1] if given else [1, -1, 1])


def test_curves_run_counter_clockwise(device: str) -> None:
    turn = np.arange(12) * np.pi / 6
    points = np.column_stack([np.cos(turn), np.sin(turn)])
    ring = np.stack([np.arange(12), (np.arange(12) + 1) % 12], axis=1).astype(np.int32)
    mixed = ring.copy()
    mixed[::3] = mixed[::3, ::-1]
    np.testing.assert_array_equal(orient_outward(points, mixed, points, device=device)[0], ring)


@pytest.mark.parametrize("share", [0.95, 0.5, 0.2])
def test_open_surface_faces_outward(icosphere: Callable, share: float, device: str) -> None:
    points, faces = icosphere(3)
    center = points[faces].mean(axis=1)
    cap = faces[center[:, 2] > np.quantile(center[:, 2], 1.0 - share)]
    rng = np.random.default_rng(1)
    turn = rng.uniform(size=len(cap)) < 0.5
    cap[turn] = cap[turn][:, [0, 2, 1]]
    oriented, bad = orient_outward(points, cap, points, device=device)
    assert bad == 0
    a, b, c = (points[oriented[:, k]] for k in range(3))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), a) > 0).all()


def test_flat_sheet_keeps_its_side(device: str) -> None:
    x, y = (g.ravel() for g in np.meshgrid(np.arange(9.0), np.arange(9.0), indexing="ij"))
    points = np.column_stack([x, y, np.zeros(81)])
    k = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    up = np.concatenate([np.stack([k, k + 9, k + 10], 1), np.stack([k, k + 10, k + 1], 1)]).astype(np.int32)
    for sheet in (up, up[:, [0, 2, 1]]):
        np.testing.assert_array_equal(orient_outward(points, sheet, points, device=device)[0], sheet)


def test_both_chambers_of_a_box_with_a_wall_face_outward(device: str) -> None:
    # The box [0, 2] x [0, 1]^2 with a wall at x = 1: the corners of three squares.
    corner = np.array([(i, j, k) for i in range(3) for j in range(2) for k in range(2)], dtype=np.float64)
    at = {tuple(p): n for n, p in enumerate(corner)}
    squares = []
    for i in (0, 1):
        for axis, level in ((1, 0), (1, 1), (2, 0), (2, 1)):
            other = 3 - axis
            ring = []
            for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
                p = [0.0, 0.0, 0.0]
                p[0], p[axis], p[other] = i + u, level, v
                ring.append(at[tuple(p)])
            squares.append(ring)
    squares += [[at[(i, *yz)] for yz in ((0, 0), (1, 0), (1, 1), (0, 1))] for i in (0, 1, 2)]
    faces = np.array([[q[0], *q[k : k + 2]] for q in squares for k in (1, 2)], dtype=np.int32)
    part, is_open = manifold_parts(faces)
    assert len(is_open) == 3
    assert is_open.all()
    oriented, bad = orient_outward(corner, faces, corner, device=device)
    assert bad == 0
    a, b, c = (corner[oriented[:, k]] for k in range(3))
    outer = part != part[-4]  # all but the wall, whose faces are third from the end
    away = a - np.array([1.0, 0.5, 0.5])
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), away)
    assert (outward[outer] > 0).all()
