"""A chain of five small stages on small data, to test the runner without the weight of the product's.

Hull of the points, Delaunay tets of it, a loop with checkpoints, two checks, and one file as the asset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull, Delaunay

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.io.artifacts import save_artifact
from pipeline.io.assets import Asset
from pipeline.source import InputConfig
from pipeline.stages.stage import Stage
from pipeline.types import Check, PointCloud, SimReport, SurfaceMesh, TetMesh

CALLS: list[str] = []
"""Stages that were called, in order; a test clears it."""


@dataclass
class HullConfig:
    scale: float = 1.0


@dataclass
class FillConfig:
    fail: bool = False


@dataclass
class LoopConfig:
    steps: int = 6
    stop_at: int = -1
    """Step at which the loop is interrupted as by Ctrl-C, unless it goes on from a checkpoint."""


@dataclass
class JudgeConfig:
    limit: float = 1.0


@dataclass
class PackConfig:
    name: str = "asset"


@dataclass
class Place:
    name: str | None = None
    dir: str | None = None
    report: bool = True


@dataclass
class SmallConfig:
    input: InputConfig = field(default_factory=InputConfig)
    run: Place = field(default_factory=Place)
    stages: list[str] | None = None
    force: list[str] = field(default_factory=list)
    seed: int = 0
    device: str = "cpu"
    hull: HullConfig = field(default_factory=HullConfig)
    fill: FillConfig = field(default_factory=FillConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    pack: PackConfig = field(default_factory=PackConfig)


def hull(cloud: PointCloud, config: HullConfig, *, context: RunContext) -> SurfaceMesh:
    CALLS.append("hull")
    found = ConvexHull(cloud.points)
    inside = cloud.points.mean(axis=0)
    faces = found.simplices.copy()
    a, b, c = (cloud.points[faces[:, k]] for k in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a - inside) < 0
    faces[inward] = faces[inward][:, [0, 2, 1]]
    context.count("unused_points", len(cloud.points) - len(found.vertices), "points inside the hull")
    return SurfaceMesh(cloud.points * config.scale, faces, cloud.frame)


def fill(surface: SurfaceMesh, config: FillConfig, *, context: RunContext) -> TetMesh:
    CALLS.append("fill")
    if config.fail:
        raise StageError("the surface encloses nothing; close it")
    tets = Delaunay(surface.points).simplices
    a, b, c, d = (surface.points[tets[:, k]] for k in range(4))
    volume = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)
    tets[volume < 0] = tets[volume < 0][:, [0, 2, 1, 3]]
    return TetMesh(surface.points, tets[np.abs(volume) > 1e-9], frame=surface.frame)


def loop(
    mesh: TetMesh, config: LoopConfig, *, surface: SurfaceMesh | None = None, context: RunContext
) -> TetMesh:
    CALLS.append("loop")
    points, first = mesh.points.copy(), 0
    stored = context.restore()
    if stored is not None:
        first, points = stored[0], stored[1]["points"]
    for step in range(first, config.steps):
        if step == config.stop_at and stored is None:
            raise KeyboardInterrupt
        points = points * (1.0 + 0.01 * (step + 1))
        context.record(step + 1, total=config.steps, phase="grow", size=float(np.abs(points).max()))
        context.checkpoint(step + 1, points=points)
    return replace(mesh, points=points)


def judge(mesh: TetMesh, config: JudgeConfig, *, context: RunContext) -> SimReport:
    CALLS.append("judge")
    checks = (
        Check("volume", float(mesh.volumes.sum()), config.limit, "min", "m^3"),
        Check("tets", float(len(mesh.tets)), 1.0, "min"),
    )
    return SimReport(checks, material={"density": 1000.0})


def pack(
    mesh: TetMesh,
    report: SimReport | None = None,
    config: PackConfig | None = None,
    *,
    folder: Path,
    context: RunContext,
) -> Asset:
    CALLS.append("pack")
    path = save_artifact(config.name if config else "asset", mesh.in_metres(), folder)[0]
    volume = float(mesh.in_metres().volumes.sum())
    ready = None if report is None else report.passed
    return Asset({"npz": path}, 1000.0 * volume, volume, {"tets": len(mesh.tets)}, {}, ready)


CHAIN = (
    Stage("hull", hull, HullConfig, ("point_cloud",), "surface_mesh", 1),
    Stage("fill", fill, FillConfig, ("surface_mesh",), "tet_mesh", 1),
    Stage("loop", loop, LoopConfig, ("tet_mesh",), "sim_mesh", 1, optional=("surface_mesh",)),
    Stage("judge", judge, JudgeConfig, ("sim_mesh",), "sim_report", 1),
    Stage("pack", pack, PackConfig, ("sim_mesh", "sim_report"), "asset", 1),
)
