"""Time writing and reading of a large tetrahedral mesh per format, beside meshio's own vtu of the same mesh.

    python benchmarks/bench_formats.py [--cells 55] [--repeat 3]

55^3 cells of six tets are 998,250 tets. A write here includes reading back and comparing; a read includes the
validation of the mesh, and for USD the guarded process. Times are CPU seconds of this process and its
children, the best of the repeats; memory is the peak of the process and of its largest child.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PXR_WORK_THREAD_LIMIT", "1")

import meshio
import numpy as np

from pipeline.io.formats import read_tets, write_tets
from pipeline.types import TetMesh


def box(cells: int) -> TetMesh:
    """A unit cube of cells^3 cells with six tets each, its points moved a little."""
    side = cells + 1
    points = np.stack(np.meshgrid(*[np.arange(side, dtype=float)] * 3, indexing="ij"), -1).reshape(-1, 3)
    corner = points[(points < cells).all(axis=1)].astype(int)
    steps = [np.vstack([np.zeros(3, int), np.eye(3, dtype=int)[list(p)]]) for p in permutations(range(3))]
    corners = np.concatenate([corner[:, None] + np.cumsum(step, axis=0) for step in steps])
    tets = corners @ np.array([side * side, side, 1])
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    turned = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    tets[turned] = tets[turned][:, [0, 2, 1, 3]]
    points += np.random.default_rng(0).uniform(-0.08, 0.08, points.shape)
    return TetMesh(points / cells, tets.astype(np.int32))


def best(repeat: int, call: Callable[[], object]) -> float:
    """CPU time of the fastest call [s], children included."""
    times = []
    for _ in range(repeat):
        before = sum(os.times()[:4])
        call()
        times.append(sum(os.times()[:4]) - before)
    return min(times)


def peak_memory() -> float:
    """Peak memory of this process and of its largest child together [GB]; nan where it is not known."""
    try:
        import resource
    except ImportError:
        return float("nan")
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=55)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    mesh = box(options.cells)
    print(f"{len(mesh.tets):,} tets, {len(mesh.points):,} points")
    print(f"{'':12}{'write [s]':>10}{'x meshio':>10}{'read [s]':>10}{'x meshio':>10}{'MB':>8}{'peak GB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference, raw = folder / "meshio.vtu", meshio.Mesh(mesh.points, [("tetra", mesh.tets)])
        write = best(options.repeat, lambda: meshio.vtu.write(str(reference), raw))
        read = best(options.repeat, lambda: meshio.vtu.read(str(reference)))
        size = reference.stat().st_size / 1e6
        print(f"{'meshio vtu':12}{write:10.2f}{1:10.1f}{read:10.2f}{1:10.1f}{size:8.0f}{peak_memory():9.2f}")
        for suffix in (".usdc", ".msh", ".vtu", ".npz"):
            path = folder / f"mesh{suffix}"
            ours = best(options.repeat, lambda path=path: write_tets(path, mesh))
            back = best(options.repeat, lambda path=path: read_tets(path))
            size = path.stat().st_size / 1e6
            print(
                f"{suffix:12}{ours:10.2f}{ours / write:10.1f}{back:10.2f}{back / read:10.1f}"
                f"{size:8.0f}{peak_memory():9.2f}"
            )


if __name__ == "__main__":
    main()
