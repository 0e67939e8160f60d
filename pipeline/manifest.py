"""What a run has done: `manifest.json`, its fingerprints and file hashes.

    fingerprint(stage) = blake2b(name, version, config, {artifact: hash}, seed)

A stage is done when its entry says so, its fingerprint is the one of the present inputs and config, and every
file that it listed is there with the hash that it had. The manifest is rewritten as a whole, atomically.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.io.atomic import atomic_write_text

MANIFEST = "manifest.json"
HASH_BYTES = 16


def plain(value: Any) -> Any:
    """Convert to what JSON can hold: dataclasses become dicts, arrays lists, paths text, NaN null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def text_hash(*parts: Any) -> str:
    """Hash values by their JSON, keys sorted."""
    text = json.dumps(plain(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=HASH_BYTES).hexdigest()


def file_hash(path: str | Path) -> str:
    """Hash the content of a file; raises `OSError` when it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()


def fingerprint(stage: str, version: int, config: Any, inputs: Mapping[str, str], seed: int) -> str:
    """Hash all that decides the result of a stage."""
    return text_hash(stage, version, config, dict(inputs), seed)


def now() -> str:
    """Return the time, UTC, in ISO 8601 to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


class Manifest:
    """The manifest of one run folder; `data` is the JSON document (see docs/architecture.md).

    Attributes:
        damaged: True when a manifest was there and could not be read; the run then starts anew.
    """

    def __init__(self, folder: Path, data: dict[str, Any], damaged: bool = False) -> None:
        self.folder = folder
        self.data = data
        self.damaged = damaged

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder, or begin one."""
        empty: dict[str, Any] = {"created": now(), "input": {}, "stages": {}, "ready": None, "summary": ""}
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(folder, empty)
        try:
            data = json.loads(text)
        except ValueError:
            return cls(folder, empty, damaged=True)
        if not isinstance(data, dict) or not all(isinstance(data.get(k), dict) for k in ("input", "stages")):
            return cls(folder, empty, damaged=True)
        return cls(folder, data)

    def save(self) -> None:
        """Write the manifest; raises `OutputError`."""
        atomic_write_text(self.folder / MANIFEST, json.dumps(plain(self.data), indent=1) + "\n")

    def entry(self, stage: str) -> dict[str, Any]:
        """Return the entry of a stage; empty when there is none."""
        entry = self.data["stages"].get(stage)
        return entry if isinstance(entry, dict) else {}

    def hash_files(self, paths: list[Path]) -> dict[str, str]:
        """Hash files of the run by their path inside the folder."""
        return {p.relative_to(self.folder).as_posix(): file_hash(p) for p in sorted(paths)}

    def damaged_files(self, files: Mapping[str, str]) -> list[str]:
        """Return those files that are missing or changed since they were listed."""
        bad = []
        for name, expected in files.items():
            try:
                intact = file_hash(self.folder / name) == expected
            except OSError:
                intact = False
            if not intact:
                bad.append(name)
        return bad
