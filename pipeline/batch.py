"""Batches: every file of a folder through the chain, each in a run of its own; no failure stops the rest.

    OUT/runs/scan.ply/        the run of FOLDER/scan.ply, as `simmesh run` makes it; log.txt, outcome.json
    OUT/index.html            pictures and verdicts, worst first
    OUT/summary.csv           the same as a table

Hydra's launchers do the work: one after another, `joblib` on one machine, `submitit` on SLURM, `ray` on a
cluster. A job is named by its number, so that no file name has to pass Hydra's grammar. Hydra's own `glob()`
lists config groups, not files; the files are listed here. A second start skips the runs that are done.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
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
    to_config,
    to_yaml,
)
from pipeline.context import log
from pipeline.errors import InputError
from pipeline.io.atomic import atomic_write_text
from pipeline.outcome import BELOW_LIMIT, COULD_NOT_RUN, READY, message_of
from pipeline.progress import Progress, duration, log_to
from pipeline.run_folder import RunLock, new_folder

RUNS, LOG, OUTCOME, CONFIG = "runs", "log.txt", "outcome.json", "batch.yaml"
OWN = ("input.path", "run.dir", "run.name")
"""Settings that the batch gives to each run itself."""
VERDICTS = {True: "ready", False: "NOT ready", None: "done"}
"""By what a run says of its mesh; None where it validated nothing."""


@dataclass(frozen=True)
class Job:
    """One file of a batch."""

    name: str
    """Path of the file below the folder, with slashes."""
    path: Path
    folder: Path
    """Folder of its run."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    job: Job
    code: int
    """Exit code of its run."""
    error: str | None
    seconds: float


@dataclass(frozen=True)
class RunJob:
    """The function that a launcher calls for each job; it may be pickled and sent to another process.

    Attributes:
        jobs: All jobs of the batch; `run.name` of a composed config is the number of one.
        total: Number of jobs in the batch, done or not.
        started: When the batch was started, for the estimate [s since 1970].
    """

    jobs: tuple[Job, ...]
    total: int
    started: float

    def __call__(self, composed: DictConfig) -> int:
        """Run one job, write its outcome and return its exit code; raises only when the user interrupts."""
        job = self.jobs[int(composed.run.name)]
        start = time.monotonic()
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / OUTCOME).unlink(missing_ok=True)
        code, error, word = self._run(job, composed)
        outcome = Outcome(job, code, error, round(time.monotonic() - start, 3))
        write_outcome(outcome)
        self._tell(outcome, word)
        return code

    def _run(self, job: Job, composed: DictConfig) -> tuple[int, str | None, str]:
        """Return exit code, error and verdict."""
        from pipeline.runner import run

        with (job.folder / LOG).open("w", encoding="utf-8") as file:
            progress = Progress(file)
            try:
                with log_to(progress):
                    config = to_config(composed)
                    config.input.path, config.run.dir, config.run.name = str(job.path), str(job.folder), None
                    result = run(config=config, progress=progress)
            except Exception as error:
                text = message_of(error)
                log.debug("%s failed", job.name, exc_info=True)
                progress.message(f"simmesh: error: {text}")
                return COULD_NOT_RUN, text.removeprefix(f"{job.path}: "), "failed"  # it is named beside
            progress.message(result.summary)
        return (BELOW_LIMIT if result.ready is False else READY), None, VERDICTS[result.ready]

    def _tell(self, outcome: Outcome, word: str) -> None:
        """Print one line: what ended, how, and how long the rest may take."""
        ended = sum(_modified(job.folder / OUTCOME) >= self.started for job in self.jobs)
        left = len(self.jobs) - ended
        spent = time.time() - self.started
        rest = f", about {duration(spent / max(ended, 1) * left)} left" if left else ""
        text = f"[{self.total - left}/{self.total}] {outcome.job.name}: {word}"
        why = f": {outcome.error.splitlines()[0]}" if outcome.error else ""
        Progress().message(f"{text}, {duration(outcome.seconds)}{rest}{why}")


def find_jobs(folder: Path, out: Path) -> tuple[list[Job], list[str]]:
    """List the files of a folder and of those below it that can be read, by name.

    Returns:
        The jobs, and the names of other files, which are left out. Hidden files and the batch's own folder
        are neither.

    Raises:
        InputError: There is no such folder, or none of its files can be read.
    """
    from pipeline.io.formats import READERS

    if not folder.is_dir():
        why = "is a file; for one file: simmesh run input.path=" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {why}{folder if folder.exists() else ''}")
    if folder.resolve() in (out.resolve(), (out / RUNS).resolve()):
        raise InputError(f"{out}: the runs would be files of the next batch; give OUT a folder of its own")
    jobs, others = [], []
    for below in _files_below(folder, out.resolve()):
        path = folder / below
        if path.suffix.lower() in READERS and path.is_file():
            jobs.append(Job(below.as_posix(), path.resolve(), (out / RUNS / below).resolve()))
        else:  # a link that leads nowhere or in a circle as well
            others.append(below.as_posix())
    if not jobs:
        known = " ".join(READERS)
        raise InputError(
            f"{folder}: nothing to run: {len(others)} files, none with an extension that can be read "
            f"({known})"
        )
    return jobs, others


