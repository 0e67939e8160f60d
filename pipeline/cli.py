"""The command line: `simmesh` for whole runs, `simmesh VERB IN OUT` for one stage.

Exit codes: 0 ready (or done), 1 the run ended but a check is below its limit, 2 it could not run, 130 Ctrl-C,
143 SIGTERM. Heavy imports happen inside the commands, so that the help comes at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline import __version__
from pipeline.errors import InputError
from pipeline.outcome import BELOW_LIMIT, COULD_NOT_RUN, READY, guarded, perform, terminable

if TYPE_CHECKING:
    from pipeline.config import Setting

VERBS = {
    "reconstruct": "points to a surface",
    "tetrahedralize": "a surface to tets",
    "optimize": "tets to better tets",
    "validate": "tets to a simulation report",
    "export": "tets to a USD asset and its companions",
}

HELP = f"""simmesh {__version__}: point clouds and surfaces to tetrahedral meshes that a simulator can trust

Type one of these:
  simmesh                                  the whole chain on the bunny that comes along, into runs/bunny
  simmesh run input.path=scan.ply          the whole chain on your file, into runs/scan
  simmesh run experiment=smoke             the whole chain on a tiny shape, in seconds

One stage, files in and out (the extension says the format):
  simmesh reconstruct     scan.ply surface.ply       points: ply xyz npy npz; surfaces: ply obj stl off usd
  simmesh tetrahedralize  surface.ply mesh.msh       tets: msh vtu vtk mesh npz usd
  simmesh optimize        mesh.msh better.msh
  simmesh validate        better.msh report.json
  simmesh export          better.msh asset.usdc      or a folder for all formats

More:
  simmesh run --help, simmesh VERB --help            what can be set, as name=value
  --version                                          the version
  --traceback (or SIMMESH_TRACEBACK=1)               where an error comes from

Exit code: 0 ready, 1 the run ended but a check is below its limit, 2 it could not run, 130 or 143 stopped.
"""

RUN_HELP = """Run the whole chain: reconstruct, tetrahedralize, optimize, validate, export, and a report page.

  simmesh run [name=value ...]         the same: simmesh [name=value ...], python -m pipeline [name=value ...]
  simmesh run -m seed=1,2,3            a sweep: every combination, each in its own folder

A run is a folder: config.yaml, manifest.json, one folder per stage, report/index.html. The same command again
skips what is done and goes on from where it was interrupted.

  simmesh run input.path=scan.ply input.unit=mm input.up=y
  simmesh run input.path=part.stl stages=[tetrahedralize,optimize] run.dir=out
  simmesh run input.path=scan.ply optimize.rounds=4 force=[optimize]
  simmesh run validate/material=rubber

Also: --config-dir FOLDER (own presets), --cfg job (print the config), -sc install=bash (tab completion)
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
    """Choose the command by the first word."""
    first = arguments[0] if arguments else "run"
    if first in ("--help", "-h", "help"):
        return _say(HELP)
    if first in ("--version", "-V"):
        return _say(f"simmesh {__version__}\n")
    if first == "run":
        return run_command(arguments[1:])
    if first in VERBS:
        return stage_command(first, arguments[1:])
    if first.startswith("-") or "=" in first:
        return run_command(arguments)
    if Path(first).exists():
        raise InputError(
            f"{first}: say what to do with the file, for example: simmesh run input.path={first}"
        )
    near = difflib.get_close_matches(first, ["run", *VERBS], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"{first}: no such command; {hint}the commands are run, {', '.join(VERBS)}; see simmesh --help"
    )


# --- whole runs


def run_command(arguments: list[str]) -> int:
    """`simmesh run`: one run, a sweep, or one of Hydra's own questions."""
    if "--help" in arguments or "-h" in arguments:
        return _say(RUN_HELP + _settings_help(None))
    from pipeline.config import compose_config

    overrides, flags = [], []
    config_dir = None
    is_sweep = False
    words = iter(arguments)
    for word in words:
        if word in ("-m", "--multirun"):
            is_sweep = True
        elif word in ("-cd", "--config-dir"):
            config_dir = next(words, "")
        elif word.startswith("--config-dir="):
            config_dir = word.partition("=")[2]
        elif word.startswith("-"):
            flags.append(word)
        elif word.startswith("="):
            raise InputError(f"{word}: expected name=value, the name is missing")
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        elif not flags:
            raise InputError(f"{word}: expected name=value; to run on a file: simmesh run input.path={word}")
        else:
            flags.append(word)
    if flags:
        return _ask_hydra(arguments)
    if is_sweep:
        from pipeline.sweep import sweep

        return sweep(overrides, config_dir)
    return perform(compose_config(overrides, config_dir))


