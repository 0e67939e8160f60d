"""`simmesh export`: tets to a USD asset and its companions."""

from __future__ import annotations

from pipeline.commands.stage_command import stage_command

COMMAND = stage_command(
    "export",
    "tets to a USD asset and its companions",
    "better.msh asset.usdc",
    "OUT is a folder (all formats) or one file; report=FILE is what validate wrote; surface=FILE is what\n"
    "the tets were made of: its colours and texture reach the asset, with embed_surface=true its shape too.",
)
