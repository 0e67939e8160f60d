"""Measure tetrahedralize and optimize beside other meshers: time, quality, fidelity, cost of a solve.

    python -m benchmarks.bench_tets [SURFACE ...] [--tets 15000 ...] [--phases] [--no-baseline]
    python -m benchmarks.bench_tets [SURFACE] --ablation | --energies | --exudation [--tets 15000]

Without files the surfaces of the warp-lang wheel are taken; the second form takes the first surface alone.
pytetwild (extra `baselines`) runs with its defaults, as it cannot be given a number of tets. Rows are
Markdown. CPU time is that of the process with all its threads, kernels compiled before; angles in degrees;
AMIPS is 3 for a regular tet. Deviation is the larger mean and Hausdorff the largest distance between boundary
and surface, both ways, over the diagonal of the bounding box. `PCG` counts the iterations of the elasticity
system under the body's own weight, to 1e-8.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import warp as wp
import warp.examples

from pipeline.context import RunContext
from pipeline.errors import SimmeshError
from pipeline.io.formats import read_surface
from pipeline.metrics.tet import tet_quality
from pipeline.quality.exudation import exude
from pipeline.quality.fidelity import Fidelity
from pipeline.quality.mesh_state import make_state
from pipeline.stages.optimize import OPERATIONS, OptimizeConfig, optimize
from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import compact
from pipeline.types import SurfaceMesh, TetMesh
from sim.material import Material
from sim.model import SoftBodyModel
from sim.readiness import conditioning

WHEEL = ("bunny.usd", "bear.usd", "nonuniform.usd")
COLUMNS = (
    *("surface", "mesher", "CPU s", "wall s", "tets", "min", "p01", "mean", "max", "< 20", "< 30"),
    *("AMIPS mean", "AMIPS max", "deviation", "Hausdorff", "PCG"),
)
_SAMPLES = 20
"""Samples per boundary triangle of the measured distances."""


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


class Clock:
    """CPU and wall time of a block [s]."""

    def __enter__(self) -> Clock:
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu, self.wall = time.process_time() - self.cpu, time.perf_counter() - self.wall


def print_row(cells: tuple[object, ...]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_header(columns: tuple[str, ...]) -> None:
    print_row(columns)
    print("|---" * len(columns) + "|")


def measure(surface: SurfaceMesh, mesh: TetMesh, name: str, mesher: str, cpu: float, wall: float) -> None:
    """Print one line of the table."""
    quality = tet_quality(mesh.points, mesh.tets)
    low, high, amips = (quality[k] for k in ("min_dihedral_angle", "max_dihedral_angle", "amips"))
    scale = np.linalg.norm(np.ptp(surface.points[np.unique(surface.faces)], axis=0))
    state = make_state(
        mesh.points / scale,
        mesh.tets,
        crease_edges=np.zeros((0, 2), dtype=np.int32),
        surface=(surface.points / scale, surface.faces),
    )
    samples = Fidelity(state.reference, _SAMPLES * len(state.connectivity.faces), np.random.default_rng(1))
    deviation = samples.fit(state, 1e-3, 1.0).deviation
    print_row(
        (
            *(name, mesher, f"{cpu:.1f}", f"{wall:.1f}", len(mesh.tets), f"{low.min():.1f}"),
            *(f"{np.percentile(low, 1):.1f}", f"{low.mean():.1f}", f"{high.max():.0f}"),
            *(int((low < 20).sum()), int((low < 30).sum()), f"{amips.mean():.2f}", f"{amips.max():.1f}"),
            *(f"{deviation.mean:.1e}", f"{deviation.largest:.1e}", iterations(mesh)),
        )
    )


def iterations(mesh: TetMesh) -> int | str:
    """Return the iterations of conjugate gradients with block-Jacobi scaling on the mesh."""
    points, tets, _ = compact(mesh.points, mesh.tets)
    found = conditioning(SoftBodyModel.from_arrays(points, tets, Material()), held=0.05)["cg_iterations"]
    return "none" if found is None else int(found)


def run_ours(name: str, surface: SurfaceMesh, count: int, phases: bool) -> None:
    clocks = PhaseClock(), PhaseClock()
    with Clock() as first:
        start = tetrahedralize(surface, TetrahedralizeConfig(target_tets=count), context=clocks[0])
    clocks[1].last = time.process_time()
    with Clock() as second:
        mesh = optimize(start, surface=surface, context=clocks[1])
    measure(surface, start, name, "tetrahedralize", first.cpu, first.wall)
    measure(surface, mesh, name, "and optimize", first.cpu + second.cpu, first.wall + second.wall)
    if phases:
        times = {k: v for clock in clocks for k, v in clock.phases.items()}
        print("\nCPU s: " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in times.items()) + "\n")


def run_pytetwild(surface: SurfaceMesh) -> TetMesh:
    """fTetWild with its defaults; it writes the surface that it tracks into the current folder."""
    import pytetwild

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # Copies: it takes no arrays that are read-only.
        points, tets = pytetwild.tetrahedralize(surface.points.copy(), surface.faces.copy(), quiet=True)
    tets = np.asarray(tets, dtype=np.int32)
    turned = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]]) < 0
    tets[turned] = tets[turned][:, [0, 2, 1, 3]]
    return TetMesh(points, tets)


BASELINES: dict[str, Callable[[SurfaceMesh], TetMesh]] = {"pytetwild": run_pytetwild}
"""Meshers of others by the package that must be installed."""


def installed_baselines() -> dict[str, Callable[[SurfaceMesh], TetMesh]]:
    found = {}
    for package, mesher in BASELINES.items():
        try:
            __import__(package)
        except ImportError as error:
            print(f"without {package}: {error}")
        else:
            found[package] = mesher
    return found


def compare(paths: list[Path], counts: list[int], phases: bool, baselines: bool) -> None:
    """Print our stages and the baselines, surface by surface."""
    meshers = installed_baselines() if baselines else {}
    print_header(COLUMNS)
    for path in paths:
        surface = read_surface(path)
        for count in counts:
            try:
                run_ours(path.stem, surface, count, phases)
            except SimmeshError as error:
                print_row((path.stem, "simmesh", str(error)))
        for mesher, run in meshers.items():
            with Clock() as clock:
                mesh = run(surface)
            measure(surface, mesh, path.stem, mesher, clock.cpu, clock.wall)
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def variants(ablation: bool) -> dict[str, OptimizeConfig]:
    """Return the configurations of optimize to measure by name."""
    result = {"full": OptimizeConfig()}
    if not ablation:
        return result | {name: OptimizeConfig(energy=name) for name in ("amips", "mean_ratio")}
    for name in OPERATIONS:
        kept = [o for o in OPERATIONS if o != name]
        result[f"no {name.replace('_', ' ')}"] = OptimizeConfig(operations=kept)
    return result | {
        "creases kept": OptimizeConfig(crease_min_dihedral=0.0),
        "smoothing only": OptimizeConfig(operations=[]),
        "connectivity only": OptimizeConfig(sweeps=0, fit_weight=0),
        "no fit": OptimizeConfig(fit_weight=0),
        "no polish": OptimizeConfig(polish_rounds=0),
    }


def compare_variants(path: Path, count: int, configs: dict[str, OptimizeConfig]) -> None:
    """Print optimize with each configuration on one mesh; times are those of the stage alone."""
    surface = read_surface(path)
    with Clock() as clock:
        start = tetrahedralize(surface, TetrahedralizeConfig(target_tets=count))
    print_header(COLUMNS)
    measure(surface, start, path.stem, "tetrahedralize", clock.cpu, clock.wall)
    for name, config in configs.items():
        with Clock() as clock:
            mesh = optimize(start, config, surface=surface)
        measure(surface, mesh, path.stem, name, clock.cpu, clock.wall)


def measure_exudation(path: Path, count: int) -> None:
    """Print how many slivers weights drive out of the Delaunay tets of a mesh's vertices."""
    surface = read_surface(path)
    config = TetrahedralizeConfig(target_tets=count, fit_surface=False)
    points = tetrahedralize(surface, config).points
    query = SurfaceQuery(surface.points, surface.faces)
    print_header(("bound", "< 5", "< 10", "< 15", "tets", "vertices lost", "CPU s"))
    for bound in (0.0, 0.1, 0.3, 0.7):
        with Clock() as clock:
            result = exude(
                points, lambda p: query.winding_number(p) > 0.5, bound=bound, steps=30 if bound else 0
            )
        best = min(result.history, key=lambda row: row["badness"])
        slivers = [f"{best[f'below_{k}']:.0f}" for k in (5, 10, 15)]
        lost = len(points) - len(np.unique(result.tets))
        print_row((bound, *slivers, len(result.tets), lost, f"{clock.cpu:.1f}"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("surface", nargs="*", type=Path)
    parser.add_argument("--tets", type=int, nargs="+", default=[15_000])
    parser.add_argument("--phases", action="store_true", help="CPU time by phase")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument(
        "--ablation", action="store_true", help="leave out one part of optimize after the other"
    )
    parser.add_argument("--energies", action="store_true", help="other energies of optimize")
    parser.add_argument("--exudation", action="store_true", help="vertex weights alone, nothing else")
    arguments = parser.parse_args()
    wp.config.log_level = wp.LOG_WARNING
    logging.getLogger("simmesh").setLevel(logging.WARNING)
    assets = Path(warp.examples.get_asset_directory())
    paths = arguments.surface or [assets / name for name in WHEEL]
    cube = read_surface(assets / "cube.usd")
    small = tetrahedralize(cube, TetrahedralizeConfig(target_tets=100))
    iterations(optimize(small, OptimizeConfig(rounds=2, fit_rounds=1, polish_rounds=1), surface=cube))
    if arguments.exudation:
        measure_exudation(paths[0], arguments.tets[0])
    elif arguments.ablation or arguments.energies:
        compare_variants(paths[0], arguments.tets[0], variants(arguments.ablation))
    else:
        compare(paths, arguments.tets, arguments.phases, not arguments.no_baseline)


if __name__ == "__main__":
    main()
