"""The last words of a run: what was made, where it is, whether it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.io.report_contents import PAGE
from pipeline.io.report_counts import count_words
from pipeline.io.report_errors import error_bar
from pipeline.progress import duration
from pipeline.types import Check, SimReport

SHOWN = (".usdc", ".usda", ".json", ".msh", ".ply", ".npz")
"""Which file of a stage is named in the summary: the first of these endings that it wrote."""


def summarize(
    manifest: dict[str, Any], folder: Path, report: SimReport | None, made: Sequence[str], error: str | None
) -> str:
    """Write the summary of a run from its manifest.

    Args:
        made: Stages that this run made; the others were done already.
        error: Why the run stopped, or None.
    """
    given, stages, selected = manifest["input"], manifest["stages"], manifest["selected"]
    lines = [f"{manifest.get('run', folder.name)}: {verdict(manifest, report, made, error)}"]
    if given.get("path"):
        lines.append(f"  {'input':15} {_input_line(given)}")
        lines += _counted(given.get("repairs") or {})
    for name in selected:
        entry = stages.get(name) or {}
        lines.append(f"  {name:15} {_stage_line(entry, name in made)}")
        lines += _counted(entry.get("counts") or {})
    for name, entry in stages.items():
        if entry.get("stale"):
            lines.append(f"  {name:15} left from earlier inputs; add it to stages to make it again")
    if report is not None and not report.passed:
        lines.append("  below their limits:")
        lines += [f"    {describe(check)}" for check in report.checks if not check.passed]
    if report is not None and (errors := error_bar(report)):
        lines.append(f"  {'error bar':15} {errors}")
    if given.get("dimension") == 2:
        lines.append("  The input is 2D: a curve was made; tets, simulation and export are for 3D shapes.")
    if error and selected:
        lines.append("  What ended is kept; the same command goes on from there.")
    lines.append(f"  {'folder':15} {folder}")
    if manifest.get("report", True) is not None:
        lines.append(f"  {'report':15} {folder / PAGE}")
    if made:
        memory = manifest.get("peak_memory_mb")
        lines.append(
            f"  {'time':15} {duration(manifest.get('wall_seconds', 0.0))}"
            + (f", peak memory {memory / 1000:.1f} GB" if memory else "")
        )
    return "\n".join(lines)


def verdict(
    manifest: dict[str, Any], report: SimReport | None, made: Sequence[str], error: str | None
) -> str:
    """Say in one line how the run ended."""
    if error == "interrupted":
        return "interrupted"
    if error:
        return "stopped by an error"
    already = "" if made else " (everything was done already)"
    if report is None:
        return f"done{already}; not validated"
    failed = sum(not check.passed for check in report.checks)
    if failed or not report.checks:
        count = f"{failed} of {len(report.checks)} checks"
        return f"NOT ready for simulation: {count} are below their limit{already}"
    return f"ready for simulation: all {len(report.checks)} checks pass{already}"


def describe(check: Check) -> str:
    """Write a check and its limit in one line."""
    sign = "at least" if check.direction == "min" else "at most"
    unit = f" {check.unit}" if check.unit else ""
    return f"{check.name}: {check.value:.4g}{unit}, should be {sign} {check.limit:.4g}{unit}"


def _input_line(given: dict[str, Any]) -> str:
    def count(counts: dict[str, int]) -> str:
        return ", ".join(f"{n:,} {kind}" for kind, n in counts.items())

    text = f"{Path(given['path']).name}, {given['kind']}, {count(given['counts'])}"
    kept = given.get("kept") or {}
    if kept.get("artifact", given["artifact"]) != given["artifact"]:
        text += f", sampled to {kept['counts']['points']:,} points"
    return f"{text}, unit {given['unit']}, {given['up'].upper()} up"


def _counted(counts: dict[str, Any]) -> list[str]:
    words = count_words(counts)
    return [f"  {'':15} {words}"] if words else []


def _stage_line(entry: dict[str, Any], is_made: bool) -> str:
    status = entry.get("status", "skipped")
    if status == "failed":
        return f"failed: {entry.get('error')}"
    if status != "done":
        return "not run"
    counts = entry.get("counts", {})
    sizes = ", ".join(f"{counts[k]:,} {k}" for k in ("points", "faces", "tets") if k in counts)
    facts = entry.get("facts") or {}
    if "mass" in facts:
        sizes = f"{facts['mass']:.4g} kg" + (f", {facts['volume']:.4g} m^3" if "volume" in facts else "")
    files = list(entry.get("outputs", {}))
    shown = next((f for ending in SHOWN for f in files if f.endswith(ending)), "")
    time = duration(entry.get("seconds", 0.0)) if is_made else "done before"
    return "  ".join(part for part in (f"{time:>11}", shown, sizes) if part)
