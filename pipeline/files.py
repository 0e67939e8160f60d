"""One stage, files in and out: what `simmesh VERB IN OUT` does."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import PipelineConfig, choices, compose_config, setting_names
from pipeline.environment import prepare_device
from pipeline.errors import InputError, OutputError
from pipeline.io.artifacts import load_artifact, save_artifact
from pipeline.io.atomic import output_error
from pipeline.io.formats import (
    SURFACE_WRITERS,
    TET_WRITERS,
    USD_EXTENSIONS,
    read_surface,
    states_unit,
    write_surface,
    write_tets,
)
from pipeline.io.report_counts import count_words
from pipeline.io.report_errors import error_bar, worst_elements
from pipeline.progress import Progress, ProgressContext, duration
from pipeline.run_folder import new_folder
from pipeline.source import ARTIFACT, KIND, Source, kind_of, sample, sizes
from pipeline.stages import STAGES
from pipeline.stages.export import EXPORTERS
from pipeline.summary import describe
from pipeline.types import PointCloud, SimReport, SurfaceMesh, TetMesh

TAKES: dict[str, type] = {"reconstruct": PointCloud, "tetrahedralize": SurfaceMesh}
"""What a verb reads; the others read tets."""
WRITES: dict[str, Sequence[str]] = {
    "reconstruct": tuple(SURFACE_WRITERS),
    "tetrahedralize": tuple(TET_WRITERS),
    "optimize": tuple(TET_WRITERS),
    "validate": (".json",),
}
"""Extensions of OUT by verb; export has its own."""
CURVES = (".ply", ".npz")
"""Extensions of OUT for the curve of a 2D cloud."""
FILES: dict[str, Sequence[str]] = {"optimize": ("surface",), "export": ("report", "surface")}
"""Settings that name further files, by verb."""


def process(
    verb: str, source: str, target: Path, overrides: Sequence[str], progress: Progress
) -> tuple[str, bool]:
    """Run one stage on a file.

    Args:
        verb: Name of the stage.
        source: File to read; `warp:NAME` is a shape of the warp-lang wheel.
        target: File to write; a folder for `export`.
        overrides: `name=value`; the prefix of the stage may be left out.

    Returns:
        What was made, in words, and False when a check is below its limit.

    Raises:
        InputError, OutputError, StageError: As the parts do.
    """
    further, overrides = _further_files(verb, overrides)
    _check_kind(verb, target)
    with _writable_folder(target):
        return _process(verb, source, target, further, overrides, progress)


def _process(
    verb: str,
    source: str,
    target: Path,
    further: dict[str, Path],
    overrides: Sequence[str],
    progress: Progress,
) -> tuple[str, bool]:
    start = time.monotonic()
    value, config, context = open_input(verb, source, overrides, progress)
    if isinstance(value, PointCloud) and value.dimension == 2 and target.suffix.lower() not in CURVES:
        raise OutputError(
            f"cannot write {target}: the points are 2D, and only {' and '.join(CURVES)} hold a 2D curve"
        )
    stage = next(s for s in STAGES if s.name == verb)
    arguments = {name: _read_further(name, path, value) for name, path in further.items()}
    settings = getattr(config, verb)
    with progress.stage(verb):
        if verb == "export":
            files, result = _export(
                stage.function, value, settings, target, {**arguments, "context": context}
            )
        else:
            result = stage.function(value, config=settings, context=context, **arguments)
            files = [_write(result, target)]
    lines = [f"{file}: {_words(result)}" for file in files]
    lines += [counted] if (counted := count_words(context.counts)) else []
    lines.append(f"done in {duration(time.monotonic() - start)}; input: {value.frame}")
    if isinstance(result, SimReport):
        return _report_words(result, lines), result.passed
    return "\n".join(lines), True


class Opened(NamedTuple):
    """What a command works on."""

    value: Any
    """Point cloud, surface or tets, as the stage takes it."""
    config: PipelineConfig
    context: ProgressContext
    """Holds what was counted when the file was read."""


def open_input(verb: str, source: str, overrides: Sequence[str], progress: Progress) -> Opened:
    """Compose the config of a stage and read its input.

    Args:
        verb: Name of the stage; its prefix may be left out of the overrides.
        source: File to read; `warp:NAME` is a shape of the warp-lang wheel.
        overrides: `name=value`.
        progress: Where progress is shown.

    Raises:
        InputError: As the config and the readers do, or the file holds another kind of data.
    """
    config = compose_config([prefixed(verb, word) for word in overrides])
    if not source.strip():
        raise InputError(f"{verb}: the name of IN is empty; give a file")
    device = prepare_device(config.device)
    given = Source(replace(config.input, path=source))
    context = ProgressContext(progress, device=device, seed=config.seed)
    value = read_input(verb, given, config)
    context.counts.update(given.context.counts)
    return Opened(value, config, context)


def prefixed(verb: str, override: str) -> str:
    """Put the name of the stage before a setting without it: `max_faces=9`, `material=rubber`."""
    mark = override[: len(override) - len(override.lstrip("+~"))]
    name = override[len(mark) :].partition("=")[0]
    first = name.replace("/", ".").split(".")[0]
    if first in (*setting_names(PipelineConfig), "experiment", "hydra"):
        return override
    is_group = first in choices(verb) and "." not in name
    return f"{mark}{verb}{'/' if is_group else '.'}{override[len(mark) :]}"


def read_input(verb: str, given: Source, config: PipelineConfig) -> Any:
    """Read IN, and say what it lacks when the verb cannot take it."""
    value, wanted = given.data, TAKES.get(verb, TetMesh)
    if verb == "reconstruct" and isinstance(value, SurfaceMesh):
        return sample(value, given.sample_count, config.seed)
    if not isinstance(value, wanted):
        path, first = given.path.name, f"{given.path.name} is a {kind_of(value)}"
        if isinstance(value, PointCloud):
            raise InputError(f"{first}; make a surface first: simmesh reconstruct {path} surface.ply")
        if isinstance(value, SurfaceMesh):
            raise InputError(f"{first}; make tets first: simmesh tetrahedralize {path} mesh.msh")
        raise InputError(f"{first}; {verb} takes a {KIND[ARTIFACT[wanted]]}")
    return value


def _further_files(verb: str, overrides: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Tell the files that settings name, by name, from the other settings."""
    found, rest = {}, []
    for word in overrides:
        name, equals, value = word.partition("=")
        if equals and name in FILES.get(verb, ()):
            found[name] = Path(value)
        else:
            rest.append(word)
    return found, rest


