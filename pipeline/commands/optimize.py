"""`simmesh optimize`: tets to better tets."""

from __future__ import annotations

from pipeline.commands.stage_command import stage_command

COMMAND = stage_command(
    "optimize",
    "tets to better tets",
    "mesh.msh better.msh",
    "surface=FILE names the surface to stay on; without it, the mesh's own boundary.",
)
