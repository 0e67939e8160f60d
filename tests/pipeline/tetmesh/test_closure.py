"""Closure: what a surface encloses and leaves out, its openings, the share that closes them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import clean_surface
from pipeline.tetmesh.closure import closed_share, count_openings, enclosing_shares, sheets_beside
from pipeline.types import SurfaceMesh
from tests.pipeline.tetmesh.small_surfaces import ball, box, join


def prepare(mesh, device="cpu"):
    clean = clean_surface(mesh.points, mesh.faces, RunContext())
    return clean, SurfaceQuery(clean.points, clean.faces, device)


def shares(mesh, device="cpu"):
    clean, query = prepare(mesh, device)
    places = clean.points[clean.faces].mean(axis=1)
    by_component = enclosing_shares(clean, query, places, np.full(len(places), 1e-3))
    return tuple(float(share.sum()) for share in by_component)


def below(mesh, height):
    return SurfaceMesh(mesh.points, mesh.faces[mesh.points[mesh.faces].mean(axis=1)[:, 2] < height])


def constant(points):
    return np.full(len(points), 0.05)


def test_a_closed_surface_encloses_all_of_it_however_thin(device):
    assert shares(ball(levels=3), device) == (1.0, 0.0)
    assert shares(box([0, 0, 0], [1, 1, 1e-4], 3), device) == (1.0, 0.0)


@pytest.mark.parametrize(("height", "is_enclosing"), [(0.45, False), (0.7, True)])
def test_a_spherical_cap_encloses_from_the_height_at_which_its_pole_sees_three_quarters(height, is_enclosing):
    # From the pole of a cap of height t on a rim of radius 1 the opening takes (1 - t / sqrt(1 + t^2)) / 2 of
    # all directions: one quarter at t = 1 / sqrt(3) = 0.577. On the unit sphere t^2 = (1 + z) / (1 - z).
    z = (height**2 - 1) / (height**2 + 1)
    enclosing, _ = shares(below(ball(levels=5), z))
    assert (enclosing > 0) == is_enclosing


def test_sheets_are_told_from_the_body_beside_them_only_where_they_outweigh_it():
    wide = box([-9, -9, -2], [9, 9, -2 + 1e-3], 3)
    wide = SurfaceMesh(wide.points, wide.faces[(wide.points[wide.faces][:, :, 2] < -1.9995).all(axis=1)])
    wavy = SurfaceMesh(wide.points + [0, 0, 1] * np.sin(wide.points[:, :1]), wide.faces)
    clean, _ = prepare(join(ball(levels=2), wavy))
    body, sheet = np.array([0.01, 0.0]), np.array([0.0, 0.4])
    of_sheet = ~clean.is_closed
    assert of_sheet.sum() == 1
    order = np.argsort(of_sheet)
    np.testing.assert_array_equal(sheets_beside(clean, body[order], sheet[order]), of_sheet)
    assert not sheets_beside(clean, 50 * body[order], sheet[order]).any()


def test_a_zigzag_leaves_out_every_other_half():
    # Slopes of 45 degrees: nothing sees three quarters, and only under the ridges it is inside.
    x, y = (a.ravel() for a in np.meshgrid(np.arange(33), np.arange(17), indexing="ij"))
    i, j = (a.ravel() for a in np.meshgrid(np.arange(32), np.arange(16), indexing="ij"))
    a = 17 * i + j
    faces = np.concatenate([np.stack([a, a + 17, a + 18], 1), np.stack([a, a + 18, a + 1], 1)])
    z = np.abs((x + 2) % 8 - 4)
    enclosing, left_out = shares(SurfaceMesh(np.stack([x, 4 * y, z], 1).astype(float), faces))
    assert enclosing < 0.05
    assert left_out == pytest.approx(0.5, abs=0.1)


def test_openings_are_counted_where_they_are_closed():
    tube = box([0, 0, 0], [1, 1, 2], 3)
    z = tube.points[tube.faces].mean(axis=1)[:, 2]
    tube = SurfaceMesh(tube.points, tube.faces[(z > 1e-9) & (z < 2 - 1e-9)])
    for mesh, count in ((tube, 2), (below(ball(levels=3), 0.5), 1), (ball(levels=3), 0)):
        assert count_openings(*prepare(mesh), constant, 0.02) == count


def test_a_rim_within_the_solid_is_no_opening():
    # A tube from the centre of the ball to its outside: only the outer end is closed.
    spout = box([-0.2, -0.2, 0], [0.2, 0.2, 2], 3)
    z = spout.points[spout.faces].mean(axis=1)[:, 2]
    spout = SurfaceMesh(spout.points, spout.faces[(z > 1e-9) & (z < 2 - 1e-9)])
    assert count_openings(*prepare(join(ball(levels=3), spout)), constant, 0.02) == 1


def test_the_closed_share_is_the_area_away_from_the_surface():
    cube = box([0, 0, 0], [1, 1, 1], 4)
    clean, query = prepare(below(cube, 1 - 1e-9))
    boundary = (cube.points - clean.origin) / clean.diagonal
    # The lid is one side of six, but for the rim that is nearer than half an edge length to the walls.
    rim = 0.5 * 0.05 * clean.diagonal
    share = closed_share(boundary, cube.faces, clean, query, constant)
    assert share == pytest.approx((1 - 2 * rim) ** 2 / 6, abs=0.02)
