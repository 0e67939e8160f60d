"""Judge a reconstructed surface by the one it was sampled from: distances, topology, creases, borders.

Everything is measured after moving both by the reference's transform: centre of its bounding box to the
origin, longest side to 1. Distances are exact, from samples of one shape to the triangles of the other, in
units of 1e-3 of the longest side.

acc, comp       mean distance of the surface to the reference, and of the reference to the surface
crease          mean distance of the reference's creases (turning by more than 40 degrees, and junctions)
border          mean distance of the reference's borders
area            area over the reference's
spurious        percent of the surface that is farther than 0.01 from the reference; missing: the converse
loops           connected sets of edges with one face
nme             edges with three and more faces
si              percent of faces that cross another
ar4             percent of faces with an aspect ratio above 4
junction, false_junction    percent of the junctions' length that is present, and that is wrong
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from junction_length import measure as measure_junctions
from numpy.typing import NDArray

from pipeline.metrics.surface import self_intersecting_faces, surface_summary
from pipeline.points.sampling import sample_surface
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import simplex_edges
from pipeline.types import Indices, Points, SurfaceMesh

CREASE_DEGREES = 40.0
FAR = 0.01
EDGE_SAMPLES = 20_000


@dataclass(frozen=True)
class Judgement:
    """See the module docstring; None where the reference has no such thing."""

    faces: int
    acc: float
    comp: float
    crease: float | None
    border: float | None
    area: float
    spurious: float
    missing: float
    loops: int
    nme: int
    si: float
    ar4: float
    watertight: bool
    oriented: bool
    junction: float | None
    false_junction: float | None


def normalized(mesh: SurfaceMesh) -> SurfaceMesh:
    """Move a mesh so that its bounding box is centred and its longest side is 1; equal points become one."""
    used = mesh.points[np.unique(mesh.faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    points, welded = np.unique(mesh.points, axis=0, return_inverse=True)
    faces = welded.ravel()[mesh.faces]
    proper = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    return SurfaceMesh((points - (low + high) / 2) / (high - low).max(), faces[proper])


def judge(surface: SurfaceMesh, reference: SurfaceMesh, samples: int = 100_000, seed: int = 0) -> Judgement:
    """Judge a surface in the frame of a reference that `normalized` has made."""
    own = sample_surface(surface, samples, seed=seed + 1).points
    true = sample_surface(reference, samples, seed=seed + 2).points
    to_reference = SurfaceQuery(reference.points, reference.faces).closest(own).distance
    to_surface = SurfaceQuery(surface.points, surface.faces)
    to_own = to_surface.closest(true).distance
    rng = np.random.default_rng(seed)
    creases, borders = (
        None
        if not len(edges)
        else float(to_surface.closest(_on_edges(reference.points, edges, rng)).distance.mean() * 1e3)
        for edges in _feature_edges(reference)
    )
    summary = surface_summary(surface)
    junctions = measure_junctions(surface.points, surface.faces, reference.points, reference.faces)
    return Judgement(
        faces=len(surface.faces),
        acc=float(to_reference.mean() * 1e3),
        comp=float(to_own.mean() * 1e3),
        crease=creases,
        border=borders,
        area=_area(surface) / _area(reference),
        spurious=float((to_reference > FAR).mean() * 100),
        missing=float((to_own > FAR).mean() * 100),
        loops=summary["boundary_loops"],
        nme=summary["nonmanifold_edges"],
        si=float(self_intersecting_faces(surface.points, surface.faces).mean() * 100),
        ar4=summary["aspect_ratio"]["above_4_percent"],
        watertight=summary["watertight"],
        oriented=summary["oriented"],
        junction=junctions["present_pct"],
        false_junction=junctions["false_pct"],
    )


def _feature_edges(mesh: SurfaceMesh) -> tuple[Indices, Indices]:
    """Return the creases with the junctions, and the borders, of a mesh whose faces may turn either way."""
    edges, of_face, uses = simplex_edges(mesh.faces)
    corners = mesh.points[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    order = np.argsort(of_face.ravel(), kind="stable")
    first = np.concatenate([[0], np.cumsum(uses)[:-1]])
    two = np.flatnonzero(uses == 2)
    a, b = order[first[two]], order[first[two] + 1]
    start = mesh.faces[:, [0, 2, 1]].ravel()  # of the half edges 01, 20, 12, in the order of `simplex_edges`
    flipped = start[a] == start[b]
    cosine = np.einsum("ij,ij->i", normal[a // 3], normal[b // 3]) * np.where(flipped, -1, 1)
    sharp = two[cosine < np.cos(np.radians(CREASE_DEGREES))]
    return edges[np.concatenate([sharp, np.flatnonzero(uses > 2)])], edges[uses == 1]


def _on_edges(points: Points, edges: Indices, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample edges uniformly by length."""
    a, b = points[edges[:, 0]], points[edges[:, 1]]
    length = np.linalg.norm(b - a, axis=1)
    chosen = rng.choice(len(edges), EDGE_SAMPLES, p=length / length.sum())
    return a[chosen] + rng.random((EDGE_SAMPLES, 1)) * (b - a)[chosen]


def _area(mesh: SurfaceMesh) -> float:
    corners = mesh.points[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(cross, axis=1).sum() / 2)
