"""Labels, manifold repair, crumbs and flat tets."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import clean_surface
from pipeline.tetmesh.delaunay import tessellate, tet_volumes
from pipeline.tetmesh.occupancy import boundary_is_manifold, make_manifold, make_occupancy
from pipeline.tetmesh.solid import extract_solid, is_flat, smallest_dihedral
from pipeline.topology import components
from tests.pipeline.tetmesh.small_surfaces import ball, box, join


def two_tets(shared):
    """Two tets that share a vertex (1), an edge (2) or a face (3)."""
    second = {1: [0, 4, 5, 6], 2: [0, 1, 4, 5], 3: [0, 1, 2, 4]}
    return np.array([[0, 1, 2, 3], second[shared]], dtype=np.int32)


@pytest.mark.parametrize(("shared", "manifold"), [(1, False), (2, False), (3, True)])
def test_pinched_boundaries_are_recognised(shared, manifold):
    assert boundary_is_manifold(two_tets(shared)) is manifold


def test_random_labels_become_manifold():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (150, 3))
    tets = tessellate(points, rng)
    real = (tets < len(points)).all(axis=1)
    volume = np.ones(len(tets))
    volume[real] = np.abs(tet_volumes(points, tets[real]))
    inside = real & (rng.random(len(tets)) < 0.5)
    assert not boundary_is_manifold(tets[inside])
    context = RunContext()
    fixed = make_manifold(tets, inside, volume, real, context)
    assert fixed.any()
    assert not fixed[~real].any()
    assert boundary_is_manifold(tets[fixed])
    assert context.counts["manifold_flips"] == (fixed != inside).sum()


def test_a_manifold_labelling_stays():
    mesh = ball(levels=3)
    clean = clean_surface(mesh.points, mesh.faces, RunContext())
    rng = np.random.default_rng(0)
    tets = tessellate(clean.points, rng)
    real = (tets < len(clean.points)).all(axis=1)
    context = RunContext()
    fixed = make_manifold(tets, real, np.ones(len(tets)), real, context)
    np.testing.assert_array_equal(fixed, real)
    assert context.counts == {}


def test_a_body_of_mirror_images_is_labelled_place_by_place():
    # Tets of a grid across the flat faces of a box are mirror images: their clear balls touch in a point.
    surface = box([-0.3] * 3, [0.3] * 3, 3)
    query = SurfaceQuery(surface.points, surface.faces)
    steps = np.linspace(-0.5, 0.5, 11)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    tets = tessellate(grid, np.random.default_rng(0))
    tets = tets[(tets < len(grid)).all(axis=1)]
    tets = tets[tet_volumes(grid, tets) > 1e-6]
    inside = make_occupancy(query, len(grid), True)(grid, tets)
    np.testing.assert_array_equal(inside, (np.abs(grid[tets].mean(axis=1)) < 0.3).all(axis=1))


@pytest.mark.parametrize("is_closed", [True, False])
def test_occupancy_follows_the_surface(is_closed):
    mesh = join(ball(levels=3), ball(radius=0.5, levels=3))
    clean = clean_surface(mesh.points, mesh.faces, RunContext())
    query = SurfaceQuery(clean.points, clean.faces)
    rng = np.random.default_rng(0)
    tets = tessellate(clean.points, rng)
    tets = tets[(tets < len(clean.points)).all(axis=1)]
    inside = make_occupancy(query, len(clean.points), is_closed)(clean.points, tets)
    # The shell between two polyhedra inscribed in spheres of radius 1 and 0.5, in units of the diagonal.
    volume = tet_volumes(clean.points, tets[inside]).sum() * clean.diagonal**3
    np.testing.assert_allclose(volume, clean.volume.sum() * clean.diagonal**3, rtol=1e-2)


def test_crumbs_go_but_small_parts_of_the_input_stay():
    mesh = join(ball(levels=3), ball(center=(2, 0, 0), radius=0.1, levels=2))
    clean = clean_surface(mesh.points, mesh.faces, RunContext())
    query = SurfaceQuery(clean.points, clean.faces)
    context = RunContext()
    solid = extract_solid(clean.points, len(clean.points), clean, query, np.random.default_rng(0), context)
    piece = components(solid.tets, 3)
    assert piece.max() == 1  # the small ball has 0.1 % of the volume, and is a part of its own
    assert "crumbs" not in context.counts


def test_flat_tets_are_told_in_double_and_in_single_precision():
    surface = box([0, 0, 0], [1, 1, 1], 0)
    clean = clean_surface(surface.points, surface.faces, RunContext())
    points = np.array(
        [[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1], [0.03, 0.03, 1e-12], [0.03, 0.03, 1e-4]]
    )
    tets = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 5], [0, 2, 1, 3]])
    assert is_flat(points, tets, clean).tolist() == [False, True, False, True]


def test_smallest_dihedral_of_known_tets():
    s = np.sqrt(1 / 3)
    regular = s * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    corner = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    points = np.concatenate([regular, corner])
    angle = smallest_dihedral(points, np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))
    # acos(1/3) for the regular tet; between a coordinate plane and x + y + z = 1: acos(1/sqrt 3).
    np.testing.assert_allclose(angle, np.degrees([np.arccos(1 / 3), np.arccos(1 / np.sqrt(3))]))
