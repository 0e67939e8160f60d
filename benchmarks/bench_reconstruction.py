"""Reconstruction from points: CPU seconds per phase and the quality of the surface.

    python benchmarks/bench_reconstruction.py [--points 50000] [--faces 20000] [MESH.obj ...]

Samples a surface (without arguments: a torus, a cube, and the bunny inside Warp's wheel), reconstructs it,
and prints one row per shape: CPU seconds of the phases, mean distance of the surface to the original (acc)
and back (comp) in units of 1e-3 of the longest side, exact from 50,000 samples each, and the topology.
Kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.context import RunContext
from pipeline.dmesh.refinement import closest_on_faces
from pipeline.io.formats import read_surface
from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.sampling import sample_surface
from pipeline.stages.reconstruct import PHASES, ReconstructConfig, reconstruct
from pipeline.types import PointCloud, SurfaceMesh

JUDGED = 50000


def torus() -> SurfaceMesh:
    """Return a finely meshed torus of radii 0.38 and 0.12."""
    n, m = 400, 160
    a, b = np.meshgrid(np.arange(n) * 2 * np.pi / n, np.arange(m) * 2 * np.pi / m, indexing="ij")
    r = 0.38 + 0.12 * np.cos(b)
    points = np.stack([r * np.cos(a), r * np.sin(a), 0.12 * np.sin(b)], axis=-1).reshape(-1, 3)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(m), indexing="ij"))
    at = lambda i, j: (i % n) * m + j % m  # noqa: E731
    p, q, s, t = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    return SurfaceMesh(points, np.concatenate([np.stack([p, q, s], 1), np.stack([p, s, t], 1)]))


def cube() -> SurfaceMesh:
    """Return the unit cube."""
    corners = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij")).reshape(3, -1).T
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return SurfaceMesh(corners, np.array([[q[0], *q[k : k + 2]] for q in quads for k in (1, 2)]))


def bunny() -> SurfaceMesh:
    """Return the bunny that ships inside Warp's wheel."""
    spec = find_spec("warp")
    if spec is None or spec.origin is None:
        raise SystemExit("warp is not installed")
    return read_surface(Path(spec.origin).parent / "examples" / "assets" / "bunny.usd")


class Clock(RunContext):
    """Adds up CPU seconds by phase."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.last = time.process_time()

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        now = time.process_time()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self.last
        self.last = now


def measure(name: str, mesh: SurfaceMesh, points: int, config: ReconstructConfig) -> str:
    """Reconstruct one shape from samples; return a row of the table."""
    size = np.ptp(mesh.points, axis=0).max()
    mesh = SurfaceMesh((mesh.points - mesh.points.mean(axis=0)) / size, mesh.faces)
    cloud = sample_surface(mesh, points, seed=12345)
    clock = Clock()
    result = reconstruct(PointCloud(cloud.points), config, context=clock)
    reference = sample_surface(mesh, JUDGED, seed=1).points
    own = sample_surface(result, JUDGED, seed=2).points
    comp = closest_on_faces(result.points, result.faces, reference).distance.mean() * 1e3
    acc = closest_on_faces(mesh.points, mesh.faces, own).distance.mean() * 1e3
    s = surface_summary(result)
    crossing = int(self_intersecting_faces(result.points, result.faces).sum())
    phases = " ".join(f"{clock.seconds.get(p, 0.0):6.2f}" for p in PHASES)
    return (
        f"{name:12s} {sum(clock.seconds.values()):6.1f} {phases} {s['faces']:7d} {acc:7.4f} {comp:7.4f} "
        f"{s['aspect_ratio']['above_4_percent']:6.2f} {s['watertight']!s:>6} "
        f"{s['nonmanifold_edges']:4d} {crossing:4d}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and judge the reconstruction of surfaces from points.")
    parser.add_argument(
        "meshes", nargs="*", type=Path, help="surface files; a torus, a cube, the bunny if none"
    )
    parser.add_argument("--points", type=int, default=50000, help="samples per shape")
    parser.add_argument("--faces", type=int, default=20000, help="faces of the result, at most")
    options = parser.parse_args()
    shapes: dict[str, Callable[[], SurfaceMesh]] = {"torus": torus, "cube": cube, "bunny": bunny}
    meshes = {p.stem: read_surface(p) for p in options.meshes} or {n: make() for n, make in shapes.items()}
    config = ReconstructConfig(max_faces=options.faces)
    reconstruct(PointCloud(sample_surface(cube(), 3000).points), ReconstructConfig(max_faces=200))
    head = " ".join(f"{p[:6]:>6}" for p in PHASES)
    print(
        f"{'shape':12s} {'CPU s':>6} {head} {'faces':>7} {'acc':>7} {'comp':>7} {'AR>4':>6} closed  NME   SI"
    )
    for name, mesh in meshes.items():
        print(measure(name, mesh, options.points, config), flush=True)


if __name__ == "__main__":
    main()
