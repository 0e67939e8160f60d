"""The command line: which command, its help, its errors and its exit code.

Exit codes: 0 ready (or done), 1 it ended but a check is below its limit, 2 it could not run, 130 Ctrl-C,
143 SIGTERM. The commands live in `pipeline/commands/`, one file each.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import __version__, commands
from pipeline.errors import InputError
from pipeline.outcome import COULD_NOT_RUN, READY, guarded, terminable

HELP = """simmesh {version}: point clouds and surfaces to tetrahedral meshes that a simulator can trust

Type one of these:
  simmesh                                  the whole chain on the bunny that comes along, into runs/bunny
  simmesh run input.path=scan.ply          the whole chain on your file, into runs/scan
  simmesh run experiment=smoke             the whole chain on a tiny shape, in seconds

Commands, with an example:
{commands}

Files (the extension says the format):
  points    ply xyz txt npy npz
  surfaces  ply obj stl off glb npz usd usda usdc usdz
  tets      msh vtu vtk mesh npz usd usda usdc usdz

More:
  simmesh COMMAND --help                   what it takes, and what can be set as name=value
  --version                                the version
  --traceback (or SIMMESH_TRACEBACK=1)     where an error comes from

Exit code: 0 ready, 1 it ended but a check is below its limit, 2 it could not run, 130 or 143 stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    show_traceback = os.environ.get("SIMMESH_TRACEBACK", "") not in ("", "0")
    if "--traceback" in arguments:
        arguments.remove("--traceback")
        show_traceback = True
    with terminable():
        return guarded(lambda: dispatch(arguments), show_traceback)


def dispatch(arguments: list[str]) -> int:
    """Choose the command by the first word; without one it is `run`."""
    first = arguments[0] if arguments else "run"
    if first in ("--help", "-h", "help"):
        return _say(HELP.format(version=__version__, commands=_list()))
    if first in ("--version", "-V"):
        return _say(f"simmesh {__version__}\n")
    if first in commands.NAMES:
        name, rest = first, arguments[1:]
    elif first.startswith("-") or "=" in first:
        name, rest = "run", arguments
    else:
        raise _unknown(first)
    command = commands.load(name)
    if "--help" in rest or "-h" in rest:
        return _say(command.help())
    if not (rest or command.is_complete):  # a script whose variable is empty must not take it for a pass
        _say(command.help())
        return COULD_NOT_RUN
    return command.call(rest)


def _unknown(word: str) -> InputError:
    if Path(word).exists():
        return InputError(f"{word}: say what to do with the file, for example: simmesh run input.path={word}")
    near = difflib.get_close_matches(word, commands.NAMES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    known = ", ".join(commands.NAMES)
    return InputError(f"{word}: no such command; {hint}the commands are {known}; see simmesh --help")


def _list() -> str:
    """List the commands: what each does, and an example below it."""
    records = [commands.load(name) for name in commands.NAMES]
    return "\n".join(f"  {c.name:16} {c.summary:52} {c.name} {c.example}".rstrip() for c in records)


def _say(text: str) -> int:
    print(text, end="", flush=True)
    return READY
