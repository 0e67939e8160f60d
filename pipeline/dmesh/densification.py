"""A finer mesh on decided faces: edges split, and samples added where the smooth surface behind them runs.

A vertex needs four to five samples, or thin parts are taken for one sheet. Once the faces are decided, that
does not bind any more. Splitting alone gains nothing, as the samples do not tell more than before; quadratic
fits to them do (`points/jets.py`), and enter every later step as samples between the samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.dmesh.extraction import face_normals
from pipeline.points.jets import SmoothSurface
from pipeline.points.sample_planes import SamplePlanes
from pipeline.topology import orient_faces, simplex_edges
from pipeline.types import Indices, Points

_PLACES = np.array([[2, 2, 2], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / 6
"""Barycentric coordinates of the samples that are added on a face: the centres of four equal parts."""
_SHARE = 0.5
"""Share of the longest edges that are split at once, at most, so that the length decides."""


def split_edges(points: Points, faces: Indices, vertices: int) -> tuple[Points, Indices]:
    """Split edges at their middle, long ones first, until there are so many vertices.

    Only an edge that is the longest of all its faces is split (Rivara 1984), which keeps the shapes of faces
    bounded and the mesh valid; there is always one.

    Args:
        points: Vertices, shape (n, 3).
        faces: Triangles, shape (f, 3); their orientation is kept.
        vertices: Number of vertices wanted.
    """
    while len(points) < vertices:
        edges, face_edges, uses = simplex_edges(faces)
        length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
        # A rank decides between edges of one length in the same way on all their faces.
        order = np.argsort(-length, kind="stable")
        rank = np.empty(len(edges), dtype=np.int64)
        rank[order] = np.arange(len(edges))
        longest = face_edges[np.arange(len(faces)), rank[face_edges].argmin(axis=1)]
        free = order[(np.bincount(longest, minlength=len(edges)) == uses)[order]]
        chosen = free[: min(int(np.ceil(_SHARE * len(free))), vertices - len(points))]
        middle = np.full(len(edges), -1, dtype=np.int32)
        middle[chosen] = len(points) + np.arange(len(chosen))
        split = middle[longest] >= 0
        old, new = faces[split], middle[longest[split]][:, None]
        ends = edges[longest[split]]
        halves = [np.where(old == ends[:, [k]], new, old) for k in range(2)]
        points = np.concatenate([points, points[edges[chosen]].mean(axis=1)])
        faces = np.concatenate([faces[~split], *halves]).astype(np.int32)
    return points, faces


def add_samples(points: Points, faces: Indices, smooth: SmoothSurface) -> tuple[Points, SamplePlanes]:
    """Return the samples with four more per face on the smooth surface, where it is known, and their planes.

    Args:
        points: Vertices, shape (n, 3).
        faces: Triangles, shape (f, 3).
        smooth: The surface behind the samples.
    """
    faces, _ = orient_faces(faces)
    places = np.einsum("wk,fkx->fwx", _PLACES, points[faces]).reshape(-1, 3)
    directions = np.repeat(face_normals(points, faces)[0], len(_PLACES), axis=0)
    blend = smooth.nearest_to(places, directions)
    added, near = blend.is_known, blend.nearest[blend.is_known]
    planes = smooth.planes
    return np.concatenate([smooth.samples, blend.points[added]]), replace(
        planes,
        normals=np.concatenate([smooth.normals, blend.normals[added]]),
        residuals=np.concatenate([planes.residuals, planes.residuals[near]]),
        spacing=np.concatenate([planes.spacing, planes.spacing[near]]),
        neighbors=np.concatenate([planes.neighbors, planes.neighbors[near]]),
    )
