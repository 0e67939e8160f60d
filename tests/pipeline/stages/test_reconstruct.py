"""The reconstruct stage end to end: closed surfaces, curves, bad input, resuming, invariance."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.context import RunContext
from pipeline.errors import InputError, StageError
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.stages.reconstruct import STAGE, ReconstructConfig, reconstruct
from pipeline.types import Frame, PointCloud, SurfaceMesh


def sphere(count: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1)[:, None]


def bunny(count: int) -> np.ndarray:
    """Random points of the bunny that ships inside Warp's wheel."""
    from pxr import Usd, UsdGeom

    spec = find_spec("warp")
    assert spec is not None
    assert spec.origin is not None
    stage = Usd.Stage.Open(str(Path(spec.origin).parent / "examples/assets/bunny.usd"))
    prims = [UsdGeom.Mesh(p) for p in stage.Traverse() if p.IsA(UsdGeom.Mesh)]
    mesh = max(prims, key=lambda m: len(m.GetPointsAttr().Get()))
    x = np.array(mesh.GetPointsAttr().Get(), dtype=float)
    corners = x[np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)]
    rng = np.random.default_rng(1)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    return np.einsum("nk,nkx->nx", rng.dirichlet(np.ones(3), count), corners[face])


def assert_closed(mesh: SurfaceMesh, euler: int) -> dict[str, Any]:
    s = surface_summary(mesh)
    assert s["watertight"]
    assert s["oriented"]
    assert s["nonmanifold_vertices"] == 0
    assert s["euler_characteristic"] == euler
    assert s["volume"] > 0
    assert not self_intersecting_faces(mesh.points, mesh.faces).any()
    return s


def test_a_sphere_is_closed_and_fits(device: str) -> None:
    mesh = reconstruct(PointCloud(sphere(8000)), context=RunContext(device=device))
    s = assert_closed(mesh, 2)
    assert s["faces"] <= 20000
    # The mean sagitta of n equal triangles on the unit sphere is below 4 pi / (sqrt(3) n).
    assert s["volume"] == pytest.approx(4 * np.pi / 3, rel=3 * 4 * np.pi / (np.sqrt(3) * s["faces"]))
    assert s["aspect_ratio"]["above_4_percent"] < 0.1


def test_a_noisy_sphere_is_closed_and_smoother_than_its_samples() -> None:
    noise = 0.03
    points = sphere(8000) + np.random.default_rng(1).normal(0, noise, (8000, 3))
    mesh = reconstruct(PointCloud(points))
    assert_closed(mesh, 2)
    # Between the vertices lies at most the sagitta s^2 / 8 of edges s of some 9 noise deviations.
    offset = np.abs(np.linalg.norm(mesh.points[mesh.faces].mean(axis=1), axis=1) - 1)
    assert offset.mean() < noise / 2


@pytest.mark.parametrize("count", [3000, 12000])
def test_the_bunny_is_closed(count: int) -> None:
    context = RunContext()
    assert_closed(reconstruct(PointCloud(bunny(count)), context=context), 2)
    assert "open_edges" not in context.counts


@pytest.mark.slow
def test_the_bunny_is_coarsened_within_its_samples() -> None:
    points = bunny(50000)
    mesh = reconstruct(PointCloud(points), ReconstructConfig(max_faces=5000))
    s = assert_closed(mesh, 2)
    assert 4990 <= s["faces"] <= 5000


def test_a_cube_keeps_its_edges() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (20000, 3))
    axis = rng.integers(0, 3, len(x))
    x[np.arange(len(x)), axis] = rng.choice([-1.0, 1.0], len(x))
    mesh = reconstruct(PointCloud(x), ReconstructConfig(max_faces=800))
    s = assert_closed(mesh, 2)
    # Cutting the 12 edges of length 2 at the sample spacing h = sqrt(24 / 20000) loses 12 * 2 * h^2 / 2.
    lost = 12 * 2 * (24 / 20000) / 2
    assert abs(s["volume"] - 8.0) < lost / 2
    assert s["area"] == pytest.approx(24.0, rel=2e-3)


def test_scale_and_place_do_not_matter() -> None:
    points = sphere(3000)
    plain = reconstruct(PointCloud(points))
    frame = Frame(metres_per_unit=0.001, up="y")
    moved = reconstruct(PointCloud(points * 512 + np.array([1024.0, -2048, 4096]), frame=frame))
    assert moved.frame == frame
    # Powers of two: rounding differs only in the last bits, so topology and shape agree.
    np.testing.assert_array_equal(moved.faces, plain.faces)
    back = (moved.points - np.array([1024.0, -2048, 4096])) / 512
    np.testing.assert_allclose(back, plain.points, atol=1e-9)


def test_the_result_depends_on_points_and_seed_alone() -> None:
    cloud = PointCloud(bunny(3000))
    first, second = reconstruct(cloud), reconstruct(cloud)
    np.testing.assert_array_equal(first.faces, second.faces)
    np.testing.assert_array_equal(first.points, second.points)
    other = reconstruct(cloud, context=RunContext(seed=1))
    assert first.points.shape != other.points.shape or (first.points != other.points).any()


