"""What a report shows: the manifest of a run and the artifacts of its finished stages."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SimmeshError
from pipeline.io.artifacts import load_artifact
from pipeline.types import Frame, PointCloud, SimReport, SurfaceMesh, TetMesh, rotate_up

log = logging.getLogger("simmesh")

PAGE = "report/index.html"
"""The page in the folder of a run."""
STAGES = ("reconstruct", "tetrahedralize", "optimize", "validate", "export")
OUTPUT = {
    "reconstruct": "surface_mesh",
    "tetrahedralize": "tet_mesh",
    "optimize": "sim_mesh",
    "validate": "sim_report",
    "export": "asset",
}
INPUTS = ("point_cloud", "surface_mesh", "tet_mesh")
MAX_HISTORY_BYTES = 8 << 20


@dataclass
class Contents:
    """All that the page is made from. An artifact that is not there is absent from `artifacts`."""

    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)
    """By artifact name: PointCloud, SurfaceMesh, TetMesh, SimReport, Asset."""
    origin: dict[str, str] = field(default_factory=dict)
    """By artifact name: "input" or the stage that made it."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, in words."""
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By stage: the lines of its history.jsonl."""

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Manifest entries of the stages in the order of the chain, then others."""
        entries = _table(self.manifest.get("stages"))
        order = [name for name in STAGES if name in entries] + [
            name for name in entries if name not in STAGES
        ]
        return {name: _table(entries[name]) for name in order}

    @property
    def report(self) -> SimReport | None:
        value = self.artifacts.get("sim_report")
        return value if isinstance(value, SimReport) else None

    def geometry(self, name: str) -> PointCloud | SurfaceMesh | TetMesh | None:
        """Return a cloud or mesh, or None."""
        value = self.artifacts.get(name)
        return value if isinstance(value, PointCloud | SurfaceMesh | TetMesh) else None


def collect(folder: Path) -> Contents:
    """Read a run folder; whatever cannot be read becomes a line in `problems`."""
    contents = Contents(folder)
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        contents.manifest = data
    except (OSError, ValueError) as error:
        contents.problems.append(f"manifest.json cannot be read: {error}")
    for name in INPUTS:
        _load(contents, "input", name)
    entries = contents.stages
    for stage, name in OUTPUT.items():
        # Files of a stage that failed or is out of date are from an earlier run: not results of this one.
        if contents.manifest and entries.get(stage, {}).get("status") != "done":
            continue
        _load(contents, stage, name)
    for stage, entry in entries.items():
        contents.histories[stage] = _history(contents, entry.get("history"))
    return contents


def upright(points: NDArray, frame: Frame) -> NDArray[np.float64]:
    """Turn 3D points to Z up; they stay in their own unit."""
    return rotate_up(np.asarray(points, dtype=np.float64), frame.up)


def _load(contents: Contents, place: str, name: str) -> None:
    folder = contents.folder / place
    if not any((folder / f"{name}{ending}").is_file() for ending in (".npz", ".json")):
        if place != "input" and name != "asset" and contents.manifest:
            contents.problems.append(f"{place}/{name} is missing although the stage is done")
        return
    try:
        contents.artifacts[name] = load_artifact(name, folder)
        contents.origin[name] = place
    except (SimmeshError, OSError, ValueError) as error:
        contents.problems.append(str(error))
        log.warning("report: %s", error)


def _history(contents: Contents, path: Any) -> list[dict[str, Any]]:
    if not isinstance(path, str):
        return []
    file = (contents.folder / path).resolve()
    lines: list[dict[str, Any]] = []
    try:
        if not file.is_relative_to(contents.folder.resolve()) or file.stat().st_size > MAX_HISTORY_BYTES:
            return []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            if isinstance(value, dict):
                lines.append(value)
    except OSError:
        return []
    return lines


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
