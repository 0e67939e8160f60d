"""What of a surface is not in the solid as it was given: counts and warnings, nothing is changed here."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import CleanSurface
from pipeline.tetmesh.closure import closed_share, count_openings
from pipeline.tetmesh.refinement import SIDE_STEP, sides_of
from pipeline.tetmesh.sizing import SizeField

log = logging.getLogger("simmesh")

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

NOTABLE_SHARE = 0.001
"""Shares of a surface below this are not worth a warning."""
VOLUME_TOLERANCE = 0.1


def tell_closure(
    points: Points,
    faces: Indices,
    clean: CleanSurface,
    surface: SurfaceQuery,
    size: SizeField,
    context: RunContext,
) -> None:
    """Count the openings that were closed, and which share of the boundary closes them.

    Args:
        points: Vertices of the solid, shape (n, 3).
        faces: Its boundary, shape (b, 3).
        clean: The surface; `surface` asks it.
        size: Local edge length.
        context: Counts.
    """
    openings = count_openings(clean, surface, size, SIDE_STEP)
    if not openings:
        return
    share = closed_share(points, faces, clean, surface, size)
    context.count("closed_openings", openings, "openings closed by the half level set of the winding number")
    context.count("closed_percent", 100.0 * share, "percent of the boundary that closes them")
    if share > NOTABLE_SHARE:
        log.warning(
            "the surface was open: %d openings closed by the half level set of the winding number, "
            "%.1f %% of the boundary",
            openings,
            100 * share,
        )


def tell_buried(surface: SurfaceQuery, places: Points, step: Points) -> None:
    """Warn where the surface lies within the solid: parts that pierce each other, inner sheets.

    Args:
        surface: The surface.
        places: Places on it, uniform by area, shape (m, 3).
        step: How far to look to both sides, shape (m,).
    """
    behind, before = sides_of(surface, places, step)
    share = float((behind & before).mean())
    if share > NOTABLE_SHARE:
        log.warning("%.1f %% of the surface lies within the solid: parts pierce each other", 100 * share)


def tell_lost_parts(
    boundary: SurfaceQuery, clean: CleanSurface, size: SizeField, context: RunContext
) -> None:
    """Count parts of the surface of which most is missing in the solid, and warn.

    Args:
        boundary: The boundary of the solid.
        clean: The surface.
        size: Local edge length.
        context: Counts.
    """
    corners = np.concatenate(
        [clean.points[clean.faces].mean(axis=1), *np.moveaxis(clean.points[clean.faces], 1, 0)]
    )
    part = np.tile(clean.component, 4)
    far = boundary.closest(corners).distance > size(corners)
    if far.any():
        far[far] &= boundary.winding_number(corners[far]) < 0.5
    lost = np.bincount(part, far) > 0.5 * np.bincount(part)
    context.count("lost_parts", lost.sum(), "parts of the surface too small or thin for this number of tets")
    if lost.any():
        log.warning(
            "%d of %d parts of the surface are missing in the solid; raise tetrahedralize.target_tets",
            lost.sum(),
            len(lost),
        )


def tell_volume(volume: float, expected: tuple[float, ...]) -> None:
    """Warn when a volume is near none of the expected ones that are known (above zero)."""
    ratios = [volume / other for other in expected if other > 0]
    if ratios and all(abs(ratio - 1.0) > VOLUME_TOLERANCE for ratio in ratios):
        log.warning("the solid has %.3g %% of the volume that the surface encloses", 100.0 * ratios[0])
