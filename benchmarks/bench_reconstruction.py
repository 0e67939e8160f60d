"""Reconstruction from points, ours beside whatever peer is installed: CPU seconds and the quality.

    python benchmarks/bench_reconstruction.py [MESH.obj ...] [--points 200000] [--faces 20000] [--peers]

Samples a surface (without arguments: a torus, a cube, and the bunny inside Warp's wheel) without normals,
reconstructs it, and prints a row per shape and method with the columns of surface_judge.py. Ours is compiled
before the clock starts, and its phases follow in a second table. The peers; the first two interpolate all
points, so their face counts are twice the number of points:

    meshlib   triangulation of the point cloud            pip install meshlib      (or pip install ".[peers]")
    bpa       open3d: estimated normals, ball pivoting    pip install open3d
    poisson   open3d: the same normals, screened Poisson
    spr       pymeshlab: normals, screened Poisson        pip install pymeshlab

    --scaling 20000 200000 2000000    instead: time and memory of ours by the number of points, with the slope
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from surface_judge import Judgement, judge, normalized

from pipeline.context import RunContext
from pipeline.io.formats import read_surface
from pipeline.points.sampling import sample_surface
from pipeline.stages.reconstruct import PHASES, ReconstructConfig, reconstruct
from pipeline.types import PointCloud, Points, SurfaceMesh

SAMPLING_SEED = 12345


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


# --- peers: points (n, 3) to a surface; each raises ImportError where it is not installed


def meshlib(points: Points) -> SurfaceMesh:
    from meshlib import mrmeshnumpy, mrmeshpy

    cloud = mrmeshnumpy.pointCloudFromPoints(points)
    mesh = mrmeshpy.triangulatePointCloud(cloud)
    return _surface(mrmeshnumpy.getNumpyVerts(mesh), mrmeshnumpy.getNumpyFaces(mesh.topology))


def _surface(points: Any, faces: Any) -> SurfaceMesh:
    """Make a surface of a peer's arrays, without faces that repeat a vertex."""
    corners = np.asarray(faces, dtype=np.int32)
    proper = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    return SurfaceMesh(np.array(points, dtype=np.float64), corners[proper])


def _open3d_cloud(points: Points) -> Any:
    import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(16))
    cloud.orient_normals_consistent_tangent_plane(16)
    return cloud


def bpa(points: Points) -> SurfaceMesh:
    import open3d

    cloud = _open3d_cloud(points)
    spacing = float(np.mean(cloud.compute_nearest_neighbor_distance()))
    radii = open3d.utility.DoubleVector([1.5 * spacing, 3 * spacing, 6 * spacing])
    mesh = open3d.geometry.TriangleMesh.create_from_point_cloud_ball_pivoting(cloud, radii)
    return _surface(mesh.vertices, mesh.triangles)


def poisson(points: Points) -> SurfaceMesh:
    import open3d

    cloud = _open3d_cloud(points)
    mesh = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=9)[0]
    return _surface(mesh.vertices, mesh.triangles)


def spr(points: Points) -> SurfaceMesh:
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(points))
    meshes.compute_normal_for_point_clouds(k=16)
    meshes.generate_surface_reconstruction_screened_poisson(depth=9)
    made = meshes.current_mesh()
    return _surface(made.vertex_matrix(), made.face_matrix())


PEERS: dict[str, Callable[[Points], SurfaceMesh]] = {
    "meshlib": meshlib,
    "bpa": bpa,
    "poisson": poisson,
    "spr": spr,
}


# --- the tables


HEAD = (
    f"{'shape':10s} {'method':8s} {'CPU s':>6} {'x meshlib':>9} {'faces':>7} {'acc':>7} {'comp':>7} "
    f"{'crease':>7} {'border':>7} {'area':>6} {'spur%':>6} {'miss%':>6} {'loops':>5} {'NME':>4} "
    f"{'SI%':>6} {'AR>4%':>6} {'junc%':>6} {'false%':>6} closed oriented"
)


