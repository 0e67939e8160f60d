"""The commands of `simmesh`, one file each with a `COMMAND` record; a file is loaded when it is asked for.

A new verb is a file here and its name in `NAMES`. Commands load what is heavy inside the functions they call,
so that the help comes at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.commands.command import Command

NAMES = (
    "run",
    "reconstruct",
    "tetrahedralize",
    "optimize",
    "validate",
    "export",
    "check",
    "check-usd",
    "compare",
    "batch",
    "verify",
)
"""In the order of the help; `check-usd` lives in check_usd.py."""


def load(name: str) -> Command:
    """Return the record of a command."""
    return importlib.import_module(f"pipeline.commands.{name.replace('-', '_')}").COMMAND
