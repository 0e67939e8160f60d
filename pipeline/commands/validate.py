"""`simmesh validate`: tets to a simulation report."""

from __future__ import annotations

from pipeline.commands.stage_command import stage_command

COMMAND = stage_command(
    "validate",
    "tets to a simulation report",
    "better.msh report.json",
    "OUT is a .json file. Exit code 1 when a check is below its limit.",
)
