"""Sweeps: `simmesh run -m seed=1,2` runs every combination in its own folder, and goes on after a failure.

Hydra's sweeper and launcher do the work (`hydra/launcher=joblib` runs in parallel). Every value is checked
before the first job starts. A job returns its exit code instead of raising, so the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pipeline.config import (
    CONF,
    NAME,
    PipelineConfig,
    compose_config,
    explain,
    fresh_hydra,
    register,
    search_path,
    to_config,
)
from pipeline.errors import InputError
from pipeline.outcome import COULD_NOT_RUN, guarded, perform
from pipeline.source import Source

OWN_FOLDER = ("run.dir", "run.name")


def sweep(overrides: Sequence[str], config_dir: str | None = None) -> int:
    """Run all combinations; print one line per job; return the worst exit code."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise InputError(explain(error)) from error
    swept = [o for o in parsed if o.is_sweep_override()]
    if not swept:
        starred = next((o for o in parsed if isinstance(value := o.value(), str) and "*" in value), None)
        raise InputError(
            f"{starred.input_line}: a star lists no files; for those of a folder: simmesh batch FOLDER OUT"
            if starred
            else "a sweep needs a setting with several values, for example seed=1,2,3"
        )
    globbed = next((o for o in swept if isinstance(o.value(), Glob)), None)
    if globbed is not None:
        raise InputError(
            f"{globbed.key_or_group}: Hydra's glob lists configs, not files; for the files of a folder: "
            "simmesh batch FOLDER OUT"
        )
    config = _check(parsed, config_dir)
    base = (
        Path(config.run.dir)
        if config.run.dir
        else Path("runs") / f"{config.run.name or Source(config.input).name}-sweep"
    )
    fixed = [o.key_or_group for o in parsed if not o.is_sweep_override()]
    settings = [
        *overrides,
        f'hydra.sweep.dir="{base}"',
        "hydra.sweep.subdir=.",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]",
        *search_path(config_dir),
    ]
    register()
    with fresh_hydra(), initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="simmesh"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            batches = hydra.multirun(config_name=NAME, task_function=job, overrides=settings)
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(explain(error)) from error
    jobs = [job for batch in batches or () for job in batch]
    words = {0: "ready or done", 1: "a check is below its limit", COULD_NOT_RUN: "could not run"}
    print(f"\nsweep of {len(jobs)} runs in {base}")
    for done in jobs:
        code = done.return_value
        print(f"  {code}  {words.get(code, 'failed'):28} {job_name(done.hydra_cfg.hydra)}")
    return max((done.return_value for done in jobs), default=0)


def job(composed: DictConfig) -> int:
    """Run one combination in its own folder; return its exit code."""
    settings = HydraConfig.get()

    def start() -> int:
        config = to_config(composed)
        if not any(
            task.startswith(OWN_FOLDER) for task in settings.overrides.task if _varies(task, settings)
        ):
            config.run.dir = str(Path(settings.sweep.dir) / job_name(settings))
        return perform(config)

    return guarded(start, job=job_name(settings))


def job_name(settings: Any) -> str:
    """Name a job by what varies: `optimize.rounds=4,seed=2`."""
    name = re.sub(r"[^\w.=,+-]+", "_", settings.job.override_dirname)
    return name if 0 < len(name) <= 120 else f"job-{settings.job.num}"


def _varies(task: str, settings: Any) -> bool:
    return task.partition("=")[0].lstrip("+~") not in settings.job.config.override_dirname.exclude_keys


def _check(parsed: list[Override], config_dir: str | None) -> PipelineConfig:
    """Compose with each value of each swept setting once, so that a mistake is told before the first job."""
    values = [
        [f"{o.get_key_element()}={v}" for v in o.sweep_string_iterator()] if o.is_discrete_sweep() else []
        for o in parsed
        if o.is_sweep_override()
    ]
    fixed = [o.input_line for o in parsed if not o.is_sweep_override() and o.input_line]
    first = [options[0] for options in values if options]
    config = _compose(fixed, first, config_dir)
    for k, options in enumerate(values):
        for option in options[1:]:
            _compose(fixed, [*first[:k], option, *first[k + 1 :]], config_dir)
    return config


def _compose(fixed: list[str], varied: list[str], config_dir: str | None) -> PipelineConfig:
    """Compose one combination; an error names it."""
    try:
        return compose_config([*fixed, *varied], config_dir)
    except InputError as error:
        raise InputError(f"{','.join(varied) or 'sweep'}: {error}; nothing was run") from error
