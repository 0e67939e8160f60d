"""The input of a run: which file, what is in it, in which unit and with which axis up."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import RunContext, log
from pipeline.errors import InputError
from pipeline.manifest import file_hash, text_hash
from pipeline.topology import unique_rows
from pipeline.types import METRES_PER_UNIT, Frame, PointCloud, SurfaceMesh, TetMesh

DEFAULT_PATH = "warp:bunny.usd"
DEFAULT_SAMPLES = 50_000
ARTIFACT = {PointCloud: "point_cloud", SurfaceMesh: "surface_mesh", TetMesh: "tet_mesh"}
KIND = {"point_cloud": "point cloud", "surface_mesh": "surface", "tet_mesh": "tetrahedral mesh"}
Geometry = PointCloud | SurfaceMesh | TetMesh


@dataclass
class InputConfig:
    """What a run starts from."""

    path: str | None = None
    """File with points, a surface or tets; warp:NAME is a shape in warp-lang. Default: its bunny."""
    sample_points: int | None = None
    """Samples of a surface that goes into reconstruct; giving it asks for reconstruct. Default: 50,000."""
    unit: str | None = None
    """Length unit of the file: m, cm or mm. Default: from USD, else m."""
    up: str | None = None
    """Axis that points up in the file: y or z. Default: from USD, else z."""
    prim: str | None = None
    """Of a USD file, read this prim and what is below it alone, such as /World/Chair. Default: all."""
    repair: bool | None = None
    """Repair a damaged mesh when reading it, and say what was done (also: --repair). Default: refuse it."""

    def __post_init__(self) -> None:
        if self.path is not None and not self.path.strip():
            raise ValueError(
                "input.path is empty; give a file, or leave it out for the bunny that comes along"
            )
        if self.unit is not None and self.unit not in METRES_PER_UNIT:
            raise ValueError(f"input.unit: expected one of {', '.join(METRES_PER_UNIT)}, got {self.unit!r}")
        if self.up is not None and self.up not in ("y", "z"):
            raise ValueError(f"input.up: expected y or z, got {self.up!r}")
        if self.prim is not None and not self.prim.startswith("/"):
            raise ValueError(
                f"input.prim: expected the path of a prim, such as /World/Chair, got {self.prim!r}"
            )
        if self.sample_points is not None and self.sample_points < 4:
            raise ValueError(f"input.sample_points: expected at least 4, got {self.sample_points}")


class Source:
    """One input file, read when first needed.

    Attributes:
        path: The file.
        name: Name of the shape, from the file's.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """

    def __init__(self, config: InputConfig) -> None:
        self.config = config
        self.is_default = config.path is None
        self.context = RunContext()
        self.path = locate(config.path or DEFAULT_PATH)
        self.name = self.path.stem or "run"

    @cached_property
    def hash(self) -> str:
        """Hash of the file and of how it is read."""
        try:
            how = [self.config.unit, self.config.up]
            if self.config.prim or self.config.repair:
                how += [self.config.prim, "repaired" if self.config.repair else None]
            return text_hash(file_hash(self.path), *how)
        except OSError as error:
            if isinstance(error, PermissionError):
                reason = "no permission to read it; ask its owner, or give a copy of your own"
            else:
                reason = error.strerror or str(error)
            raise InputError(f"cannot read {self.path}: {reason}") from error

    @cached_property
    def data(self) -> Geometry:
        return read_geometry(self.path, self.config, self.context)

    @property
    def artifact(self) -> str:
        """Artifact name of what the file holds."""
        return ARTIFACT[type(self.data)]

    def describe(self) -> dict[str, Any]:
        """Describe the file for the manifest."""
        data = self.data
        return {
            "path": str(self.path),
            "kind": KIND[self.artifact],
            "artifact": self.artifact,
            "dimension": data.points.shape[1],
            "unit": str(data.frame).removeprefix("unit ").split(",")[0],
            "up": data.frame.up,
            "hash": self.hash,
            "counts": sizes(data),
            "repairs": {**self.context.counts, **defects(data)},
        }

    @property
    def sample_count(self) -> int:
        return self.config.sample_points or DEFAULT_SAMPLES

    def sampled(self, seed: int) -> PointCloud:
        """Return the surface of the file as a point cloud with normals, or its cloud as it is."""
        if isinstance(self.data, PointCloud):
            return self.data
        look = self.data.appearance if isinstance(self.data, SurfaceMesh) else None
        if look is not None and look.texture_coordinates is not None:
            self.context.count("textures_left_out", 1, "textures: samples of a surface carry colours alone")
        return sample(self.data, self.sample_count, seed)


