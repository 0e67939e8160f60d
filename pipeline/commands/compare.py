"""`simmesh compare A B [C...] [OUT.html]`: meshes and runs side by side."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.command import REPAIR, Command, parse
from pipeline.errors import InputError
from pipeline.outcome import READY

HELP = """simmesh compare A B [C...] [OUT.html] [options] [name=value ...]: which mesh is better, and in what?

Each of A, B, C is a run folder or a file with tets, of any program: structure, quality, readiness, simulated
tests and, of runs, the time of each stage stand side by side, the best of each line marked. OUT.html is a
page with histograms. Meshes that no run has validated are validated here; foreign meshes with inverted, flat
or duplicate tets are repaired, and that is said.

  simmesh compare runs/bunny runs/bunny-fine bunny.html
  simmesh compare ours.msh theirs.vtu input.unit=mm
  simmesh compare runs/bunny bunny.html --peer pytetwild

  --peer pytetwild    add the mesh that pytetwild makes of the surface of A, with about as many tets
                      (pip install "simmesh[baselines]")
  --no-scenarios      leave the simulated tests out for meshes that are validated here
  --all               list numbers of which no direction is better too
  --repair            repair every mesh, not only those that are refused otherwise

input.unit=m|cm|mm and input.up=y|z say how files that keep no unit are read; validate.* (the prefix may be
left out) sets material and scenarios. Exit code: 0 compared, 2 it could not be.
"""

OPTIONS = {"--peer": True, "--no-scenarios": False, "--all": False, REPAIR: False}


def call(arguments: list[str]) -> int:
    """Compare, write the page if asked, print the table."""
    words = parse("compare", arguments, (1, None), OPTIONS, names="meshes or run folders")
    pages = [word for word in words.files if Path(word).suffix.lower() in (".html", ".htm")]
    paths = [word for word in words.files if word not in pages]
    if len(pages) > 1:
        raise InputError(f"compare writes one page; got {' '.join(pages)}")
    from dataclasses import replace

    from pipeline.comparing import gather
    from pipeline.config import compose_config
    from pipeline.environment import prepare_device
    from pipeline.files import prefixed
    from pipeline.io.comparison_page import write_comparison_page
    from pipeline.metrics.side_by_side import comparison_text
    from pipeline.progress import Progress, ProgressContext, log_to

    config = compose_config([prefixed("validate", word) for word in words.settings])
    judged = replace(config.validate, scenarios={}) if words.has("--no-scenarios") else config.validate
    progress = Progress()
    with log_to(progress), progress.stage("compare"):
        context = ProgressContext(progress, device=prepare_device(config.device), seed=config.seed)
        subjects = gather(paths, judged, config.input, peer=words.options.get("--peer"), context=context)
        if pages:
            write_comparison_page(pages[0], subjects)
    print(comparison_text(subjects, words.has("--all")), flush=True)
    if pages:
        print(f"page: {pages[0]}", flush=True)
    return READY


COMMAND = Command("compare", "meshes and runs side by side", "runs/a runs/b page.html", lambda: HELP, call)
