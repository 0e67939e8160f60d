"""The page and the table of a batch: one row a file, with picture and verdict, worst first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.io.atomic import atomic_write_text
from pipeline.io.report_contents import PAGE as REPORT
from pipeline.io.report_page import ASSETS
from pipeline.io.report_plots import number

if TYPE_CHECKING:
    from pipeline.batch import Outcome

PAGE, TABLE = "index.html", "summary.csv"
COLUMNS = (
    "file",
    "verdict",
    "failed_checks",
    "error",
    "kind",
    "points",
    "faces",
    "tets",
    "min_dihedral_angle_deg",
    "mass_kg",
    "volume_m3",
    "seconds",
    "peak_memory_mb",
    "run",
)
_STYLE = """
main { margin-top: 18px; }
table.batch td { vertical-align: middle; overflow-wrap: anywhere; }
table.batch img { width: 120px; height: 90px; object-fit: contain; display: block; }
@media (max-width: 560px) {
  table.batch tr { display: block; padding: 10px 0; border-bottom: 1px solid var(--line); }
  table.batch td { display: block; border: 0; padding: 2px 0; text-align: left; }
  table.batch td.n { display: inline-block; padding-right: 14px; }
  table.batch td.n::before { content: attr(data-label) " "; color: var(--soft); }
  table.batch tr:first-child, table.batch td.none { display: none; }
}
"""
_NUMBERS = ("points", "tets", "smallest dihedral", "mass", "time")


@dataclass(frozen=True)
class Row:
    """What the page says of one file; None where the run did not get so far."""

    file: str
    verdict: str
    """ready, not ready, done (nothing was validated) or failed."""
    failed_checks: tuple[str, ...]
    error: str | None
    kind: str | None
    points: int | None
    faces: int | None
    tets: int | None
    min_dihedral_angle: float | None
    """[deg]"""
    mass: float | None
    """[kg]"""
    volume: float | None
    """[m^3]"""
    seconds: float
    """Of the run that made it [s]; a run that is skipped keeps its time."""
    peak_memory: float | None
    """[MB]"""
    run: str
    """Folder of the run, from the folder of the batch."""
    picture: str | None
    has_report: bool

    @property
    def badness(self) -> tuple[Any, ...]:
        """Sorts the worst first: failed, then by failed checks, then by the smallest angle."""
        order = ("failed", "not ready", "done", "ready").index(self.verdict)
        angle = self.min_dihedral_angle if self.min_dihedral_angle is not None else 180.0
        return order, -len(self.failed_checks), angle, self.file


def rows(out: Path, outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one row a file, worst first."""
    return sorted((_row(out, outcome) for outcome in outcomes), key=lambda row: row.badness)


