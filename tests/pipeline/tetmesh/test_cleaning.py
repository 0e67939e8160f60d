"""Cleaning: what is dropped, turned and counted."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.tetmesh.cleaning import clean_surface
from pipeline.types import SurfaceMesh
from tests.pipeline.tetmesh.small_surfaces import ball, box, join, turned


def clean(mesh):
    context = RunContext()
    return clean_surface(mesh.points, mesh.faces, context), context.counts


def volume(result):
    """Signed volume of the cleaned surface in units of the input."""
    a, b, c = (result.points[result.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0) * result.diagonal**3


def test_a_clean_surface_stays_and_nothing_is_counted():
    mesh = ball(levels=2)
    result, counts = clean(mesh)
    assert counts == {}
    assert len(result.faces) == len(mesh.faces)
    assert result.is_closed.all()
    np.testing.assert_allclose(np.linalg.norm(np.ptp(result.points, axis=0)), 1.0)
    np.testing.assert_allclose(result.to_input(result.points).max(axis=0), 1.0)


def test_duplicates_in_any_orientation_are_dropped_and_counted():
    mesh = ball(levels=1)
    faces = np.concatenate([mesh.faces, mesh.faces[3:7], mesh.faces[:5, ::-1]])
    result, counts = clean(SurfaceMesh(mesh.points, faces))
    assert len(result.faces) == len(mesh.faces)
    assert counts == {"duplicate_faces": 9}


def test_a_surface_given_twice_back_to_back_is_kept_once():
    mesh = ball(levels=1)
    result, counts = clean(SurfaceMesh(mesh.points, np.concatenate([mesh.faces, mesh.faces[:, ::-1]])))
    assert len(result.faces) == len(mesh.faces) == counts["duplicate_faces"]
    assert volume(result) > 0


def test_the_wall_between_two_touching_boxes_goes():
    result, counts = clean(join(box([0, 0, 0], [1, 1, 1], 1), box([1, 0, 0], [2, 1, 1], 1)))
    assert counts["inner_walls"] == 8  # 2 triangles of the common side, divided once
    np.testing.assert_allclose(volume(result), 2.0)
    assert result.is_closed.all()


def test_an_unwelded_surface_is_welded():
    mesh = ball(levels=1)
    loose = SurfaceMesh(mesh.points[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    result, counts = clean(loose)
    assert counts["welded_vertices"] == 3 * len(mesh.faces) - len(mesh.points)
    assert result.is_closed.all()


def test_turned_faces_agree_with_the_majority_again():
    mesh = ball(levels=2)
    rows = np.random.default_rng(0).permutation(len(mesh.faces))[: len(mesh.faces) // 3]
    result, counts = clean(turned(mesh, rows))
    assert counts == {"turned_faces": len(rows)}
    np.testing.assert_allclose(volume(result), volume(clean(mesh)[0]))


@pytest.mark.parametrize("closed", [True, False])
def test_an_inside_out_surface_turns_outward(closed):
    mesh = ball(levels=2)
    if not closed:
        mesh = SurfaceMesh(mesh.points, mesh.faces[mesh.points[mesh.faces].mean(axis=1)[:, 2] < 0.6])
    result, counts = clean(turned(mesh))
    assert counts["turned_patches"] == 1
    assert counts["turned_faces"] == len(mesh.faces)
    assert result.volume[0] > 0


def test_faces_turned_twice_are_as_they_came():
    # Most faces look inward: the outward ones agree with them first, then all turn.
    mesh = ball(levels=2)
    rows = np.random.default_rng(0).permutation(len(mesh.faces))[: 2 * len(mesh.faces) // 3]
    _, counts = clean(turned(mesh, rows))
    assert counts["turned_faces"] == len(rows)


def test_edges_with_three_faces_are_counted():
    mesh = ball(levels=2)
    a, b = mesh.faces[0, :2]
    fin = np.array([[a, b, len(mesh.points)]])
    points = np.concatenate([mesh.points, 2 * mesh.points[[a]]])
    _, counts = clean(SurfaceMesh(points, np.concatenate([mesh.faces, fin])))
    assert counts["nonmanifold_edges"] == 1


@pytest.mark.parametrize("inward", [True, False])
def test_a_part_inside_another_is_a_cavity_whichever_way_it_came(inward):
    inner = ball(radius=0.5, levels=2)
    outer = ball(levels=2)
    result, counts = clean(join(outer, turned(inner) if inward else inner))
    assert counts["cavities"] == 1
    sphere = clean(outer)[0]
    np.testing.assert_allclose(volume(result), volume(sphere) * (1 - 0.5**3))


def test_a_part_inside_a_cavity_is_solid_again():
    parts = join(ball(levels=2), ball(radius=0.6, levels=2), ball(radius=0.3, levels=2))
    result, counts = clean(parts)
    assert counts["cavities"] == 1
    assert (np.sign(result.volume) == [1, -1, 1]).all()


def test_parts_that_pierce_each_other_are_no_cavities():
    result, counts = clean(join(ball(levels=2), ball(center=(1, 0, 0), levels=2)))
    assert "cavities" not in counts
    assert (result.volume > 0).all()


@pytest.mark.parametrize(
    "faces", [[[0, 1, 2], [0, 2, 3], [0, 3, 1]], [[0, 1, 2], [1, 2, 0], [2, 1, 0], [0, 2, 1], [1, 0, 2]]]
)
def test_fewer_than_four_different_faces_are_refused(faces):
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    with pytest.raises(StageError, match="at least 4"):
        clean(SurfaceMesh(points, np.array(faces)))


def test_a_surface_without_extent_is_refused():
    with pytest.raises(StageError, match="coincide"):
        clean(SurfaceMesh(np.ones((4, 3)), np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])))
