"""The floating point types of a linear system: float64, or float32 with half the memory."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import warp as wp

from warp_kernels.single_precision import in_single_precision


@dataclass(frozen=True)
class Precision:
    """Warp types, the kernels that work on them, and what a linear solve can reach in them."""

    name: str
    scalar: Any
    vec3: Any
    mat33: Any
    least_residual: float
    """Of an iterative solve, over its right-hand side: what is asked below is an error."""
    tightest: float
    """The smallest that a Newton step asks for."""

    @property
    def is_single(self) -> bool:
        return self.scalar is wp.float32

    def kernels(self, module: ModuleType) -> Any:
        """Return a file of float64 kernels in this precision."""
        return in_single_precision(module) if self.is_single else module


PRECISIONS: dict[str, Precision] = {
    "float64": Precision("float64", wp.float64, wp.vec3d, wp.mat33d, 1e-15, 1e-10),
    "float32": Precision("float32", wp.float32, wp.vec3f, wp.mat33f, 1e-6, 1e-4),
}
"""By the name that a config gives."""
