"""Sheets that nearly touch: which samples see a second sheet, and neighbours on the same sheet. 3D.

Where the layers of a garment lie on each other, most of the nearest points of a point belong to the other
layer. Two points with nearly parallel normals lie on different sheets when one stands over the mean tangent
plane of the pair by more than a share of their distance; on one sheet, flat or bent, it does not
(`warp_kernels/sheets.py`). The test compares directions alone: it does not know the scale of the shape.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.neighbors import nearest_neighbors, to_device
from pipeline.types import Indices, Points
from warp_kernels import sheets as kernels

PARALLEL = 0.8
"""Cosine between the normals of two points above which one may lie on a sheet beside the other's."""
SLOPE = 0.25
"""Height over the mean tangent plane of a pair, in units of its length, that tells two sheets: the tangent
of 14 degrees, three times the error of a fitted normal."""
LEAST_ACROSS = 8
"""Neighbours across, of 20, that make a sample see a second sheet nearer than the spacing, where half of the
neighbours lie on it."""
LEAST_SHARE = 0.05
"""Share of such samples above which a shape has sheets that nearly touch. Chance, bends that few samples show
and lines where sheets meet give up to 0.03; a pleated dress gives 0.08 to 0.14."""
VOTES = ((0.1, (0.2, 0.1, 0.05)), (0.05, (0.1, 0.05)))
"""Bands around a plane whose samples count, in units of the spacing, in two turns: of the vote among the
normals around a sample, then of the fits that follow."""
LARGEST_NOISE = 0.05
"""Noise in units of the spacing up to which sheets can be told: at 0.05 a sphere shows 0.01 such samples, at
0.1 it shows 0.13."""
STRETCH = 10.0
"""Weight of heights in the distance to a vertex: sheets a tenth of the vertex spacing apart are told."""
CHOICE = 8
"""Nearest vertices from which a sample takes the one on its sheet."""
_POOL = 3
"""Neighbours that are searched per neighbour that is wanted: two further sheets may be as near as the own."""


def sheet_rule() -> kernels.SheetRule:
    """Return the rule that tells sheets apart."""
    rule = kernels.SheetRule()
    rule.parallel, rule.slope = wp.float64(PARALLEL), wp.float64(SLOPE)
    return rule


def are_layered(points: Points, normals: Points, neighbors: NDArray[np.int32], device: str = "cpu") -> bool:
    """Whether a shape has sheets that nearly touch.

    Args:
        points, normals: Samples and their unit normals, shape (n, 3).
        neighbors: The nearest 20 samples, -1 where missing, shape (n, 20).
    """
    _, crossing = _filtered(points, normals, neighbors, 1, device)
    return float((crossing >= LEAST_ACROSS).mean()) > LEAST_SHARE


def normals_by_sheet(
    points: Points, normals: Points, neighbors: NDArray[np.int32], spacing: float, device: str = "cpu"
) -> Points:
    """Find normals again where sheets nearly touch, where a fit of all neighbours mixes two sheets.

    A sample takes the normal, of those around it, whose plane through the sample has most neighbours in it;
    then it is fitted to the neighbours near that plane. Each turn narrows the band, and a second sheet drops
    out.
    """
    x, n = to_device(points, device), to_device(normals, device)
    table: wp.array = wp.array(neighbors, dtype=wp.int32, device=device)
    for band, fits in VOTES:
        voted = wp.empty_like(n)
        kernels.vote_normals(x, n, table, band * spacing, voted)
        n = voted
        for width in fits:
            refitted = wp.empty_like(n)
            kernels.refit_normals(x, n, table, width * spacing, refitted)
            n = refitted
    return np.ascontiguousarray(n.numpy())


def nearest_on_sheet(
    points: Points, normals: Points, queries: Points, query_normals: Points, device: str = "cpu"
) -> NDArray[np.int64]:
    """Find the nearest point on the sheet of each query, shape (m,): heights count `STRETCH` times."""
    pool, _ = nearest_neighbors(points, min(CHOICE, len(points)), queries=queries, device=device)
    nearest = wp.empty(len(queries), dtype=wp.int32, device=device)
    table: wp.array = wp.array(pool, dtype=wp.int32, device=device)
    kernels.nearest_on_sheet(
        to_device(points, device),
        to_device(normals, device),
        to_device(queries, device),
        to_device(query_normals, device),
        table,
        PARALLEL,
        STRETCH,
        nearest,
    )
    return nearest.numpy().astype(np.int64)


def neighbors_on_sheet(
    points: Points, normals: Points, k: int, device: str = "cpu"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the nearest k points on the sheet of each point.

    Args:
        points: Positions, shape (n, 3).
        normals: Unit normals of any sign, shape (n, 3).

    Returns:
        Indices (n, k), -1 where fewer were found, and distances (n, k), inf there.
    """
    pool, _ = nearest_neighbors(points, min(_POOL * k, len(points) - 1), device=device)
    kept, _ = _filtered(points, normals, pool, k, device)
    offset = points[np.maximum(kept, 0)] - points[:, None]
    return kept, np.where(kept < 0, np.inf, np.linalg.norm(offset, axis=2))


def _filtered(
    points: Points, normals: Points, pool: NDArray[np.int32], k: int, device: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    n = len(points)
    kept = wp.empty((n, k), dtype=wp.int32, device=device)
    crossing = wp.empty(n, dtype=wp.int32, device=device)
    table: wp.array = wp.array(pool, dtype=wp.int32, device=device)
    kernels.sheet_neighbors(
        to_device(points, device), to_device(normals, device), table, sheet_rule(), kept, crossing
    )
    return kept.numpy(), crossing.numpy()


def margin_on_sheet(
    points: Points, normals: Points, faces: Indices, neighbors: NDArray[np.int32], device: str = "cpu"
) -> NDArray[np.float64]:
    """Compute the minimum-ball margin (d - R) / R of triangles among the points of their sheet, shape (f,).

    Args:
        neighbors: Table of `neighbors_on_sheet`: d is the distance to the nearest of those of the corners.

    Returns:
        Margins; -1 for a face without a ball or with corners on different sheets.
    """
    margin = wp.empty(len(faces), dtype=wp.float64, device=device)
    kernels.sheet_margin(
        to_device(points, device),
        to_device(normals, device),
        wp.array(faces, dtype=wp.vec3i, device=device),
        wp.array(neighbors, dtype=wp.int32, device=device),
        sheet_rule(),
        margin,
    )
    return margin.numpy()