def locate(path: str) -> Path:
    """Find an input file; `warp:NAME` is a shape of the warp-lang wheel."""
    if path.startswith("warp:"):
        spec = importlib.util.find_spec("warp")
        if spec is None or spec.origin is None:
            raise InputError(f"{path}: the package warp-lang is not installed; pip install warp-lang")
        folder = Path(spec.origin).parent / "examples" / "assets"
        found = folder / path.removeprefix("warp:")
        if not found.is_file():
            known = ", ".join(sorted(p.name for p in folder.glob("*.usd*")))
            raise InputError(f"{path}: the warp-lang wheel has no such shape; it has {known}")
        return found
    found = Path(path).expanduser()
    if found.is_dir():
        raise InputError(
            f"{path} is a folder; give a file with points, a surface or tets, or run all of its files: "
            f"simmesh batch {path} OUT"
        )
    if not found.exists():
        parts = path.split(",")
        if len(parts) > 1 and Path(parts[0]).expanduser().exists():
            raise InputError(f"{path}: several files are a sweep: simmesh run -m input.path={path}")
        raise InputError(f"{path}: no such file; check the path (the current folder is {Path.cwd()})")
    return found


def read_geometry(path: Path, config: InputConfig, context: RunContext | None = None) -> Geometry:
    """Read a file of points, faces or tets; `config` overrides the unit and the axis that the file states."""
    from pipeline.io.formats import read_any, states_unit

    data = read_any(path, context=context, prim=config.prim, repair=bool(config.repair))
    if config.unit is None and data.points.shape[1] == 3 and not states_unit(path):
        log.info("%s keeps no unit: read in metres (input.unit=cm or mm if it is not)", path.name)
    frame = data.frame
    if config.unit is not None:
        frame = Frame(METRES_PER_UNIT[config.unit], frame.up)
    if config.up is not None:
        frame = Frame(frame.metres_per_unit, config.up)
    return data if frame == data.frame else replace(data, frame=frame)


def sample(data: Geometry, count: int, seed: int) -> PointCloud:
    """Sample a 3D surface into points, and say so."""
    from pipeline.points.sampling import sample_surface

    if not isinstance(data, SurfaceMesh):
        raise InputError(f"reconstruct needs points or a surface to sample; the input is a {kind_of(data)}")
    if data.dimension != 3:
        raise InputError("a 2D polyline cannot be sampled here; give its points instead")
    log.info("surface of %s faces sampled into %s points", f"{len(data.faces):,}", f"{count:,}")
    return sample_surface(data, count, seed=seed)


def defects(data: Geometry) -> dict[str, int]:
    """Count the edges that a closed 3D surface does not have; vertices in the same place are one."""
    if not isinstance(data, SurfaceMesh) or data.dimension != 3:
        return {}
    _, vertex = np.unique(data.points, axis=0, return_inverse=True)
    faces = vertex.reshape(-1)[data.faces]
    _, _, count = unique_rows(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]))
    return {"open_edges": int((count == 1).sum()), "nonmanifold_edges": int((count > 2).sum())}


def kind_of(data: object) -> str:
    """Name what a value is, for people."""
    artifact = ARTIFACT.get(type(data))
    return KIND[artifact] if artifact else type(data).__name__


def sizes(value: object) -> dict[str, int]:
    """Count the entities of a mesh or cloud by name."""
    names = ("points", "faces", "tets")
    return {name: len(getattr(value, name)) for name in names if getattr(value, name, None) is not None}
