"""What a stage is: a record of its name, its function, its config, what it reads and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One step of the chain."""

    name: str
    """The verb: name of the function, the config group, the folder of a run and the command."""
    function: Callable[..., Any]
    config: type
    inputs: tuple[str, ...]
    """Artifact names, bound to the positional arguments of the function."""
    output: str
    """Artifact name of the result."""
    version: int
    """Raise it when results change: finished runs are then made again."""
    optional: tuple[str, ...] = ()
    """Artifact names bound to keyword arguments where they exist."""
