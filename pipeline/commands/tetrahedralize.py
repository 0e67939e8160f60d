"""`simmesh tetrahedralize`: a surface to tets."""

from __future__ import annotations

from pipeline.commands.stage_command import stage_command

COMMAND = stage_command(
    "tetrahedralize",
    "a surface to tets",
    "surface.ply mesh.msh",
    "IN is a surface: ply, obj, stl, off, usd.",
)
