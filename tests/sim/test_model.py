"""The model of a body: masses, areas, volumes, refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim.material import Material
from sim.model import SoftBodyModel, shape_gradients, surface_faces


def test_mass_volume_and_area_are_those_of_the_box(box: Callable) -> None:
    points, tets = box((2, 3, 4), (1.0, 2.0, 3.0), jitter=0.2)
    model = SoftBodyModel.from_arrays(points, tets, Material(density=5.0))
    assert model.mass == pytest.approx(30.0, rel=1e-13)
    assert model.volumes.sum() == pytest.approx(6.0, rel=1e-13)
    assert model.vertex_areas.sum() == pytest.approx(2 * (2 + 3 + 6), rel=1e-13)
    assert model.size == 3.0


def test_shape_gradients_reproduce_a_linear_field(box: Callable) -> None:
    points, tets = box((2, 2, 2), jitter=0.3)
    gradients, _ = shape_gradients(points, tets)
    slope = np.array([1.0, -2.0, 0.5])
    found = np.einsum("tci,tc->ti", gradients, (points @ slope + 7.0)[tets])
    np.testing.assert_allclose(found, np.tile(slope, (len(tets), 1)), atol=1e-12)


def test_surface_is_closed_and_outward(box: Callable) -> None:
    points, tets = box((3, 2, 2))
    faces = surface_faces(tets)
    a, b, c = (points[faces[:, k]] for k in range(3))
    # Divergence theorem: the volume is the sum of a . (b x c) / 6 over outward triangles.
    assert np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6.0 == pytest.approx(1.0, rel=1e-13)


def test_bad_arrays_are_refused(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    build = SoftBodyModel.from_arrays
    with pytest.raises(ValueError, match="6 of 6 have no positive volume"):
        build(points, tets[:, [1, 0, 2, 3]])
    with pytest.raises(ValueError, match="1 of 9 belong to no tet"):
        build(np.concatenate([points, [[9.0, 9.0, 9.0]]]), tets)
    with pytest.raises(ValueError, match="indices must lie in"):
        build(points[:5], tets)
    with pytest.raises(ValueError, match="at least one row"):
        build(points, np.zeros((0, 4), dtype=int))
    points[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        build(points, tets)
