"""Further tries where the first surface leaves samples bare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.dmesh.placement import PlacementConfig
from pipeline.dmesh.retrying import DENSITIES, Decide, fidelity, retry
from pipeline.errors import StageError
from pipeline.points.normalization import normalize_samples
from pipeline.points.survey import Survey, survey_samples
from pipeline.types import Indices, PointCloud, Points


def sphere_and_survey() -> tuple[Points, Indices, Survey]:
    """A sphere of 2,000 vertices, which are 2,000 of its 4,000 samples."""
    from scipy.spatial import ConvexHull

    rng = np.random.default_rng(2)
    points = rng.normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    survey = survey_samples(normalize_samples(PointCloud(points)), RunContext())
    vertices = survey.samples[::2]  # samples are ordered in space
    return vertices, ConvexHull(vertices).simplices.astype(np.int32), survey


def without_cap(points: Points, faces: Indices, height: float) -> Indices:
    """Leave out the faces above a height."""
    return faces[points[faces][:, :, 2].mean(axis=1) < height]


def never(placement: PlacementConfig, context: RunContext) -> tuple[Points, Indices]:
    raise AssertionError("a good surface was decided again")


def run(
    points: Points,
    faces: Indices,
    survey: Survey,
    decide: Decide,
    context: RunContext,
    max_faces: int = 20000,
) -> Indices:
    earlier = {"dropped_outliers": 9}
    return retry(points, faces, decide, survey, PlacementConfig(), max_faces, context, earlier)[1]


def test_a_cap_that_is_missing_is_a_loop_and_bare_samples() -> None:
    points, faces, survey = sphere_and_survey()
    assert fidelity(points, faces, survey).is_good
    cut = fidelity(points, without_cap(points, faces, 0.45), survey)
    assert cut.loops == 1
    # The cap above 0.45 on a sphere of diameter 1 has a twentieth of its area.
    assert 0.5 * 4000 / 20 < cut.bare < 4000 / 20
    assert fidelity(points, faces, survey).is_better_than(cut)


def test_a_surface_near_all_samples_is_not_decided_again() -> None:
    points, faces, survey = sphere_and_survey()
    assert run(points, faces, survey, never, RunContext()) is faces


def test_the_best_of_the_tries_is_kept_with_its_counts() -> None:
    points, faces, survey = sphere_and_survey()
    heights = iter([0.3, 0.45, 0.2])
    seen = []

    def decide(placement: PlacementConfig, context: RunContext) -> tuple[Points, Indices]:
        seen.append(placement.samples_per_vertex / PlacementConfig().samples_per_vertex)
        height = next(heights)
        context.count("cured_faces", height * 100, "of the try")
        return points, without_cap(points, faces, height)

    context = RunContext()
    context.counts.update(cured_faces=7, filled_faces=8, split_vertices=3, dropped_outliers=9)
    found = run(points, without_cap(points, faces, 0.4), survey, decide, context)
    assert seen == list(DENSITIES)
    np.testing.assert_array_equal(found, without_cap(points, faces, 0.45))
    assert context.counts == {"cured_faces": 45, "dropped_outliers": 9, "chosen_again": 3}


def test_a_try_that_finds_no_surface_does_not_end_the_search() -> None:
    points, faces, survey = sphere_and_survey()
    tries = iter([False, True])

    def decide(placement: PlacementConfig, context: RunContext) -> tuple[Points, Indices]:
        if not next(tries):
            raise StageError("no face")
        return points, faces

    assert run(points, without_cap(points, faces, 0.4), survey, decide, RunContext()) is faces


@pytest.mark.parametrize("max_faces", [200, 500])
def test_samples_that_do_not_limit_the_vertices_are_not_decided_again(max_faces: int) -> None:
    points, faces, survey = sphere_and_survey()
    cut = without_cap(points, faces, 0.4)
    assert run(points, cut, survey, never, RunContext(), max_faces) is cut


def test_a_part_that_is_cut_off_is_worse_than_samples_farther_away() -> None:
    points, faces, survey = sphere_and_survey()
    whole = fidelity(points, faces, survey)
    # A tetrahedron of its own beside the sphere.
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) * 0.01 + 0.6
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], dtype=np.int32) + len(points)
    two = fidelity(np.concatenate([points, corners]), np.concatenate([faces, tetrahedron]), survey)
    assert (whole.parts, two.parts) == (1, 2)
    farther = replace(whole, distance=2 * whole.distance)
    assert farther.is_better_than(two)
