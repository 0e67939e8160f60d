"""Size field: bounds, growth, budget; and the lattice that follows it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.lattice import graded_lattice, interior_points
from pipeline.tetmesh.sampling import corner_normals, sample_faces
from pipeline.tetmesh.sizing import AdaptedSizeField, SizeField, local_sizes
from tests.pipeline.tetmesh.small_surfaces import ball, box, enclosed_volume


def field_of(mesh, grading=0.5, wanted=None):
    query = SurfaceQuery(mesh.points, mesh.faces)
    normals = corner_normals(mesh.points, mesh.faces, 40.0)
    samples = sample_faces(mesh.points, mesh.faces, normals, 5000, np.random.default_rng(0))
    sizes = local_sizes(samples, query) if wanted is None else wanted(samples.points)
    return SizeField(samples.points, sizes, query, enclosed_volume(mesh), grading, 40), query


UNIT = ball(radius=0.5 / np.sqrt(3), levels=4)  # bounding box with diagonal 1


@pytest.mark.parametrize("grading", [0.2, 0.5])
def test_the_field_grows_no_faster_than_the_grading_along_each_axis(grading):
    field, _ = field_of(UNIT, grading, lambda p: np.where(p[:, 0] > 0.1, 0.02, 0.2))
    field.set_base(0.1)
    for axis in range(3):
        step = np.abs(np.diff(field.values, axis=axis))
        assert step.max() <= grading * field.cell * (1 + 1e-12)
    assert np.ptp(field.values) > 0.03


def test_the_field_is_the_lower_envelope_of_city_block_cones():
    field, _ = field_of(UNIT, 0.5, lambda p: 0.03 + 0.1 * np.abs(p[:, 2]))
    field.set_base(0.1)
    rng = np.random.default_rng(1)
    node = np.stack([rng.integers(0, n, 40) for n in field.shape], axis=1)
    source = np.stack(field._nodes(), axis=1)
    distance = np.abs(node[:, None] - source[None]).sum(axis=2) * field.cell
    expected = np.minimum((field.sample_sizes(0.1) + 0.5 * distance).min(axis=1), 0.15)
    np.testing.assert_allclose(field.values[tuple(node.T)], expected, rtol=1e-12)


@pytest.mark.parametrize("count", [500, 6000, 100_000])
def test_the_budget_fixes_the_base_size(count):
    field, _ = field_of(UNIT)
    field.fit(count)
    np.testing.assert_allclose(field.estimate(), count, rtol=1e-3)


def test_a_thin_plate_asks_for_edges_shorter_than_its_thickness():
    mesh = box([0, 0, 0], [0.7, 0.7, 0.04], 3)
    query = SurfaceQuery(mesh.points, mesh.faces)
    normals = corner_normals(mesh.points, mesh.faces, 40.0)
    samples = sample_faces(mesh.points, mesh.faces, normals, 4000, np.random.default_rng(0))
    sizes = local_sizes(samples, query)
    middle = (np.abs(samples.points[:, :2] - 0.35) < 0.25).all(axis=1)
    np.testing.assert_allclose(sizes[middle], 0.4 * 0.04, rtol=0.02)  # rays start 1e-4 inside


def test_curvature_asks_for_a_fraction_of_the_radius():
    radius = 0.05
    mesh = ball(radius=radius, levels=5)
    query = SurfaceQuery(mesh.points, mesh.faces)
    normals = corner_normals(mesh.points, mesh.faces, 40.0)
    samples = sample_faces(mesh.points, mesh.faces, normals, 4000, np.random.default_rng(0))
    # min(0.4 * thickness 2 r, 0.8 r) = 0.8 r either way
    np.testing.assert_allclose(np.median(local_sizes(samples, query)), 0.8 * radius, rtol=0.1)


def test_adapting_shrinks_where_the_deviation_is_large():
    field, _ = field_of(UNIT)
    field.fit(6000)
    deviation = np.where(field.samples[:, 2] > 0, 1e-2, 1e-4)
    adapted = AdaptedSizeField.adapt(field, deviation, 0.35)
    adapted.fit(6000)
    top, bottom = np.array([[0.0, 0.0, 0.28]]), np.array([[0.0, 0.0, -0.28]])
    assert adapted(top)[0] < 0.6 * adapted(bottom)[0]
    assert adapted(top)[0] < field(top)[0]


def test_the_lattice_has_the_density_of_the_field():
    field, query = field_of(UNIT, 0.5, lambda p: np.full(len(p), 0.05))
    field.high = 1.0
    field.set_base(0.05)
    field.values[:] = 0.05
    points = graded_lattice(field, np.full(3, -0.3), np.full(3, 0.3))
    inside = np.abs(points).max(axis=1) < 0.25
    # Two points per cube of side 1.12 h, in a box of side 0.5; the faces of the box cut cubes.
    np.testing.assert_allclose(inside.sum(), 2 * (0.5 / (1.12 * 0.05)) ** 3, rtol=0.15)
    interior = interior_points(field, query, UNIT.points)
    assert (query.closest(interior).distance >= 0.55 * 0.05 - 1e-12).all()
    assert (query.winding_number(interior) > 0.5).all()


def test_graded_levels_cover_without_holes_or_crowds():
    field, _ = field_of(UNIT, 0.5, lambda p: np.where(p[:, 0] > 0.2, 0.015, 0.15))
    field.set_base(0.1)
    from scipy.spatial import cKDTree

    points = graded_lattice(field, np.full(3, -0.25), np.full(3, 0.25))
    queries = np.random.default_rng(0).uniform(-0.2, 0.2, (3000, 3))
    # The lattice covers within 0.56 of the cube side 1.12 h; between two levels up to sqrt(2) more.
    assert (cKDTree(points).query(queries)[0] < 1.4 * field(queries)).all()
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    assert (nearest > 0.2 * field(points)).all()
