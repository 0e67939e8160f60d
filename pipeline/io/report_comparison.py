"""Comparisons on the page: with a baseline, where one stands in the run, and before and after optimize."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from pipeline.io.report_contents import Contents
from pipeline.io.report_plots import number
from pipeline.io.report_results import unit_of

FILES = ("comparison.json", "validate/comparison.json")
"""Where `simmesh check ... --json` puts a comparison for the page; the first that is there is shown."""
MARKS = {
    "same": ("mark-open", "same"),
    "better": ("mark-pass", "▲ better"),
    "worse": ("mark-fail", "▼ worse"),
    "missing": ("mark-fail", "✕ missing"),
    "new": ("mark-open", "new"),
    "shown": ("mark-open", ""),
}
BAD = ("worse", "missing")
MAX_BYTES = 1 << 24


def comparison_file(folder: Path) -> Path | None:
    """The comparison in a run folder, if there is one."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def comparison(contents: Contents) -> str:
    """Show the rows of a comparison, the worse ones first; empty where the run has none.

    Raises:
        ValueError: The file is no comparison.
    """
    path = comparison_file(contents.folder)
    if path is None:
        return ""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES:,} bytes")
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = data.get("metrics") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path.name} holds no list of metrics")
    bad = [row for row in rows if row.get("status") in BAD]
    good = [row for row in rows if row.get("status") == "better"]
    rest = [row for row in rows if row.get("status") not in (*BAD, "better")]
    words = (
        f"{len(bad)} worse, {len(good)} better, {len(rest)} others"
        if bad
        else f"Nothing is worse; {len(good)} better, {len(rest)} others"
    )
    style = "mark-fail" if bad else "mark-pass"
    parts = [f'<p><span class="{style}">{escape(words)}</span></p>']
    if bad or good:
        parts.append(f'<div class="scroll">{_table([*bad, *good])}</div>')
    if rest:
        parts.append(
            f'<details><summary>The other metrics</summary><div class="scroll">{_table(rest)}</div></details>'
        )
    return f'<div class="card">{"".join(parts)}</div>'


def before_after(contents: Contents) -> str:
    """Show the readiness before and after optimize, where its manifest entry has both."""
    found = contents.stages.get("optimize", {}).get("readiness")
    if not isinstance(found, Mapping):
        return ""
    before, after = found.get("before"), found.get("after")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ""
    names = [name for name in after if _is_number(after[name]) and _is_number(before.get(name))]
    if not names:
        return ""
    rows = "".join(_change_row(name, float(before[name]), float(after[name])) for name in names)
    head = '<tr><th>readiness</th><th class="n">before</th><th class="n">after</th><th class="n">factor</th>'
    return f'<div class="card scroll"><table>{head}</tr>{rows}</table></div>'


def _change_row(name: str, before: float, after: float) -> str:
    factor = f"{number(after / before, 3)}" if before else ""
    cells = "".join(f'<td class="n">{text}</td>' for text in (_value(before), _value(after), factor))
    unit = f" [{unit_of(name)}]" if unit_of(name) else ""
    return f"<tr><td>{escape(_words(name) + unit)}</td>{cells}</tr>"


def _table(rows: list[dict[str, Any]]) -> str:
    head = (
        '<tr><th>metric</th><th class="n">now</th><th class="n">before</th><th class="n">allowed</th>'
        "<th></th><th>where</th></tr>"
    )
    return f"<table>{head}{''.join(_row(row) for row in rows)}</table>"


def _row(row: Mapping[str, Any]) -> str:
    status = str(row.get("status", ""))
    style, mark = MARKS.get(status, ("mark-open", status))
    values = [_value(row.get(name)) for name in ("value", "baseline")]
    allowed = row.get("allowed")
    values.append(f"± {_value(allowed)}" if _is_number(allowed) and allowed else "")
    cells = "".join(f'<td class="n">{value}</td>' for value in values)
    where = escape(str(row.get("where") or ""))
    start = '<tr class="fail">' if style == "mark-fail" else "<tr>"
    return (
        f"{start}<td>{escape(_words(row.get('name', '')))}</td>{cells}"
        f'<td class="{style}">{escape(mark)}</td><td><small>{where}</small></td></tr>'
    )


def _value(value: Any) -> str:
    if value in ("nan", "inf", "-inf"):
        value = float(value)
    return escape(number(float(value))) if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(name: Any) -> str:
    return str(name).replace("_", " ").replace(".", ": ", 1).replace(".", ", ")
