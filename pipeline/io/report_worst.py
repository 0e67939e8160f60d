"""The worst elements of the mesh that goes into simulation: where they are, and how each looks from near."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipeline.io.report_contents import Contents, upright
from pipeline.io.report_plots import number
from pipeline.metrics.tet import tet_quality
from pipeline.rendering.camera import View, three_quarter_view
from pipeline.rendering.colormap import hex_to_rgb, quality_colors
from pipeline.rendering.picture import draw_surface
from pipeline.rendering.png import encode_png
from pipeline.rendering.scene import Picture, Style
from pipeline.topology import boundary_faces
from pipeline.types import SimReport, TetMesh

SIZE = (360, 300)
OVERVIEW = (560, 420)
COUNT = 4
"""Elements by smallest dihedral angle."""
MOST = 8
"""With those that readiness and the simulated tests name."""
RED = "#d1352b"
LABEL = (24.0, 18.0)
"""Room that a number takes beside its dot [pixel of the overview]."""
MARGIN = 1.5
"""Free room around the element, in its own size."""


def worst_elements(contents: Contents) -> str:
    """Return the close-ups and the overview; empty without tets."""
    mesh = contents.geometry("sim_mesh") or contents.geometry("tet_mesh")
    if not isinstance(mesh, TetMesh) or not len(mesh.tets):
        return ""
    quality = tet_quality(mesh.points, mesh.tets)
    angle = quality["min_dihedral_angle"]
    chosen: dict[int, list[str]] = {}
    for row in np.argsort(angle, kind="stable")[:COUNT]:
        chosen[int(row)] = []
    for row, words in _named_elsewhere(contents.report, len(angle)):
        if row in chosen or len(chosen) < MOST:
            chosen.setdefault(row, []).append(words)
    points = upright(mesh.points, mesh.frame)
    figures = []
    for k, (row, notes) in enumerate(chosen.items(), start=1):
        place = ", ".join(number(float(x)) for x in mesh.points[mesh.tets[row]].mean(axis=0))
        unit = str(mesh.frame).removeprefix("unit ").split(",")[0]
        facts = [
            f"smallest dihedral angle {number(float(angle[row]), 3)}°",
            f"largest {number(float(quality['max_dihedral_angle'][row]), 4)}°",
            f"mean ratio {number(float(quality['mean_ratio'][row]), 3)}",
            *notes,
        ]
        figures.append(
            f'<figure class="card"><div class="stage">{_image(close_up(points, mesh.tets, row, angle), row)}'
            f"</div><figcaption><b>{k}: tet {row:,}</b><span>{escape('; '.join(facts))}</span>"
            f"<br><span>at ({escape(place)}) {escape(unit)}</span></figcaption></figure>"
        )
    overview = _overview(points, mesh.tets, list(chosen))
    return (
        '<p class="soft">In red the tet, around it its neighbours in the colours of quality, opened towards '
        "the eye. Positions are those of the file.</p>"
        f'<div class="pictures worst">{overview}{"".join(figures)}</div>'
    )


def close_up(
    points: NDArray[np.float64],
    tets: NDArray[np.int32],
    row: int,
    angle: NDArray[np.float64],
    size: tuple[int, int] | None = None,
) -> Picture:
    """Draw one tet in red, and behind it the tets that share a vertex with it.

    Args:
        points: Positions, shape (n, 3), Z up.
        tets: Vertex indices, shape (t, 4).
        row: The tet.
        angle: Smallest dihedral angle of each tet, shape (t,) [degrees].
    """
    size = size or SIZE
    corner = points[tets[row]]
    center = corner.mean(axis=0)
    view = _view_of(corner, points.mean(axis=0), size)
    near = np.flatnonzero(np.isin(tets, tets[row]).any(axis=1))
    behind = near[(points[tets[near]].mean(axis=1) - center) @ view.forward >= 0]
    kept = np.union1d(behind, [row])
    faces, owner = boundary_faces(tets[kept])
    is_own = kept[owner] == row
    # The faces that the tet shares with what lies behind it are inside; those of the tet alone complete it.
    own = boundary_faces(tets[[row]])[0]
    faces = np.concatenate([faces[~is_own], own])
    colors = np.concatenate(
        [quality_colors(angle[kept][owner[~is_own]]), np.tile(hex_to_rgb(RED), (len(own), 1))]
    )
    style = Style(edges=0.9, fill=0.3, shadow=0.0)
    return draw_surface(points, faces, colors=colors, view=view, size=size, style=style)


def _view_of(corner: NDArray[np.float64], middle: NDArray[np.float64], size: tuple[int, int]) -> View:
    """Look at a tet along the normal of its largest face, from the side that is away from the middle."""
    faces = corner[[[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]]
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    back = normals[int(np.linalg.norm(normals, axis=1).argmax())]
    back = back / max(float(np.linalg.norm(back)), 1e-300)
    center = corner.mean(axis=0)
    if back @ (center - middle) < 0:
        back = -back
    # A little from the side: seen along the normal alone, a flat tet looks like a triangle.
    azimuth = float(np.degrees(np.arctan2(back[0], -back[1]))) + 15.0
    elevation = float(np.clip(np.degrees(np.arcsin(np.clip(back[2], -1, 1))) + 10.0, -80.0, 80.0))
    around = center + (1.0 + MARGIN) * (corner - center)
    return three_quarter_view(around, azimuth=azimuth, elevation=elevation, aspect=size[0] / size[1])


def _named_elsewhere(report: SimReport | None, count: int) -> list[tuple[int, str]]:
    """Tets that readiness and each simulated test name as their worst: row, and what they say of it."""
    if report is None:
        return []
    lists = [(report.metrics.get("worst_elements"), "")]
    for name, scenario in report.scenarios.items():
        lists.append((scenario.get("worst") if isinstance(scenario, Mapping) else None, f" in {name}"))
    found: list[tuple[int, str]] = []
    for entries, where in lists:
        metrics: set[str] = set()
        for entry in entries if isinstance(entries, list) else ():
            row, metric, value = (entry.get(k) for k in ("tet", "metric", "value"))
            is_first = isinstance(metric, str) and metric not in metrics
            if is_first and isinstance(row, int) and 0 <= row < count and isinstance(value, int | float):
                metrics.add(metric)
                found.append((row, f"worst {metric}{where}, {number(float(value), 3)}"))
    return found


def _overview(points: NDArray[np.float64], tets: NDArray[np.int32], rows: list[int]) -> str:
    """The whole body, with the numbers of the elements where they are."""
    width, height = OVERVIEW
    faces = boundary_faces(tets)[0]
    view = three_quarter_view(points[np.unique(faces)], aspect=width / height)
    edges = 0.4 * min(1.0, float(np.sqrt(6000 / max(len(faces), 1))))
    picture = draw_surface(points, faces, view=view, size=OVERVIEW, style=Style(edges=edges, smooth=True))
    places, _ = view.project(points[tets[rows]].mean(axis=1), width, height)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in places)
    marks = dots + "".join(
        f'<text x="{x + 8:.1f}" y="{y + 5:.1f}">{escape(text)}</text>' for x, y, text in _labels(places)
    )
    data = base64.b64encode(encode_png(picture)).decode()
    return (
        f'<figure class="card"><div class="stage"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Places of the worst elements"><image href="data:image/png;base64,{data}" '
        f'width="{width}" height="{height}"/><g class="place">{marks}</g></svg></div>'
        "<figcaption><b>Where they are</b><span>also those inside and on the far side</span>"
        "</figcaption></figure>"
    )


def _labels(places: NDArray[np.float64]) -> list[tuple[float, float, str]]:
    """Place and text of the numbers beside dots [pixel]; dots too near for two texts share one."""
    labels: list[tuple[float, float, list[str]]] = []
    for number_of_dot, (x, y) in enumerate(places.tolist(), start=1):
        near = next(
            (words for a, b, words in labels if abs(a - x) < LABEL[0] and abs(b - y) < LABEL[1]), None
        )
        if near is None:
            labels.append((x, y, [str(number_of_dot)]))
        else:
            near.append(str(number_of_dot))
    return [(x, y, ", ".join(words)) for x, y, words in labels]


def _image(picture: Picture, row: int) -> str:
    data = base64.b64encode(encode_png(picture)).decode()
    return f'<img alt="Tet {row:,} from near" src="data:image/png;base64,{data}">'
