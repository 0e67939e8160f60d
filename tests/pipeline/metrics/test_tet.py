"""Quality measures of tetrahedra against closed forms and invariances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.metrics.tet import dihedral_angles, quality_summary, tet_quality
from pipeline.types import TetMesh

REGULAR = np.array([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
CORNER = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
TET = np.array([[0, 1, 2, 3]])


def test_regular_tet_has_the_ideal_values():
    quality = tet_quality(REGULAR, TET)
    # All dihedral angles are arccos(1/3); every ratio is normalised to 1; volume = edge^3 / (6 sqrt 2).
    ideal = np.degrees(np.arccos(1 / 3))
    expected = {
        "min_dihedral_angle": ideal,
        "max_dihedral_angle": ideal,
        "mean_ratio": 1,
        "amips": 3,
        "radius_ratio": 1,
        "aspect_ratio": 1,
        "edge_ratio": 1,
        "scaled_jacobian": 1,
        "volume": 8 / 3,
    }
    assert set(quality) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(quality[name], value, rtol=1e-12, err_msg=name)


def test_corner_tet_has_its_closed_form():
    quality = tet_quality(CORNER, TET)
    # Three right angles at the corner, three of arccos(1/sqrt 3) at the slanted face.
    np.testing.assert_allclose(quality["max_dihedral_angle"], 90, rtol=1e-12)
    np.testing.assert_allclose(
        quality["min_dihedral_angle"], np.degrees(np.arccos(1 / np.sqrt(3))), rtol=1e-12
    )
    inradius = 1 / (3 + np.sqrt(3))
    np.testing.assert_allclose(quality["radius_ratio"], (np.sqrt(3) / 2) / (3 * inradius), rtol=1e-12)
    np.testing.assert_allclose(quality["aspect_ratio"], np.sqrt(2) / (2 * np.sqrt(6) * inradius), rtol=1e-12)
    np.testing.assert_allclose(quality["mean_ratio"], 12 * 0.25 ** (1 / 3) / 9, rtol=1e-12)
    np.testing.assert_allclose(quality["scaled_jacobian"], np.sqrt(2) / 2, rtol=1e-12)


def test_quality_does_not_depend_on_place_size_or_numbering():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(4, 3))
    if tet_quality(points, TET)["volume"][0] < 0:
        points[[0, 1]] = points[[1, 0]]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    moved = 7.0 * points @ rotation.T + [3.0, -2.0, 5.0]
    even = np.array([[1, 2, 0, 3]])
    first, second = tet_quality(points, TET), tet_quality(moved, even)
    for name in first:
        factor = 343.0 if name == "volume" else 1.0
        # 1e-9: the shift by a few lengths costs about one digit per length in the differences.
        np.testing.assert_allclose(second[name], factor * first[name], rtol=1e-9, err_msg=name)


def test_angle_of_a_thin_wedge_is_exact():
    angle = 1e-6
    points = np.array([[0, 0, 0], [0, 0, 1.0], [1, 0, 0.5], [np.cos(angle), np.sin(angle), 0.5]])
    # The edge 01 is the hinge of the wedge: its angle is the one given (arccos alone loses half the digits).
    np.testing.assert_allclose(np.radians(dihedral_angles(points, TET)[0, 0]), angle, rtol=1e-9)


@pytest.mark.parametrize("tets", [[[1, 0, 2, 3]], [[0, 1, 2, 2]]])
def test_inverted_and_flat_tets_give_the_worst_value(tets):
    quality = tet_quality(REGULAR, np.array(tets))
    assert quality["volume"][0] <= 0
    assert quality["mean_ratio"][0] == 0
    assert quality["scaled_jacobian"][0] <= 0
    assert np.isinf(quality["radius_ratio"][0])
    assert np.isinf(quality["amips"][0])


def test_no_tets_give_empty_arrays():
    assert all(len(v) == 0 for v in tet_quality(REGULAR, np.zeros((0, 4), dtype=np.int32)).values())


def test_summary_is_json_and_holds_the_extremes():
    mesh = TetMesh(np.concatenate([REGULAR, CORNER + 5]), np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))
    summary = json.loads(json.dumps(quality_summary(mesh)))
    assert summary["tets"] == 2
    np.testing.assert_allclose(summary["min_dihedral_angle"]["min"], np.degrees(np.arccos(1 / np.sqrt(3))))
    np.testing.assert_allclose(summary["volume"]["max"], 8 / 3)
    np.testing.assert_allclose(summary["total_volume"], 8 / 3 + 1 / 6)
