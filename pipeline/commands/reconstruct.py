"""`simmesh reconstruct`: points to a surface."""

from __future__ import annotations

from pipeline.commands.stage_command import stage_command

COMMAND = stage_command(
    "reconstruct",
    "points to a surface",
    "scan.ply surface.ply",
    "IN may be a surface too: it is sampled into points first (input.sample_points=N).",
)