def row(shape: str, method: str, seconds: float, peer: float | None, found: Judgement) -> str:
    """Write one line of the table."""

    def text(value: float | None, form: str) -> str:
        return "-".rjust(int(form.partition(".")[0])) if value is None else f"{value:{form}f}"

    return (
        f"{shape:10s} {method:8s} {seconds:6.1f} {text(seconds / peer if peer else None, '9.1')} "
        f"{found.faces:7d} {found.acc:7.3f} {found.comp:7.3f} {text(found.crease, '7.3')} "
        f"{text(found.border, '7.3')} {found.area:6.3f} {found.spurious:6.2f} {found.missing:6.2f} "
        f"{found.loops:5d} {found.nme:4d} {found.si:6.2f} {found.ar4:6.2f} {text(found.junction, '6.1')} "
        f"{text(found.false_junction, '6.1')} {found.watertight!s:>6} {found.oriented!s:>8}"
    )


def compare(name: str, mesh: SurfaceMesh, points: int, config: ReconstructConfig, peers: list[str]) -> str:
    """Reconstruct one shape by all methods and print their rows; return the phases of ours."""
    reference = normalized(mesh)
    cloud = sample_surface(reference, points, seed=SAMPLING_SEED).points
    results = []
    for peer in peers:
        start = time.process_time()
        try:
            surface = PEERS[peer](cloud)
        except ImportError:
            print(f"{name:10s} {peer:8s} not installed", flush=True)
            continue
        results.append((peer, time.process_time() - start, surface))
    clock = Clock()
    ours = reconstruct(PointCloud(cloud), config, context=clock)
    results.append(("simmesh", sum(clock.seconds.values()), ours))
    by_method = {method: seconds for method, seconds, _ in results}
    for method, seconds, surface in results:
        print(row(name, method, seconds, by_method.get("meshlib"), judge(surface, reference)), flush=True)
    return f"{name:10s} " + " ".join(f"{clock.seconds.get(p, 0.0):10.2f}" for p in PHASES)


def scaling(mesh: SurfaceMesh, counts: list[int], config: ReconstructConfig) -> None:
    """Print CPU seconds and peak memory of ours by the number of points, and the slope between two counts."""
    reference = normalized(mesh)
    before: tuple[int, float] | None = None
    print(f"{'points':>9} {'CPU s':>8} {'slope':>6} {'peak GB':>8}  phases")
    for count in sorted(counts):
        clock = Clock()
        cloud = sample_surface(reference, count, seed=SAMPLING_SEED).points
        clock.last = time.process_time()
        reconstruct(PointCloud(cloud), config, context=clock)
        seconds = sum(clock.seconds.values())
        slope = f"{np.log(seconds / before[1]) / np.log(count / before[0]):6.2f}" if before else f"{'':6}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        phases = " ".join(f"{p} {clock.seconds.get(p, 0.0):.1f}" for p in PHASES)
        print(f"{count:9d} {seconds:8.1f} {slope} {peak:8.2f}  {phases}", flush=True)
        before = (count, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("meshes", nargs="*", type=Path)
    parser.add_argument("--points", type=int, default=200_000, help="samples per shape")
    parser.add_argument("--faces", type=int, default=20_000, help="faces of ours, at most")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="which peers; all without a name")
    parser.add_argument("--scaling", nargs="+", type=int, metavar="POINTS")
    options = parser.parse_args()
    shapes: dict[str, Callable[[], SurfaceMesh]] = {"torus": torus, "cube": cube, "bunny": bunny}
    meshes = {p.stem: read_surface(p) for p in options.meshes} or {n: make() for n, make in shapes.items()}
    config = ReconstructConfig(max_faces=options.faces)
    reconstruct(PointCloud(sample_surface(cube(), 3000).points), ReconstructConfig(max_faces=200))
    if options.scaling:
        scaling(next(iter(meshes.values())) if options.meshes else bunny(), options.scaling, config)
        return
    peers = [] if options.peers is None else options.peers or list(PEERS)
    print(HEAD)
    phases = [compare(name, mesh, options.points, config, peers) for name, mesh in meshes.items()]
    print("\nCPU seconds of ours by phase\n" + f"{'shape':10s} " + " ".join(f"{p[:10]:>10}" for p in PHASES))
    print("\n".join(phases))


if __name__ == "__main__":
    main()
