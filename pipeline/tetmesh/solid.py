"""From points to a valid solid: tessellate, label, make manifold, drop crumbs, leave no flat tet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.cleaning import CleanSurface
from pipeline.tetmesh.delaunay import tessellate, tet_neighbors, tet_volumes
from pipeline.tetmesh.occupancy import boundary_is_manifold, make_manifold, make_occupancy
from pipeline.tetmesh.sampling import thin_points
from pipeline.topology import TET_FACES, boundary_faces, components

Points = NDArray[np.float64]
Indices = NDArray[np.int32]
Flags = NDArray[np.bool_]

FLAT = 1e-6
"""A tet is flat when its volume is below this times its longest edge cubed (a regular one has 0.118)."""
THIN_ANGLE = 10.0
"""A tet across the surface with a dihedral angle below this [degrees] is better left out."""
CRUMB = 0.01
"""A piece smaller than this fraction of the part it belongs to is a crumb."""
ATTEMPTS = 10


@dataclass(frozen=True)
class Solid:
    """Tets inside a surface, in normalised coordinates, every point used."""

    points: Points
    tets: Indices
    source: NDArray[np.int64]
    """Row of each point among those given, shape (n,); larger numbers are points added to break flat tets."""


def extract_solid(
    points: Points,
    surface_count: int,
    clean: CleanSurface,
    query: SurfaceQuery,
    rng: np.random.Generator,
    context: RunContext,
) -> Solid:
    """Tessellate points and return the part inside, manifold and without flat tets.

    Args:
        points: Surface points, then interior points, shape (n, 3).
        surface_count: Points on the surface.
        clean: The surface; `query` asks it.
        rng: Random generator.
        context: Counts what is repaired.

    Raises:
        StageError: Nothing is inside, or flat tets cannot be removed.
    """
    is_inside = make_occupancy(query, surface_count, bool(clean.is_closed.all()))
    given = len(points)
    for _ in range(ATTEMPTS):
        n = len(points)
        tets = tessellate(points, rng)
        real = np.asarray((tets < n).all(axis=1))
        volume = np.ones(len(tets))
        volume[real] = tet_volumes(points, tets[real])
        flat = np.zeros(len(tets), dtype=bool)
        flat[real] = is_flat(points, tets[real], clean)
        inside = np.zeros(len(tets), dtype=bool)
        inside[real] = is_inside(points, tets[real])
        if not inside.any():
            raise StageError(
                "tetrahedralize: no tetrahedron lies inside the surface: it encloses nothing, or is thinner "
                "than the edge length; close it, or raise tetrahedralize.target_tets"
            )
        inside &= ~flat
        neighbors = tet_neighbors(tets)
        trapped = _trapped(tets, neighbors, inside, flat, real)
        if not trapped.any():
            break
        points = _break_flat(points, tets[trapped], query, rng)
    else:
        raise StageError(
            f"tetrahedralize: {int(trapped.sum())} flat tetrahedra cannot be removed; "
            "change tetrahedralize.target_tets or the seed"
        )
    context.count("added_points", n - given, "points added beside flat tetrahedra within the solid")
    context.count("flat_tets", (flat & real).sum(), "flat tetrahedra across the surface left out")
    inside, peeled = _peel_thin(points, tets, neighbors, inside, surface_count)
    context.count("peeled_tets", peeled, "thin tetrahedra across the surface left out")
    inside = make_manifold(tets, inside, np.abs(volume), real & ~flat, context, neighbors)
    kept = tets[inside]
    kept = kept[~_crumbs(points, kept, clean, query, context)]
    if not len(kept):
        raise StageError("tetrahedralize: nothing is left of the solid; raise tetrahedralize.target_tets")
    if not boundary_is_manifold(kept):
        raise StageError(
            "tetrahedralize: the boundary cannot be made manifold at this edge length; "
            "raise tetrahedralize.target_tets"
        )
    source = np.unique(kept).astype(np.int64)
    index = np.zeros(n, dtype=np.int32)
    index[source] = np.arange(len(source))
    return Solid(points[source], index[kept], source)


def is_flat(points: Points, tets: Indices, clean: CleanSurface) -> Flags:
    """Tell tets without a positive volume worth the name, also once the coordinates become float32."""
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    longest = np.max(
        [np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (a, c), (a, d), (b, c), (b, d), (c, d))], axis=0
    )
    limit = FLAT * longest**3
    flat = tet_volumes(points, tets) <= limit
    single = clean.to_input(points).astype(np.float32).astype(np.float64)
    rounding = np.finfo(np.float32).eps * np.abs(single).max()
    if rounding < 1e-6 * clean.diagonal:
        flat |= tet_volumes(single, tets) <= limit * clean.diagonal**3
    return flat


def smallest_dihedral(points: Points, tets: Indices) -> Points:
    """Return the smallest dihedral angle of each tet [degrees], shape (t,)."""
    corner = points[tets]
    face = corner[:, TET_FACES]
    normal = np.cross(face[:, :, 1] - face[:, :, 0], face[:, :, 2] - face[:, :, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=2), 1e-300)[:, :, None]
    cosine = -np.einsum("tki,tli->tkl", normal, normal)
    first, second = np.triu_indices(4, 1)
    return np.degrees(np.arccos(np.clip(cosine[:, first, second].max(axis=1), -1.0, 1.0)))


def _trapped(tets: Indices, neighbors: Indices, inside: Flags, flat: Flags, real: Flags) -> Flags:
    """Return flat tets in a hollow without volume: no way leads from them to the outside or a cavity."""
    first = np.repeat(np.arange(len(tets)), 4)
    second = neighbors.ravel()
    use = (second > first) & ~inside[first]
    use[use] &= ~inside[second[use]]
    graph = coo_matrix((np.ones(use.sum(), bool), (first[use], second[use])), shape=(len(tets),) * 2)
    group = connected_components(graph, False)[1]
    has_room = np.bincount(group, ~inside & ~(flat & real)) > 0
    return flat & ~has_room[group]


def _break_flat(
    points: Points,
    tets: Indices,
    query: SurfaceQuery,
    rng: np.random.Generator,
) -> Points:
    """Add a point beside the middle of trapped flat tets: no empty sphere holds their corners then."""
    corner = points[tets]
    middle = corner.mean(axis=1)
    reach = np.linalg.norm(corner - middle[:, None], axis=2).mean(axis=1)
    # Beside, not in the plane: coplanar neighbours would make the next flat tet.
    middle += 0.3 * reach[:, None] * rng.uniform(-1.0, 1.0, middle.shape)
    middle = middle[thin_points(middle, reach, np.zeros(len(middle)))]
    return np.concatenate([points, middle[query.is_inside(middle)]])


def _peel_thin(
    points: Points, tets: Indices, neighbors: Indices, inside: Flags, surface_count: int
) -> tuple[Flags, int]:
    """Leave out thin tets of four surface points that show two or three faces; each round uncovers others."""
    inside = inside.copy()
    candidates = np.flatnonzero(inside & (tets < surface_count).all(axis=1))
    candidates = candidates[smallest_dihedral(points, tets[candidates]) < THIN_ANGLE]
    before = int(inside.sum())
    for _ in range(3):
        around = neighbors[candidates]
        shown = ((around < 0) | ~inside[around]).sum(axis=1)
        peel = inside[candidates] & (shown >= 2)
        if not peel.any():
            break
        inside[candidates[peel]] = False
    return inside, before - int(inside.sum())


def _crumbs(
    points: Points, tets: Indices, clean: CleanSurface, query: SurfaceQuery, context: RunContext
) -> Flags:
    """Tell tets in pieces that are small beside the part of the input they belong to, shape (t,)."""
    piece = components(tets, 3)
    pieces = int(piece.max()) + 1 if len(piece) else 0
    if pieces < 2:
        return np.zeros(len(tets), dtype=bool)
    volume = np.bincount(piece, tet_volumes(points, tets), pieces)
    faces, owner = boundary_faces(tets)
    part = clean.component[query.closest(points[faces].mean(axis=1)).face]
    parts = len(clean.volume)
    votes = coo_matrix((np.ones(len(part)), (piece[owner], part)), shape=(pieces, parts)).tocsr()
    main = np.asarray(votes.argmax(axis=1)).ravel()
    # A cavity has no solid of its own: a piece next to one is measured against the whole.
    whole = np.where(clean.volume > 0, clean.volume, volume.sum())
    np.maximum.at(whole, main, volume)
    small = volume < CRUMB * whole[main]
    dropped = small[piece]
    if small.any():
        share = 100.0 * volume[small].sum() / volume.sum()
        context.count("crumbs", small.sum(), f"loose crumbs dropped ({share:.2g} % of the volume)")
    return dropped
