"""Artifacts by name: what the input gives, what this run makes, what the folder still holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.context import log
from pipeline.errors import InputError
from pipeline.manifest import Manifest, text_hash
from pipeline.stages.stage import Stage

STAND_IN = {"sim_mesh": "tet_mesh"}
"""Artifact that serves where the first one is not made: the mesh as tetrahedralized, without optimize."""
KEYWORD = {"surface_mesh": "surface", "sim_report": "report"}
"""Argument that takes an artifact listed as optional."""


@dataclass
class Artifact:
    """A stage output or the input: its hash now, its value when asked for."""

    hash: str
    make: Callable[[], Any]

    @cached_property
    def value(self) -> Any:
        return self.make()


class Artifacts:
    """Finds artifacts by name for one run.

    Attributes:
        known: What this run has, by artifact name.
        selected: Names of the stages of this run; what they make is not taken from the folder unasked.
    """

    def __init__(self, manifest: Manifest, stages: Sequence[Stage], selected: Sequence[str]) -> None:
        self.manifest, self.stages, self.selected = manifest, stages, selected
        self.known: dict[str, Artifact] = {}

    def find(self, name: str) -> Artifact | None:
        """Return an artifact of this run, or one that the folder holds from the same inputs; else None."""
        if name in self.known:
            return self.known[name]
        maker = next((s for s in self.stages if s.output == name), None)
        if maker is None or maker.name in self.selected:
            return None
        entry = self.manifest.entry(maker.name)
        if entry.get("status") != "done" or self.manifest.damaged_files(entry.get("outputs", {})):
            return None
        for used, old_hash in entry.get("inputs", {}).items():
            found = self.find(used)
            if found is None or found.hash != old_hash:
                return None
        return self.take(maker)

    def take(self, stage: Stage) -> Artifact:
        """Take the output of a stage that is done from the folder."""
        from pipeline.io.artifacts import load_artifact

        folder = self.manifest.folder / stage.name
        mark = text_hash(self.manifest.entry(stage.name)["outputs"])
        self.known[stage.output] = Artifact(mark, lambda: load_artifact(stage.output, folder))
        return self.known[stage.output]

    def bind(self, stage: Stage) -> dict[str, tuple[str, Artifact]]:
        """Find the inputs of a stage: by argument, the artifact's name and the artifact.

        An input whose argument has a default may be missing.

        Raises:
            InputError: A required input is not there; the message says which stages would make it.
        """
        parameters = list(inspect.signature(stage.function).parameters.values())
        bound: dict[str, tuple[str, Artifact]] = {}
        for name, parameter in zip(stage.inputs, parameters):
            found, used = self.find(name), name
            if found is None and name in STAND_IN:
                used = STAND_IN[name]
                found = self.find(used)
                if found is not None:
                    log.info("%s takes the %s: there is no %s", stage.name, used, name)
            if found is not None:
                bound[parameter.name] = (used, found)
            elif parameter.default is inspect.Parameter.empty:
                makers = [s.name for s in self.stages if s.output in (name, STAND_IN.get(name))]
                raise InputError(
                    f"{stage.name} needs a {name}, which neither the input nor the stages of this run give; "
                    f"add {' or '.join(makers)} to stages, or give a file that holds it"
                )
        for name in stage.optional:
            found = self.find(name)
            if found is not None:
                bound[KEYWORD.get(name, name)] = (name, found)
        return bound
