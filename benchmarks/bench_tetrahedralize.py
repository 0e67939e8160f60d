"""Time tetrahedralize phase by phase and measure what it makes, beside pytetwild where that is installed.

    python benchmarks/bench_tetrahedralize.py [SURFACE ...] [--tets 6000 15000] [--no-baseline]

Without files, the surfaces inside the warp-lang wheel are taken. Kernels are compiled before the clock
starts. CPU time is that of the process, all threads. Lengths are over the bounding-box diagonal, angles in
degrees; quality is that of the tessellation alone, which `optimize` improves afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import warp as wp

from pipeline.context import RunContext
from pipeline.errors import SimmeshError
from pipeline.io.formats import read_surface
from pipeline.metrics.tet import tet_quality
from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.deviation import deviations
from pipeline.tetmesh.sampling import corner_normals, sample_faces
from pipeline.types import SurfaceMesh, TetMesh

WHEEL = ("bunny.usd", "bear.usd", "nonuniform.usd", "sphere.usd", "cube.usd")
HEADER = (
    f"{'surface':<16}{'mesher':<11}{'tets':>8}{'CPU s':>8}{'wall s':>8}{'min':>7}{'p01':>7}{'mean':>7}"
    f"{'mean dev':>11}{'max dev':>10}"
)


class PhaseClock(RunContext):
    """Adds up the CPU time between the records of a stage, by phase."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: dict[str, float] = {}
        self.last = time.process_time()

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        now = time.process_time()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self.last
        self.last = now


def row(name: str, mesher: str, surface: SurfaceMesh, mesh: TetMesh, cpu: float, wall: float) -> str:
    """Return one line of the table."""
    used = surface.points[np.unique(surface.faces)]
    diagonal = float(np.linalg.norm(np.ptp(used, axis=0)))
    angle = tet_quality(mesh.points, mesh.tets)["min_dihedral_angle"]
    normals = corner_normals(surface.points, surface.faces, 40.0)
    samples = sample_faces(surface.points, surface.faces, normals, 50_000, np.random.default_rng(0)).points
    query = SurfaceQuery(surface.points, surface.faces)
    both = deviations(mesh.points, mesh.tets, query, samples, "cpu")
    mean, largest = (max(f(d) for d in both) / diagonal for f in (np.mean, np.max))
    return (
        f"{name:<16}{mesher:<11}{len(mesh.tets):>8}{cpu:>8.1f}{wall:>8.1f}{angle.min():>7.1f}"
        f"{np.percentile(angle, 1):>7.1f}{angle.mean():>7.1f}{mean:>11.2e}{largest:>10.1e}"
    )


def run_ours(name: str, surface: SurfaceMesh, count: int) -> None:
    context = PhaseClock()
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        mesh = tetrahedralize(surface, TetrahedralizeConfig(target_tets=count), context=context)
    except SimmeshError as error:
        print(f"{name:<16}{'simmesh':<11}{error}")
        return
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(row(name, "simmesh", surface, mesh, cpu, wall))
    print("   CPU s: " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in context.phases.items()))
    if context.counts:
        print("   " + ", ".join(f"{key} {value}" for key, value in context.counts.items()))


def run_baseline(name: str, surface: SurfaceMesh) -> None:
    """fTetWild with its default edge length; it cannot be given a number of tets."""
    import pytetwild

    cpu, wall = time.process_time(), time.perf_counter()
    # fTetWild writes the surface that it tracks into the current folder.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        points, tets = pytetwild.tetrahedralize(surface.points, surface.faces, quiet=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    tets = np.asarray(tets, dtype=np.int32)
    edges = points[tets[:, 1:]] - points[tets[:, :1]]
    turned = np.linalg.det(edges) < 0
    tets[turned] = tets[turned][:, [0, 2, 1, 3]]
    print(row(name, "pytetwild", surface, TetMesh(points, tets), cpu, wall))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("surface", nargs="*", type=Path)
    parser.add_argument("--tets", type=int, nargs="+", default=[6000])
    parser.add_argument("--no-baseline", action="store_true")
    arguments = parser.parse_args()
    wp.config.quiet = True
    assets = Path(wp.__file__).parent / "examples" / "assets"
    paths = arguments.surface or [assets / name for name in WHEEL]
    baseline = not arguments.no_baseline
    if baseline:
        try:
            import pytetwild  # noqa: F401
        except ImportError as error:
            print(f"without pytetwild: {error}")
            baseline = False
    warm = read_surface(assets / "cube.usd")
    tetrahedralize(warm, TetrahedralizeConfig(target_tets=100))
    print(HEADER)
    for path in paths:
        surface = read_surface(path)
        for count in arguments.tets:
            run_ours(path.name, surface, count)
        if baseline:
            run_baseline(path.name, surface)


if __name__ == "__main__":
    main()
