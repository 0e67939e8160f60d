"""The five stages in the order of the chain. `STAGES` is loaded when first used: each brings its kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.stages.stage import Stage

    STAGES: tuple[Stage, ...]

NAMES = ("reconstruct", "tetrahedralize", "optimize", "validate", "export")

__all__ = ["NAMES", "STAGES"]


def __getattr__(name: str) -> Any:
    if name != "STAGES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    stages = tuple(importlib.import_module(f"pipeline.stages.{verb}").STAGE for verb in NAMES)
    globals()["STAGES"] = stages
    return stages
