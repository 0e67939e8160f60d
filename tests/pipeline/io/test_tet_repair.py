"""Each planted defect is repaired and counted; what is left is the mesh without it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io.formats import read_any, read_tets
from pipeline.io.tet_repair import MESSAGES, repair_tets
from pipeline.types import Frame


def inverted(tets, rows):
    turned = tets.copy()
    turned[rows] = turned[rows][:, [1, 0, 2, 3]]
    return turned


def test_nothing_to_repair_changes_nothing(make_box):
    box = make_box(2, seed=1, labelled=True)
    mesh, counts = repair_tets(box.points, box.tets, box.labels, Frame(0.01, "y"))
    assert counts == {}
    np.testing.assert_array_equal(mesh.points, box.points)
    np.testing.assert_array_equal(mesh.tets, box.tets)
    np.testing.assert_array_equal(mesh.labels, box.labels)
    assert mesh.frame == Frame(0.01, "y")


def test_inverted_tets_are_turned(make_box):
    box = make_box(2, seed=1)
    mesh, counts = repair_tets(box.points, inverted(box.tets, [3, 7, 11]))
    assert counts == {"tets_turned": 3}
    assert mesh.volumes.sum() == pytest.approx(box.volumes.sum(), rel=1e-14)


def test_all_defects_at_once(make_box):
    box = make_box(2, seed=1)
    n = len(box.points)
    corner = box.points[box.tets[0]]
    points = np.vstack([box.points, [[np.nan, 0, 0]], [[9.0, 9, 9]], corner[:3].mean(axis=0, keepdims=True)])
    extra = np.array(
        [
            [0, 1, 2, n],  # not finite
            [0, 1, 2, n + 3],  # outside
            [0, 1, 2, -1],  # outside
            [0, 1, 1, 2],  # repeats a vertex
            [*box.tets[0, :3], n + 2],  # flat: the centre of the face of its other vertices
            box.tets[5][[1, 2, 0, 3]],  # a duplicate, even permutation
            box.tets[6][[1, 0, 2, 3]],  # a duplicate, inverted
        ]
    )
    mesh, counts = repair_tets(points, np.vstack([box.tets, extra]))
    assert counts == {
        "tets_outside": 2,
        "tets_not_finite": 1,
        "tets_degenerate": 1,
        "tets_flat": 1,
        "tets_turned": 1,
        "tets_duplicate": 2,
        "unused_points": 3,
    }
    assert set(counts) == set(MESSAGES)
    np.testing.assert_array_equal(mesh.points, box.points)
    np.testing.assert_array_equal(mesh.tets, box.tets)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_flat_does_not_depend_on_the_unit(make_box, scale):
    box = make_box(1, scale=scale)
    assert repair_tets(box.points, box.tets)[1] == {}
    squashed = box.points * [1, 1, 1e-12]
    with pytest.raises(InputError, match="no tet is left after repair: 6 flat tets"):
        repair_tets(squashed, box.tets)


@pytest.mark.parametrize(
    ("points", "tets", "word"),
    [
        (np.zeros((4, 2)), np.zeros((1, 4), int), "expected points"),
        (np.zeros((4, 3)), np.zeros((1, 3), int), "expected points"),
        (np.zeros((4, 3)), np.zeros((1, 4)), "expected integers"),
        (np.zeros((4, 3)), np.zeros((0, 4), int), "there were none"),
    ],
)
def test_what_cannot_be_repaired(points, tets, word):
    with pytest.raises(InputError, match=word):
        repair_tets(points, tets)


def test_files_are_repaired_on_demand(tmp_path, make_box):
    box = make_box(1)
    np.savez(tmp_path / "mixed.npz", points=box.points, tets=inverted(box.tets, [2]))
    with pytest.raises(InputError, match="1 inverted"):
        read_tets(tmp_path / "mixed.npz")
    for read in (read_any, read_tets):
        context = RunContext()
        assert len(read(tmp_path / "mixed.npz", context=context, repair=True).tets) == 6
        assert context.counts == {"tets_turned": 1}


def test_points_of_no_tet_are_named_and_kept(tmp_path, make_box):
    box = make_box(1)
    np.savez(tmp_path / "a.npz", points=np.vstack([box.points, [[5.0, 5, 5]]]), tets=box.tets)
    context = RunContext()
    assert len(read_tets(tmp_path / "a.npz", context=context).points) == 9
    assert context.counts == {"points_without_tet": 1}
