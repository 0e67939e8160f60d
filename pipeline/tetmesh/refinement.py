"""Surface points added where the boundary of a tessellation is far from the surface: webs, cut tips, chords.

A web is a tet that bridges a narrow gap or a concave crease: its centroid is inside, its faces are far from
the surface. A point inserted there on the surface breaks it, as in restricted Delaunay refinement. Both
directions are measured: from places on boundary faces to the surface, and from samples of the surface to the
boundary, which alone sees a tip that was cut off.

Source: Boissonnat & Oudot 2005, Provably good sampling and meshing of surfaces (insertion at far facets).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.surface_query import SurfaceQuery
from pipeline.tetmesh.deviation import QUADRATURE
from pipeline.tetmesh.sampling import thin_points
from pipeline.tetmesh.sizing import SizeField
from pipeline.topology import boundary_edges, boundary_faces

Points = NDArray[np.float64]
Indices = NDArray[np.int32]
Flags = NDArray[np.bool_]

FAR_FACTOR = 4.0
"""A place is far when its deviation is above this many mean deviations, within the band below."""
NEAREST_LIMIT, FARTHEST_LIMIT = 0.05, 0.2
"""Band of the distance from which a place is far, in local edge lengths."""
HOLE_DISTANCE = 1.0
"""Faces farther than this many edge lengths close a hole: nothing is there to come near to."""
SEPARATION = 0.4
"""Added points keep this many edge lengths from the points of the surface and from each other."""
SNAP = 0.3
"""A point nearer than this many edge lengths to a crease is added on the crease."""
SIDE_STEP = 0.02
"""Step to both sides of the surface that tells whether it bounds the solid there, in edge lengths."""
SHARE = 0.04
"""Most points added at a time, as a share of the surface points."""


def far_places(
    points: Points, tets: Indices, surface: SurfaceQuery, samples: Points, size: SizeField, device: str
) -> tuple[Points, Points]:
    """Find where boundary and surface are far apart; return points of the surface (m, 3), excess (m,).

    Args:
        points: Vertices of the tet mesh, shape (n, 3).
        tets: Shape (t, 4).
        surface: The surface, in the same coordinates.
        samples: Samples of the surface, shape (s, 3).
        size: Local edge length.
        device: Warp device.

    Returns:
        Places on the surface, where it bounds the solid, and their distance over the limit, above 1.
    """
    faces, _ = boundary_faces(tets)
    to_mesh = SurfaceQuery(points, faces, device).closest(samples).distance
    places = np.einsum("qk,fki->fqi", QUADRATURE, points[faces]).reshape(-1, 3)
    hit = surface.closest(places)
    # Caps of holes are far from the surface by their nature: their nearest point lies on its rim.
    cap = (hit.distance > HOLE_DISTANCE * size(places)) | _on_rim(surface, hit.face, hit.barycentric)
    fits = to_mesh < HOLE_DISTANCE * size(samples)
    mean = max(float(d.mean()) for d in (to_mesh[fits], hit.distance[~cap], np.zeros(1)) if len(d))
    candidates = np.concatenate([samples, hit.point[~cap]])
    distance = np.concatenate([to_mesh, hit.distance[~cap]])
    h = size(candidates)
    excess = distance / np.clip(FAR_FACTOR * mean, NEAREST_LIMIT * h, FARTHEST_LIMIT * h)
    far = np.flatnonzero(excess > 1.0)
    behind, before = sides_of(surface, candidates[far], SIDE_STEP * h[far])
    far = far[behind & ~before]
    return candidates[far], excess[far]


def choose_new(
    places: Points, excess: Points, existing: Points, curve: Points, size: SizeField
) -> tuple[Points, Points]:
    """Choose well separated places, the farthest first; return those on creases, and the others.

    Args:
        places: Places on the surface, shape (m, 3).
        excess: Their priority, shape (m,).
        existing: Points that the surface has already, shape (s, 3).
        curve: Points close together along the creases, shape (c, 3).
        size: Local edge length.
    """
    if not len(places):
        return places, places
    order = np.argsort(-excess, kind="stable")[: 20 * len(existing)]
    places, excess = places[order].copy(), excess[order]
    h = size(places)
    on_crease = np.zeros(len(places), dtype=bool)
    if len(curve):
        distance, nearest = cKDTree(curve).query(places)
        on_crease = distance < SNAP * h
        places[on_crease] = curve[np.asarray(nearest)[on_crease]]
    distance, _ = cKDTree(existing).query(places)
    clear = np.flatnonzero(distance > SEPARATION * h)
    clear = clear[thin_points(places[clear], SEPARATION * h[clear], excess[clear])]
    clear = clear[: max(1, int(SHARE * len(existing)))]
    return places[clear[on_crease[clear]]], places[clear[~on_crease[clear]]]


def _on_rim(surface: SurfaceQuery, face: Indices, barycentric: Points) -> Flags:
    """Tell nearest points on the open boundary of the surface, shape (m,)."""
    rim: Flags = np.zeros(len(surface.points), dtype=bool)
    rim[boundary_edges(surface.faces)] = True
    return np.all(rim[surface.faces[face]] | (barycentric < 1e-6), axis=1)


def sides_of(surface: SurfaceQuery, places: Points, step: Points, level: float = 0.5) -> tuple[Flags, Flags]:
    """Tell whether it is inside behind and before places on the surface, a step along the normal, (m,)."""
    if not len(places):
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
    a, b, c = (surface.points[surface.faces[surface.closest(places).face, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-300)[:, None]
    offset = step[:, None] * normal
    return surface.is_inside(places - offset, level), surface.is_inside(places + offset, level)
