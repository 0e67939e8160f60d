"""Lists of what can be set, for the help: one setting a line, from the docstrings of the configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.stages import NAMES

if TYPE_CHECKING:
    from pipeline.config import Setting


def settings_help(stage: str | None) -> str:
    """List the settings of a stage; for None the general ones and those of all stages."""
    from pipeline import config as configs

    lines = []
    if stage is None:
        lines.append("\nGeneral:")
        general = [s for s in configs.settings(configs.PipelineConfig) if s.name.split(".")[0] not in NAMES]
        lines += settings_table(general)
        lines.append(f"  {'experiment':36} {', '.join(configs.group_options('experiment'))}")
    for group in [stage] if stage else NAMES:
        lines.append(f"\n{group}:")
        lines += settings_table(configs.settings(configs.stage_config(group), f"{group}."))
        for choice in configs.choices(group):
            options = ", ".join(configs.group_options(f"{group}/{choice}"))
            lines.append(f"  {group + '/' + choice:36} {options}")
    return "\n".join(lines) + "\n"


def settings_table(settings: Sequence[Setting]) -> list[str]:
    """Write one setting a line; a long name gets a line of its own."""
    lines = []
    for s in settings:
        name = f"  {s.name}={s.default}"
        lines += [f"{name:38} {s.doc}"] if len(name) <= 38 else [name, f"{'':38} {s.doc}"]
    return [line.rstrip() for line in lines]
