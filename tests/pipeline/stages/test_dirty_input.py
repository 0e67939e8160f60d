"""Surfaces as they come: each is meshed, manifold, counted in words, and good after optimize."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from pipeline.context import RunContext
from pipeline.io.formats import read_surface
from pipeline.metrics.tet import tet_quality
from pipeline.stages.optimize import optimize
from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
from pipeline.tetmesh.occupancy import boundary_is_manifold
from pipeline.types import SurfaceMesh
from tests.pipeline.tetmesh.small_surfaces import ball, box, join, turned


def holed_bunny():
    """5 % of the faces are missing."""
    surface = read_surface(Path(wp.__file__).parent / "examples" / "assets" / "bunny.usd")
    kept = np.random.default_rng(0).random(len(surface.faces)) > 0.05
    return SurfaceMesh(surface.points, surface.faces[kept])


def pierced():
    return join(ball(levels=3), ball(center=(1, 0.1, 0), radius=0.8, levels=3))


def third_turned():
    surface = ball(levels=4)
    rng = np.random.default_rng(0)
    return turned(surface, rng.permutation(len(surface.faces))[: len(surface.faces) // 3])


def duplicates_and_slivers():
    """1,000 faces twice, and 100 vertices each beside a copy 1e-9 away that spans slivers."""
    surface = ball(levels=4)
    rng = np.random.default_rng(0)
    faces = surface.faces
    twice = faces[rng.permutation(len(faces))[:1000]]
    split = rng.permutation(len(faces))[:100]
    a, b, c = (faces[split, k] for k in range(3))
    new = len(surface.points) + np.arange(100)
    near = surface.points[a] + 1e-9 * rng.normal(size=(100, 3))
    slivers = [np.stack([a, b, new], 1), np.stack([new, b, c], 1), np.stack([a, new, c], 1)]
    faces = np.concatenate([np.delete(faces, split, axis=0), twice, *slivers])
    return SurfaceMesh(np.concatenate([surface.points, near]), faces)


def box_with_cavity():
    return join(box([0, 0, 0], [1, 1, 1]), box([0.3, 0.35, 0.4], [0.7, 0.65, 0.6]))


def plate():
    return box([0, 0, 0], [1, 1, 0.02], 3)


def lathe(profile, count=48):
    """Return the open surface that a profile (r, z) sweeps around the z axis."""
    r, z = np.asarray(profile, dtype=float).T
    phi = 2 * np.pi * np.arange(count) / count
    points = np.stack([np.outer(r, np.cos(phi)), np.outer(r, np.sin(phi)), np.outer(z, np.ones(count))], -1)
    i, j = (v.ravel() for v in np.meshgrid(np.arange(len(r) - 1), np.arange(count), indexing="ij"))
    a, b = count * i + j, count * i + (j + 1) % count
    faces = np.concatenate([np.stack([a, b, b + count], 1), np.stack([a, b + count, a + count], 1)])
    return points.reshape(-1, 3), faces.astype(np.int32)


def pot():
    """Patches that do not meet: a body and a lid with a gap between them, a spout open at both ends through
    the wall, like the teapot."""
    t = np.linspace(-0.5 * np.pi, 0.3 * np.pi, 24)
    body = SurfaceMesh(*lathe(np.stack([np.cos(t) + 1e-4, np.sin(t)], axis=1)))
    t = np.linspace(0.32 * np.pi, 0.5 * np.pi, 8)
    lid = SurfaceMesh(*lathe(np.stack([np.cos(t) + 1e-4, np.sin(t)], axis=1)))
    points, faces = lathe(np.stack([np.full(12, 0.22), np.linspace(0.5, 1.5, 12)], axis=1))
    return join(body, lid, SurfaceMesh(points[:, [2, 0, 1]], faces))


SURFACES = {
    "holed_bunny": (holed_bunny, ("open_edges",), None),
    "pierced": (pierced, (), "pierce each other"),
    "third_turned": (third_turned, ("turned_faces",), None),
    "duplicates": (duplicates_and_slivers, ("duplicate_faces", "welded_vertices", "degenerate_faces"), None),
    "cavity": (box_with_cavity, ("cavities",), None),
    "plate": (plate, (), None),
    "pot": (pot, ("open_edges", "closed_openings", "closed_percent"), "half level set"),
}
"""Makers, what must be counted, and what the log must say."""


def fill(name, count, caplog):
    make, counted, said = SURFACES[name]
    surface, context = make(), RunContext()
    with caplog.at_level(logging.WARNING, logger="simmesh"):
        mesh = tetrahedralize(surface, TetrahedralizeConfig(target_tets=count), context=context)
    assert boundary_is_manifold(mesh.tets)
    assert (mesh.volumes > 0).all()
    assert all(context.counts[key] > 0 for key in counted)
    assert said is None or said in caplog.text
    return surface, mesh


@pytest.mark.parametrize("name", SURFACES)
def test_dirty_input_is_filled_and_what_was_found_is_told(name, caplog):
    _, mesh = fill(name, 1500, caplog)
    assert mesh.labels.max() == 0


@pytest.mark.nightly
@pytest.mark.parametrize("name", SURFACES)
def test_dirty_input_gives_good_tets(name, caplog):
    surface, mesh = fill(name, 15_000, caplog)
    better = optimize(mesh, surface=surface)
    assert boundary_is_manifold(better.tets)
    assert tet_quality(better.points, better.tets)["min_dihedral_angle"].min() >= 20.0
