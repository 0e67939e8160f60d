"""The report page as HTML text: one function per section; everything that comes from files is escaped.

A section that cannot be made says why in its place: one bad number never costs the page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from pipeline.io import report_pictures, report_results
from pipeline.io.report_comparison import before_after, comparison
from pipeline.io.report_contents import Contents
from pipeline.io.report_errors import error_bar
from pipeline.io.report_motion import motion_shapes
from pipeline.io.report_plots import number
from pipeline.io.report_scene import scene
from pipeline.io.report_worst import worst_elements
from pipeline.metrics.tet import tet_quality
from pipeline.rendering.colormap import QUALITY_STOPS, REGULAR_DIHEDRAL
from pipeline.rendering.picture import CLAY, POINT_BLUE
from pipeline.types import TetMesh

log = logging.getLogger("simmesh")

ASSETS = Path(__file__).with_name("report_assets")


def build_page(contents: Contents) -> str:
    """Return the whole page."""
    name = str(contents.manifest.get("run") or contents.folder.resolve().name)
    sections: list[tuple[str, str, Callable[[Contents], str]]] = [
        ("pictures", "From points to simulation", report_pictures.pictures),
        ("shape", "Turn it around", view),
        ("quality", "Tet quality", lambda c: report_results.quality(c) + before_after(c)),
        ("worst", "Worst elements", worst_elements),
        ("checks", "Checks", report_results.checks),
        ("baseline", "Against the baseline", comparison),
        ("scenarios", "Simulated tests", report_results.scenarios),
        ("stages", "Stages", report_results.stages),
        ("details", "Details", report_results.details),
        ("files", "Files", report_results.files),
    ]
    made = [(key, title, _guarded(title, make, contents)) for key, title, make in sections]
    made = [item for item in made if item[2]]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in made)
    body = [
        _guarded("header", lambda c: header(c, name), contents),
        _guarded("facts", facts, contents),
        f"<nav>{links}</nav>",
        "<main>",
        *(f'<section id="{key}"><h2>{escape(title)}</h2>{text}</section>' for key, title, text in made),
        "</main>",
        f"<footer>Made by simmesh {escape(str(contents.manifest.get('simmesh', '')))}. "
        "This page is one file and asks nothing of the network.</footer>",
    ]
    template = Template((ASSETS / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{name} | simmesh report"),
        style=(ASSETS / "page.css").read_text(encoding="utf-8"),
        script=(ASSETS / "viewer.js").read_text(encoding="utf-8"),
        body="\n".join(body),
    )


def header(contents: Contents, name: str) -> str:
    """Say what this is and whether it is ready."""
    kind, sign, title, reasons = verdict(contents)
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    errors = "" if contents.report is None else error_bar(contents.report)
    inner = f"<strong>{escape(title)}</strong>{f'<ul>{items}</ul>' if items else ''}"
    inner += f"<small>Error bar: {escape(errors)}</small>" if errors else ""
    given = contents.manifest.get("input") or {}
    about = [str(given[k]) for k in ("kind",) if given.get(k)]
    source = Path(str(given["path"])).name if given.get("path") else ""
    line = " · ".join(part for part in (source, *about, _date(contents.manifest.get("created"))) if part)
    return (
        f'<header><div class="brand">simmesh report</div><h1>{escape(name)}</h1>'
        f'<small>{escape(line)}</small><div class="verdict {kind}">'
        f'<div class="sign" aria-hidden="true">{sign}</div>'
        f"<div>{inner}</div></div></header>"
    )


def verdict(contents: Contents) -> tuple[str, str, str, list[str]]:
    """Return CSS class, sign, title and reasons: ready only when the manifest says so and no check fails."""
    report, ready = contents.report, contents.manifest.get("ready")
    broken = [(stage, e) for stage, e in contents.stages.items() if e.get("status") == "failed"]
    reasons = [f"{stage}: {entry.get('error') or 'failed without a message'}" for stage, entry in broken]
    if broken:
        return "bad", "✕", f"Stopped: {broken[0][0]} failed", reasons
    running = [stage for stage, entry in contents.stages.items() if entry.get("status") == "running"]
    if running:
        return (
            "open",
            "…",
            "Not finished",
            [f"{stage} was still running or was interrupted" for stage in running],
        )
    if report is None:
        given = contents.manifest.get("input") or {}
        if given.get("dimension") == 2:
            return "open", "?", "Not validated", ["The input is 2D: tets and simulation are for 3D shapes."]
        return "open", "?", "Not validated", ["The stage validate has not run, or its report is not there."]
    failed = [check for check in report.checks if not check.passed]
    if failed or not report.checks:
        lines = [
            f"{check.name}: {_valued(check.value, check.unit)}, should be at "
            f"{'least' if check.direction == 'min' else 'most'} {_valued(check.limit, check.unit)}"
            for check in failed
        ]
        count = f"{len(failed)} of {len(report.checks)} checks fail" if report.checks else "no check was made"
        return "bad", "✕", f"Not ready for simulation: {count}", lines
    if ready is False:
        return "bad", "✕", "Not ready for simulation", ["The manifest of the run says so."]
    if not contents.manifest:
        return "open", "?", "All checks pass, but the run has no readable manifest", contents.problems
    if ready is None:
        return "open", "?", "Validated, but the run has not ended", []
    return "good", "✓", f"Ready for simulation: all {len(report.checks)} checks pass", []


def facts(contents: Contents) -> str:
    """Show the few numbers that people ask for first."""
    cells: list[tuple[str, str]] = []
    for name, label in (("point_cloud", "input points"), ("surface_mesh", "triangles")):
        geometry = contents.geometry(name)
        if geometry is not None:
            count = len(geometry.points) if name == "point_cloud" else len(geometry.faces)  # type: ignore[union-attr]
            what = "segments" if label == "triangles" and geometry.points.shape[1] == 2 else label
            cells.append((f"{count:,}", what))
    mesh = contents.geometry("sim_mesh") or contents.geometry("tet_mesh")
    if isinstance(mesh, TetMesh) and len(mesh.tets):
        cells.append((f"{len(mesh.tets):,}", "tets"))
        angle = tet_quality(mesh.points, mesh.tets)["min_dihedral_angle"]
        cells.append((f"{angle.min():.1f}°", "smallest dihedral"))
    asset = contents.artifacts.get("asset")
    if asset is not None:
        cells.append((f"{number(asset.mass)} kg", "mass"))
        cells.append((f"{number(asset.volume)} m³", "volume"))
    elif isinstance(mesh, TetMesh) and len(mesh.tets):
        cells.append((f"{number(float(mesh.in_metres().volumes.sum()))} m³", "volume"))
    times = [entry.get("seconds") for entry in contents.stages.values()]
    seconds = [float(t) for t in times if isinstance(t, int | float)]
    if seconds:
        cells.append((f"{sum(seconds):.1f} s", "in all stages"))
    memory = contents.manifest.get("peak_memory_mb")
    if isinstance(memory, int | float):
        cells.append((f"{memory / 1000:.1f} GB", "peak memory"))
    inner = "".join(f'<div class="fact"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for v, k in cells)
    return f'<div class="facts">{inner}</div>'


def view(contents: Contents) -> str:
    """Place the 3D view and its data: the meshes of the run, and the motions of its scenarios."""
    shapes = scene(contents)
    if not shapes:
        return ""
    lost = ""
    try:
        moving = motion_shapes(contents)
    except ValueError as error:
        moving, lost = [], f'<p class="error">The motions are not shown: {escape(str(error))}</p>'
    data = {
        "shapes": shapes + moving,
        "first": len(shapes) - 1,
        "stops": QUALITY_STOPS,
        "best": REGULAR_DIHEDRAL,
        "clay": CLAY,
        "blue": POINT_BLUE,
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    options = "".join(
        f'<option value="{k}"{" selected" if k == 4 else ""}>{label}</option>'
        for k, label in ((0, "+x"), (3, "-x"), (1, "+y"), (4, "-y"), (2, "+z"), (5, "-z"))
    )
    return (
        '<div class="card" id="view"><canvas tabindex="0" aria-label="3D view; drag or arrow keys to turn, '
        'wheel or plus and minus to zoom"></canvas>'
        "<noscript><style>#view canvas, #view .tools { display: none; }</style><p class='fallback'>"
        "The 3D view needs JavaScript; the pictures above show the same shapes.</p></noscript>"
        '<div class="tools player" data-for="motion"><button type="button" name="play" '
        'aria-label="Play or pause"></button><input type="range" name="time" min="0" max="1000" value="0" '
        'aria-label="Time"><output name="clock"></output></div>'
        '<div class="tools"><span class="group shapes"></span>'
        '<label data-for="surface tets motion"><input type="checkbox" name="wire" checked>Edges</label>'
        '<label data-for="surface tets">Colour <select name="color">'
        '<option value="cut">cut by quality</option><option value="all">all by quality</option>'
        '<option value="none">plain</option></select></label>'
        '<label data-for="surface tets">Cut <input type="range" name="cut" min="2" max="100" value="100">'
        '<output name="cutted"></output></label>'
        f'<label data-for="surface tets">from <select name="axis">{options}</select></label>'
        '<label data-for="tets">Only tets with an angle '
        '<input type="range" name="worst" min="1" max="71" value="71">'
        '<output name="limit"></output></label>'
        '<button type="button" name="home">Reset view</button></div>'
        f'<p class="note"></p><div data-for="surface tets">{report_pictures.legend()}</div></div>{lost}'
        f'<script type="application/json" id="scene">{text}</script>'
    )


def _guarded(title: str, make: Callable[[Contents], str], contents: Contents) -> str:
    try:
        return make(contents)
    except Exception as error:  # a page without one section is worth more than no page
        log.warning(
            "report: %s could not be made: %s", title, error, exc_info=log.isEnabledFor(logging.DEBUG)
        )
        reason = escape(str(error) or type(error).__name__)
        return f'<p class="error">{escape(title)} could not be made: {reason}</p>'


def _valued(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def _date(text: Any) -> str:
    try:
        return datetime.fromisoformat(str(text)).strftime("%d %B %Y, %H:%M %Z").strip()
    except ValueError:
        return ""
