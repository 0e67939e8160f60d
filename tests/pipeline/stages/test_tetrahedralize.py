"""The stage: volume, topology, budget, creases, dirty input and errors."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
from pipeline.tetmesh.occupancy import boundary_is_manifold
from pipeline.tetmesh.solid import extract_solid
from pipeline.topology import boundary_faces
from pipeline.types import Frame, SurfaceMesh
from tests.pipeline.tetmesh.small_surfaces import (
    CUBE_FACES,
    CUBE_POINTS,
    ball,
    box,
    enclosed_volume,
    join,
    turned,
)

SMALL = TetrahedralizeConfig(target_tets=1000, lloyd_iterations=10, relax_iterations=2, adapt_rounds=1)


def fill(surface, config=SMALL, **keywords):
    context = RunContext(**keywords)
    mesh = tetrahedralize(surface, config, context=context)
    assert boundary_is_manifold(mesh.tets)
    return mesh, context.counts


def euler(mesh):
    """Euler characteristic of the boundary: V - E + F, with 2 E = 3 F on a closed surface."""
    faces, _ = boundary_faces(mesh.tets)
    return len(np.unique(faces)) - len(faces) // 2


def test_a_cube_is_filled_exactly_with_its_creases(device):
    mesh, _ = fill(SurfaceMesh(CUBE_POINTS, CUBE_FACES, frame=Frame(0.001, "y")), device=device)
    np.testing.assert_allclose(mesh.volumes.sum(), 1.0, rtol=1e-12)
    assert euler(mesh) == 2
    assert mesh.frame == Frame(0.001, "y")
    ends = mesh.points[mesh.crease_edges]
    at_side = np.isclose(ends, 0, atol=1e-9) | np.isclose(ends, 1, atol=1e-9)
    assert (at_side.all(axis=1).sum(axis=1) == 2).all()
    # All twelve creases of length 1 are made of these edges.
    np.testing.assert_allclose(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum(), 12.0, rtol=1e-9)


def test_a_ball_has_its_volume_and_the_topology_of_a_ball(device):
    surface = ball(levels=4)
    mesh, _ = fill(surface, device=device)
    # Faces cut 2 % off at this size without the least-squares offsets; with them less than 0.5 %.
    np.testing.assert_allclose(mesh.volumes.sum(), enclosed_volume(surface), rtol=5e-3)
    assert euler(mesh) == 2
    assert mesh.labels.max() == 0


@pytest.mark.parametrize("count", [800, 3000])
def test_the_number_of_tets_is_near_the_target(count):
    needle = SurfaceMesh(ball(levels=4).points * [1, 0.1, 0.1], ball(levels=4).faces)
    # A quarter of the tets of the needle is peeled off: the count must be that of the solid.
    for surface in (ball(levels=4), box([0, 0, 0], [3, 1, 0.5], 3), needle):
        mesh, _ = fill(surface, TetrahedralizeConfig(target_tets=count))
        assert 0.8 * count <= len(mesh.tets) <= 1.2 * count


def test_repairs_of_attempts_that_are_thrown_away_do_not_count(monkeypatch):
    calls = []

    def halved_at_first(*arguments):
        solid = extract_solid(*arguments)
        calls.append(len(solid.tets))
        arguments[-1].count("attempts", 1, "attempts")
        # Too few tets: the stage tries once more.
        return replace(solid, tets=solid.tets[::2]) if len(calls) == 1 else solid

    monkeypatch.setattr("pipeline.stages.tetrahedralize.extract_solid", halved_at_first)
    _, counts = fill(ball(levels=3))
    assert len(calls) > 1
    assert counts["attempts"] == 1


def test_the_edge_length_is_the_one_asked_for():
    mesh, _ = fill(box([0, 0, 0], [1, 1, 1], 2), TetrahedralizeConfig(edge_length=0.15, grading=0.3))
    pairs = np.concatenate([mesh.tets[:, [i, j]] for i in range(4) for j in range(i)])
    length = np.linalg.norm(mesh.points[pairs[:, 0]] - mesh.points[pairs[:, 1]], axis=1)
    np.testing.assert_allclose(np.median(length), 0.15, rtol=0.2)


def test_a_cavity_stays_hollow():
    mesh, counts = fill(join(box([0, 0, 0], [1, 1, 1]), box([0.3] * 3, [0.7] * 3)))
    assert counts["cavities"] == 1
    np.testing.assert_allclose(mesh.volumes.sum(), 1 - 0.4**3, rtol=1e-2)
    assert euler(mesh) == 4


def test_two_parts_get_two_labels():
    mesh, _ = fill(join(ball(levels=3), ball(center=(3, 0, 0), radius=0.5, levels=3)))
    assert set(mesh.labels) == {0, 1}
    center = np.array([mesh.points[mesh.tets[mesh.labels == k]].mean(axis=(0, 1)) for k in (0, 1)])
    np.testing.assert_allclose(np.sort(center[:, 0]), [0, 3], atol=0.05)


def test_parts_that_pierce_each_other_become_one():
    surface = join(ball(levels=3), ball(center=(1, 0, 0), levels=3))
    mesh, _ = fill(surface)
    # Two unit balls at distance 1 share a lens of pi (4 + 1)(2 - 1)^2 / 12.
    expected = 2 * enclosed_volume(ball(levels=3)) - 5 * np.pi / 12
    np.testing.assert_allclose(mesh.volumes.sum(), expected, rtol=0.02)
    assert euler(mesh) == 2
    assert mesh.labels.max() == 0


def test_a_torus_keeps_its_hole():
    u, v = (a.ravel() for a in np.meshgrid(np.arange(48), np.arange(24), indexing="ij"))
    ring = 1 + 0.4 * np.cos(2 * np.pi * v / 24)
    phi = 2 * np.pi * u / 48
    points = np.stack([ring * np.cos(phi), ring * np.sin(phi), 0.4 * np.sin(2 * np.pi * v / 24)], axis=1)

    def index(i, j):
        return (i % 48) * 24 + j % 24

    a, b, c, d = index(u, v), index(u + 1, v), index(u + 1, v + 1), index(u, v + 1)
    mesh, _ = fill(SurfaceMesh(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])))
    assert euler(mesh) == 0
    np.testing.assert_allclose(mesh.volumes.sum(), 2 * np.pi**2 * 0.4**2, rtol=0.03)


def test_holes_are_closed(caplog):
    surface = ball(levels=4)
    height = surface.points[surface.faces].mean(axis=1)[:, 2]
    with caplog.at_level(logging.WARNING, logger="simmesh"):
        mesh, _ = fill(SurfaceMesh(surface.points, surface.faces[height < 0.85]))
    assert euler(mesh) == 2
    assert "half level set" in caplog.text
    # The half level set caps the hole between the flat disk and the sphere: the volume lies between theirs.
    cap = np.pi * 0.15**2 * (3 - 0.15) / 3
    assert 4 / 3 * np.pi - 1.5 * cap < mesh.volumes.sum() < 4 / 3 * np.pi


def test_scattered_missing_and_turned_faces_do_no_harm():
    surface = ball(levels=4)
    rng = np.random.default_rng(0)
    kept = np.flatnonzero(rng.random(len(surface.faces)) > 0.05)
    dirty = turned(
        SurfaceMesh(surface.points, surface.faces[kept]), rng.permutation(len(kept))[: len(kept) // 3]
    )
    mesh, counts = fill(dirty)
    assert counts["turned_faces"] == len(kept) // 3
    np.testing.assert_allclose(mesh.volumes.sum(), enclosed_volume(surface), rtol=0.01)
    assert euler(mesh) == 2


def test_a_thin_plate_is_filled():
    mesh, _ = fill(box([0, 0, 0], [1, 1, 0.02], 3), TetrahedralizeConfig(target_tets=3000))
    np.testing.assert_allclose(mesh.volumes.sum(), 0.02, rtol=1e-4)  # flat tets on the sides are left out
    assert euler(mesh) == 2


def test_position_and_unit_do_not_matter():
    surface = ball(levels=3)
    plain, _ = fill(surface)
    # Powers of two change no digit.
    scaled, _ = fill(SurfaceMesh(1024.0 * surface.points, surface.faces))
    np.testing.assert_array_equal(scaled.tets, plain.tets)
    np.testing.assert_allclose(scaled.points, 1024.0 * plain.points, rtol=1e-12)
    far, _ = fill(SurfaceMesh(surface.points + 1e4, surface.faces))
    np.testing.assert_allclose(far.volumes.sum(), plain.volumes.sum(), rtol=1e-2)


def test_the_seed_decides_the_mesh():
    surface = ball(levels=3)
    first, again, other = fill(surface)[0], fill(surface)[0], fill(surface, seed=1)[0]
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.tets, again.tets)
    assert len(first.points) != len(other.points) or not np.array_equal(first.points, other.points)


def test_volumes_stay_positive_in_single_precision():
    mesh, _ = fill(box([10, 10, 10], [11, 11, 11], 2))
    rounded = mesh.points.astype(np.float32).astype(np.float64)
    a, b, c, d = (rounded[mesh.tets[:, k]] for k in range(4))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) > 0).all()


def test_a_part_too_small_for_the_budget_is_reported(caplog):
    surface = join(ball(levels=3), ball(center=(2, 0, 0), radius=0.004, levels=2))
    with caplog.at_level(logging.WARNING, logger="simmesh"):
        mesh, counts = fill(surface)
    if mesh.labels.max() == 0:
        assert counts["lost_parts"] == 1
        assert "missing" in caplog.text


@pytest.mark.parametrize("end", [0.0, 0.85])
def test_the_opening_that_was_closed_is_counted_with_its_share(end):
    surface = ball(levels=4)
    height = surface.points[surface.faces].mean(axis=1)[:, 2]
    _, counts = fill(SurfaceMesh(surface.points, surface.faces[height < end]))
    assert counts["closed_openings"] == 1
    # A flat disk over the rest of the sphere; the half level set bulges, faces near the rim are surface.
    share = (1 - end**2) / (1 - end**2 + 2 * (1 + end))
    assert 0.5 * share < counts["closed_percent"] / 100 < 1.3 * share


def test_a_closed_surface_has_no_openings():
    _, counts = fill(ball(levels=3))
    assert not {"closed_openings", "closed_percent", "open_edges", "nonmanifold_edges"} & set(counts)


def open_sheet(bend=0.0):
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 12), indexing="ij"))
    i, j = (a.ravel() for a in np.meshgrid(np.arange(11), np.arange(11), indexing="ij"))
    a = 12 * i + j
    faces = np.concatenate([np.stack([a, a + 12, a + 13], 1), np.stack([a, a + 13, a + 1], 1)])
    return SurfaceMesh(np.stack([x, y, bend * np.sin(np.pi * x) * np.sin(np.pi * y)], 1), faces)


@pytest.mark.parametrize("bend", [0.0, 0.1])
def test_an_open_sheet_encloses_nothing(bend):
    with pytest.raises(StageError, match="encloses nothing"):
        tetrahedralize(open_sheet(bend), SMALL)


@pytest.mark.parametrize(
    ("size", "height", "waves"), [(1, 0.1, 3), (8, 0.1, 3), (1, 0.5, np.pi), (1, 0.5, 10), (1, 0.5, 20)]
)
def test_a_wavy_sheet_encloses_nothing(size, height, waves):
    flat = open_sheet()
    x, y = size * flat.points[:, 0], size * flat.points[:, 1]
    with pytest.raises(StageError, match="encloses nothing"):
        tetrahedralize(SurfaceMesh(np.stack([x, y, height * np.sin(waves * x)], 1), flat.faces), SMALL)


def test_a_small_body_beside_a_wide_sheet_is_filled_and_the_sheet_is_counted(caplog):
    body, sheet = ball(levels=3), open_sheet(0.1)
    wide = SurfaceMesh(20 * sheet.points - [10, 10, 5], sheet.faces)
    with caplog.at_level(logging.WARNING, logger="simmesh"):
        mesh, counts = fill(join(body, wide))
    assert counts["open_sheets"] == 1
    assert "left out" in caplog.text
    np.testing.assert_allclose(mesh.volumes.sum(), enclosed_volume(body), rtol=0.02)
    assert euler(mesh) == 2


def test_a_tray_without_lid_is_a_body():
    tray = box([0, 0, 0], [1, 1, 0.3], 3)
    is_lid = (np.abs(tray.points[tray.faces][:, :, 2] - 0.3) < 1e-9).all(axis=1)
    mesh, counts = fill(SurfaceMesh(tray.points, tray.faces[~is_lid]))
    assert counts["closed_openings"] == 1
    # The half level set sags into the tray.
    assert 0.2 < mesh.volumes.sum() < 0.3


def test_segments_in_the_plane_are_refused():
    with pytest.raises(ValueError, match="triangles in space"):
        tetrahedralize(SurfaceMesh(np.eye(3)[:, :2], np.array([[0, 1], [1, 2], [2, 0]])))


def test_a_surface_without_faces_is_refused():
    with pytest.raises(StageError, match="no faces"):
        tetrahedralize(SurfaceMesh(np.eye(3), np.zeros((0, 3), dtype=np.int32)))


def test_an_edge_length_that_would_take_too_many_tets_is_refused():
    with pytest.raises(StageError, match="longer edge"):
        tetrahedralize(ball(levels=2), TetrahedralizeConfig(edge_length=1e-4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_tets", 3),
        ("edge_length", -1.0),
        ("grading", 0.0),
        ("crease_angle", 0.0),
        ("lloyd_iterations", 0),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"tetrahedralize.{field}"):
        TetrahedralizeConfig(**{field: value})
