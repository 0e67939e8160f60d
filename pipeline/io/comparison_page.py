"""The page of a comparison: one HTML file in the style of the report, which asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from pipeline.io.atomic import atomic_write_text
from pipeline.io.report_page import ASSETS
from pipeline.io.report_plots import histograms, number
from pipeline.metrics.side_by_side import GROUPS, Line, Subject, side_by_side, verdict
from pipeline.metrics.tet import dihedral_angles, tet_quality
from pipeline.rendering.colormap import REGULAR_DIHEDRAL

COLORS = ("#3f8fb5", "#d98032", "#4aa37c", "#a56bc0", "#c2506a", "#8a8f3a")
"""Of the subjects in turn."""
_STYLE = (
    "i.swatch { display: inline-block; width: 13px; height: 13px; border-radius: 3px; margin-right: 7px; }\n"
)
_STYLE += "\n".join(
    f".plot .c{k} {{ fill: {color}; fill-opacity: .13; stroke: {color}; stroke-width: 1.6; }} "
    f"i.c{k} {{ background: {color}; }}"
    for k, color in enumerate(COLORS)
)
_PLOTS = (
    ("mean_ratio", "mean ratio, share of all tets", (0.0, 1.0)),
    ("scaled_jacobian", "scaled Jacobian, share of all tets", (0.0, 1.0)),
)


def write_comparison_page(path: str | Path, subjects: Sequence[Subject]) -> Path:
    """Write the page; raises `OutputError`."""
    return atomic_write_text(path, comparison_page(subjects))


def comparison_page(subjects: Sequence[Subject]) -> str:
    """Return the whole page."""
    names = " and ".join(subject.name for subject in subjects)
    sections = [
        ("Verdict", _verdicts(subjects)),
        ("Tet quality", _histograms(subjects)),
        *((title, _table(subjects, group)) for group, title in GROUPS.items()),
    ]
    made = "".join(f"<section><h2>{escape(title)}</h2>{text}</section>" for title, text in sections if text)
    body = (
        f'<header><div class="brand">simmesh comparison</div><h1>{escape(names)}</h1></header>'
        f"<main>{made}</main>"
        "<footer>The best value of a line is in bold. This page is one file and asks nothing of the network."
        "</footer>"
    )
    template = Template((ASSETS / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{names} | simmesh comparison"),
        style=(ASSETS / "page.css").read_text(encoding="utf-8") + _STYLE,
        script="",
        body=body,
    )


def _verdicts(subjects: Sequence[Subject]) -> str:
    rows = ""
    for k, subject in enumerate(subjects):
        kind, sign = ("mark-pass", "✓") if subject.report.passed else ("mark-fail", "✕")
        rows += (
            f'<tr><td>{_swatch(k)}{escape(subject.name)}</td><td class="{kind}">{sign}</td>'
            f"<td>{escape(verdict(subject))}</td></tr>"
        )
    return f'<div class="card scroll"><table>{rows}</table></div>'


def _histograms(subjects: Sequence[Subject]) -> str:
    key = "".join(
        f"<span>{_swatch(k)}{escape(s.name)}, {len(s.mesh.tets):,} tets</span>"
        for k, s in enumerate(subjects)
    )
    quality = [tet_quality(s.mesh.points, s.mesh.tets) for s in subjects]
    angles = [dihedral_angles(s.mesh.points, s.mesh.tets).ravel() for s in subjects]
    plots = [
        histograms(
            [(s.name, _color(k), v) for k, (s, v) in enumerate(zip(subjects, angles))],
            label="dihedral angle [°], share of all angles",
            marks=((REGULAR_DIHEDRAL, "regular tet"),),
            ticks=range(0, 181, 30),
        )
    ]
    for name, label, bounds in _PLOTS:
        series = [(s.name, _color(k), np.asarray(q[name])) for k, (s, q) in enumerate(zip(subjects, quality))]
        plots.append(histograms(series, label=label, bounds=bounds))
    return "".join(f'<div class="card"><div class="key">{key}</div>{plot}</div>' for plot in plots)


def _table(subjects: Sequence[Subject], group: str) -> str:
    lines = [line for line in side_by_side(subjects) if line.group == group]
    if not lines:
        return ""
    head = "".join(f'<th class="n">{_swatch(k)}{escape(s.name)}</th>' for k, s in enumerate(subjects))
    rows = "".join(_row(line) for line in lines)
    return f'<div class="card scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _row(line: Line) -> str:
    cells = ""
    for value, best, failed in zip(line.values, line.best, line.failed):
        text = "-" if value is None else number(value)
        if failed:
            text = f'<span class="mark-fail">✕ {text}</span>'
        cells += f'<td class="n">{f"<b>{text}</b>" if best else text}</td>'
    return f"<tr><td>{escape(line.label)}</td>{cells}</tr>"


def _color(k: int) -> str:
    return f"c{k % len(COLORS)}"


def _swatch(k: int) -> str:
    return f'<i class="swatch {_color(k)}"></i>'
