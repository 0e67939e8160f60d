"""Artifacts of a run: the exact form that the next stage reads, and previews for people and other tools.

Geometry is a NumPy archive with its frame (bit for bit), beside it .ply, .msh or .vtu in double precision
that are never read back. Reports and assets are JSON; numbers that JSON lacks are the strings "nan", "inf"
and "-inf".
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io import ply
from pipeline.io.assets import Asset
from pipeline.io.atomic import atomic_path, atomic_write_text
from pipeline.io.formats import write_tets
from pipeline.io.npz import load_npz, read_arrays, write_npz
from pipeline.types import METRES, Check, Motion, PointCloud, SimReport, SurfaceMesh, TetMesh

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def save_artifact(
    name: str, value: Any, folder: str | Path, cell_data: dict[str, NDArray[Any]] | None = None
) -> list[Path]:
    """Write an artifact into `folder` and return its files, the exact one first.

    Point clouds: `name.npz`. Surfaces: and `.ply`. Tetrahedral meshes: and `.msh`; `sim_mesh` also `.vtu`,
    with `cell_data` (arrays per tet, such as `tet_quality`). Reports: `name.json`, and the motion of each
    scenario, or the last good state of one that was not solved, in an archive that it names. Assets:
    `name.json` and its own files.

    Raises:
        OutputError: A file cannot be written.
        TypeError: Not an artifact.
    """
    folder = Path(folder)
    if isinstance(value, SimReport):
        motions = {scenario: _scenario_file(name, "frames", scenario) for scenario in value.motions}
        states = {scenario: _scenario_file(name, "diverged", scenario) for scenario in value.last_states}
        files = [_write_motion(folder / motions[key], motion) for key, motion in value.motions.items()]
        files += [_write_arrays(folder / states[key], state) for key, state in value.last_states.items()]
        document = _report_dict(value) | {"motions": motions, "last_states": states}
        return [_write_json(folder / f"{name}.json", document), *files]
    if isinstance(value, Asset):
        return [_write_json(folder / f"{name}.json", _asset_dict(value, folder)), *value.paths.values()]
    if not isinstance(value, PointCloud | SurfaceMesh | TetMesh):
        raise TypeError(f"{name}: expected a point cloud, mesh, report or asset, got {type(value).__name__}")
    files = [folder / f"{name}.npz"]
    with atomic_path(files[0]) as part:
        write_npz(part, value)
    if isinstance(value, SurfaceMesh):
        files.append(folder / f"{name}.ply")
        with atomic_path(files[-1]) as part:
            ply.write_ply(part, value.points, value.faces)
    elif isinstance(value, TetMesh):
        shown = replace(value, frame=METRES)  # same coordinates; the archive beside keeps the frame
        files.append(write_tets(folder / f"{name}.msh", shown))
        if name == "sim_mesh" or cell_data:
            files.append(write_tets(folder / f"{name}.vtu", shown, cell_data))
    return files


def load_artifact(name: str, folder: str | Path) -> Any:
    """Read back what `save_artifact` wrote.

    Raises:
        InputError: There is no such artifact in `folder`, or its file is damaged.
    """
    folder = Path(folder)
    archive, document = folder / f"{name}.npz", folder / f"{name}.json"
    path = document if document.is_file() else archive
    if not path.is_file():
        raise InputError(f"{folder} holds no {name}; run the stage that makes it")
    try:
        if path == archive:
            return load_npz(archive)
        data = _decode(json.loads(document.read_text(encoding="utf-8")))
        return _to_report(data, folder) if "checks" in data else _to_asset(data, folder)
    except Exception as error:  # a damaged file makes the libraries raise anything
        raise InputError(f"{path} is damaged ({error}); run its stage again") from error


def to_json(value: Any) -> Any:
    """Turn numbers and arrays of NumPy, tuples and paths into what JSON can hold, without loss."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _write_json(path: Path, data: dict[str, Any]) -> Path:
    return atomic_write_text(path, json.dumps(to_json(data), indent=1, allow_nan=False) + "\n")


def _report_dict(report: SimReport) -> dict[str, Any]:
    checks = [dataclasses.asdict(check) | {"passed": check.passed} for check in report.checks]
    return {
        "passed": report.passed,
        "checks": checks,
        "material": report.material,
        "metrics": report.metrics,
        "scenarios": report.scenarios,
    }


def _to_report(data: dict[str, Any], folder: Path) -> SimReport:
    names = [field.name for field in dataclasses.fields(Check)]
    checks = tuple(Check(**{n: c[n] for n in names if n in c}) for c in data["checks"])
    # Only names of files beside the report: a report that came from elsewhere must not reach further.
    motions, states = (
        {str(key): folder / Path(name).name for key, name in data.get(group, {}).items()}
        for group in ("motions", "last_states")
    )
    return SimReport(
        checks,
        data.get("metrics", {}),
        data.get("scenarios", {}),
        data.get("material", {}),
        {key: _read_motion(path) for key, path in motions.items() if path.is_file()},
        {key: read_arrays(path) for key, path in states.items() if path.is_file()},
    )


def _scenario_file(name: str, kind: str, scenario: str) -> str:
    """File of the arrays of a scenario, beside the report `name`."""
    prefix = "" if name == "sim_report" else f"{name}_"
    return f"{prefix}{kind}_{scenario}.npz"


def _write_motion(path: Path, motion: Motion) -> Path:
    return _write_arrays(path, motion.arrays())


def _write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    with atomic_path(path) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]
    return path


def _read_motion(path: Path) -> Motion:
    return Motion.from_arrays(read_arrays(path))


def _asset_dict(asset: Asset, folder: Path) -> dict[str, Any]:
    data = {field.name: getattr(asset, field.name) for field in dataclasses.fields(asset)}
    data["paths"] = {
        kind: path.resolve().relative_to(folder.resolve()).as_posix() for kind, path in asset.paths.items()
    }
    return data


def _to_asset(data: dict[str, Any], folder: Path) -> Asset:
    data["paths"] = {kind: folder / relative for kind, relative in data["paths"].items()}
    return Asset(
        **{field.name: data[field.name] for field in dataclasses.fields(Asset) if field.name in data}
    )
