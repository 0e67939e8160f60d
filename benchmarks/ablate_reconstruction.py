"""What each part of the reconstruction contributes: one row per part that is switched off (or on), per shape.

    python benchmarks/ablate_reconstruction.py MESH.obj ... [--points 50000] [--faces 5000] [--only WORD ...]

Parts are switched by settings where there is one, and else by replacing the function of a stage for the time
of a run. The columns are those of surface_judge.py, then `dropped` vertices of the Chamfer loop and CPU
seconds, kernels warm. Each row is one run; differences of a few percent are chance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from bench_reconstruction import SAMPLING_SEED, cube
from surface_judge import Judgement, judge, normalized

from pipeline.context import RunContext
from pipeline.dmesh.curing import Cured
from pipeline.dmesh.extraction import Support
from pipeline.dmesh.optimization import OptimizationConfig
from pipeline.dmesh.refinement import RefinementConfig
from pipeline.errors import StageError
from pipeline.io.formats import read_surface
from pipeline.points.feature_lines import FeatureLines
from pipeline.points.sampling import sample_surface
from pipeline.stages.reconstruct import ReconstructConfig, reconstruct
from pipeline.topology import orient_faces
from pipeline.types import PointCloud, SurfaceMesh

NEVER = 1e9


@dataclass(frozen=True)
class Part:
    """A part of the stage, and how it is switched."""

    settings: Callable[[ReconstructConfig], ReconstructConfig] = field(default=lambda config: config)
    functions: dict[str, Any] = field(default_factory=dict)
    """What stands for a function or constant, by its import path."""


def _full_support(points: Any, faces: Any, *_: Any, **__: Any) -> Support:
    """Every face is supported perfectly: the minimum-ball margin alone decides."""
    n = len(faces)
    return Support(np.zeros(n), np.zeros(n), np.ones(n))


def _loop(iterations: int, step_bound: float, moves_real: bool) -> Part:
    loop = OptimizationConfig(
        enabled=True, iterations=iterations, step_bound=step_bound, move_real_values=moves_real
    )
    return Part(lambda config: replace(config, optimization=loop))


PARTS: dict[str, Part] = {
    "all": Part(),
    "own plane, not the best patch": Part(functions={"pipeline.points.sample_planes.OWN_PLANE_BONUS": NEVER}),
    "sheets not told apart": Part(functions={"pipeline.points.sample_planes.are_layered": lambda *_: False}),
    "no junction lines": Part(
        functions={"pipeline.points.survey.find_junction_lines": lambda *_: FeatureLines()}
    ),
    "Lloyd without quadrics": Part(
        lambda config: replace(config, placement=replace(config.placement, plain_iterations=15))
    ),
    "no Lloyd": Part(
        lambda config: replace(config, placement=replace(config.placement, iterations=0, plain_iterations=0))
    ),
    "margin alone, no support": Part(functions={"pipeline.dmesh.extraction.measure_support": _full_support}),
    "no zip": Part(functions={"pipeline.dmesh.closing.zip_gaps": lambda _, faces: faces}),
    "no filling of loops": Part(
        functions={
            "pipeline.dmesh.curing.fill_holes": lambda _, faces, *__: (faces, np.zeros(0, dtype=np.int64)),
            "pipeline.dmesh.curing.close_slits": lambda _, faces: faces,
            "pipeline.dmesh.closing.fill_at_links": lambda _, faces: faces,
        }
    ),
    "no cure": Part(
        functions={"pipeline.dmesh.closing.cure": lambda _, faces: Cured(orient_faces(faces)[0])}
    ),
    "no fit before coarsening": Part(lambda config: replace(config, refinement=RefinementConfig(rounds=0))),
    "no flips": Part(
        functions={"pipeline.dmesh.fitting.flip_edges": lambda _, faces, *__, **___: (faces, 0)}
    ),
    "no flips, no fit after coarsening": Part(
        lambda config: replace(config, refinement=RefinementConfig(final_rounds=0))
    ),
    "Chamfer on decided faces, 50": Part(
        lambda config: replace(config, refinement=RefinementConfig(chamfer_iterations=50))
    ),
    "Chamfer on decided faces, 200": Part(
        lambda config: replace(config, refinement=RefinementConfig(chamfer_iterations=200))
    ),
    "Chamfer loop, 200 iterations": _loop(200, 1 / 32, True),
    "Chamfer loop, 50, real values fixed": _loop(50, 1 / 16, False),
}


@contextmanager
def switched(part: Part) -> Iterator[None]:
    """Replace the functions of a part for the time of a run."""
    with ExitStack() as stack:
        for path, function in part.functions.items():
            stack.enter_context(mock.patch(path, function))
        yield


HEAD = (
    f"{'shape':10s} {'variant':36s} {'acc':>7} {'comp':>7} {'crease':>7} {'border':>7} {'area':>6} "
    f"{'miss%':>6} {'loops':>5} {'NME':>5} {'SI%':>6} {'AR>4%':>6} {'junc%':>6} {'dropped':>7} {'CPU s':>6}"
)


def row(shape: str, variant: str, found: Judgement, dropped: int, seconds: float) -> str:
    """Write one line of the table."""

    def text(value: float | None, form: str) -> str:
        return "-".rjust(int(form.partition(".")[0])) if value is None else f"{value:{form}f}"

    return (
        f"{shape:10.10s} {variant:36s} {found.acc:7.3f} {found.comp:7.3f} {text(found.crease, '7.3')} "
        f"{text(found.border, '7.3')} {found.area:6.3f} {found.missing:6.2f} {found.loops:5d} "
        f"{found.nme:5d} {found.si:6.2f} {found.ar4:6.2f} {text(found.junction, '6.1')} {dropped:7d} "
        f"{seconds:6.1f}"
    )


def ablate(name: str, mesh: SurfaceMesh, points: int, faces: int, variants: list[str]) -> None:
    """Print a row for each variant of one shape."""
    reference = normalized(mesh)
    cloud = PointCloud(sample_surface(reference, points, seed=SAMPLING_SEED).points)
    for variant in variants:
        part, context = PARTS[variant], RunContext()
        config = part.settings(ReconstructConfig(max_faces=faces))
        start = time.process_time()
        try:
            with switched(part):
                found = reconstruct(cloud, config, context=context)
        except StageError as error:
            print(f"{name:10.10s} {variant:36s} fails: {str(error)[:70]}", flush=True)
            continue
        seconds = time.process_time() - start
        dropped = context.counts.get("dropped_vertices", 0)
        print(row(name, variant, judge(found, reference), dropped, seconds), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("meshes", nargs="*", type=Path, help="a cube without any")
    parser.add_argument("--points", type=int, default=50_000, help="samples per shape")
    parser.add_argument("--faces", type=int, default=5_000, help="faces, at most")
    parser.add_argument("--only", nargs="+", default=[""], help="variants with one of these words")
    options = parser.parse_args()
    meshes = {p.stem: read_surface(p) for p in options.meshes} or {"cube": cube()}
    variants = [name for name in PARTS if any(word in name for word in options.only)]
    reconstruct(PointCloud(sample_surface(cube(), 3000).points), ReconstructConfig(max_faces=200))
    print(HEAD)
    for name, mesh in meshes.items():
        ablate(name, mesh, options.points, options.faces, variants)


if __name__ == "__main__":
    main()