def _read_further(name: str, path: Path, mesh: Any) -> Any:
    """Read a further file; a surface in a format that keeps no unit is measured as IN is."""
    if name == "surface":
        keeps_frame = states_unit(path)
        return read_surface(path, None if keeps_frame else mesh.frame)
    if path.suffix != ".json" or not path.is_file():
        raise InputError(f"report={path}: expected the .json file that simmesh validate wrote")
    return load_artifact(path.stem, path.parent)


def _check_kind(verb: str, target: Path) -> None:
    """Refuse an OUT of a kind that the stage does not write, before any work."""
    if verb == "export":
        if target.suffix and not target.is_dir():
            _export_format(target)
    elif target.suffix.lower() not in WRITES[verb]:
        known = ", ".join(WRITES[verb])
        raise OutputError(f"cannot write {target}: {verb} writes {known}; give OUT one of these extensions")
    elif target.is_dir():
        raise OutputError(f"cannot write {target}: that name is a folder; give a file")


@contextmanager
def _writable_folder(target: Path) -> Iterator[None]:
    """Make the folder of OUT, and try to write there, before any work; an error leaves no empty folder."""
    folder = target.parent if target.suffix else target
    with new_folder(folder):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".simmesh."):
                pass
        except OSError as error:
            raise output_error(target, error) from error
        yield


def _write(result: Any, target: Path) -> Path:
    if isinstance(result, SurfaceMesh):
        return write_surface(target, result)
    if isinstance(result, TetMesh):
        return write_tets(target, result)
    return save_artifact(target.stem, result, target.parent)[0]


def _export_format(target: Path) -> str:
    """Return the exporter of an extension."""
    known = {ending: key for key, (ending, _) in EXPORTERS.items()}
    known |= dict.fromkeys(USD_EXTENSIONS, "usd")
    if target.suffix.lower() not in known:
        raise OutputError(
            f"cannot write {target}: export writes {', '.join(known)}, or all of its formats into a folder"
        )
    return known[target.suffix.lower()]


def _export(
    function: Any, mesh: TetMesh, config: Any, target: Path, arguments: dict[str, Any]
) -> tuple[list[Path], Any]:
    """Export into a folder, or one format into a file: written beside, then moved to its name.

    A format of two files (a MuJoCo scene names its mesh) has the second beside the first.
    """
    if target.is_dir() or not target.suffix:
        asset = function(mesh, config=config, folder=target, **arguments)
        return list(asset.paths.values()), asset
    key = _export_format(target)
    settings = replace(config, formats=[key], name=target.stem)
    if key == "usd":
        settings = replace(settings, usd_extension=target.suffix.lower())
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".simmesh.") as folder:
        try:
            asset = function(mesh, config=settings, folder=Path(folder), **arguments)
        except OutputError as error:  # names the folder beside, of which no one knows
            raise OutputError(str(error).replace(str(Path(folder)), str(target.parent))) from error
        files = {path: target.parent / path.name for path in asset.paths.values()}
        files[asset.paths[key]] = target
        try:
            for source, final in files.items():
                shutil.move(source, os.path.realpath(final) if final.is_symlink() else final)
        except OSError as error:
            raise output_error(target, error) from error
    return [target, *(path for path in files.values() if path != target)], asset


def _words(result: Any) -> str:
    if isinstance(result, SimReport):
        failed = sum(not check.passed for check in result.checks)
        return f"{len(result.checks) - failed} of {len(result.checks)} checks pass"
    if hasattr(result, "mass"):
        size = f"{result.counts['tets']:,} tets, {result.volume:.4g} m^3, {result.mass:.4g} kg"
        return f"{size}, in metres, Z up"
    return ", ".join(f"{n:,} {kind}" for kind, n in sizes(result).items())


def _report_words(report: SimReport, lines: list[str]) -> str:
    rows = [f"  {'pass' if check.passed else 'FAIL'}  {describe(check)}" for check in report.checks]
    if errors := error_bar(report):
        lines = [*lines, f"error bar: {errors}"]
    if worst := worst_elements(report):
        lines = [*lines, f"worst elements: {worst}"]
    verdict = "ready for simulation" if report.passed else "NOT ready: a check is below its limit"
    return "\n".join([*rows, *lines, verdict])
