"""From vertices to a closed surface or curve: choose faces, zip and fill gaps, cure what is wrong."""

from __future__ import annotations

from pipeline.context import RunContext
from pipeline.dmesh.curing import cure, split_pinches
from pipeline.dmesh.extraction import extract_faces
from pipeline.dmesh.filling import close_curves, drop_specks, fill_at_links, zip_gaps
from pipeline.dmesh.junctions import Junctions
from pipeline.dmesh.patches import Surface
from pipeline.errors import StageError
from pipeline.topology import compact
from pipeline.types import Indices, Points


def close_surface(surface: Surface, junctions: Junctions, context: RunContext) -> tuple[Points, Indices]:
    """Find triangles among the vertices of a surface, manifold off junctions and free of intersections.

    Returns:
        The vertices that the triangles use, and the triangles.
    """
    chosen = choose_faces(surface, junctions, context)
    faces = drop_specks(chosen)
    specks = len(chosen) - len(faces)
    context.record(0, total=2, phase="closing")
    faces = fill_at_links(surface, zip_gaps(surface, faces))
    context.record(1, total=2, phase="closing")
    cured = cure(surface, faces)
    context.count("speck_faces", specks + cured.specks, "faces of parts too small to be a surface dropped")
    context.count("cured_faces", cured.removed, "faces removed around defects")
    context.count("filled_faces", cured.filled, "faces added to close holes that samples cover")
    if not len(cured.faces):
        raise StageError(
            "reconstruct: the points do not form a surface of more than a few faces; "
            "they may be too few or too noisy. Give more points"
        )
    points, faces = surface.points, cured.faces
    if not cured.is_ragged:
        points, faces, split = split_pinches(points, faces)
        context.count("split_vertices", split, "vertices split where two sheets met in a point")
    points, faces, _ = compact(points, faces)
    context.record(2, total=2, phase="closing", faces=len(faces))
    return points, faces


def close_curve(surface: Surface, junctions: Junctions, context: RunContext) -> Indices:
    """Find segments among the vertices of a curve (2D), gaps closed."""
    return close_curves(surface, choose_faces(surface, junctions, context))


def choose_faces(surface: Surface, junctions: Junctions, context: RunContext) -> Indices:
    """Choose faces by minimum ball and support.

    Raises:
        StageError: No candidate is supported by the samples.
    """
    context.record(0, total=1, phase="faces")
    faces, counts = extract_faces(
        surface.points, surface.samples, surface.planes, surface.config, surface.device, junctions
    )
    context.record(1, total=1, phase="faces", **counts)
    if not len(faces):
        raise StageError(
            f"reconstruct: none of {counts['candidates']:,} candidate faces is supported by the "
            f"{len(surface.samples):,} points; they may be too few or too noisy for a surface. "
            "Give more points, or raise reconstruct.selection.largest_offset and largest_gap"
        )
    return faces
