"""Time one minimum-ball step beside cKDTree and Qhull, on points uniform in the unit cube.

    python benchmarks/bench_minimum_ball.py --sizes 10000 100000 1000000 [--neighbors 8] [--no-qhull]

A step is everything that one iteration from changed positions needs: cell list, exact nearest neighbours,
candidate faces, nearest other point of every ball, probability, and its gradient with respect to positions
and real values. Kernels are compiled before the clock starts. Wall time and CPU time (summed over threads)
are both given; Qhull and the cKDTree rows use one thread. `SIMMESH_THREADS=1` makes the step use one, too.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
import warp as wp
from scipy.spatial import Delaunay, cKDTree

from pipeline.dmesh.point_features import PointFeatures
from pipeline.dmesh.tessellation import MinimumBallTessellation
from warp_kernels.launch import thread_count


class Step:
    """One minimum-ball step on kept device arrays, timed part by part."""

    def __init__(self, points: np.ndarray, neighbors: int) -> None:
        spacing = len(points) ** (-1.0 / points.shape[1])
        # DMesh++ compares distances with 0.199 cells of a body-centred grid, 0.25 spacings.
        features = PointFeatures(points, scale=0.25 * spacing)
        order = MinimumBallTessellation(features, neighbors).cells.order.numpy()
        # The loop keeps its points in cell order; so does the benchmark.
        real = np.random.default_rng(1).random(len(points))
        self.features = PointFeatures(points[order], real, 0.25 * spacing)
        self.tessellation = MinimumBallTessellation(self.features, neighbors)
        self.tessellation.refresh(self.features)
        size = self.tessellation.faces.shape[0] + len(points) // 10
        self.prob = wp.zeros(size, dtype=wp.float64)
        self.gain = wp.full(size, 1.0, dtype=wp.float64)

    def search(self) -> None:
        self.tessellation.refresh(self.features)

    def evaluate(self) -> None:
        count = self.tessellation.faces.shape[0]
        self.features.zero_gradient()
        self.tessellation.probability(self.features, self.prob[:count])
        self.tessellation.gradient(self.features, self.gain[:count])

    def run(self) -> None:
        self.search()
        self.evaluate()


def measure(function: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Return the best wall time and the CPU time of that run [s]."""
    best = (np.inf, np.inf)
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--neighbors", type=int, default=8)
    parser.add_argument("--dimension", type=int, default=3, choices=(2, 3))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-qhull", action="store_true")
    arguments = parser.parse_args()
    wp.config.quiet = True
    rng = np.random.default_rng(0)
    Step(rng.random((5000, arguments.dimension)), arguments.neighbors).run()
    print(f"threads {thread_count()}, neighbours {arguments.neighbors}, dimension {arguments.dimension}")
    print(f"{'points':>9} {'':34} {'wall ms':>10} {'CPU ms':>10}")
    times = {}
    for size in arguments.sizes:
        points = rng.random((size, arguments.dimension))
        step = Step(points, arguments.neighbors)
        step.run()
        whole = measure(step.run, arguments.repeat)
        faces = step.tessellation.faces.shape[0]
        rows = {
            "minimum-ball step": whole,
            "  search": measure(step.search, arguments.repeat),
            "  probability and gradient": measure(step.evaluate, arguments.repeat),
        }
        tree_time = measure(lambda p=points: cKDTree(p), 1)
        tree = cKDTree(points)
        query = measure(lambda p=points, t=tree: t.query(p, arguments.neighbors + 1), 1)
        rows["cKDTree build + neighbours"] = (tree_time[0] + query[0], tree_time[1] + query[1])
        if not arguments.no_qhull:
            rows["scipy.spatial.Delaunay"] = measure(lambda p=points: Delaunay(p), 1)
        for name, (wall, cpu) in rows.items():
            print(f"{size:>9} {name:34} {wall * 1e3:>10.1f} {cpu * 1e3:>10.1f}", flush=True)
        print(f"{size:>9} faces kept {faces} ({faces / size:.2f} per point)")
        if "scipy.spatial.Delaunay" in rows:
            qhull = rows["scipy.spatial.Delaunay"]
            print(f"{size:>9} Delaunay / step: wall {qhull[0] / whole[0]:.1f}, CPU {qhull[1] / whole[1]:.1f}")
        times[size] = whole
    sizes = sorted(times)
    for a, b in itertools.pairwise(sizes):
        print(
            f"time({b})/time({a}): wall {times[b][0] / times[a][0]:.1f}, CPU {times[b][1] / times[a][1]:.1f}"
        )


if __name__ == "__main__":
    main()
