"""`simmesh verify`: the verification suite of the simulator, measured against expected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.command import Command, parse
from pipeline.errors import InputError
from pipeline.outcome import BELOW_LIMIT, READY

if TYPE_CHECKING:
    from sim.verification import Study

HELP = """simmesh verify [STUDY ...] [--quick] [--write FILE]: does the simulator compute what it should?

Runs studies with known answers (patch test, beams, frequencies, friction, Hertz, gradients, ...) and prints
what was measured beside what is expected, with the observed order of convergence. Under ten minutes on two
cores; no mesh is needed.

  simmesh verify                                 all of them
  simmesh verify --quick                         those that take seconds
  simmesh verify hertz torsion 8                 some, by name or number
  simmesh verify --write docs/verification.md    also write the page, with every equation and source
  simmesh verify --list                          their names

Exit code: 0 every number holds, 1 one does not, 2 it could not run.
"""

OPTIONS = {"--quick": False, "--write": True, "--list": False}


def call(arguments: list[str]) -> int:
    """Run studies and print their tables."""
    words = parse("verify", arguments, (0, None), OPTIONS, names="STUDY")
    if words.settings:
        raise InputError(f"{words.settings[0]}: verify takes no settings; see simmesh verify --help")
    from pipeline.environment import start_warp

    start_warp()
    from sim.verification import STUDIES

    chosen = [_find(word, STUDIES) for word in words.files] or list(STUDIES)
    if words.has("--quick"):
        chosen = [study for study in chosen if not study.is_long]
    if words.has("--list"):
        for study in chosen:
            print(f"{study.number:>3}  {study.name:<22} {study.title}{'  (long)' if study.is_long else ''}")
        return READY
    return _run(chosen, words.options.get("--write"))


def _find(word: str, studies: tuple[Study, ...]) -> Study:
    for study in studies:
        if word in (study.name, str(study.number)):
            return study
    known = ", ".join(study.name for study in studies)
    raise InputError(f"{word}: no such study; known: {known}")


def _run(studies: list[Study], page: str | None) -> int:
    import time

    from pipeline.progress import duration
    from sim.verification.table import document, text_table

    start, results = time.monotonic(), []
    for study in studies:
        begin = time.monotonic()
        results.append((study, study.rows()))
        print(f"{text_table(*results[-1])}\n   {duration(time.monotonic() - begin)}\n", flush=True)
    count = sum(len(rows) for _, rows in results)
    wrong = [(study, row) for study, rows in results for row in rows if not row.passed]
    if page is not None:
        path = Path(page)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document(results), encoding="utf-8")
        print(f"written: {path}")
    for study, row in wrong:
        print(f"fails: {study.name}: {row.name}")
    took = duration(time.monotonic() - start)
    print(f"{count - len(wrong)} of {count} numbers of {len(results)} studies hold, {took}", flush=True)
    return BELOW_LIMIT if wrong else READY


COMMAND = Command(
    "verify",
    "does the simulator compute what it should",
    "[STUDY ...]",
    lambda: HELP,
    call,
    is_complete=True,
)
