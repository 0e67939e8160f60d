"""Holes of a sampled sphere are closed, openings without samples stay, and defects are cured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dmesh.curing import cure, orient_along_tree, unpinch
from pipeline.dmesh.filling import (
    close_curves,
    close_slits,
    drop_specks,
    fill_at_links,
    fill_holes,
    zip_gaps,
)
from pipeline.dmesh.patches import KnownEdges, Surface, triangulate_loops
from pipeline.dmesh.polygons import boundary_loops, cheapest_triangulations, polygon_triangles
from pipeline.dmesh.selection import SelectionConfig
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.sample_planes import estimate_planes
from pipeline.topology import boundary_edges
from pipeline.types import SurfaceMesh

Shapes = Callable[..., np.ndarray]


@pytest.fixture
def sphere(icosphere: Callable, sphere_samples: Shapes) -> tuple[Surface, np.ndarray]:
    points, faces = icosphere(3)
    samples = sphere_samples(20000)
    return Surface(points, samples, estimate_planes(samples), SelectionConfig()), faces


def _closed(surface: Surface, faces: np.ndarray) -> bool:
    s = surface_summary(SurfaceMesh(surface.points, faces))
    whole = (
        s["watertight"]
        and s["oriented"]
        and s["nonmanifold_vertices"] == 0
        and s["euler_characteristic"] == 2
    )
    return whole and not self_intersecting_faces(surface.points, faces).any()


def test_loops_follow_the_half_edges(icosphere: Callable) -> None:
    _, faces = icosphere(1)
    keep = faces[3:][~np.isin(faces[3:], faces[40]).any(axis=1)]
    loops = boundary_loops(keep)
    walked = {tuple(e) for loop in loops for e in np.stack([loop, np.roll(loop, -1)], axis=1).tolist()}
    assert walked == set(map(tuple, boundary_edges(keep).tolist()))


@pytest.mark.parametrize("missing", [1, 2, 6])
def test_a_hole_is_triangulated(sphere: tuple[Surface, np.ndarray], missing: int) -> None:
    surface, faces = sphere
    fan = (
        np.isin(faces, faces[100, :1]).any(axis=1)
        if missing == 6
        else np.isin(np.arange(len(faces)), range(missing))
    )
    filled, failed = fill_holes(surface, faces[~fan])
    assert len(failed) == 0
    assert _closed(surface, filled)


def test_an_opening_without_samples_stays(sphere: tuple[Surface, np.ndarray]) -> None:
    surface, faces = sphere
    cap = surface.samples[:, 2] < 0.7
    samples = surface.samples[cap]
    bare = Surface(surface.points, samples, estimate_planes(samples), SelectionConfig())
    rim = (surface.points[faces][:, :, 2] < 0.75).all(axis=1)
    filled, _ = fill_holes(bare, faces[rim])
    assert len(filled) == rim.sum()


def test_the_border_of_a_sheet_is_no_hole() -> None:
    # A square of 6 by 6 cells: its border of 24 edges could be triangulated again, over the sheet itself.
    i, j = np.meshgrid(np.arange(7), np.arange(7), indexing="ij")
    points = np.column_stack([i.ravel(), j.ravel(), 0.3 * np.sin(i.ravel())]).astype(float)
    at = lambda i, j: (i * 7 + j).ravel()  # noqa: E731
    a, b, c, d = (at(i[:-1, :-1] + u, j[:-1, :-1] + v) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    rng = np.random.default_rng(0)
    samples = np.einsum(
        "nk,nkx->nx", rng.dirichlet(np.ones(3), 4000), points[faces[rng.integers(0, len(faces), 4000)]]
    )
    sheet = Surface(points, samples, estimate_planes(samples), SelectionConfig())
    assert len(fill_holes(sheet, faces)[0]) == len(faces)
    # Ten faces taken out of its middle are a hole.
    inner = np.flatnonzero((np.abs(points[faces].mean(axis=1)[:, :2] - 3) < 1.2).all(axis=1))
    filled, _ = fill_holes(sheet, np.delete(faces, inner, axis=0))
    assert len(inner) > 6
    assert len(boundary_loops(filled)) == 1


def _without_an_edge(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take out face 100 and its neighbour: return the other faces, and the two ends of either diagonal."""
    near = np.isin(faces, faces[100]).sum(axis=1)
    second = int(np.flatnonzero(near == 2)[0])
    common = np.intersect1d(faces[100], faces[second])
    return np.delete(faces, [100, second], axis=0), common, np.setxor1d(faces[100], faces[second])


