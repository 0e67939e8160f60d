"""Results as tables and plots: tet quality, checks, simulated tests, stages, configuration, files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.io.report_contents import STAGES, Contents
from pipeline.io.report_counts import altered_words
from pipeline.io.report_plots import histograms, line_plot, number
from pipeline.metrics.tet import dihedral_angles, tet_quality
from pipeline.metrics.units import UNITS
from pipeline.rendering.colormap import REGULAR_DIHEDRAL
from pipeline.types import Check, TetMesh

AXIS_NAMES = ("time", "times", "t", "stretch", "displacement", "step", "iteration")
MAX_PLOTS = 9
EMPTY_LIST = "<dl></dl>"
MEASURES = (
    ("min_dihedral_angle", "smallest dihedral angle", "°", "low"),
    ("max_dihedral_angle", "largest dihedral angle", "°", "high"),
    ("mean_ratio", "mean ratio", "", "low"),
    ("scaled_jacobian", "scaled Jacobian", "", "low"),
    ("aspect_ratio", "aspect ratio", "", "high"),
)
SERIES_UNITS = {
    "height": "m",
    "way": "m",
    "speed": "m/s",
    "lower_force": "N",
    "shortening": "m",
    "frequency": "Hz",
    "angle": "rad",
}
"""Units of series that share their name with a setting or a result without one."""
OTHER_FILES = ("comparison.json", "validate/comparison.json", "manifest.json", "config.yaml")
FILE_KINDS = (
    ("_animation.usdc", "USD: the simulated tests as animation of the asset"),
    (".usdc", "USD asset for Newton and Omni PhysX"),
    (".usda", "USD asset for Newton and Omni PhysX, as text"),
    (".usdz", "USD asset for Newton and Omni PhysX, as a package"),
    ("_preview.png", "thumbnail of the asset"),
    ("asset.json", "mass, volume, material, and what each file of the asset holds"),
    (".msh", "Gmsh"),
    (".vtu", "ParaView, with the quality of each tet"),
    (".xml", "MuJoCo scene"),
    (".glb", "surface for viewers"),
    (".obj", "surface"),
    (".ply", "surface"),
    ("sim_report.json", "every number of the validation"),
    ("comparison.json", "comparison with the baseline"),
    ("manifest.json", "what was run, with hashes and versions"),
    ("config.yaml", "the settings of the run"),
    ("export/asset.npz", "NumPy archive for Newton"),
    (".npz", "NumPy archive, exact"),
)
"""What a file is for, by the end of its name; the first that fits."""
ASSETS, MOVING = (".usdc", ".usda", ".usdz"), "_animation.usdc"
FLAG = {"done": ("mark-pass", "✓ done"), "failed": ("mark-fail", "✕ failed")}


def quality(contents: Contents) -> str:
    """Compare the dihedral angles before and after optimization."""
    meshes = [
        (label, style, mesh)
        for name, label, style in (("tet_mesh", "before", "before"), ("sim_mesh", "after", "after"))
        if isinstance(mesh := contents.geometry(name), TetMesh) and len(mesh.tets)
    ]
    if not meshes:
        return ""
    series = [(label, style, dihedral_angles(m.points, m.tets).ravel()) for label, style, m in meshes]
    plot = histograms(
        series,
        label="dihedral angle [°], share of all angles",
        marks=((REGULAR_DIHEDRAL, "regular tet"),),
        ticks=range(0, 181, 30),
    )
    key = "".join(
        f'<span><i class="{style}"></i>{label} optimization, {len(v) // 6:,} tets</span>'
        for label, style, v in series
    )
    measured = [tet_quality(m.points, m.tets) for _, _, m in meshes]
    span = f' colspan="{len(meshes)}"'
    head = "".join(f'<th class="span"{span}>{kind}</th>' for kind in ("worst", "worst 1 %", "mean"))
    names = "".join(f'<th class="n">{label}</th>' for label, _, _ in meshes) * 3
    rows = "".join(_measure_row(measured, *measure) for measure in MEASURES)
    table = f"<table><tr><th></th>{head}</tr><tr><th>measure</th>{names}</tr>{rows}</table>"
    return f'<div class="card"><div class="key">{key}</div>{plot}</div><div class="card scroll">{table}</div>'


def checks(contents: Contents) -> str:
    """List every check with its value, its limit and a mark."""
    report = contents.report
    if report is None:
        return '<p class="soft">Not validated: no check was made.</p>'
    rows = "".join(_check_row(check) for check in report.checks)
    return (
        '<div class="card scroll"><table class="checks"><tr><th>check</th><th class="n">value</th>'
        '<th class="n">limit</th>'
        f"<th></th></tr>{rows}</table></div>"
    )


def scenarios(contents: Contents) -> str:
    """Show the settings, results and series of each simulated test, and the material."""
    report = contents.report
    if report is None or not (report.scenarios or report.material or report.metrics):
        return ""
    parts = []
    if report.material:
        parts.append(f'<div class="card"><h3>Material</h3>{_values(report.material)}</div>')
    for name, scenario in report.scenarios.items():
        data = scenario if isinstance(scenario, Mapping) else {"result": scenario}
        plots = "".join(_series_plots(data))
        top = _values({k: v for k, v in data.items() if not isinstance(v, Mapping)})
        groups = "".join(
            f"<div><h4>{escape(_words(key))}</h4>{listed}</div>"
            for key, value in data.items()
            if isinstance(value, Mapping) and (listed := _values(value)) != EMPTY_LIST
        )
        folded = f'{top}<div class="columns">{groups}</div>'
        parts.append(
            f'<div class="card"><h3>{escape(_words(name))}</h3><div class="columns">{plots}</div>'
            f"<details><summary>Settings and results</summary>{folded}</details></div>"
        )
    if report.metrics:
        inner = _values(report.metrics)
        parts.append(
            f'<div class="card"><details><summary>All measured numbers</summary>{inner}</details></div>'
        )
    return "".join(parts)


def stages(contents: Contents) -> str:
    """Show status, time and repairs of each stage."""
    entries = contents.stages
    problems = "".join(f'<p class="error">{escape(p)}</p>' for p in contents.problems)
    missing = [name for name in STAGES if name not in entries]
    if not entries:
        return f'{problems}<p class="soft">No stage has run.</p>'
    longest = max([_seconds(e) for e in entries.values()] + [1e-9])
    rows = []
    for name, entry in entries.items():
        style, text = FLAG.get(str(entry.get("status")), ("mark-open", str(entry.get("status", "unknown"))))
        if entry.get("stale"):
            style, text = "mark-open", "out of date"
        seconds = _seconds(entry)
        bar = f'<div class="time-bar" style="width:{100 * seconds / longest:.1f}%"></div>' if seconds else ""
        facts = ", ".join(f"{_words(k)} {_plain(v)}" for k, v in _mapping(entry.get("counts")).items())
        error = f'<pre class="error">{escape(str(entry["error"]))}</pre>' if entry.get("error") else ""
        if altered := altered_words(_mapping(entry.get("counts"))):
            facts = f"{altered}. {facts}"
        rows.append(
            f'<tr><td>{escape(name)}</td><td><span class="{style}">{escape(text)}</span></td>'
            f'<td class="n">{f"{seconds:.1f} s" if seconds else ""}</td><td style="width:22%">{bar}</td>'
            f"<td><small>{escape(facts)}</small>{error}</td></tr>"
        )
    rows += [
        f'<tr><td>{name}</td><td><span class="mark-open">not run</span></td><td></td><td></td><td></td></tr>'
        for name in missing
    ]
    table = (
        '<table><tr><th>stage</th><th>status</th><th class="n">time</th><th></th>'
        f"<th>sizes and repairs</th></tr>{''.join(rows)}</table>"
    )
    return f'{problems}<div class="card scroll">{table}</div>'


def details(contents: Contents) -> str:
    """Fold away what few people ask for: convergence, configuration, versions."""
    parts = []
    for stage, lines in contents.histories.items():
        plots = "".join(_history_plots(lines))
        if plots:
            inner = f'<div class="columns">{plots}</div>'
            parts.append(f"<details><summary>Progress of {escape(stage)}</summary>{inner}</details>")
    for stage, entry in contents.stages.items():
        if entry.get("config"):
            text = escape(json.dumps(entry["config"], indent=1, ensure_ascii=False))
            parts.append(
                f"<details><summary>Configuration of {escape(stage)}</summary><pre>{text}</pre></details>"
            )
    given = _mapping(contents.manifest.get("input"))
    if given:
        parts.append(f"<details><summary>Input</summary>{_values(given)}</details>")
    versions = _mapping(contents.manifest.get("versions"))
    if versions:
        parts.append(f"<details><summary>Versions</summary>{_values(versions)}</details>")
    if contents.manifest.get("summary"):
        text = escape(str(contents.manifest["summary"]))
        parts.append(f"<details><summary>Summary as printed</summary><pre>{text}</pre></details>")
    return f'<div class="card">{"".join(parts)}</div>' if parts else ""


def files(contents: Contents) -> str:
    """Link every file of the run, relative to this page: the asset first, then the other results."""
    rows = []
    entries = sorted(contents.stages.items(), key=lambda item: item[0] != "export")
    names = [str(path) for _, entry in entries for path in _mapping(entry.get("outputs"))]
    names.sort(key=lambda name: not name.endswith(ASSETS) or name.endswith(MOVING))
    for name in dict.fromkeys([*names, *OTHER_FILES]):
        path = contents.folder / name
        try:
            inside = path.resolve().is_relative_to(contents.folder.resolve())
            size = path.stat().st_size if inside and path.is_file() else None
        except (OSError, ValueError):
            size = None
        if size is not None:
            link = f'<a class="path" href="../{quote(name)}" download>{escape(name)}</a>'
            about = next((text for ending, text in FILE_KINDS if name.endswith(ending)), "")
            rows.append(f'<tr><td>{link}<small>{about}</small></td><td class="n">{_bytes(size)}</td></tr>')
    return f'<div class="card scroll"><table>{"".join(rows)}</table></div>' if rows else ""


def _measure_row(measured: list[dict[str, Any]], name: str, title: str, unit: str, worst: str) -> str:
    """One quality measure: worst, percentile of the worst hundredth, and mean of every mesh."""
    share = 1 if worst == "low" else 99
    cells = []
    for pick in (np.min if worst == "low" else np.max, lambda v: np.percentile(v, share), np.mean):
        for found in measured:
            cells.append(f'<td class="n">{number(float(pick(found[name])), 3)}{unit}</td>')
    return f"<tr><td>{escape(title)}</td>{''.join(cells)}</tr>"


def _check_row(check: Check) -> str:
    style, mark, row = (
        ("mark-pass", "✓ pass", "") if check.passed else ("mark-fail", "✕ fail", ' class="fail"')
    )
    sign = "≥" if check.direction == "min" else "≤"
    unit = f" {escape(check.unit)}" if check.unit else ""
    about = f"<small>{escape(check.description)}</small>" if check.description else ""
    return (
        f'<tr{row}><td>{escape(_words(check.name))}{about}</td><td class="n">{number(check.value)}{unit}</td>'
        f'<td class="n">{sign} {number(check.limit)}{unit}</td><td class="{style}">{mark}</td></tr>'
    )


def _series_plots(data: Mapping[str, Any]) -> Iterator[str]:
    """Plot every list of numbers, also one level down, over its axis; energies share one plot."""
    count = 0
    for group in [data, *(v for v in data.values() if isinstance(v, Mapping))]:
        lists = {str(k): np.array(v, dtype=float) for k, v in group.items() if _is_series(v)}
        axis = next((n for n in AXIS_NAMES if n in lists), None)
        plots: dict[str, list[str]] = {}
        for name in lists:
            if name != axis:
                kind = name.rsplit("_", 1)[-1]
                plots.setdefault(kind if kind == "energy" else name, []).append(name)
        for title, names in plots.items():
            if count >= MAX_PLOTS:
                return
            lines = [(_words(n), lists[n]) for n in names]
            matched = axis is not None and all(len(y) == len(lists[axis]) for _, y in lines)
            x = lists[axis] if matched and axis else np.arange(max(len(y) for _, y in lines), dtype=float)
            label = _with_unit(axis) if matched and axis else "row"
            lines = [(n, y) for n, y in lines if len(y) == len(x)]
            plot = line_plot(x, lines, title=_with_unit(title), x_label=label)
            yield f"<div>{plot}{_line_key(lines)}</div>"
            count += 1


def _line_key(lines: list[tuple[str, Any]]) -> str:
    if len(lines) < 2:
        return ""
    items = (f'<span><i class="line-{k % 5}"></i>{escape(name)}</span>' for k, (name, _) in enumerate(lines))
    return f'<div class="key">{"".join(items)}</div>'


def _with_unit(name: str) -> str:
    unit = SERIES_UNITS.get(name) or unit_of(name)
    return _words(name) + (f" [{unit}]" if unit else "")


def unit_of(name: str) -> str:
    """Unit of a number whose meaning is fixed by its name, as it is written on a page; empty for others."""
    return UNITS.get(name, "").replace("^2", "²").replace("^3", "³")


def _history_plots(lines: list[dict[str, Any]]) -> Iterator[str]:
    phases: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        phases.setdefault(str(line.get("phase", "")), []).append(line)
    count = 0
    for phase, rows in phases.items():
        names = dict.fromkeys(k for row in rows for k in row if k not in ("phase", "step", "total"))
        for name in names:
            pairs = [(r.get("step"), r.get(name)) for r in rows]
            pairs = [(s, v) for s, v in pairs if _is_number(s) and _is_number(v)]
            if len(pairs) < 3 or count >= MAX_PLOTS:
                continue
            x, y = np.array(pairs, dtype=float).T
            title = ": ".join(part for part in (phase, _words(name)) if part)
            yield line_plot(x, [(title, y)], title=title, x_label="step")
            count += 1


def _values(data: Mapping[str, Any]) -> str:
    """List names and values; mappings are nested, series are left to the plots."""
    rows = []
    for name, value in data.items():
        if _is_series(value):
            continue
        if isinstance(value, Mapping):
            inner = _values(value)
            if inner != EMPTY_LIST:
                rows.append(f"<dt>{escape(_words(name))}</dt><dd>{inner}</dd>")
            continue
        unit = f" {unit_of(name)}" if name in UNITS and _is_number(value) else ""
        rows.append(f"<dt>{escape(_words(name))}</dt><dd>{escape(_plain(value) + unit)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return number(value)
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(v) for v in value[:8])
        return f"{shown}, … ({len(value):,})" if len(value) > 8 else shown
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(k)} {_plain(v)}" for k, v in value.items())
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_series(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) > 3 and all(_is_number(v) or v is None for v in value)
    )


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _seconds(entry: Mapping[str, Any]) -> float:
    value = entry.get("seconds")
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size = size / 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"
