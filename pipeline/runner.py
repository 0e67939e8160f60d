"""Runs the chain: binds artifacts, skips what is done, resumes what was interrupted, records what failed.

A run is one folder (docs/architecture.md, "Stage contract"). Each stage of the run is bound to its inputs by
artifact name, its fingerprint is compared with the manifest, and what is new, changed or damaged is made.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import __version__
from pipeline.binding import Artifact, Artifacts
from pipeline.context import log
from pipeline.devices import claimed_device
from pipeline.environment import commit, peak_memory, prepare_device, start_warp, versions
from pipeline.errors import InputError, OutputError, SimmeshError, StageError
from pipeline.io.atomic import atomic_write_text, remove_leftovers
from pipeline.io.report_contents import PAGE
from pipeline.manifest import Manifest, file_hash, fingerprint, now, plain, text_hash
from pipeline.plan import Plan, make_plan
from pipeline.progress import Progress, duration
from pipeline.run_folder import CHECKPOINT, RunLock, StageRecorder, new_folder
from pipeline.source import KIND, InputConfig, Source, sizes
from pipeline.stages.stage import Stage
from pipeline.summary import summarize

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig


@dataclass(frozen=True)
class RunResult:
    """What a run made."""

    folder: Path
    ready: bool | None
    """True: every check passes. False: a check is below its limit. None: nothing was validated."""
    manifest: dict[str, Any]
    """The manifest as written to the folder."""
    summary: str
    """The same for people."""


def run(*overrides: str, config: PipelineConfig | None = None, progress: Progress | None = None) -> RunResult:
    """Run the chain: `run("input.path=scan.ply", "optimize.rounds=4")`.

    Args:
        overrides: As on the command line.
        config: A config made in Python instead of overrides.
        progress: Where progress is shown; standard error by default.

    Raises:
        SimmeshError: As `run_stages`.
    """
    from pipeline.config import compose_config, to_yaml
    from pipeline.stages import STAGES

    if config is not None and overrides:
        raise TypeError("run: give overrides or a config, not both")
    chosen = compose_config(overrides) if config is None else config
    return run_stages(chosen, STAGES, config_text=to_yaml(chosen), progress=progress)


def run_stages(
    config: Any, stages: Sequence[Stage], *, config_text: str = "", progress: Progress | None = None
) -> RunResult:
    """Run the chain in its folder.

    Args:
        config: `input`, `run`, `stages`, `force`, `seed`, `device`, and one config per stage by its name.
        stages: The records in the order of the chain.
        config_text: The config as composed (YAML), kept in the folder.
        progress: Where progress is shown; standard error by default.

    Raises:
        InputError: The input or the choice of stages cannot be used, or another run works in the folder.
        OutputError: The folder cannot be written.
        StageError: A stage failed; everything that ended before it is kept, and the manifest holds the error.
        KeyboardInterrupt: Stopped by the user; likewise.
    """
    with claimed_device(config.device) as device:
        on_device = config if device == config.device else replace(config, device=device)
        return _Run(on_device, tuple(stages), config_text, progress or Progress()).execute()


@dataclass
class _Run:
    config: Any
    stages: tuple[Stage, ...]
    config_text: str
    progress: Progress
    made: list[str] = field(default_factory=list)

    def execute(self) -> RunResult:
        self.start = time.monotonic()
        start_warp()
        if self.config.device != "cpu":  # a device that is missing is refused before anything is read
            prepare_device(self.config.device)
        source = self._open()
        with new_folder(self.folder), RunLock(self.folder) as lock:
            if lock.taken_over:
                log.info(
                    "the run before (process %s) was killed; going on from what it left", lock.taken_over
                )
            for sub in ("", "input", "report", *(s.name for s in self.stages)):
                remove_leftovers(self.folder / sub)
            self.manifest = Manifest.load(self.folder)
            if self.manifest.damaged:
                log.warning("manifest.json cannot be read; every stage is made again")
            self._describe_input(source)
            plan = self._plan(source)
            self._begin(plan)
            try:
                for stage in plan.stages:
                    self._run_stage(stage)
            except SimmeshError as error:
                self._end(str(error))
                raise
            except KeyboardInterrupt:
                self._end("interrupted", with_report=False)
                raise
            self._end(None)
        data = self.manifest.data
        return RunResult(self.folder, data["ready"], data, data["summary"])

    # --- what to do

    def _open(self) -> Source:
        """Find the input and the folder. A folder of a run remembers its input."""
        given: InputConfig = self.config.input
        run = self.config.run
        if given.path is None and run.dir is not None:
            before = Manifest.load(Path(run.dir)).data["input"]
            if before.get("given"):
                merged = {k: v if v is not None else before["given"].get(k) for k, v in plain(given).items()}
                given = replace(given, **merged)
        source = Source(given)
        self.name = run.name or (Path(run.dir).name if run.dir else "") or source.name
        if Path(self.name).name != self.name or self.name in (".", ".."):
            raise InputError(
                f"run.name: expected a plain name, got {self.name!r}; a folder goes into run.dir"
            )
        self.folder = Path(run.dir).expanduser() if run.dir else Path("runs") / self.name
        return source

    def _describe_input(self, source: Source) -> None:
        """Put the input into the manifest; a file that has not changed is not read again."""
        entry = self.manifest.data["input"]
        if entry.get("hash") != source.hash or entry.get("artifact") not in KIND:
            if entry.get("hash"):
                log.info("the input is not the one that this folder was made from")
            entry = source.describe()
        entry["given"] = plain(source.config)
        self.manifest.data["input"] = entry
        count = ", ".join(f"{n:,} {k}" for k, n in entry["counts"].items())
        words = (source.path.name, entry["kind"], count, entry["unit"], entry["up"].upper())
        log.info("input: %s (%s, %s; unit %s, %s up)", *words)

    def _plan(self, source: Source) -> Plan:
        """Choose the stages of this run, and offer them the input."""
        entry, seed = self.manifest.data["input"], self.config.seed
        plan = make_plan(
            self.stages,
            entry["artifact"],
            entry["dimension"],
            asked=self.config.stages,
            force=self.config.force or (),
            is_sampled=source.is_default or source.config.sample_points is not None,
        )
        self.artifacts = Artifacts(self.manifest, self.stages, [s.name for s in plan.stages])
        if plan.start == entry["artifact"]:
            given = Artifact(source.hash, lambda: source.data)
        else:
            mark = text_hash(source.hash, source.sample_count, seed)
            given = Artifact(mark, lambda: source.sampled(seed))
        self.artifacts.known[plan.start] = given
        return plan

    def _begin(self, plan: Plan) -> None:
        """Write what this run is, before anything is made."""
        data = self.manifest.data
        data.update(simmesh=__version__, run=self.name, versions=versions(), commit=commit())
        data["selected"] = [s.name for s in plan.stages]
        self._keep_input(plan.start, self.artifacts.known[plan.start])
        if self.config_text:
            atomic_write_text(self.folder / "config.yaml", self.config_text)
        self.manifest.save()

    def _keep_input(self, name: str, artifact: Artifact) -> None:
        """Keep the input as the first stage gets it, for the report and for later runs."""
        from pipeline.io.artifacts import save_artifact

        entry, folder = self.manifest.data["input"], self.folder / "input"
        kept = entry.get("kept") or {}
        if kept.get("hash") == artifact.hash and not self.manifest.damaged_files(kept.get("files", {})):
            return
        paths = save_artifact(name, artifact.value, folder)
        for other in folder.iterdir():
            if other not in paths and other.is_file():
                other.unlink()
        files = self.manifest.hash_files(paths)
        entry["kept"] = {
            "artifact": name,
            "hash": artifact.hash,
            "files": files,
            "counts": sizes(artifact.value),
        }

    # --- one stage

    def _run_stage(self, stage: Stage) -> None:
        """Make the output of a stage, or take it from the folder when it is done."""
        bound, config = self.artifacts.bind(stage), getattr(self.config, stage.name)
        inputs = {name: artifact.hash for name, artifact in bound.values()}
        mark = fingerprint(stage.name, stage.version, config, inputs, self.config.seed)
        before, is_forced = self.manifest.entry(stage.name), stage.name in (self.config.force or ())
        if not is_forced and self._is_done(before, mark, stage):
            self.artifacts.take(stage)
            log.info("%s: already done", stage.name)
            return
        device = prepare_device(self.config.device)
        entry = {
            "status": "running",
            "version": stage.version,
            "fingerprint": mark,
            "started": now(),
            "seconds": None,
            "device": device,
            "seed": self.config.seed,
            "config": plain(config),
            "inputs": inputs,
            "outputs": {},
            "counts": {},
            "error": None,
            "history": f"{stage.name}/history.jsonl",
        }
        self.manifest.data["stages"][stage.name] = entry
        self.manifest.save()
        folder = self.folder / stage.name
        if is_forced and before.get("status") == "done":
            (folder / CHECKPOINT).unlink(missing_ok=True)
        self._make(
            stage, bound, config, StageRecorder(folder, mark, self.progress, device, self.config.seed), entry
        )
        for name in before.get("outputs", {}).keys() - entry["outputs"].keys():
            (self.folder / name).unlink(missing_ok=True)

    def _make(
        self,
        stage: Stage,
        bound: dict[str, tuple[str, Artifact]],
        config: Any,
        recorder: StageRecorder,
        entry: dict[str, Any],
    ) -> None:
        """Call the function of a stage, save what it returns, and put it into the manifest entry."""
        start, folder = time.monotonic(), recorder.folder
        try:
            with self.progress.stage(stage.name):
                arguments = {argument: artifact.value for argument, (_, artifact) in bound.items()}
                if "folder" in inspect.signature(stage.function).parameters:
                    arguments["folder"] = folder
                value = stage.function(**arguments, config=config, context=recorder)
                recorder.close()
                paths = self._save(stage, value, folder)
        except BaseException as error:
            seconds = round(time.monotonic() - start, 3)
            entry.update(status="failed", error=_reason(error), seconds=seconds, counts=dict(recorder.counts))
            with suppress(OutputError):
                recorder.close()
            if isinstance(error, SimmeshError) or not isinstance(error, Exception):
                raise
            raise StageError(f"{stage.name} failed: {_reason(error)}") from error
        entry.update(
            status="done",
            seconds=round(time.monotonic() - start, 3),
            outputs=self.manifest.hash_files(paths),
            counts={**sizes(value), **recorder.counts},
            resumed_from=recorder.resumed,
            **recorder.notes,
            **_facts(value),
        )
        self.manifest.save()
        recorder.finish()
        self.made.append(stage.name)
        self.artifacts.known[stage.output] = Artifact(text_hash(entry["outputs"]), lambda: value)
        size = ", ".join(f"{n:,} {k}" for k, n in sizes(value).items())
        log.info("%s: done in %s%s", stage.name, duration(entry["seconds"]), f" ({size})" if size else "")

    def _save(self, stage: Stage, value: Any, folder: Path) -> list[Path]:
        from pipeline.io.artifacts import save_artifact

        cell_data = None
        if stage.output == "sim_mesh":
            from pipeline.metrics.tet import tet_quality

            cell_data = tet_quality(value.points, value.tets)
        return save_artifact(stage.output, value, folder, cell_data)

    def _is_done(self, entry: dict[str, Any], mark: str, stage: Stage) -> bool:
        if entry.get("status") != "done" or entry.get("fingerprint") != mark:
            return False
        damaged = self.manifest.damaged_files(entry.get("outputs", {}))
        if damaged:
            log.warning("%s: %s is missing or changed; it is made again", stage.name, ", ".join(damaged))
        return not damaged

    # --- the end

    def _end(self, error: str | None, with_report: bool = True) -> None:
        """Mark what no longer fits, write the summary and the report."""
        data = self.manifest.data
        for stage in self.stages:
            entry = self.manifest.entry(stage.name)
            if entry.get("status") == "running":  # stopped before its work began
                entry.update(status="failed", error=error)
            is_old = stage.name not in data["selected"] and entry.get("status") == "done"
            if error is None and is_old and self.artifacts.find(stage.output) is None:
                entry.update(status="skipped", stale=True, error="made from inputs that have changed since")
        found = self.artifacts.known.get("sim_report") if error is None else None
        report = found.value if found is not None else None
        data["ready"] = report.passed if report is not None else None
        if self.made or error is not None or "wall_seconds" not in data:
            data.update(wall_seconds=round(time.monotonic() - self.start, 3), peak_memory_mb=peak_memory())
        if not self.config.run.report:
            with_report = False
            if self.made or error is not None or "report" not in data:
                data["report"] = None
                (self.folder / PAGE).unlink(missing_ok=True)  # what it shows is no more
        data["summary"] = summarize(data, self.folder, report, self.made, error)
        try:
            self.manifest.save()
            if with_report:
                self._report(error)
        except OutputError as output:
            if error is None:
                raise
            log.warning("%s", output)

    def _report(self, error: str | None) -> None:
        """Write the page, unless it shows just this already."""
        from pipeline.io.report import comparison_text, write_report

        data = self.manifest.data
        mark = text_hash(
            data["stages"], data["input"], data["ready"], comparison_text(self.folder), __version__
        )
        before = data.get("report") or {}
        if before.get("fingerprint") == mark and not self.manifest.damaged_files(before.get("files", {})):
            return
        start = time.monotonic()
        try:
            page = write_report(self.folder)
        except SimmeshError:
            raise
        except Exception as bug:
            if error is None:
                raise StageError(f"report failed: {_reason(bug)}") from bug
            log.warning("report failed: %s", _reason(bug))
            return
        name = page.relative_to(self.folder).as_posix()
        data["report"] = {
            "fingerprint": mark,
            "files": {name: file_hash(page)},
            "seconds": round(time.monotonic() - start, 3),
        }
        self.manifest.save()


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SimmeshError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; ask for a smaller mesh or fewer points"
    return f"{type(error).__name__}: {error}"


def _facts(value: Any) -> dict[str, Any]:
    """Return the plain numbers of an asset (mass, volume) for the manifest."""
    names = ("mass", "volume")
    facts = {
        name: plain(getattr(value, name)) for name in names if isinstance(getattr(value, name, None), float)
    }
    return {"facts": facts} if facts else {}
