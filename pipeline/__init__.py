"""simmesh: point clouds and surfaces to tetrahedral meshes that a simulator can trust.

    from pipeline import reconstruct, tetrahedralize, optimize, validate, export, run

The names below are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.context import RunContext
    from pipeline.errors import InputError, InvalidMeshError, OutputError, SimmeshError, StageError
    from pipeline.io.formats import (
        read_any,
        read_points,
        read_surface,
        read_tets,
        write_points,
        write_surface,
        write_tets,
    )
    from pipeline.runner import RunResult, run
    from pipeline.stages.export import ExportConfig, export
    from pipeline.stages.optimize import OptimizeConfig, optimize
    from pipeline.stages.reconstruct import ReconstructConfig, reconstruct
    from pipeline.stages.tetrahedralize import TetrahedralizeConfig, tetrahedralize
    from pipeline.stages.validate import ValidateConfig, validate
    from pipeline.types import Check, Frame, PointCloud, SimReport, SurfaceMesh, TetMesh

__version__ = "0.1.0"

_HOME = {
    "pipeline.context": ("RunContext",),
    "pipeline.errors": ("InputError", "InvalidMeshError", "OutputError", "SimmeshError", "StageError"),
    "pipeline.io.formats": (
        "read_any",
        "read_points",
        "read_surface",
        "read_tets",
        "write_points",
        "write_surface",
        "write_tets",
    ),
    "pipeline.runner": ("RunResult", "run"),
    "pipeline.stages.export": ("ExportConfig", "export"),
    "pipeline.stages.optimize": ("OptimizeConfig", "optimize"),
    "pipeline.stages.reconstruct": ("ReconstructConfig", "reconstruct"),
    "pipeline.stages.tetrahedralize": ("TetrahedralizeConfig", "tetrahedralize"),
    "pipeline.stages.validate": ("ValidateConfig", "validate"),
    "pipeline.types": ("Check", "Frame", "PointCloud", "SimReport", "SurfaceMesh", "TetMesh"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Check",
    "ExportConfig",
    "Frame",
    "InputError",
    "InvalidMeshError",
    "OptimizeConfig",
    "OutputError",
    "PointCloud",
    "ReconstructConfig",
    "RunContext",
    "RunResult",
    "SimReport",
    "SimmeshError",
    "StageError",
    "SurfaceMesh",
    "TetMesh",
    "TetrahedralizeConfig",
    "ValidateConfig",
    "export",
    "optimize",
    "read_any",
    "read_points",
    "read_surface",
    "read_tets",
    "reconstruct",
    "run",
    "tetrahedralize",
    "validate",
    "write_points",
    "write_surface",
    "write_tets",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