class _Saving(RunContext):
    """Keeps checkpoints, and stops a run after one of them."""

    def __init__(self, stop_after: int = 99, saved: tuple[int, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.stop_after, self.saved = stop_after, saved
        self.phases: list[str] = []

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        assert total is not None
        assert 0 <= step <= total
        self.phases.append(phase)

    def checkpoint(self, step: int, **arrays: Any) -> None:
        self.saved = (step, {k: v.copy() for k, v in arrays.items()})
        if step == self.stop_after:
            raise KeyboardInterrupt

    def restore(self) -> tuple[int, dict[str, Any]] | None:
        return self.saved


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_an_interrupted_run_ends_with_the_same_mesh(stop_after: int) -> None:
    cloud, config = PointCloud(sphere(3000)), ReconstructConfig(max_faces=600)
    whole = _Saving()
    expected = reconstruct(cloud, config, context=whole)
    assert list(dict.fromkeys(whole.phases)) == [
        "planes", "vertices", "faces", "closing", "fit", "coarsening", "orientation"
    ]  # fmt: skip
    broken = _Saving(stop_after)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(cloud, config, context=broken)
    resumed = _Saving(saved=broken.saved)
    mesh = reconstruct(cloud, config, context=resumed)
    np.testing.assert_array_equal(mesh.points, expected.points)
    np.testing.assert_array_equal(mesh.faces, expected.faces)
    assert "vertices" not in resumed.phases


def test_an_interrupted_optimization_ends_with_the_same_mesh() -> None:
    cloud = PointCloud(sphere(1500))
    config = ReconstructConfig()
    config.optimization.enabled = True
    config.optimization.iterations, config.optimization.checkpoint_every = 30, 10
    expected = reconstruct(cloud, config)
    assert_closed(expected, 2)

    class Stops(_Saving):
        def checkpoint(self, step: int, **arrays: Any) -> None:
            super().checkpoint(step, **arrays)
            if int(arrays.get("loop_step", 0)) == 20:
                raise KeyboardInterrupt

    broken = Stops()
    with pytest.raises(KeyboardInterrupt):
        reconstruct(cloud, config, context=broken)
    mesh = reconstruct(cloud, config, context=_Saving(saved=broken.saved))
    np.testing.assert_array_equal(mesh.faces, expected.faces)
    np.testing.assert_array_equal(mesh.points, expected.points)


def test_given_normals_are_used() -> None:
    points = sphere(3000)
    mesh = reconstruct(PointCloud(points, normals=-points))
    # Their signs agree with each other, so they decide: the surface faces inward.
    assert surface_summary(mesh)["volume"] < 0
    shuffled = points * np.random.default_rng(0).choice([-1.0, 1.0], (len(points), 1))
    assert_closed(reconstruct(PointCloud(points, normals=shuffled)), 2)


def test_duplicates_are_merged_and_counted() -> None:
    points = sphere(1500)
    context = RunContext()
    mesh = reconstruct(PointCloud(np.concatenate([points, points[:700]])), context=context)
    assert context.counts["merged_duplicates"] == 700
    np.testing.assert_array_equal(mesh.points, reconstruct(PointCloud(points)).points)


def test_an_open_sheet_keeps_its_border() -> None:
    x = np.random.default_rng(0).uniform(size=(8000, 2))
    sheet = np.column_stack([x, 0.1 * np.sin(3 * x[:, 0])])
    context = RunContext()
    s = surface_summary(reconstruct(PointCloud(sheet), context=context))
    assert (s["boundary_loops"], s["nonmanifold_edges"], s["euler_characteristic"]) == (1, 0, 1)
    assert context.counts["open_edges"] == s["boundary_edges"]


def test_letter_like_curves_are_closed() -> None:
    # A capital A of straight strokes, unevenly sampled: outline of 8 corners and a triangular counter.
    outer = np.array([[0.0, 0], [4, 10], [6, 10], [10, 0], [8, 0], [7, 3], [3, 3], [2, 0]])
    inner = np.array([[3.8, 5.0], [6.2, 5.0], [5, 8.5]])
    rng = np.random.default_rng(0)
    points, length = [], 0.0
    for loop in (outer, inner):
        for k, (a, b) in enumerate(zip(loop, np.roll(loop, -1, axis=0))):
            count = 150 * (1 + k % 3)
            points.append(a + (np.arange(count)[:, None] + rng.uniform(size=(count, 1))) / count * (b - a))
            length += float(np.linalg.norm(b - a))
    mesh = reconstruct(PointCloud(np.concatenate(points)))
    s = surface_summary(mesh)
    assert s["watertight"]
    assert (s["components"], s["junctions"]) == (2, 0)
    assert s["length"] == pytest.approx(length, rel=5e-3)


BAD = {
    "at least 4": (sphere(3), InputError),
    "equal": (np.ones((20, 3)), InputError),
    "one plane": (np.column_stack([sphere(50)[:, :2], np.zeros(50)]), InputError),
    "one straight line": (np.linspace(0, 1, 30)[:, None] * [1.0, 2, 3], InputError),
    "do not lie on a surface.*remove outliers": (
        np.random.default_rng(0).uniform(size=(3000, 3)),
        StageError,
    ),
    "too few or too noisy": (np.random.default_rng(0).uniform(size=(12, 3)), StageError),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_clouds_are_refused_with_cause_and_remedy(message: str) -> None:
    points, error = BAD[message]
    with pytest.raises(error, match=message):
        reconstruct(PointCloud(points))


@pytest.mark.parametrize("field", [{"max_faces": 3}, {"max_error": -1.0}])
def test_settings_are_checked(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        ReconstructConfig(**field)


def test_stage_record() -> None:
    assert (STAGE.name, STAGE.inputs, STAGE.output) == ("reconstruct", ("point_cloud",), "surface_mesh")
    assert isinstance(STAGE.config(), ReconstructConfig)
