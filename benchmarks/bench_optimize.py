"""Measure optimize: quality, fidelity and CPU time, whole or with one part left out.

    python benchmarks/bench_optimize.py [SURFACE] [--tets 15000] [--ablation] [--energies] [--exudation]

SURFACE is any surface file; without it, the bunny of the warp-lang wheel. Rows are Markdown. Deviation is the
larger of the two mean distances between the boundary and the surface, over the diagonal of its bounding box.
CPU time is that of the process, kernels compiled before.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import warp as wp
import warp.examples

from pipeline.context import RunContext
from pipeline.io.formats import read_surface
from pipeline.metrics.tet import tet_quality
from pipeline.quality.exudation import exude
from pipeline.quality.fidelity import Fidelity
from pipeline.quality.mesh_state import make_state
from pipeline.stages.optimize import OPERATIONS, OptimizeConfig, optimize
from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
from pipeline.surface_query import SurfaceQuery
from pipeline.types import SurfaceMesh, TetMesh

HEADER = (
    "| variant | tets | min | p01 | mean | max | < 20 | < 30 | deviation | Hausdorff | CPU s |\n"
    + "|---" * 11
    + "|"
)


def row(name: str, mesh: TetMesh, surface: SurfaceMesh, seconds: float) -> str:
    """Return one line of the table."""
    quality = tet_quality(mesh.points, mesh.tets)
    low, high = quality["min_dihedral_angle"], quality["max_dihedral_angle"]
    scale = np.linalg.norm(np.ptp(surface.points[np.unique(surface.faces)], axis=0))
    state = make_state(
        mesh.points / scale,
        mesh.tets,
        crease_edges=np.zeros((0, 2), dtype=np.int32),
        surface=(surface.points / scale, surface.faces),
    )
    measure = Fidelity(state.reference, len(state.connectivity.faces), np.random.default_rng(1))
    deviation = measure.fit(state, 1e-3, 1.0).deviation
    return (
        f"| {name} | {len(mesh.tets)} | {low.min():.1f} | {np.percentile(low, 1):.1f} | {low.mean():.1f} "
        f"| {high.max():.0f} | {int((low < 20).sum())} | {int((low < 30).sum())} | {deviation.mean:.2e} "
        f"| {deviation.largest:.1e} | {seconds:.1f} |"
    )


def variants(ablation: bool, energies: bool) -> dict[str, OptimizeConfig]:
    """Return the configurations to measure by name."""
    result = {"full": OptimizeConfig()}
    if energies:
        result |= {name: OptimizeConfig(energy=name) for name in ("amips", "mean_ratio")}
    if ablation:
        for name in OPERATIONS:
            result[f"no {name.replace('_', ' ')}"] = OptimizeConfig(
                operations=[o for o in OPERATIONS if o != name]
            )
        result["smoothing only"] = OptimizeConfig(operations=[])
        result["connectivity only"] = OptimizeConfig(sweeps=0, fit_weight=0)
        result["no fit"] = OptimizeConfig(fit_weight=0)
        result["no polish"] = OptimizeConfig(polish_rounds=0)
    return result


def measure_exudation(surface: SurfaceMesh, tets: int) -> None:
    """Print how many slivers weights drive out of the Delaunay tets of a mesh's vertices."""
    points = tetrahedralize(surface, TetrahedralizeConfig(target_tets=tets, fit_surface=False)).points
    query = SurfaceQuery(surface.points, surface.faces)
    print("| bound | < 5 | < 10 | < 15 | tets | vertices lost | CPU s |\n" + "|---" * 7 + "|")
    for bound in (0.0, 0.1, 0.3, 0.7):
        start = time.process_time()
        result = exude(points, lambda p: query.winding_number(p) > 0.5, bound=bound, steps=30 if bound else 0)
        seconds = time.process_time() - start
        best = min(result.history, key=lambda row: row["badness"])
        slivers = " | ".join(f"{best[f'below_{k}']:.0f}" for k in (5, 10, 15))
        lost = len(points) - len(np.unique(result.tets))
        print(f"| {bound} | {slivers} | {len(result.tets)} | {lost} | {seconds:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("surface", nargs="?", type=Path)
    parser.add_argument("--tets", type=int, default=15_000)
    parser.add_argument("--ablation", action="store_true", help="leave out one part after the other")
    parser.add_argument("--energies", action="store_true", help="other energies")
    parser.add_argument("--exudation", action="store_true", help="vertex weights alone, nothing else")
    arguments = parser.parse_args()
    wp.config.quiet = True
    logging.getLogger("simmesh").setLevel(logging.WARNING)
    path = arguments.surface or Path(warp.examples.get_asset_directory()) / "bunny.usd"
    surface = read_surface(path)
    if arguments.exudation:
        measure_exudation(surface, arguments.tets)
        return
    start = time.process_time()
    mesh = tetrahedralize(surface, TetrahedralizeConfig(target_tets=arguments.tets))
    print(HEADER)
    print(row("input (tetrahedralize)", mesh, surface, time.process_time() - start), flush=True)
    optimize(mesh, OptimizeConfig(rounds=1, fit_rounds=1, polish_rounds=2), surface=surface)
    for name, config in variants(arguments.ablation, arguments.energies).items():
        start = time.process_time()
        result = optimize(mesh, config, surface=surface, context=RunContext())
        print(row(name, result, surface, time.process_time() - start), flush=True)


if __name__ == "__main__":
    main()