def write_batch_table(out: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write `summary.csv`; raises `OutputError`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(out, outcomes):
        cells = (
            row.file,
            row.verdict,
            " ".join(row.failed_checks),
            row.error,
            row.kind,
            row.points,
            row.faces,
            row.tets,
            row.min_dihedral_angle,
            row.mass,
            row.volume,
            row.seconds,
            row.peak_memory,
            row.run,
        )
        writer.writerow(["" if cell is None else cell for cell in cells])
    return Path(atomic_write_text(out / TABLE, text.getvalue()))


def write_batch_page(out: Path, outcomes: Sequence[Outcome], others: Sequence[str] = ()) -> Path:
    """Write `index.html`: pictures and verdicts with links to the reports; raises `OutputError`.

    Args:
        out: Folder of the batch; the page links into it.
        outcomes: How the files ended.
        others: Files that were left out.
    """
    found = rows(out, outcomes)
    counts = {
        word: sum(row.verdict == word for row in found) for word in ("ready", "not ready", "done", "failed")
    }
    facts = "".join(
        f'<div class="fact"><b>{count:,}</b><span>{word}</span></div>'
        for word, count in counts.items()
        if count
    )
    head = "<th></th><th>file</th><th>verdict</th>"
    head += "".join(f'<th class="n">{name}</th>' for name in _NUMBERS) + "<th></th>"
    left = ""
    if others:
        names = escape(", ".join(others))
        left = f"<p>Left out, by extension no shapes, or links that lead to no file: {names}</p>"
    body = (
        f'<header><div class="brand">simmesh batch</div><h1>{escape(out.resolve().name)}</h1></header>'
        f'<div class="facts">{facts}</div><main><section><div class="card scroll">'
        f'<table class="batch"><tr>{head}</tr>{"".join(map(_table_row, found))}</table></div>{left}</section>'
        f'</main><footer>Worst first. The same as a table: <a href="{TABLE}">{TABLE}</a>.</footer>'
    )
    page = Template((ASSETS / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{out.resolve().name} | simmesh batch"),
        style=(ASSETS / "page.css").read_text(encoding="utf-8") + _STYLE,
        script="",
        body=body,
    )
    return Path(atomic_write_text(out / PAGE, page))


def _table_row(row: Row) -> str:
    picture = (
        f'<img loading="lazy" alt="{escape(row.file)}" src="{quote(row.picture)}">' if row.picture else ""
    )
    kind, sign = {"ready": ("mark-pass", "✓ "), "done": ("", "")}.get(row.verdict, ("mark-fail", "✕ "))
    reason = row.error or ", ".join(row.failed_checks)
    said = f'<span class="{kind}">{sign}{row.verdict}</span>'
    said += f"<br><small>{escape(reason)}</small>" if reason else ""
    angle = None if row.min_dihedral_angle is None else f"{row.min_dihedral_angle:.1f}°"
    cells = [
        _whole(row.points),
        _whole(row.tets),
        angle,
        None if row.mass is None else f"{number(row.mass)} kg",
        f"{row.seconds:.1f} s",
    ]
    numbers = "".join(
        f'<td class="n" data-label="{name}">{cell}</td>' if cell else '<td class="n none">-</td>'
        for name, cell in zip(_NUMBERS, cells)
    )
    link = f'<a href="{quote(row.run)}/report/index.html">report</a>' if row.has_report else ""
    none = ' class="none"'
    log = f'<a href="{quote(row.run)}/log.txt">log</a>'
    return (
        f"<tr><td{'' if picture else none}>{picture}</td><td>{escape(row.file)}</td>"
        f"<td>{said}</td>{numbers}<td>{link} {log}</td></tr>"
    )


def _whole(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _row(out: Path, outcome: Outcome) -> Row:
    folder = outcome.job.folder
    manifest = _json(folder / "manifest.json") if outcome.error is None else {}
    stages: dict[str, Any] = manifest.get("stages") or {}
    report = _json(folder / "validate" / "sim_report.json") if stages.get("validate") else {}
    checks = report.get("checks") or []
    ready = manifest.get("ready")
    words = {True: "ready", False: "not ready", None: "done"}
    mesh = stages.get("optimize") or stages.get("tetrahedralize") or stages.get("reconstruct") or {}
    counts = mesh.get("counts") or (manifest.get("input") or {}).get("counts") or {}
    facts = (stages.get("export") or {}).get("facts") or {}
    pictures = [
        name for name in (stages.get("export") or {}).get("outputs", {}) if name.endswith("_preview.png")
    ]
    run = folder.relative_to(out.resolve()).as_posix()
    return Row(
        file=outcome.job.name,
        verdict="failed" if outcome.error is not None else words[ready],
        failed_checks=tuple(c["name"] for c in checks if not c["passed"]),
        error=outcome.error,
        kind=(manifest.get("input") or {}).get("kind"),
        points=counts.get("points"),
        faces=((stages.get("reconstruct") or {}).get("counts") or {}).get("faces"),
        tets=counts.get("tets"),
        min_dihedral_angle=next((c["value"] for c in checks if c["name"] == "min_dihedral_angle"), None),
        mass=facts.get("mass"),
        volume=facts.get("volume"),
        seconds=manifest.get("wall_seconds", outcome.seconds),
        peak_memory=manifest.get("peak_memory_mb"),
        run=run,
        picture=f"{run}/{pictures[0]}" if pictures else None,
        has_report=(folder / REPORT).is_file(),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
