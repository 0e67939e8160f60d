"""`simmesh run`: the whole chain once, a sweep of runs, or one of Hydra's own questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from pipeline.commands.command import REPAIR, Command
from pipeline.commands.settings import settings_help
from pipeline.errors import InputError
from pipeline.outcome import COULD_NOT_RUN, READY, guarded, perform

HELP = """Run the whole chain: reconstruct, tetrahedralize, optimize, validate, export, and a report page.

  simmesh run [name=value ...]         the same: simmesh [name=value ...], python -m pipeline [name=value ...]
  simmesh run -m seed=1,2,3            a sweep: every combination, each in its own folder

A run is a folder: config.yaml, manifest.json, one folder per stage, report/index.html. The same command again
skips what is done and goes on from where it was interrupted.

  simmesh run input.path=scan.ply input.unit=mm input.up=y
  simmesh run input.path=part.stl stages=[tetrahedralize,optimize] run.dir=out
  simmesh run input.path=scan.ply optimize.rounds=4 force=[optimize]
  simmesh run validate/material=rubber

  simmesh run input.path=scene.usd input.prim=/World/Chair --repair

Also: --repair (mend a damaged mesh when reading it), --config-dir FOLDER (own presets), --cfg job (print the
config), -sc install=bash (tab completion)
"""


def call(arguments: list[str]) -> int:
    """Run once, sweep, or let Hydra answer."""
    from pipeline.config import compose_config

    overrides, flags = [], []
    config_dir = None
    is_sweep = False
    words = iter(arguments)
    for word in words:
        if word in ("-m", "--multirun"):
            is_sweep = True
        elif word == REPAIR:
            overrides.append("input.repair=true")
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
        return _ask_hydra([word if word != REPAIR else "input.repair=true" for word in arguments])
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


COMMAND = Command(
    "run",
    "the whole chain into a folder, with a report page",
    "input.path=scan.ply",
    lambda: HELP + settings_help(None),
    call,
    is_complete=True,
)