def _files_below(folder: Path, out: Path) -> list[Path]:
    """Paths of files below a folder, by name; not what is hidden or below `out`; links of folders are files.

    Raises:
        InputError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error

    found = []
    for name, folders, files in os.walk(folder, onerror=refuse):
        here = Path(name)
        folders[:] = [sub for sub in folders if not sub.startswith(".") and (here / sub).resolve() != out]
        links = [sub for sub in folders if (here / sub).is_symlink()]
        found += [(here / file).relative_to(folder) for file in (*files, *links) if not file.startswith(".")]
    return sorted(found)


def run_batch(folder: Path, out: Path, overrides: Sequence[str] = (), workers: int = 1) -> list[Outcome]:
    """Run every file of a folder, and write the page and the table of all.

    Args:
        folder: Searched for files, also below.
        out: Where runs, page and table go; made when missing.
        overrides: As for `simmesh run`, for every file; `hydra/launcher=...` chooses another launcher.
        workers: Processes on this machine; more than one needs the extra `joblib`.

    Returns:
        One outcome a file, in the order of the names.

    Raises:
        InputError: Nothing to run, settings that are wrong, or another batch works in the folder: told before
            the first job.
        OutputError: The page or the table cannot be written.
    """
    from pipeline.io.batch_page import write_batch_page, write_batch_table

    words = _launcher(list(overrides), workers)
    config = _check(words)
    jobs, others = find_jobs(folder, out)
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        log.info("left out, by extension no shapes, or links to no file: %d, %s", len(others), shown)
    with new_folder(out), RunLock(out, "give another OUT"):
        _begin(out, config, jobs)
        try:
            _run_all(jobs, out, words)
        finally:
            outcomes = [read_outcome(job) for job in jobs]
            write_batch_table(out, outcomes)
            write_batch_page(out, outcomes, others)
    return outcomes


def _begin(out: Path, config: PipelineConfig, jobs: Sequence[Job]) -> None:
    """Keep the settings; how runs ended with other settings says nothing any more."""
    from pipeline.io.atomic import output_error

    text = to_yaml(config)
    try:
        (out / RUNS).mkdir(parents=True, exist_ok=True)
        if not (out / CONFIG).is_file() or (out / CONFIG).read_text(encoding="utf-8") != text:
            for job in jobs:
                (job.folder / OUTCOME).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    atomic_write_text(out / CONFIG, text)


def _launcher(overrides: list[str], workers: int) -> list[str]:
    """Put the launcher for several workers on this machine into the overrides."""
    own = [word for word in overrides if word.lstrip("+~").partition("=")[0] in OWN]
    if own:
        raise InputError(f"{own[0]}: a batch gives each file its own; leave it out")
    if workers < 1:
        raise InputError(f"--jobs: expected at least 1, got {workers}")
    if workers == 1:
        return overrides
    if any(word.startswith("hydra/launcher=") for word in overrides):
        raise InputError("--jobs goes with the launcher joblib; for another, set hydra.launcher.* instead")
    return [*overrides, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]


EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
"""Launchers by name and the extra that brings each."""


def _check(overrides: Sequence[str]) -> PipelineConfig:
    """Compose the settings once, so that a mistake is told before the first job."""
    chosen = [word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")]
    known = _launchers()
    if chosen and chosen[-1] not in known:
        extra = EXTRAS.get(chosen[-1])
        remedy = f'pip install "simmesh[{extra}]"' if extra else f"known here: {', '.join(known)}"
        raise InputError(f"hydra/launcher={chosen[-1]}: this launcher is not installed; {remedy}")
    return compose_config(overrides)


def _launchers() -> list[str]:
    """Return the launchers that are installed."""
    with fresh_hydra(), initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="simmesh"):
        return GlobalHydra.instance().config_loader().get_group_options("hydra/launcher")


def _run_all(jobs: list[Job], out: Path, overrides: Sequence[str]) -> None:
    """Run the jobs by Hydra's launcher; when a worker dies, go on with the others in new ones.

    A job in whose run a worker died has no outcome but has begun; it is not tried again.
    """
    begun: set[Job] = set()
    started = time.time()
    rest = jobs
    while rest:
        try:
            _launch(RunJob(tuple(rest), len(jobs), started), out, overrides)
            return
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(explain(error)) from error
        except Exception as error:
            left = [job for job in rest if _modified(job.folder / OUTCOME) < started]
            died = {job for job in left if _modified(job.folder / LOG) >= started}
            if died <= begun and len(left) == len(rest):  # the launcher itself does not work
                raise InputError(f"the launcher failed before any job began: {message_of(error)}") from error
            begun |= died
            log.warning(
                "a worker died (%s); going on with the other files", message_of(error).splitlines()[0]
            )
            rest = [job for job in left if job not in begun]


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _launch(function: RunJob, out: Path, overrides: Sequence[str]) -> None:
    """Hand the jobs to Hydra's sweeper and launcher, which keeps files of its own in the runs' folder."""
    numbers = ",".join(str(k) for k in range(len(function.jobs)))
    words = [f"run.name={numbers}", *overrides, f'hydra.sweep.dir="{out / RUNS}"', "hydra.sweep.subdir=."]
    register()
    with fresh_hydra(), initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="simmesh"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.multirun(config_name=NAME, task_function=function, overrides=words)


def write_outcome(outcome: Outcome) -> None:
    """Write how a job ended into the folder of its run."""
    entry = {"code": outcome.code, "error": outcome.error, "seconds": outcome.seconds}
    atomic_write_text(outcome.job.folder / OUTCOME, json.dumps(entry, indent=1))


def read_outcome(job: Job) -> Outcome:
    """Return how a job ended; one without an outcome did not end."""
    try:
        entry: dict[str, Any] = json.loads((job.folder / OUTCOME).read_text(encoding="utf-8"))
        return Outcome(job, int(entry["code"]), entry["error"], float(entry["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Outcome(job, COULD_NOT_RUN, "did not end: interrupted, or its process died (memory?)", 0.0)
