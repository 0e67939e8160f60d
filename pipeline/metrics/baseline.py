"""Compare the metrics of a mesh with those it had before, each with its own direction and tolerance.

    worse    value beyond  baseline -/+ (absolute + relative |baseline|)  in the bad direction
    better   beyond it in the good direction: never a failure

`measure` takes the numbers, `compare` judges them; `pipeline.io.baseline_files` keeps them in files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics.tet import quality_summary, tet_quality
from pipeline.topology import boundary_edges, boundary_faces, components
from pipeline.types import Check, SimReport, TetMesh

DIRECTIONS = ("higher", "lower", "equal", "any")
"""Which way is better; "any" is shown and never fails."""

_HIGHER = ("min_dihedral_angle", "mean_ratio", "scaled_jacobian")
_LOWER = ("max_dihedral_angle", "radius_ratio", "aspect_ratio", "edge_ratio", "amips")

RULES: dict[str, tuple[str, float, float]] = {
    **{
        f"quality.{name}.{kind}": ("higher", 0.02, 0.0) for name in _HIGHER for kind in ("min", "p01", "mean")
    },
    **{f"quality.{name}.{kind}": ("lower", 0.02, 0.0) for name in _LOWER for kind in ("mean", "p99", "max")},
    "volume": ("equal", 1e-3, 0.0),
    "pieces": ("equal", 0.0, 0.0),
    "open_surface_edges": ("lower", 0.0, 0.0),
    "readiness.mass": ("equal", 1e-3, 0.0),
    "readiness.inversion_margin_over_size": ("higher", 0.02, 0.0),
    "readiness.element_time_step": ("higher", 0.02, 0.0),
    "readiness.explicit_time_step": ("higher", 0.02, 0.0),
    "readiness.scaled_condition_number": ("lower", 0.1, 0.0),
    "readiness.cg_iterations": ("lower", 0.1, 2.0),
    "readiness.lowest_frequency": ("equal", 0.05, 0.0),
    "readiness.zero_modes": ("equal", 0.0, 0.0),
    "scenario.*.peak_smallest_volume_ratio": ("higher", 0.1, 0.0),
    "scenario.*.smallest_volume_ratio": ("higher", 0.1, 0.0),
    "scenario.*.force": ("equal", 0.05, 0.0),
}
"""Direction, relative and absolute tolerance by name, `*` for any scenario; others are shown and never fail.