def test_a_slit_is_closed_beside_what_stands_in_it(sphere: tuple[Surface, np.ndarray]) -> None:
    # A hole of four edges has two triangulations, whose diagonals pass each other at some distance. A small
    # tetrahedron in the middle of the cheaper one leaves the other, and one in either leaves none.
    surface, faces = sphere
    rim, old, other = _without_an_edge(faces)
    n = len(surface.points)
    solid = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    corner = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    middles = [surface.points[ends].mean(axis=0) for ends in (old, other)]
    size = 0.1 * np.linalg.norm(middles[0] - middles[1])
    points = np.concatenate([surface.points, *(m + size * corner for m in middles)])
    whole = Surface(points, surface.samples, surface.planes, surface.config)
    for blocked, free in ((0, other), (1, old)):
        pierced = np.concatenate([rim, solid + n + 4 * blocked]).astype(np.int32)
        closed = close_slits(whole, pierced)
        assert len(closed) == len(pierced) + 2
        assert np.isin(closed[-2:], free).sum(axis=1).tolist() == [2, 2]
        assert _closed(surface, closed[np.r_[: len(rim), -2:0]])
    both = np.concatenate([rim, solid + n, solid + n + 4]).astype(np.int32)
    assert len(close_slits(whole, both)) == len(both)


def test_a_wide_opening_is_no_slit(sphere: tuple[Surface, np.ndarray]) -> None:
    # Samples cover it: its width alone tells. A zone of the sphere 2 edges wide is closed, one of 10 is not.
    surface, faces = sphere
    height = surface.points[faces].mean(axis=1)[:, 2]
    edge = np.median(np.linalg.norm(surface.points[faces[:, 0]] - surface.points[faces[:, 1]], axis=1))
    narrow = faces[height < np.cos(edge)]
    wide = faces[height < np.cos(5 * edge)]
    assert _closed(surface, close_slits(surface, narrow))
    assert len(close_slits(surface, wide)) == len(wide)


def test_a_polygon_takes_the_cheapest_chords_that_are_allowed() -> None:
    triangles = polygon_triangles(4)
    # 012, 013, 023, 123: chord 02 costs 5, chord 13 costs 3.5.
    cost = np.tile([1.0, 2.0, 4.0, 1.5], (3, 1))
    barred = np.zeros((3, 4, 4), dtype=bool)
    barred[1:, 1, 3] = True
    cost[2, 2] = np.inf
    best = cheapest_triangulations(4, triangles, cost, barred)
    assert triangles[best[0]].tolist() == [[0, 1, 3], [1, 2, 3]]
    assert triangles[best[1]].tolist() == [[0, 2, 3], [0, 1, 2]]
    assert (best[2] == -1).all()


def test_a_hole_beside_a_junction_is_closed() -> None:
    # Three pages meet in the z axis; the third lacks a face on the line, and so do its open edges a link.
    j, z = np.meshgrid(np.arange(4), np.arange(5), indexing="ij")
    page = np.concatenate(
        [[[a, b, c], [a, c, d]] for a, b, c, d in ((5 * r + k, 5 * r + k + 5, 5 * r + k + 6, 5 * r + k + 1)
         for r in range(3) for k in range(4))]
    )  # fmt: skip
    angles = np.radians([0, 120, 240])
    points = np.concatenate(
        [np.column_stack([j.ravel() * np.cos(a), j.ravel() * np.sin(a), z.ravel()]) for a in angles]
    )
    faces = np.concatenate([np.where(page < 5, page, page + 20 * k) for k in range(3)]).astype(np.int32)
    links = np.column_stack([np.arange(4), np.arange(1, 5)])
    rng = np.random.default_rng(0)
    corners = points[faces[rng.integers(0, len(faces), 4000)]]
    samples = np.einsum("nk,nkx->nx", rng.dirichlet(np.ones(3), 4000), corners)
    surface = Surface(points, samples, estimate_planes(samples), SelectionConfig(), links=links)
    gone = np.flatnonzero((faces == 1).any(axis=1) & (faces == 2).any(axis=1))[-1]
    filled = fill_at_links(surface, np.delete(faces, gone, axis=0))
    np.testing.assert_array_equal(np.sort(filled[-1]), np.sort(faces[gone]))
    assert len(fill_at_links(surface, faces)) == len(faces)


