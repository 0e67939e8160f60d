"""Deviation of a boundary, and the offsets that reduce it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.delaunay import tet_volumes
from pipeline.tetmesh.deviation import deviations, fit_boundary
from pipeline.topology import boundary_faces
from tests.pipeline.tetmesh.small_surfaces import ball


def coarse_ball():
    """A ball of few tets with its vertices on a fine sphere."""
    points = np.concatenate([ball(levels=2).points, [[0.0, 0.0, 0.0]]])
    tets = Delaunay(points).simplices.astype(np.int32)
    flip = tet_volumes(points, tets) < 0
    tets[flip] = tets[flip][:, [0, 2, 1, 3]]
    return points, tets[np.abs(tet_volumes(points, tets)) > 1e-9]


def test_deviation_of_an_inscribed_ball_is_its_sag(device):
    points, tets = coarse_ball()
    fine = ball(levels=6)
    to_mesh, to_surface = deviations(
        points, tets, SurfaceQuery(fine.points, fine.faces, device), fine.points, device
    )
    faces, _ = boundary_faces(tets)
    # A face at distance d from the centre of the unit sphere is 1 - d below it at most, at its circumcentre.
    a, b, c = (points[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    sag = 1 - np.abs(np.einsum("ij,ij->i", a, normal)) / np.linalg.norm(normal, axis=1)
    np.testing.assert_allclose(to_surface.max(), sag.max(), rtol=0.02)
    np.testing.assert_allclose(to_mesh.max(), sag.max(), rtol=0.02)


def test_the_fit_halves_the_mean_deviation_and_restores_the_volume():
    points, tets = coarse_ball()
    fine = ball(levels=6)
    query = SurfaceQuery(fine.points, fine.faces)
    moved, back = fit_boundary(points, tets, query, np.zeros(len(points), dtype=bool))
    before = deviations(points, tets, query, fine.points, "cpu")
    after = deviations(moved, tets, query, fine.points, "cpu")
    assert not len(back)
    assert after[0].mean() < 0.5 * before[0].mean()
    assert after[1].mean() < 0.5 * before[1].mean()
    sphere = 4 / 3 * np.pi
    error = [abs(tet_volumes(p, tets).sum() / sphere - 1) for p in (points, moved)]
    assert error[1] < 0.25 * error[0]
    np.testing.assert_array_equal(moved[-1], points[-1])


def test_fixed_vertices_stay_and_tets_stay_positive():
    points, tets = coarse_ball()
    fine = ball(levels=5)
    fixed = points[:, 2] > 0
    moved, _ = fit_boundary(points, tets, SurfaceQuery(fine.points, fine.faces), fixed)
    np.testing.assert_array_equal(moved[fixed], points[fixed])
    assert (tet_volumes(moved, tets) > 0.3 * tet_volumes(points, tets) * (1 - 1e-12)).all()
