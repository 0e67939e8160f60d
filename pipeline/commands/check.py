"""`simmesh check MESH`: structure, quality, readiness and simulated tests, by limits and by a baseline."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.command import REPAIR, Command, parse
from pipeline.commands.settings import settings_help
from pipeline.errors import InputError, InvalidMeshError
from pipeline.outcome import BELOW_LIMIT, READY

HELP = """simmesh check MESH [--baseline FILE] [options] [name=value ...]: is this mesh as good as it was?

Structure, quality, readiness and simulated tests of a tetrahedral mesh, held against their limits and, with a
baseline, against what they were: every metric has its own direction and tolerance, and better never fails.
The worst element of each kind is named, with its place in metres. Renumbering does not count.

  simmesh check bunny.msh                                        by the limits alone
  simmesh check bunny.msh --baseline bunny.json --update         write the baseline (its tolerances stay)
  simmesh check bunny.msh --baseline bunny.json --junit out.xml  in continuous integration

  --baseline FILE     compare with what FILE holds
  --update            write FILE instead; the limits still count
  --json FILE         every number and verdict as JSON
  --junit FILE        the same as JUnit XML
  --no-scenarios      leave the simulated tests out: seconds instead of a minute
  --all               list what did not change too
  --repair            repair tets first (orientation, duplicates, unused points), and say what was done

Exit code: 0 it passes, 1 worse than the baseline or below a limit, 2 it could not be checked.
input.unit=m|cm|mm, input.up=y|z and input.prim=/World/Body say how MESH is read. The prefix validate. may be
left out.
"""

OPTIONS = {
    "--baseline": True,
    "--update": False,
    "--json": True,
    "--junit": True,
    "--no-scenarios": False,
    "--all": False,
    REPAIR: False,
}


def call(arguments: list[str]) -> int:
    """Judge a mesh and print the table."""
    words = parse("check", arguments, (1, 1), OPTIONS, names="MESH")
    if words.has("--update") and not words.has("--baseline"):
        raise InputError("--update: say which file, with --baseline FILE")
    from pipeline.checking import judge, judgement_table, update_baseline
    from pipeline.files import Opened, open_input
    from pipeline.io.baseline_files import read_baseline, write_comparison, write_junit
    from pipeline.progress import Progress, log_to

    path = words.files[0]
    target = Path(words.options["--baseline"]) if words.has("--baseline") else None
    # A baseline that cannot be read is told before the work; one that is to be replaced may be in any state.
    known = read_baseline(target) if target is not None and not words.has("--update") else None
    progress = Progress()
    with log_to(progress), progress.stage("check"):
        try:
            opened: Opened = open_input("validate", path, words.settings, progress)
        except InvalidMeshError as error:
            return _refused(path, error, words.options)
        mesh, config, context = opened
        with_scenarios = not words.has("--no-scenarios")
        found = judge(mesh, config.validate, known, with_scenarios=with_scenarios, context=context)
        if words.has("--json"):
            write_comparison(words.options["--json"], found.rows, path)
        if words.has("--junit"):
            write_junit(words.options["--junit"], found.rows, path)
        if target is not None and words.has("--update"):
            update_baseline(target, found)
    sizes = f"{len(mesh.points):,} points, {len(mesh.tets):,} tets, {mesh.frame}"
    print(f"{path}: {sizes}\n{judgement_table(found, words.has('--all'))}", flush=True)
    if target is not None and words.has("--update"):
        print(f"baseline written: {target}", flush=True)
    return READY if found.passed else BELOW_LIMIT


def _refused(path: str, error: InvalidMeshError, options: dict[str, str]) -> int:
    """A mesh that was read but is none: the finding is the answer."""
    from pipeline.io.baseline_files import write_comparison, write_junit
    from pipeline.metrics.baseline import Comparison, Row

    found = Comparison((Row("structure.valid", "worse", 0.0, 1.0, 0.0, str(error)),))
    if "--json" in options:
        write_comparison(options["--json"], found, path)
    if "--junit" in options:
        write_junit(options["--junit"], found, path)
    print(f"{error}\ndoes NOT pass: it is no valid mesh; --repair shows what of it can be mended", flush=True)
    return BELOW_LIMIT


COMMAND = Command(
    "check",
    "a mesh against limits and its baseline",
    "mesh.msh --baseline mesh.json",
    lambda: HELP + settings_help("validate"),
    call,
)