def test_gaps_are_zipped(sphere: tuple[Surface, np.ndarray]) -> None:
    surface, faces = sphere
    keep = np.random.default_rng(0).uniform(size=len(faces)) > 0.05
    open_before = surface_summary(SurfaceMesh(surface.points, faces[keep]))["boundary_edges"]
    zipped = zip_gaps(surface, faces[keep])
    open_after = surface_summary(SurfaceMesh(surface.points, zipped))["boundary_edges"]
    assert open_after < 0.1 * open_before
    assert surface_summary(SurfaceMesh(surface.points, zipped))["nonmanifold_edges"] == 0


def test_defects_are_cured(sphere: tuple[Surface, np.ndarray]) -> None:
    surface, faces = sphere
    a, b, c = faces[50]
    # A turned face, a third face on an edge, a face through the inside, holes that share a vertex.
    wrong = np.array([[a, b, faces[400, 0]], [faces[10, 0], faces[200, 1], faces[300, 2]]], dtype=np.int32)
    broken = np.concatenate([faces, wrong])
    broken[77] = broken[77][[0, 2, 1]]
    around = np.flatnonzero((faces == c).any(axis=1))
    broken = np.delete(broken, around[[0, 3]], axis=0)
    cured = cure(surface, broken).faces
    assert _closed(surface, cured)


def test_a_moebius_twist_is_local(icosphere: Callable) -> None:
    _, faces = icosphere(2)
    # Two openings joined by a twisted band: no orientation fits, and only few edges may disagree.
    a, b = faces[0], faces[200]
    band = np.array([[a[0], a[1], b[0]], [a[1], b[0], b[1]], [a[1], a[2], b[1]], [a[2], b[1], b[2]]])
    twisted = np.concatenate([np.delete(faces, [0, 200], axis=0), band]).astype(np.int32)
    _, wrong = orient_along_tree(twisted)
    assert 0 < wrong.sum() < 0.2 * len(twisted)
    oriented, none = orient_along_tree(
        np.where(np.arange(len(faces))[:, None] % 2, faces, faces[:, [1, 0, 2]])
    )
    assert not none.any()
    assert surface_summary(SurfaceMesh(np.zeros((len(faces), 3)), oriented))["oriented"]


def test_smaller_fans_and_specks_go(icosphere: Callable) -> None:
    _, faces = icosphere(1)
    speck = faces[:4] + faces.max() + 1
    assert len(drop_specks(np.concatenate([faces, speck]))) == len(faces)
    extra = np.array([[0, 900, 901]], dtype=np.int32)
    np.testing.assert_array_equal(unpinch(np.concatenate([faces, extra])), faces)


def test_ends_of_curves_are_joined(device: str) -> None:
    angle = np.sort(np.random.default_rng(0).uniform(0, 2 * np.pi, 2000))
    samples = np.column_stack([np.cos(angle), np.sin(angle)])
    turn = np.arange(40) * np.pi / 20
    surface = Surface(
        np.column_stack([np.cos(turn), np.sin(turn)]),
        samples,
        estimate_planes(samples),
        SelectionConfig(),
        device,
    )
    ring = np.stack([np.arange(40), (np.arange(40) + 1) % 40], axis=1).astype(np.int32)
    closed = close_curves(surface, np.delete(ring, [3, 20], axis=0))
    assert surface_summary(SurfaceMesh(surface.points, closed))["watertight"]


def test_two_holes_share_no_new_edge(sphere: tuple[Surface, np.ndarray]) -> None:
    surface, faces = sphere
    # Two quads over the same four vertices: what the first takes as its chord the second must not use.
    edge = np.array([faces[0, 0], faces[0, 1]])
    pair = faces[np.isin(faces, edge).sum(axis=1) == 2]
    around = [edge[0], np.setdiff1d(pair[0], edge)[0], edge[1], np.setdiff1d(pair[1], edge)[0]]
    known = KnownEdges(surface, faces[~np.isin(faces, around).all(axis=1)])
    (first,) = triangulate_loops(surface, [np.array(around)], known)
    (keys,) = known.new_edges([first])
    assert len(keys) == 1
    known.add(keys)
    (second,) = triangulate_loops(surface, [np.array(around)], known)
    assert first is not None
    assert second is not None
    assert set(map(frozenset, first.tolist())).isdisjoint(map(frozenset, second.tolist()))
