"""Coarsening by edge collapse with quadrics from the samples, in rounds of independent edges.

The quadric of a vertex holds the planes of the samples of its cell, so that a collapse is paid for by the
distance to the data, not to the mesh before; a share of the planes of its own faces leaves no vertex free,
planes through open edges keep borders, and planes across sharp folds keep the fold lines of thin parts.

A round collapses edges that are the cheapest of all edges at their ends and at the neighbours of their ends:
their fans are disjoint, so all of them are valid together. Faces made by a round are tested for intersection,
and the collapses behind a hit are undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.dmesh.extraction import face_normals
from pipeline.dmesh.placement import Quadrics
from pipeline.dmesh.polygons import EdgeKeys
from pipeline.dmesh.refinement import border_conormals
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.topology import boundary_edges, compact, rows_by_label, simplex_edges
from pipeline.types import Indices, Points
from warp_kernels.edge_collapse import CollapseRule, collapse_costs, collapse_valid

_REFUSED = 1e299
_MOST_ROUNDS = 400


@dataclass
class CoarseningConfig:
    """What an edge collapse may do."""

    shape_weight: float = 3e-5
    """Weight of the squared edge length against the squared distance to the samples."""
    largest_turn: float = 73.0
    """Angle by which a collapse may turn a face [deg]."""
    largest_aspect: float = 3.5
    """Aspect ratio of new faces (1 is equilateral); a worse face may only get better."""
    face_weight: float = 0.15
    """Weight of the planes of the mesh's own faces against those of the samples."""
    border_weight: float = 2.0
    """Weight of the planes through open edges, in units of the samples of a cell."""
    fold_angle: float = 50.0
    """Edges that turn by more also hold the planes across them [deg]."""
    fold_weight: float = 0.5
    """Weight of the planes across folds, in units of the samples of a cell."""
    share: float = 0.15
    """Share of the cheapest edges that a round chooses from: smaller follows the order of costs better."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected more than 0 and at most 1, got {self.share}")
        if not 0 < self.largest_turn < 90:
            raise ValueError(f"largest_turn: expected between 0 and 90 degrees, got {self.largest_turn}")
        if not self.largest_aspect > 1:
            raise ValueError(f"largest_aspect: expected more than 1, got {self.largest_aspect}")


def sample_quadrics(
    points: Points,
    faces: Indices,
    samples: Points,
    planes: SamplePlanes,
    config: CoarseningConfig,
    device: str = "cpu",
) -> tuple[Quadrics, NDArray[np.float64]]:
    """Return the quadric of every vertex, and its weight: the samples of its cell and the face share."""
    n = len(points)
    cell = nearest_neighbors(points, 1, queries=samples, device=device)[0][:, 0]
    total = Quadrics.of_planes(planes.normals, samples).sum_over(cell, n)
    weight = np.bincount(cell, minlength=n).astype(np.float64)
    typical = max(float(np.median(weight)), 1.0)
    normals, _ = face_normals(points, faces)
    own = Quadrics.of_planes(normals, points[faces[:, 0]], config.face_weight * typical / 6)
    half = boundary_edges(faces)
    border = Quadrics.of_planes(
        border_conormals(points, faces), points[half[:, 0]], config.border_weight * typical
    )
    along, across = _folds(points, faces, config.fold_angle)
    fold = Quadrics.of_planes(across, points[along[:, 0]], config.fold_weight * typical)
    for k in range(3):
        total += own.sum_over(faces[:, k], n)
    for k in range(2):
        total += border.sum_over(half[:, k], n)
        total += fold.sum_over(along[:, k], n)
    return total, weight + config.face_weight * typical


def _folds(points: Points, faces: Indices, angle: float) -> tuple[Indices, Points]:
    """Return the edges that turn by more than `angle` [deg], twice, and the two directions across them."""
    edges, face_edges, uses = simplex_edges(faces)
    order = np.argsort(face_edges.ravel(), kind="stable")
    start = np.concatenate([[0], np.cumsum(uses)])[:-1]
    two = np.flatnonzero(uses == 2)
    a, b = points[edges[two, 0]], points[edges[two, 1]]
    along = (b - a) / np.maximum(np.linalg.norm(b - a, axis=1), 1e-300)[:, None]
    across = []
    for k in range(2):
        face = order[start[two] + k] // 3
        apex = faces[face].sum(axis=1) - edges[two].sum(axis=1)
        out = points[apex] - a
        out -= np.einsum("ij,ij->i", out, along)[:, None] * along
        across.append(out / np.maximum(np.linalg.norm(out, axis=1), 1e-300)[:, None])
    sharp = np.einsum("ij,ij->i", *across) > -np.cos(np.radians(angle))
    return np.concatenate([edges[two][sharp]] * 2), np.concatenate([c[sharp] for c in across])


class CollapsingMesh:
    """A triangle mesh whose edges are collapsed in rounds.

    Args:
        points: Vertices, shape (n, 3); copied.
        faces: Triangles, shape (f, 3); copied.
        quadrics: One per vertex.
        weight: Samples behind each quadric, shape (n,).
        device: Warp device of the costs and intersection tests.
    """

    def __init__(
        self,
        points: Points,
        faces: Indices,
        quadrics: Quadrics,
        weight: NDArray[np.float64],
        device: str = "cpu",
    ) -> None:
        self.points, self.faces = points.copy(), faces.copy()
        self.weight, self.device = weight.copy(), device
        self.matrix, self.vector = quadrics.matrix.copy(), quadrics.vector.copy()
        self.constant = quadrics.constant.copy()
        self.key = EdgeKeys(len(points))
        self.blocked = np.zeros(0, dtype=np.int64)
        # Vertices of intersections that are there already: their faces do not stop a collapse.
        self.tainted = np.zeros(len(points), dtype=bool)
        self.tainted[np.unique(faces[self_intersecting_faces(points, faces, device=device)])] = True

    def collapse(
        self,
        target: int,
        config: CoarseningConfig,
        *,
        largest_error: float = 1e100,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Collapse edges until at most `target` triangles are left or nothing more is allowed.

        Args:
            largest_error: Root mean square distance to the samples that no collapse exceeds.
            progress: Called with the faces left and the target after every round.
        """
        rule = CollapseRule()
        rule.shape_weight = wp.float64(config.shape_weight)
        rule.cos_turn = np.cos(np.radians(config.largest_turn))
        rule.largest_aspect = wp.float64(config.largest_aspect)
        rule.largest_error = wp.float64(largest_error)
        for _ in range(_MOST_ROUNDS):
            if len(self.faces) <= target:
                break
            done = self._round(rule, config.share, target)
            if progress is not None:
                progress(len(self.faces), target)
            if not done:
                break

    def compact(self) -> tuple[Points, Indices]:
        """Return the used vertices and the renumbered faces."""
        return compact(self.points, self.faces)[:2]

    def _round(self, rule: CollapseRule, share: float, target: int) -> bool:
        """Collapse one set of independent edges; False when there is none."""
        edges, edge_faces = self._edges()
        x: wp.array = wp.array(self.points, dtype=wp.vec3d, device=self.device)
        pairs: wp.array = wp.array(edges, dtype=wp.int32, device=self.device)
        cost, position = self._costs(x, pairs, rule)
        candidates = np.flatnonzero((cost < _REFUSED) & ~np.isin(self.key.of(edges), self.blocked))
        rows = np.zeros(0, dtype=np.int64)
        # Judge the cheapest share of the edges, and more where none of them may be collapsed.
        while not len(rows) and len(candidates):
            count = min(int(np.ceil(share * len(edges))), len(candidates))
            split = np.argpartition(cost[candidates], count - 1)
            cheap, candidates = np.sort(candidates[split[:count]]), candidates[split[count:]]
            rows = cheap[self._allowed(x, pairs, edges, edge_faces, position, rule, cheap)]
        if not len(rows):
            return False
        chosen = self._independent(edges, cost, rows)
        # Not more than needed, cheapest first; a collapse removes the faces of its edge.
        chosen = chosen[np.argsort(cost[chosen], kind="stable")]
        before = np.cumsum(edge_faces[chosen]) - edge_faces[chosen]
        chosen = chosen[before < len(self.faces) - target]
        return self._apply(edges[chosen], position.numpy()[chosen])

    def _edges(self) -> tuple[Indices, NDArray[np.int32]]:
        f = self.faces
        half = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
        key, count = np.unique(self.key.of(half), return_counts=True)
        edges = np.stack([key // self.key.count, key % self.key.count], axis=1).astype(np.int32)
        return edges, count.astype(np.int32)

    def _costs(
        self, points: wp.array, edges: wp.array, rule: CollapseRule
    ) -> tuple[NDArray[np.float64], wp.array]:
        quadrics: tuple[wp.array, wp.array, wp.array, wp.array] = (
            wp.array(self.matrix, dtype=wp.mat33d, device=self.device),
            wp.array(self.vector, dtype=wp.vec3d, device=self.device),
            wp.array(self.constant, dtype=wp.float64, device=self.device),
            wp.array(self.weight, dtype=wp.float64, device=self.device),
        )
        cost, position = collapse_costs(points, edges, quadrics, rule)
        return cost.numpy(), position

    def _allowed(
        self,
        points: wp.array,
        pairs: wp.array,
        edges: Indices,
        edge_faces: NDArray[np.int32],
        position: wp.array,
        rule: CollapseRule,
        rows: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Mark the collapses of edges `rows` that the rule allows."""
        n, d = len(self.points), self.device
        corner, start = rows_by_label(self.faces.ravel(), n)
        border = np.zeros(n, dtype=np.int32)
        border[edges[edge_faces != 2].ravel()] = 1
        valid = collapse_valid(
            points,
            wp.array(np.ascontiguousarray(self.faces), dtype=wp.int32, device=d),
            pairs,
            wp.array(edge_faces, dtype=wp.int32, device=d),
            wp.array(start, dtype=wp.int32, device=d),
            wp.array(corner // 3, dtype=wp.int32, device=d),
            wp.array(border, dtype=wp.int32, device=d),
            position,
            rule,
            wp.array(rows.astype(np.int32), dtype=wp.int32, device=d),
        )
        return np.asarray(valid.numpy() > 0)

    def _independent(
        self, edges: Indices, cost: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the rows that are the cheapest within the neighbourhood of both ends (ties: lower row)."""
        n = len(self.points)
        order = rows[np.argsort(cost[rows], kind="stable")]
        rank = np.full(len(edges), len(edges), dtype=np.int64)
        rank[order] = np.arange(len(order))
        near = np.full(n, len(edges), dtype=np.int64)
        np.minimum.at(near, edges[rows].ravel(), np.repeat(rank[rows], 2))
        wide = near.copy()
        np.minimum.at(wide, edges[:, 0], near[edges[:, 1]])
        np.minimum.at(wide, edges[:, 1], near[edges[:, 0]])
        a, b = edges[rows].T
        return rows[(wide[a] == rank[rows]) & (wide[b] == rank[rows])]

    def _apply(self, edges: Indices, position: Points) -> bool:
        """Collapse the edges that cause no intersection; forbid the others."""
        keep = np.ones(len(edges), dtype=bool)
        while keep.any():
            a, b = edges[keep].T
            merged = np.arange(len(self.points), dtype=np.int32)
            merged[b] = a
            faces = merged[self.faces]
            faces = faces[
                (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
            ]
            points = self.points.copy()
            points[a] = position[keep]
            collapse = np.full(len(points), -1, dtype=np.int64)
            collapse[a] = np.flatnonzero(keep)
            changed = np.flatnonzero((collapse[faces] >= 0).any(axis=1))
            hit = self_intersecting_faces(points, faces, queries=changed, device=self.device)
            hit &= ~self.tainted[faces].any(axis=1)
            guilty = np.unique(collapse[faces[hit]])
            guilty = guilty[guilty >= 0]
            if not len(guilty):
                break
            keep[guilty] = False
        self.blocked = np.union1d(self.blocked, self.key.of(edges[~keep]))
        if not keep.any():
            return len(edges) > 0
        self.points, self.faces = points, faces
        self.matrix[a] += self.matrix[b]
        self.vector[a] += self.vector[b]
        self.constant[a] += self.constant[b]
        self.weight[a] += self.weight[b]
        self.tainted[a] |= self.tainted[b]
        return True
