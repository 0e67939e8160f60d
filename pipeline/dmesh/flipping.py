"""Edge flips that bring a closed or open triangle mesh nearer to its samples."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.dmesh.polygons import EdgeKeys
from pipeline.dmesh.refinement import Closest, closest_on_faces
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.topology import simplex_edges
from pipeline.types import Indices, Points
from warp_kernels.edge_flip import FlipRule, flip_gains

LARGEST_TURN = 60.0
"""Angle by which a new face may turn from the nearer of the two old ones [deg]."""
LARGEST_ASPECT = 3.5
"""Aspect ratio of new faces; a worse one may not be worse than the old ones."""


def flip_edges(
    points: Points,
    faces: Indices,
    samples: Points,
    rounds: int = 3,
    device: str = "cpu",
    closest: Closest | None = None,
) -> tuple[Indices, int]:
    """Flip edges as long as the sum of squared distances of the samples falls.

    A round flips edges whose gain is the largest on both of their faces, none that would make an edge twice
    or an intersection.

    Args:
        faces: Oriented triangles, shape (f, 3).
        closest: Closest points of the samples where they are known.

    Returns:
        Faces, and how many edges were flipped.
    """
    rule = FlipRule()
    rule.cos_turn = np.cos(np.radians(LARGEST_TURN))
    rule.largest_aspect = wp.float64(LARGEST_ASPECT)
    faces = faces.copy()
    # Faces that intersect before do not stop a flip.
    tainted = self_intersecting_faces(points, faces, device=device)
    flipped = 0
    for _ in range(rounds):
        if closest is None:
            closest = closest_on_faces(points, faces, samples, device)
        order = np.argsort(closest.face, kind="stable")
        start = np.zeros(len(faces) + 1, dtype=np.int32)
        np.cumsum(np.bincount(closest.face, minlength=len(faces)), out=start[1:])
        quads, quad_faces, known = _quads(faces, len(points))
        gain = flip_gains(
            wp.array(points, dtype=wp.vec3d, device=device),
            wp.array(quads, dtype=wp.int32, device=device),
            wp.array(quad_faces, dtype=wp.int32, device=device),
            wp.array(samples[order], dtype=wp.vec3d, device=device),
            wp.array(start, dtype=wp.int32, device=device),
            rule,
        ).numpy()
        chosen = _choose(quads, quad_faces, gain, known, len(faces), len(points))
        done = _flip(points, faces, quads[chosen], quad_faces[chosen], tainted, device)
        flipped += done
        closest = None
        if done == 0:
            break
    return faces, flipped


def _quads(faces: Indices, count: int) -> tuple[Indices, Indices, NDArray[np.int64]]:
    """Return a, b, p, q and the two faces of every edge of two faces, and the keys of all edges."""
    edges, face_edges, uses = simplex_edges(faces)
    order = np.argsort(face_edges.ravel(), kind="stable")
    start = np.concatenate([[0], np.cumsum(uses)])[:-1]
    two = np.flatnonzero(uses == 2)
    first, second = order[start[two]], order[start[two] + 1]
    # simplex_edges lists corner pairs 01, 02, 12: corner 2, 1, 0 is opposite; 02 runs against the face.
    corner = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    a, b, p = faces[(first // 3)[:, None], corner[first % 3]].T
    q = faces[second // 3, np.array([2, 1, 0])[second % 3]]
    quads = np.stack([a, b, p, q], axis=1).astype(np.int32)
    return quads, np.stack([first // 3, second // 3], axis=1).astype(np.int32), EdgeKeys(count).of(edges)


def _choose(
    quads: Indices,
    quad_faces: Indices,
    gain: NDArray[np.float64],
    known: NDArray[np.int64],
    face_count: int,
    count: int,
) -> NDArray[np.int64]:
    """Return rows with the largest gain on both faces whose new edge is new and made only once."""
    new = EdgeKeys(count).of(quads[:, 2:])
    rows = np.flatnonzero((gain > 1e-3 * gain.max(initial=0)) & (gain > 0) & ~np.isin(new, known))
    rows = rows[np.argsort(-gain[rows], kind="stable")]
    best = np.full(face_count, len(gain), dtype=np.int64)
    np.minimum.at(best, quad_faces[rows].ravel(), np.repeat(np.arange(len(rows)), 2))
    rows = rows[(best[quad_faces[rows]] == np.arange(len(rows))[:, None]).all(axis=1)]
    _, first = np.unique(new[rows], return_index=True)
    return rows[np.sort(first)]


def _flip(
    points: Points,
    faces: Indices,
    quads: Indices,
    quad_faces: Indices,
    tainted: NDArray[np.bool_],
    device: str,
) -> int:
    """Flip in place, but none that intersects; return how many were flipped."""
    keep = np.ones(len(quads), dtype=bool)
    while keep.any():
        trial = faces.copy()
        a, b, p, q = quads[keep].T
        f, g = quad_faces[keep].T
        trial[f] = np.stack([p, q, b], axis=1)
        trial[g] = np.stack([q, p, a], axis=1)
        owner = np.full(len(faces), -1, dtype=np.int64)
        owner[f] = owner[g] = np.flatnonzero(keep)
        hit = self_intersecting_faces(points, trial, queries=np.concatenate([f, g]), device=device) & ~tainted
        guilty = np.unique(owner[hit])
        guilty = guilty[guilty >= 0]
        if not len(guilty):
            faces[:] = trial
            return int(keep.sum())
        keep[guilty] = False
    return 0
