"""Put meshes side by side: the same numbers of each in one line, the best of them marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.metrics.baseline import Measure
from pipeline.metrics.units import UNITS
from pipeline.types import SimReport, TetMesh

GROUPS = {
    "mesh": "Mesh",
    "quality": "Quality",
    "readiness": "Readiness",
    "scenario": "Simulated tests",
    "check": "Checks",
    "seconds": "Time [s]",
}
"""Headings by the first word of a metric; those without a dot are of the mesh."""
ALWAYS = ("points", "tets", "volume")
"""Metrics that are listed although no direction of them is better."""
_SAME = 1e-6
"""Relative difference below which two numbers are as good as each other."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One mesh of a comparison."""

    name: str
    mesh: TetMesh
    """In metres."""
    report: SimReport
    measures: dict[str, Measure]
    seconds: dict[str, float] = field(default_factory=dict)
    """What took how long to make it [s], where that is known."""
    notes: tuple[str, ...] = ()
    """What a reader should know: repairs, where it came from."""


@dataclass(frozen=True)
class Line:
    """One number of every subject."""

    group: str
    label: str
    values: tuple[float | None, ...]
    best: tuple[bool, ...]
    """Which subjects have the best value; nowhere True when all have, or no direction is better."""
    failed: tuple[bool, ...]
    """Which subjects have a value below a limit."""
    is_main: bool
    """Whether a short table shows it."""


def side_by_side(subjects: Sequence[Subject]) -> list[Line]:
    """Collect every metric that a subject has, in the order of the groups."""
    names = dict.fromkeys(name for subject in subjects for name in subject.measures)
    failed = [{f"check.{c.name}" for c in s.report.checks if not c.passed} for s in subjects]
    lines = []
    for name in names:
        found = [subject.measures.get(name) for subject in subjects]
        direction = next(m.direction for m in found if m is not None)
        values = tuple(None if m is None else float(m.value) for m in found)
        group, _, label = name.rpartition(".") if "." in name else ("mesh", "", name)
        head = group.partition(".")[0]
        words = f"{group.partition('.')[2]} {label}".strip().replace("_", " ").replace(".", " ")
        unit = next((UNITS[word] for word in name.split(".")[-2:] if word in UNITS), None)
        words += f" [{unit}]" if unit else ""
        is_main = direction != "any" or name in ALWAYS
        fails = tuple(name in names for names in failed)
        lines.append(Line(head, words, values, _best(values, direction), fails, is_main))
    for stage in dict.fromkeys(stage for subject in subjects for stage in subject.seconds):
        values = tuple(subject.seconds.get(stage) for subject in subjects)
        none = (False,) * len(values)
        lines.append(Line("seconds", stage, values, none, none, True))
    order = list(GROUPS)
    return sorted(lines, key=lambda line: order.index(line.group) if line.group in order else len(order))


def comparison_text(subjects: Sequence[Subject], every: bool = False) -> str:
    """Lay a comparison out as text: * marks the best, ! a value below its limit; all numbers if `every`."""
    lines = [line for line in side_by_side(subjects) if every or line.is_main]
    left = max([len(line.label) for line in lines] + [8]) + 2
    width = [max(len(subject.name), 14) + 2 for subject in subjects]
    out = [" " * left + "".join(f"{s.name:>{w}}" for s, w in zip(subjects, width))]
    group = ""
    for line in lines:
        if line.group != group:
            group = line.group
            out += ["", GROUPS.get(group, group)]
        cells = (
            f"{_text(value)}{'!' if fail else '*' if best else ' '}"
            for value, best, fail in zip(line.values, line.best, line.failed)
        )
        out.append(f"  {line.label:{left - 2}}" + "".join(f"{c:>{w}}" for c, w in zip(cells, width)))
    out += ["", *(f"{subject.name}: {verdict(subject)}" for subject in subjects)]
    return "\n".join([*out, "* best, ! below its limit"])


def verdict(subject: Subject) -> str:
    """Say whether a subject is ready, and what there is to know of it."""
    checks = subject.report.checks
    failed = [check.name for check in checks if not check.passed]
    words = f"NOT ready: {', '.join(failed)}" if failed else f"all {len(checks)} checks pass"
    return "; ".join((words, *subject.notes))


def _best(values: Sequence[float | None], direction: str) -> tuple[bool, ...]:
    known = [v for v in values if v is not None and math.isfinite(v)]
    if direction not in ("higher", "lower") or len(known) < 2:
        return (False,) * len(values)
    top = max(known) if direction == "higher" else min(known)
    near = _SAME * max(abs(v) for v in known)
    best = tuple(v is not None and math.isfinite(v) and abs(v - top) <= near for v in values)
    return (False,) * len(values) if sum(best) == len(values) else best


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"
