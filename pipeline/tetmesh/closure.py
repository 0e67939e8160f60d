"""Whether an open surface encloses something, how many openings it has, how much of the boundary closes them.

Just behind a flat sheet the winding number is 1/2, within a closed surface it is 1. A place of the surface
counts as enclosing where the winding number behind it is nearer to 1: three quarters of all directions meet
the surface. It counts as left out where neither side is inside, as in every other valley of a wavy sheet. A
surface that encloses no more than it leaves out is a sheet, not the skin of a body.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import CleanSurface, area_vectors
from pipeline.tetmesh.refinement import sides_of
from pipeline.tetmesh.sizing import SizeField
from pipeline.topology import simplex_edges

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

ENCLOSED_LEVEL = 0.75
"""Halfway between the winding number behind a flat sheet and that within a closed surface."""
CAP_DISTANCE = 0.5
"""Faces farther than this many edge lengths from the surface close an opening."""


def enclosing_shares(
    clean: CleanSurface, surface: SurfaceQuery, places: Points, step: Points
) -> tuple[Points, Points]:
    """Return how much of each component encloses something, and how much of it is left out.

    Args:
        clean: The surface; what is closed encloses, however thin it is.
        surface: The same, for queries.
        places: Places on the surface, uniform by area, shape (m, 3).
        step: How far to look to both sides, shape (m,).

    Returns:
        Two shares of all places for each component, shape (c,): their sums are those of the whole surface.
    """
    behind, before = sides_of(surface, places, step)
    deep, _ = sides_of(surface, places, step, ENCLOSED_LEVEL)
    component = clean.component[surface.closest(places).face]
    closed = clean.is_closed[component]
    encloses, left_out = closed | deep, ~closed & ~behind & ~before
    count = len(clean.is_closed)
    return (
        np.bincount(component, encloses, count) / len(places),
        np.bincount(component, left_out, count) / len(places),
    )


def sheets_beside(clean: CleanSurface, enclosing: Points, left_out: Points) -> NDArray[np.bool_]:
    """Tell components that are open sheets beside a body, shape (c,); none where there is no body.

    A surface that encloses more than it leaves out is a body as a whole, whatever its parts are: walls that
    do not meet, spouts, fragments between holes. Otherwise the parts that enclose no more than they leave out
    are sheets, and what remains is a body if it encloses anything.

    Args:
        clean: The surface.
        enclosing: Share of the surface that encloses, by component, shape (c,).
        left_out: Share that is left out, by component, shape (c,).
    """
    if enclosing.sum() > left_out.sum():
        return np.zeros(len(enclosing), dtype=bool)
    sheet = ~clean.is_closed & (enclosing <= left_out)
    return sheet & ~sheet.all()


def count_openings(clean: CleanSurface, surface: SurfaceQuery, size: SizeField, step: float) -> int:
    """Count the loops of open edges at which the solid had to be closed.

    A rim that ends within the solid, as that of a spout that pierces the wall, closes nothing: inside is on
    both sides of the faces along it.

    Args:
        clean: The surface.
        surface: The same, for queries.
        size: Local edge length.
        step: How far to look to both sides, in edge lengths.
    """
    edges, edge_of_face, count = simplex_edges(clean.faces)
    is_open = count == 1
    if not is_open.any():
        return 0
    rows, side = np.nonzero(is_open[edge_of_face])
    start = edges[edge_of_face[rows, side], 0]
    ends = edges[is_open]
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(clean.points),) * 2)
    loop = np.unique(connected_components(graph, directed=False)[1][start], return_inverse=True)[1]
    places = clean.points[clean.faces[rows]].mean(axis=1)
    behind, before = sides_of(surface, places, step * size(places))
    return int((np.bincount(loop, behind & ~before) > 0.5 * np.bincount(loop)).sum())


def closed_share(
    points: Points, faces: Indices, clean: CleanSurface, surface: SurfaceQuery, size: SizeField
) -> float:
    """Return the share of the area of a boundary that is not the surface's: it closes the openings."""
    middle, vector = points[faces].mean(axis=1), area_vectors(points, faces)
    area = np.linalg.norm(vector, axis=1)
    hit = surface.closest(middle)
    far = hit.distance > CAP_DISTANCE * size(middle)
    # The far side of a lens over a bent sheet lies near the sheet, and faces the other way.
    far |= np.einsum("fi,fi->f", vector, clean.normals[hit.face]) < 0.0
    return float(area[far].sum() / area.sum())
