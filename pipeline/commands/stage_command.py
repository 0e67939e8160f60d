"""What the commands of the five stages share: `simmesh VERB IN OUT [name=value ...]`."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.command import REPAIR, Command, parse
from pipeline.commands.settings import settings_help
from pipeline.outcome import BELOW_LIMIT, READY


def stage_command(verb: str, summary: str, example: str, more: str) -> Command:
    """Make the record of a stage.

    Args:
        verb: Name of the stage.
        summary: What it does, in one line.
        example: Files of an example.
        more: What its help says beyond the settings.
    """

    def tell() -> str:
        return (
            f"simmesh {verb} IN OUT [name=value ...]: {summary}\n\n{more}\n"
            "input.unit=m|cm|mm and input.up=y|z say how IN is measured. "
            f"The prefix {verb}. may be left out.\n" + settings_help(verb)
        )

    return Command(verb, summary, example, tell, lambda arguments: call_stage(verb, arguments))


def call_stage(verb: str, arguments: list[str]) -> int:
    """Run one stage on a file; print what was made."""
    words = parse(verb, arguments, (2, 2), {REPAIR: False}, names="IN and OUT")
    from pipeline.files import process
    from pipeline.progress import Progress, log_to

    source, target = words.files
    progress = Progress()
    with log_to(progress):
        text, passed = process(verb, source, Path(target), words.settings, progress)
    print(text, flush=True)
    return READY if passed else BELOW_LIMIT
