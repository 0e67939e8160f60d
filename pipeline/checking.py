"""Judge a tetrahedral mesh by limits and by a baseline: structure, quality, readiness and simulated tests.

    limits      those of `ValidateConfig`, the same that a run is held to
    baseline    the numbers that the mesh had before, each with its own direction and tolerance

Nothing is judged by the numbers of points and tets, so a mesh that was renumbered passes by its old baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.context import RunContext, log
from pipeline.errors import InputError
from pipeline.io.baseline_files import limit_rows, read_baseline, write_baseline
from pipeline.metrics.baseline import Comparison, Measure, Row, compare, comparison_table, measure
from pipeline.stages.validate import ValidateConfig, validate
from pipeline.types import SimReport, TetMesh
from sim.scenarios import SCENARIOS


@dataclass(frozen=True)
class Judgement:
    """What a check found."""

    report: SimReport
    measures: dict[str, Measure]
    limits: Comparison
    """Every check of the report against its limit."""
    changes: Comparison | None = None
    """Every metric against the baseline; None where there is none."""

    @property
    def passed(self) -> bool:
        if not self.limits.rows and self.changes is None:
            return False
        return self.limits.passed and (self.changes is None or self.changes.passed)

    @property
    def rows(self) -> Comparison:
        """All of it: limits, then metrics."""
        if self.changes is not None:
            return Comparison(self.limits.rows + self.changes.rows)
        shown = (Row(name, "shown", m.value, None, 0.0, m.where) for name, m in self.measures.items())
        return Comparison((*self.limits.rows, *shown))


def judge(
    mesh: TetMesh,
    config: ValidateConfig | None = None,
    baseline: Mapping[str, Measure] | None = None,
    *,
    with_scenarios: bool = True,
    context: RunContext | None = None,
) -> Judgement:
    """Measure a mesh and judge it.

    Args:
        mesh: In any unit and up axis.
        config: Material, scenarios and limits; the defaults where None.
        baseline: What `read_baseline` returned.
        with_scenarios: False leaves the simulated tests out, and what the baseline knows of them.
        context: Receives progress.

    Raises:
        InvalidMeshError: The mesh has no tets.
    """
    config = config or ValidateConfig()
    if not with_scenarios:
        config = replace(config, scenarios={})
    report = validate(mesh, config, context=context)
    measures = measure(mesh, report)
    limits = Comparison(tuple(_placed(row, measures, report) for row in limit_rows(report)))
    if baseline is None:
        return Judgement(report, measures, limits)
    judged = {name: m for name, m in baseline.items() if not _is_left_out(name, report)}
    return Judgement(report, measures, limits, compare(measures, judged))


def update_baseline(path: Path, judgement: Judgement) -> Path:
    """Write the measures of a judgement as the baseline, with the tolerances that people edited before.

    Metrics of scenarios that were left out this time stay as they were; a damaged file is replaced.

    Raises:
        OutputError: The file cannot be written.
    """
    earlier: dict[str, Measure] = {}
    if path.exists():
        try:
            earlier = read_baseline(path)
        except InputError as error:
            log.warning("the earlier baseline is replaced with its tolerances: %s", error)
    kept = {name: m for name, m in earlier.items() if _is_left_out(name, judgement.report)}
    return write_baseline(path, judgement.measures | kept, earlier)


def judgement_table(judgement: Judgement, every: bool = False) -> str:
    """Lay a judgement out as text: each limit, what changed, and the verdict.

    Args:
        judgement: What `judge` returned.
        every: List metrics that did not change too.
    """
    checks = {f"limit.{check.name}": check for check in judgement.report.checks}
    width = max((len(name) for name in checks), default=6) - len("limit.")
    lines = [f"{'':6}{'check':{width}}  {'now':>10}  limit"] if checks else []
    for row in judgement.limits.rows:
        check = checks[row.name]
        sign = "at least" if check.direction == "min" else "at most"
        limit = f"{sign} {check.limit:g} {check.unit}".rstrip()
        lines.append(
            f"{'ok' if row.passed else 'FAIL':6}{check.name:{width}}  {check.value:>10.4g}  {limit:24}"
            f"  {row.where}".rstrip()
        )
    if judgement.changes is not None:
        lines += ["", comparison_table(judgement.changes, every)]
    return "\n".join([*lines, verdict(judgement)])


def verdict(judgement: Judgement) -> str:
    """Say in one line whether the mesh passes."""
    if judgement.passed:
        return "passes: ready for simulation"
    failed, count = sum(not row.passed for row in judgement.limits.rows), len(judgement.limits.rows)
    reasons = [f"{failed} of {count} checks are below their limit"] if failed else []
    if judgement.changes is not None and not judgement.changes.passed:
        reasons.append("worse than the baseline")
    return f"does NOT pass: {' and '.join(reasons) or 'nothing was checked'}"


def _placed(row: Row, measures: Mapping[str, Measure], report: SimReport) -> Row:
    """Say where the worst element of a check is, or which defects it counts."""
    name = row.name.removeprefix("limit.")
    found = measures.get(f"check.{name}")
    places = [found.where] if found is not None and found.where else []
    if name == "structure_defects" and not row.passed:
        counts = {k: v for k, v in report.metrics.items() if k in STRUCTURE and v}
        places = [", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in counts.items())]
    return replace(row, where=places[0]) if places else row


STRUCTURE = (
    "flipped_tets",
    "flat_tets",
    "duplicate_tets",
    "unreferenced_vertices",
    "coincident_vertices",
    "faces_in_more_than_two_tets",
    "hinges",
)
"""The counts that `structure_defects` adds up."""


def _is_left_out(name: str, report: SimReport) -> bool:
    """Whether a metric belongs to a scenario that was not run."""
    kind, _, rest = name.partition(".")
    missing = [scenario for scenario in SCENARIOS if scenario not in report.scenarios]
    if kind == "scenario":
        return rest.partition(".")[0] not in report.scenarios
    return kind == "check" and any(rest.startswith(f"{scenario}_") for scenario in missing)
