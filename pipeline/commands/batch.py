"""`simmesh batch FOLDER OUT`: every file of a folder through the chain."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.command import REPAIR, Command, parse
from pipeline.commands.settings import settings_help
from pipeline.errors import InputError
from pipeline.outcome import READY

HELP = """simmesh batch FOLDER OUT [options] [name=value ...]: every file of a folder, and of those below it

Each file gets a run of its own in OUT/runs, with its report; OUT/index.html shows them all, worst first, and
OUT/summary.csv holds the numbers. A file that fails is told and never stops the rest. The same command again
skips what is done and finishes what was interrupted.

  simmesh batch scans out                                           one after another
  simmesh batch scans out --jobs 4                                  in 4 processes (extra joblib)
  simmesh batch scans out input.unit=mm tetrahedralize.target_tets=30000
  simmesh batch scans out device=cuda:auto --jobs 2                 each run on a GPU that no other run uses
  simmesh batch scans out hydra/launcher=submitit_slurm hydra.launcher.timeout_min=60     (extra slurm)
  simmesh batch scans out hydra/launcher=ray                                              (extra ray)

  --jobs N            processes on this machine
  --repair            mend damaged meshes when reading them

Exit code: 0 all are ready, 1 a check of one is below its limit, 2 one could not be run, or nothing to run.
"""

SHOWN = 20
"""Lines of the list at the end; the rest stands on the page."""


def call(arguments: list[str]) -> int:
    """Run the batch and print what needs attention."""
    words = parse("batch", arguments, (2, 2), {"--jobs": True, REPAIR: False}, names="FOLDER and OUT")
    try:
        workers = int(words.options.get("--jobs", "1"))
    except ValueError:
        raise InputError(f"--jobs: expected a whole number, got {words.options['--jobs']!r}") from None
    from pipeline.batch import run_batch
    from pipeline.io.batch_page import PAGE, TABLE, rows
    from pipeline.progress import Progress, log_to

    folder, out = (Path(word).expanduser() for word in words.files)
    with log_to(Progress()):
        outcomes = run_batch(folder, out, words.settings, workers)
    found = rows(out, outcomes)
    worst = [row for row in found if row.verdict in ("failed", "not ready")]
    print(
        f"\nbatch of {len(found)} files: {sum(row.verdict == 'ready' for row in found)} ready for simulation"
    )
    for row in worst[:SHOWN]:
        reason = row.error.splitlines()[0] if row.error else ", ".join(row.failed_checks)
        print(f"  {row.verdict:10} {row.file}: {reason}")
    if len(worst) > SHOWN:
        print(f"  ... and {len(worst) - SHOWN} more")
    print(f"  page       {out / PAGE}\n  table      {out / TABLE}", flush=True)
    return max((outcome.code for outcome in outcomes), default=READY)


COMMAND = Command(
    "batch",
    "every file of a folder, with one page of all",
    "scans out --jobs 4",
    lambda: HELP + settings_help(None),
    call,
)