def _ask_hydra(arguments: list[str]) -> int:
    """Let Hydra answer what is its own: --cfg, --info, --hydra-help, --shell-completion, --config-name."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from pipeline.config import CONF, NAME, register, to_config

    _check_flags(arguments)
    register()
    codes = []

    def start(composed: DictConfig) -> None:
        experiment = HydraConfig.get().runtime.choices.get("experiment")
        codes.append(guarded(lambda: perform(to_config(composed, experiment))))

    before, sys.argv = sys.argv, ["simmesh", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=NAME)(start)()
    except SystemExit as end:
        return COULD_NOT_RUN if end.code else READY
    finally:
        sys.argv = before
    return codes[0] if codes else READY


def _check_flags(arguments: list[str]) -> None:
    """Refuse options that Hydra does not have, in one line."""
    from hydra._internal.utils import get_args_parser

    from pipeline.config import CONF

    def refuse(message: str) -> NoReturn:
        raise InputError(f"{message}; see simmesh run --help")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    words, unknown = parser.parse_known_args(arguments)
    if unknown:
        refuse(f"{unknown[0]}: no such option")
    if words.resolve and not words.cfg:
        refuse("--resolve: goes with --cfg job")
    folders = [Path(folder) for folder in (words.config_path, words.config_dir, CONF) if folder]
    name = words.config_name
    if name and not any((folder / name).with_suffix(".yaml").is_file() for folder in folders):
        refuse(f"--config-name {name}: there is no {name}.yaml in {' or '.join(map(str, folders))}")


# --- one stage


def stage_command(verb: str, arguments: list[str]) -> int:
    """`simmesh VERB IN OUT [name=value ...]`."""
    if "--help" in arguments or "-h" in arguments or not arguments:
        return _say(_verb_help(verb))
    from pipeline.files import process

    files = [word for word in arguments if not _is_override(word)]
    overrides = [word for word in arguments if _is_override(word)]
    unknown = [word for word in files if word.startswith("-")]
    if unknown:
        raise InputError(f"{unknown[0]}: no such option; see simmesh {verb} --help")
    if len(files) != 2:
        raise InputError(f"{verb} takes two files, IN and OUT; got {len(files)}: {' '.join(files) or 'none'}")
    from pipeline.progress import Progress, log_to

    progress = Progress()
    with log_to(progress):
        text, passed = process(verb, files[0], Path(files[1]), overrides, progress)
    print(text, flush=True)
    return READY if passed else BELOW_LIMIT


def _is_override(word: str) -> bool:
    name = word.lstrip("+~").partition("=")[0]
    return (
        "=" in word
        and name.replace("/", "").replace(".", "").replace("_", "").isalnum()
        and name[0].isalpha()
    )


def _verb_help(verb: str) -> str:
    more = {
        "reconstruct": "IN may be a surface too: it is sampled into points first (input.sample_points=N).\n",
        "tetrahedralize": "IN is a surface: ply, obj, stl, off, usd.\n",
        "optimize": "surface=FILE names the surface to stay on; without it, the mesh's own boundary.\n",
        "validate": "OUT is a .json file. Exit code 1 when a check is below its limit.\n",
        "export": "OUT is a folder (all formats) or one file; report=FILE is what validate wrote.\n",
    }
    return (
        f"simmesh {verb} IN OUT [name=value ...]: {VERBS[verb]}\n\n{more[verb]}"
        f"input.unit=m|cm|mm and input.up=y|z say how IN is measured. The prefix {verb}. may be left out.\n"
        + _settings_help(verb)
    )


def _settings_help(verb: str | None) -> str:
    """List what can be set: the general settings for a run, those of the stage for a verb."""
    from pipeline import config as configs

    lines = []
    groups = [verb] if verb else [*VERBS]
    if verb is None:
        lines.append("\nGeneral:")
        general = [s for s in configs.settings(configs.PipelineConfig) if s.name.split(".")[0] not in VERBS]
        lines += _table(general)
        lines.append(f"  {'experiment':36} {', '.join(configs.group_options('experiment'))}")
    for group in groups:
        lines.append(f"\n{group}:")
        lines += _table(configs.settings(configs.stage_config(group), f"{group}."))
        for choice in configs.choices(group):
            lines.append(
                f"  {group + '/' + choice:36} {', '.join(configs.group_options(f'{group}/{choice}'))}"
            )
    return "\n".join(lines) + "\n"


def _table(settings: Sequence[Setting]) -> list[str]:
    """Write one setting a line; a long name gets a line of its own."""
    lines = []
    for s in settings:
        name = f"  {s.name}={s.default}"
        lines += [f"{name:38} {s.doc}"] if len(name) <= 38 else [name, f"{'':38} {s.doc}"]
    return [line.rstrip() for line in lines]


def _say(text: str) -> int:
    print(text, end="", flush=True)
    return READY
