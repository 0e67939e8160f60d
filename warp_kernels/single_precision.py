"""The float32 twin of a kernel file: the same source with the types of float64 replaced.

    wp.float64 -> wp.float32,   wp.vec3d -> wp.vec3f,   wp.mat33d -> wp.mat33f,   and so on

A formula is thus written once, in the concrete types of the default precision, and what runs in float64
neither changes nor compiles longer because float32 exists. A twin is a Python module and a Warp module of its
own, made when it is first asked for. Names that it imports from other kernel files are theirs, so a file with
a twin imports only what holds no float.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

_DOUBLE = re.compile(r"\bwp\.(?:(float)64|((?:vec|mat|quat)\d*)d)\b")


class _TwinLoader(InspectLoader):
    """Loads the replaced source, and hands it to `inspect`, from which Warp reads its kernels."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get_source(self, fullname: str) -> str:
        source = Path(self.path).read_text(encoding="utf-8")
        return _DOUBLE.sub(lambda m: "wp.float32" if m[1] else f"wp.{m[2]}f", source)

    def get_code(self, fullname: str) -> CodeType:
        # A path that does not exist: `linecache` then asks the loader, not the file, for the source.
        return self.source_to_code(self.get_source(fullname), f"{self.path}.float32")


@cache
def in_single_precision(module: ModuleType) -> ModuleType:
    """Return the float32 twin of a kernel file, the same one for each call."""
    assert module.__file__ is not None  # a kernel file is a file
    name = f"{module.__name__}_float32"
    spec = spec_from_loader(name, _TwinLoader(module.__file__))
    assert spec is not None
    twin = module_from_spec(spec)
    sys.modules[name] = twin
    spec.loader.exec_module(twin)  # type: ignore[union-attr]
    return twin
