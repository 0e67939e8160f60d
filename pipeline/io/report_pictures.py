"""The pictures of a report, one for each stage, from one common point of view."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipeline.io.report_contents import Contents, upright
from pipeline.metrics.tet import tet_quality
from pipeline.rendering.camera import View, three_quarter_view
from pipeline.rendering.colormap import QUALITY_STOPS, REGULAR_DIHEDRAL
from pipeline.rendering.drawing import draw_plane
from pipeline.rendering.picture import cut_plane, draw_points, draw_surface, draw_tets
from pipeline.rendering.png import encode_png
from pipeline.rendering.scene import Picture, Style
from pipeline.types import PointCloud, SurfaceMesh, TetMesh

SIZE = (720, 540)
STEPS = (
    ("point_cloud", "Input points", ""),
    ("surface_mesh", "Surface", "reconstruct"),
    ("tet_mesh", "Tets, cut open", "tetrahedralize"),
    ("sim_mesh", "Optimized tets, cut open", "optimize"),
)

Geometry = PointCloud | SurfaceMesh | TetMesh


def pictures(contents: Contents) -> str:
    """Return the figures; a stage without result keeps its place and says why."""
    shown = {name: contents.geometry(name) for name, _, _ in STEPS}
    shapes = [g for g in shown.values() if g is not None]
    view = common_view([upright(g.points, g.frame) for g in shapes if g.points.shape[1] == 3], SIZE)
    frame = _flat_frame([g.points for g in shapes if g.points.shape[1] == 2])
    figures = []
    for name, title, stage in STEPS:
        geometry = shown[name]
        if geometry is None:
            reason = _absence(contents, stage)
            if reason:
                figures.append(_figure(title, f'<div class="empty">{escape(reason)}</div>', ""))
            continue
        if geometry.points.shape[1] == 2:
            segments = geometry.faces if isinstance(geometry, SurfaceMesh) else None
            image = draw_plane(geometry.points, segments, color="var(--accent)", frame=frame)
        else:
            png = encode_png(draw(geometry, view, SIZE))
            image = (
                f'<img alt="{escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            )
        if contents.origin.get(name) == "input":
            title = {"surface_mesh": "Input surface", "tet_mesh": "Input tets, cut open"}.get(name, title)
        figures.append(_figure(title, image, caption(geometry)))
    colored = any(isinstance(g, TetMesh) for g in shapes)
    return f'<div class="pictures">{"".join(figures)}</div>{legend() if colored else ""}'


def legend() -> str:
    """Draw the colour scale of the quality pictures."""
    stops = ", ".join(f"{color} {100 * at:.0f}%" for at, color in QUALITY_STOPS)
    ticks = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, REGULAR_DIHEDRAL)
    marks = "".join(
        f'<span style="left:{100 * t / REGULAR_DIHEDRAL:.1f}%">{t:.{1 if t > 70 else 0}f}°</span>'
        for t in ticks
    )
    return (
        f'<div class="legend"><div class="bar" style="background:linear-gradient(90deg, {stops})"></div>'
        f'<div class="ticks">{marks}</div><small>Colour: smallest dihedral angle of each tet; '
        "a regular one has 70.5°.</small></div>"
    )


def draw(geometry: Geometry, view: View | None, size: tuple[int, int]) -> Picture:
    """Draw a 3D cloud, surface, or tet mesh cut open and coloured by smallest dihedral angle."""
    points = upright(geometry.points, geometry.frame)
    if isinstance(geometry, PointCloud):
        normals = None if geometry.normals is None else upright(geometry.normals, geometry.frame)
        return draw_points(points, normals, view=view, size=size)
    if isinstance(geometry, SurfaceMesh):
        # Edges closer than a few pixels would only grey the surface: the more, the fainter.
        edges = 0.5 * min(1.0, np.sqrt(6000 / max(len(geometry.faces), 1)))
        return draw_surface(
            points, geometry.faces, view=view, size=size, style=Style(edges=edges, smooth=True)
        )
    angle = tet_quality(points, geometry.tets)["min_dihedral_angle"]
    plane = cut_plane(points, view) if view is not None else None
    return draw_tets(points, geometry.tets, angle, plane=plane, view=view, size=size)


def common_view(points: list[NDArray], size: tuple[int, int]) -> View | None:
    """Return a view that frames all shapes, or None without any."""
    filled = [p for p in points if len(p)]
    return three_quarter_view(np.concatenate(filled), aspect=size[0] / size[1]) if filled else None


def caption(geometry: Geometry) -> str:
    """Count what a picture shows."""
    if isinstance(geometry, PointCloud):
        return f"{len(geometry.points):,} points" + ("" if geometry.normals is None else " with normals")
    if isinstance(geometry, SurfaceMesh):
        what = "triangles" if geometry.dimension == 3 else "segments"
        return f"{len(geometry.faces):,} {what}, {len(geometry.points):,} vertices"
    text = f"{len(geometry.tets):,} tets"
    if len(geometry.tets):
        angle = tet_quality(geometry.points, geometry.tets)["min_dihedral_angle"]
        text += f", smallest dihedral angle {angle.min():.1f}°"
    return text


def _absence(contents: Contents, stage: str) -> str:
    entry = contents.stages.get(stage)
    if not stage or entry is None:
        return ""
    status = entry.get("status")
    if status == "failed":
        return f"{stage} failed: {entry.get('error') or 'no message'}"
    if entry.get("stale"):
        return f"{stage}: left from earlier inputs"
    return {"running": f"{stage} did not end", "skipped": f"{stage} was not run"}.get(
        str(status), f"{stage}: its result is missing"
    )


def _figure(title: str, inner: str, text: str) -> str:
    return (
        f'<figure class="card"><div class="stage">{inner}</div>'
        f"<figcaption><b>{escape(title)}</b><span>{escape(text)}</span></figcaption></figure>"
    )


def _flat_frame(points: list[NDArray]) -> tuple[NDArray, NDArray] | None:
    filled = [p for p in points if len(p)]
    if not filled:
        return None
    everything = np.concatenate(filled)
    return everything.min(axis=0), everything.max(axis=0)
