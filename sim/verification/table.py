"""What `simmesh verify` prints and writes: measured beside expected, with the order of convergence."""

from __future__ import annotations

from collections.abc import Sequence

from sim.verification.study import Row, Study

_SIGNS = {"at_least": "≥", "at_most": "≤"}


def number(value: float) -> str:
    """Write a number: six digits, two where it is as good as nothing."""
    return f"{value:.1e}" if 0.0 < abs(value) < 1e-6 else f"{value:.6g}"


def expectation(row: Row) -> str:
    """Write what a row should be: `9.81 ± 1 %`, `≥ 1.9`."""
    if row.rule in _SIGNS:
        return f"{_SIGNS[row.rule]} {number(row.expected)}"
    if not row.tolerance:
        return number(row.expected)
    if row.rule == "absolute":
        return f"{number(row.expected)} ± {row.tolerance:g}"
    share = f"{100.0 * row.tolerance:g} %" if row.tolerance >= 1e-4 else f"{row.tolerance:g} relative"
    return f"{number(row.expected)} ± {share}"


def order(row: Row) -> str:
    """Write the observed order of convergence, nothing where there is none."""
    return "" if row.order is None else f"{row.order:.2f}"


def text_table(study: Study, rows: Sequence[Row]) -> str:
    """Return the rows of a study for the terminal."""
    cells = [
        (row.name, number(row.measured), expectation(row), order(row), "" if row.passed else "FAILS")
        for row in rows
    ]
    heads = ("", "measured", "expected", "order", "")
    widths = [max(len(row[k]) for row in [heads, *cells]) for k in range(5)]
    lines = [f"{study.number}. {study.title}"]
    for row in [heads, *cells]:
        line = f"   {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:<5} {row[4]}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def document(results: Sequence[tuple[Study, Sequence[Row]]]) -> str:
    """Return the page `docs/verification.md` of some studies that were run."""
    total = sum(len(rows) for _, rows in results)
    held = sum(row.passed for _, rows in results for row in rows)
    lines = [
        "# Verification",
        "",
        "Made by `simmesh verify --write docs/verification.md`; do not edit. Each study is a file of "
        "`sim/verification/`,",
        "run by that command and by the tests alike. Measured on a CPU in float64.",
        "",
        f"{held} of {total} numbers of {len(results)} studies hold.",
        "",
        "| | study | numbers | hold |",
        "|---|---|---|---|",
    ]
    for study, rows in results:
        anchor = f"[{study.title}](#{study.number}-{_anchor(study.title)})"
        lines.append(f"| {study.number} | {anchor} | {len(rows)} | {sum(row.passed for row in rows)} |")
    for study, rows in results:
        lines += ["", f"## {study.number}. {study.title}", "", *study.text.splitlines()]
        lines += ["", "| | measured | expected | order |", "|---|---|---|---|"]
        for row in rows:
            mark = "" if row.passed else " **fails**"
            lines.append(f"| {row.name} | {number(row.measured)}{mark} | {expectation(row)} | {order(row)} |")
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")
