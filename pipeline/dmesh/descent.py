"""Move the vertices of decided faces down the expected Chamfer loss, both ways. 3D and 2D.

Every face exists, so the loss is the mean distance of the samples from the surface plus that of the surface
from the planes of the samples. Where least squares weighs a sample by its squared distance, a sample counts
here by its distance, and the surface is asked as well. Steps are those of `optimization`; what folds a face
or makes two faces intersect is undone in the end.
"""

from __future__ import annotations

import numpy as np
import warp as wp

from pipeline.context import RunContext
from pipeline.dmesh.losses import ExpectedChamfer
from pipeline.dmesh.point_features import PointFeatures
from pipeline.dmesh.refinement import safe_move
from pipeline.points.neighbors import PointCells
from pipeline.topology import simplex_edges
from pipeline.types import Indices, Points
from warp_kernels import adam

SOFTNESS = 0.25
"""Scale of a vertex, in units of the shortest edge at it."""
STEP_BOUND = 1.0 / 16.0
"""Longest step of a vertex at the start, in units of its scale."""
LAST_BOUND = 0.1
"""That length at the end, in units of the one at the start; between them it falls geometrically."""
REFRESH = 10
"""Steps for which the lists of the loss, and the draw of samples, are kept."""
BATCH = 30_000
"""Samples that count at a time."""


class DecidedFaces:
    """Faces that exist, as the loss looks at them."""

    def __init__(self, features: PointFeatures, faces: Indices) -> None:
        kind = wp.vec2i if faces.shape[1] == 2 else wp.vec3i
        self.faces: wp.array = wp.array(faces, dtype=kind, device=features.device)
        self.cells = PointCells(features.points)


def descend(
    points: Points,
    faces: Indices,
    targets: Points,
    normals: Points,
    iterations: int,
    context: RunContext,
) -> Points:
    """Take steps of the expected Chamfer loss on decided faces.

    Args:
        points: Vertices, shape (n, d).
        faces: Vertex indices, shape (f, d).
        targets: Samples, shape (m, d).
        normals: Their unit normals, shape (m, d).
    """
    edges = simplex_edges(faces)[0]
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    shortest = np.full(len(points), length.max(initial=0.0))
    np.minimum.at(shortest, edges.ravel(), np.repeat(length, 2))
    device = context.device
    features = PointFeatures(points, None, SOFTNESS * shortest, device)
    decided = DecidedFaces(features, faces)
    loss = ExpectedChamfer(targets, normals, 2.0 * float(length.mean()), device=device)
    certain = wp.ones(len(faces), dtype=wp.float64, device=device)
    unused = wp.zeros(len(faces), dtype=wp.float64, device=device)
    first = wp.zeros_like(features.points)
    second = wp.zeros(len(points), dtype=wp.float64, device=device)
    rng = context.rng()
    for i in range(iterations):
        if i % REFRESH == 0:
            decided.cells.update(features.points)
            drawn = rng.choice(len(targets), BATCH, replace=False) if len(targets) > BATCH else None
            loss.refresh(features, decided, certain, drawn)
        features.zero_gradient()
        loss.evaluate(features, decided, certain, unused)
        bound = STEP_BOUND * LAST_BOUND ** (i / max(iterations, 1))
        if i % REFRESH == 0:
            there, back = loss.value()
            context.record(i, total=iterations, phase="fit", targets_to_faces=there, faces_to_targets=back)
        step = adam.adam_step(i + 1, bound, bound, 1e-6 / len(points))
        adam.move_points(step, features.scale, features.points_gradient, first, second, features.points)
    return safe_move(points, features.points.numpy() - points, faces, device)
