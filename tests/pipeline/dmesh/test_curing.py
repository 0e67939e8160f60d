"""Patience of curing: how often a spot is wrong before what is around it goes as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dmesh import curing
from pipeline.dmesh.curing import cure, split_pinches
from pipeline.dmesh.filling import zip_gaps
from pipeline.dmesh.patches import Surface
from pipeline.dmesh.selection import SelectionConfig
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.sample_planes import estimate_planes
from pipeline.topology import boundary_edges
from pipeline.types import SurfaceMesh


def _lattice(size: int) -> tuple[np.ndarray, int]:
    """Faces of a triangular lattice of (2 size + 1)^2 vertices, six around each, and its middle vertex."""
    n = 2 * size + 1
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij"))
    a, b, c, d = i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), size * n + size


@pytest.mark.parametrize(("times", "rings"), [(1, 0), (3, 0), (4, 1), (5, 1), (6, 2), (8, 2), (9, 3)])
def test_a_patch_grows_by_a_ring_every_third_time(times: int, rings: int) -> None:
    faces, middle = _lattice(6)
    heat = np.zeros(faces.max() + 1, dtype=np.int64)
    heat[middle] = times
    # k rings around a vertex of the lattice are a hexagon of 6 k^2 triangles.
    patch = curing.grown_patch(faces, np.array([middle]), heat)
    assert patch.sum() == 6 * rings**2
    assert not rings or (faces[patch] == middle).any()


def test_only_the_spots_that_are_wrong_now_are_looked_at() -> None:
    faces, middle = _lattice(6)
    heat = np.full(faces.max() + 1, 9)
    assert not curing.grown_patch(faces, np.zeros(0, dtype=np.int64), heat).any()
    assert curing.grown_patch(faces, np.array([middle]), heat).sum() == 54


def _sphere_with_a_flap(
    icosphere: Callable, sphere_samples: Callable
) -> tuple[Surface, np.ndarray, np.ndarray]:
    """A sphere, its faces, and a face through the inside that hangs on one of its edges."""
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    surface = Surface(points, samples, estimate_planes(samples), SelectionConfig())
    far = int(np.argmin(points @ points[faces[50, 0]]))
    return surface, faces, np.array([[faces[50, 0], faces[50, 1], far]], dtype=np.int32)


def test_a_spot_that_comes_right_keeps_what_is_around_it(
    icosphere: Callable, sphere_samples: Callable
) -> None:
    # The flap and the two faces at its edge go, and the hole of four edges is filled again: that is all.
    surface, faces, flap = _sphere_with_a_flap(icosphere, sphere_samples)
    cured = cure(surface, np.concatenate([faces, flap]))
    summary = surface_summary(SurfaceMesh(surface.points, cured.faces))
    assert summary["watertight"]
    touched = np.isin(faces, flap[0]).any(axis=1)
    far = {tuple(sorted(f)) for f in faces[~touched].tolist()}
    assert far <= {tuple(sorted(f)) for f in cured.faces.tolist()}


def test_a_spot_that_stays_wrong_is_cut_out(icosphere: Callable, sphere_samples: Callable) -> None:
    # A closed needle through the sphere: where it passes, every filling passes through it again.
    surface, faces, _ = _sphere_with_a_flap(icosphere, sphere_samples)
    turn = np.arange(4) * np.pi / 2
    ring = np.column_stack([0.02 * np.cos(turn) + 0.03, 0.02 * np.sin(turn) + 0.05, np.zeros(4)])
    rows = [ring + np.array([0, 0, z]) for z in np.linspace(0.9, 1.1, 4)]
    n = len(surface.points)
    needle = [
        [n + 4 * r + a, n + 4 * r + (a + 1) % 4, n + 4 * (r + 1) + b]
        for r in range(3) for a in range(4) for b in (a,)
    ] + [
        [n + 4 * r + (a + 1) % 4, n + 4 * (r + 1) + (a + 1) % 4, n + 4 * (r + 1) + a]
        for r in range(3) for a in range(4)
    ]  # fmt: skip
    caps = [[n, n + 2, n + 1], [n, n + 3, n + 2], [n + 12, n + 13, n + 14], [n + 12, n + 14, n + 15]]
    pierced = np.concatenate([faces, needle, caps]).astype(np.int32)
    whole = Surface(np.concatenate([surface.points, *rows]), surface.samples, surface.planes, surface.config)
    assert self_intersecting_faces(whole.points, pierced).any()
    cured = cure(whole, pierced)
    assert not self_intersecting_faces(whole.points, cured.faces).any()
    assert surface_summary(SurfaceMesh(whole.points, cured.faces))["oriented"]


def test_sheets_that_meet_in_a_point_get_a_vertex_each(icosphere: Callable) -> None:
    # Two spheres that share vertex 0, the second of fewer faces: its copy moves a quarter of the way inward.
    (points, faces), (small, few) = icosphere(2), icosphere(1)
    moved = small + points[0] - small[0]
    both = np.concatenate([faces, np.where(few == 0, 0, few + len(points))]).astype(np.int32)
    x, split, count = split_pinches(np.concatenate([points, moved]), both)
    assert count == 1
    np.testing.assert_array_equal(x[0], points[0])
    assert surface_summary(SurfaceMesh(x, split))["nonmanifold_vertices"] == 0
    center = moved[few[(few == 0).any(axis=1)]].mean(axis=(0, 1))
    np.testing.assert_allclose(x[-1], 0.75 * points[0] + 0.25 * center, atol=1e-12)
    assert split_pinches(points, faces)[2] == 0


def test_what_defects_were_in_the_way_of_is_zipped_after_them(
    icosphere: Callable, sphere_samples: Callable
) -> None:
    # Two halves of a sphere a vertex apart cannot be zipped while edges there have a flap of a third face.
    surface, faces, _ = _sphere_with_a_flap(icosphere, sphere_samples)
    height = surface.points[faces].mean(axis=1)[:, 2]
    open_ring = faces[np.abs(height) > 0.06]
    rim = boundary_edges(open_ring)
    inward = np.argmin(surface.points @ surface.points[rim[:, 0]].T, axis=0)
    flaps = np.column_stack([rim, inward]).astype(np.int32)
    blocked = np.concatenate([open_ring, flaps])
    assert len(zip_gaps(surface, blocked)) == len(blocked)
    cured = cure(surface, blocked)
    summary = surface_summary(SurfaceMesh(surface.points, cured.faces))
    assert (summary["watertight"], summary["oriented"]) == (True, True)


def test_a_surface_with_slits_all_over_is_known_as_ragged(
    icosphere: Callable, sphere_samples: Callable
) -> None:
    surface, faces, _ = _sphere_with_a_flap(icosphere, sphere_samples)
    assert not cure(surface, faces).is_ragged
    # With three faces in ten taken out, an edge in five is open, and more.
    assert cure(surface, faces[np.random.default_rng(0).random(len(faces)) < 0.7]).is_ragged