Quality and structure do not depend on the order of the points but for rounding; iterations and what comes
after an impact do a little."""
CHECK_RELATIVE, CHECK_OF_LIMIT = 0.1, 0.05
"""Tolerance of a check: relative to its value, and as a part of its limit."""

_BAD = ("worse", "missing")


@dataclass(frozen=True)
class Measure:
    """A number, which way is better, and how far it may go the other way.

    Raises:
        InputError: Unknown direction, or a tolerance that is negative or not finite.
    """

    value: float
    direction: str = "any"
    relative: float = 0.0
    absolute: float = 0.0
    where: str = ""
    """The element that gives the value."""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise InputError(f"direction: expected one of {', '.join(DIRECTIONS)}, got {self.direction!r}")
        for name in ("relative", "absolute"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: expected a tolerance of at least 0, got {getattr(self, name)}")

    @property
    def allowed(self) -> float:
        """How far another value may lie on the bad side."""
        return self.absolute + (self.relative * abs(self.value) if math.isfinite(self.value) else 0.0)


@dataclass(frozen=True)
class Row:
    """One metric, judged."""

    name: str
    status: str
    """same, better, worse, missing (in the baseline alone), new (not in it) or shown (direction any)."""
    value: float | None
    baseline: float | None
    allowed: float = 0.0
    where: str = ""

    @property
    def passed(self) -> bool:
        return self.status not in _BAD


@dataclass(frozen=True)
class Comparison:
    """All metrics of a mesh against a baseline."""

    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.rows)


def measure(mesh: TetMesh, report: SimReport | None = None) -> dict[str, Measure]:
    """Measure structure and quality of a mesh (in metres), and what its report found.

    Names begin with `quality.`, `readiness.`, `scenario.NAME.` or `check.`; those of structure stand alone.
    The numbers do not depend on the order of points and tets, but for rounding.
    """
    mesh = mesh.in_metres()
    summary = quality_summary(mesh)
    values: dict[str, float] = {
        "points": summary["points"],
        "tets": summary["tets"],
        "volume": summary["total_volume"],
        "pieces": int(components(mesh.tets, 3).max(initial=-1)) + 1,
    }
    faces = boundary_faces(mesh.tets)[0]
    values["surface_faces"] = len(faces)
    values["open_surface_edges"] = len(boundary_edges(faces)) if len(faces) else 0
    for name, numbers in summary.items():
        if isinstance(numbers, dict):
            values |= {f"quality.{name}.{kind}": number for kind, number in numbers.items()}
    places = _worst_places(mesh)
    measures = {name: _ruled(name, float(value), places.get(name, "")) for name, value in values.items()}
    if report is None:
        return measures
    measures |= _of_report(report)
    for check in report.checks:
        direction = "higher" if check.direction == "min" else "lower"
        absolute = CHECK_OF_LIMIT * abs(check.limit) if math.isfinite(check.limit) else 0.0
        measures[f"check.{check.name}"] = Measure(
            float(check.value), direction, CHECK_RELATIVE, absolute, places.get(_quality_of(check), "")
        )
    return measures


def compare(measures: Mapping[str, Measure], baseline: Mapping[str, Measure]) -> Comparison:
    """Judge `measures` by `baseline`, whose directions and tolerances count.

    A metric that only the baseline has is missing, which fails; one that it has not is new, which does not.
    """
    rows = []
    for name, old in baseline.items():
        new = measures.get(name)
        if new is None:
            status = "shown" if old.direction == "any" else "missing"
            rows.append(Row(name, status, None, old.value, old.allowed))
        else:
            rows.append(Row(name, _judge(new.value, old), new.value, old.value, old.allowed, new.where))
    rows += [
        Row(name, "new", new.value, None, 0.0, new.where)
        for name, new in measures.items()
        if name not in baseline
    ]
    return Comparison(tuple(rows))


def comparison_table(comparison: Comparison, every: bool = False) -> str:
    """Lay the comparison out as text: what changed beyond its tolerance first, all of it if `every`."""
    order = {status: k for k, status in enumerate(("worse", "missing", "better", "new", "same", "shown"))}
    rows = sorted(comparison.rows, key=lambda row: order[row.status])
    if not every:
        rows = [row for row in rows if row.status in ("worse", "missing", "better")]
    lines = []
    if rows:
        width = max(len(row.name) for row in rows)
        lines.append(f"{'':8}{'metric':{width}}  {'now':>12}  {'baseline':>12}  {'allowed':>10}")
        for row in rows:
            numbers = f"{_text(row.value):>12}  {_text(row.baseline):>12}  {row.allowed:>10.3g}"
            lines.append(f"{row.status:8}{row.name:{width}}  {numbers}  {row.where}".rstrip())
    parts = [f"{comparison.count(s)} {s}" for s in order if comparison.count(s)]
    verdict = "as good as the baseline" if comparison.passed else "WORSE than the baseline"
    return "\n".join([*lines, f"{verdict}: {', '.join(parts) or 'nothing to compare'}"])


def _judge(value: float, old: Measure) -> str:
    if old.direction == "any":
        return "shown"
    if value == old.value or (math.isnan(value) and math.isnan(old.value)):
        return "same"
    if not math.isfinite(value) or math.isnan(old.value):
        good = {"higher": value == math.inf, "lower": value == -math.inf}
        # A baseline that was no number is beaten by any.
        return "better" if math.isfinite(value) or good.get(old.direction, False) else "worse"
    change = value - old.value
    if abs(change) <= old.allowed:
        return "same"
    if old.direction == "equal":
        return "worse"
    return "better" if (change > 0) == (old.direction == "higher") else "worse"


def _of_report(report: SimReport) -> dict[str, Measure]:
    """The plain numbers of readiness and scenarios; those about tets name the worst one."""
    measures = {}
    for name, value in report.metrics.items():
        if _is_number(value):
            rows = report.metrics.get(f"{name.removesuffix('_over_size')}_tets") or []
            where = f"tet {rows[0]}" if rows else ""
            measures[f"readiness.{name}"] = _ruled(f"readiness.{name}", float(value), where)
    for scenario, entry in report.scenarios.items():
        for name, value in entry.get("results", {}).items():
            if _is_number(value):
                full = f"scenario.{scenario}.{name}"
                measures[full] = _ruled(full, float(value), "")
    return measures


def _quality_of(check: Check) -> str:
    """Name of the quality that a check limits, where it is one."""
    return f"quality.{check.name}.{check.direction}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ruled(name: str, value: float, where: str) -> Measure:
    group, _, last = name.rpartition(".")
    key = f"scenario.*.{last}" if group.startswith("scenario.") else name
    direction, relative, absolute = RULES.get(key, ("any", 0.0, 0.0))
    return Measure(value, direction, relative, absolute, where)


def _worst_places(mesh: TetMesh) -> dict[str, str]:
    """Name the tet with the worst value of each quality, and where it lies [m]."""
    if not len(mesh.tets):
        return {}
    quality = tet_quality(mesh.points, mesh.tets)
    rows = {f"quality.{name}.min": int(np.argmin(quality[name])) for name in _HIGHER}
    rows |= {f"quality.{name}.max": int(np.argmax(quality[name])) for name in _LOWER}
    places = {}
    for name, row in rows.items():
        x, y, z = mesh.points[mesh.tets[row]].mean(axis=0)
        places[name] = f"tet {row} at ({x:.4g}, {y:.4g}, {z:.4g}) m"
    return places


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
