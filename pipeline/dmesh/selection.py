"""Choose faces from scored candidates, best first and without overlap. Triangles in 3D, segments in 2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.topology import rows_by_label
from pipeline.types import Indices, Points
from warp_kernels.face_selection import CHOSEN, RankedFaces, SelectionRule, selection_round

_ROUNDS_PER_CHECK = 16


@dataclass
class SelectionConfig:
    """Which candidates may become faces."""

    neighbors: int = 14
    """Nearest vertices that a candidate may join to a vertex."""
    least_margin: float = -0.35
    """How far a point may reach into the minimum ball, as (distance - radius) / radius."""
    largest_radius: float = 2.0
    """Largest ball radius in units of the vertex spacing."""
    largest_offset: float = 0.12
    """Mean distance of a face from the planes of the samples, in units of its ball radius."""
    largest_gap: float = 2.6
    """Distance from any place of a face to a sample, in units of the sample spacing."""
    least_agreement: float = 0.7
    """Mean cosine between the normals of a face and of its samples."""
    offset_weight: float = 3.0
    """Weight of the offset in the score."""
    gap_weight: float = 0.1
    """Weight of the gap in the score."""
    agreement_weight: float = 1.5
    """Weight of the missing agreement in the score."""
    fold_angle: float = 40.0
    """Least angle between two faces across their common edge [deg]."""
    coplanar_angle: float = 50.0
    """Faces whose normals differ by less must not overlap at a common vertex [deg]."""

    def __post_init__(self) -> None:
        if not 4 <= self.neighbors <= 32:
            raise ValueError(f"neighbors: expected 4 to 32, got {self.neighbors}")
        if not -1 < self.least_margin <= 1:
            raise ValueError(f"least_margin: expected more than -1 and at most 1, got {self.least_margin}")
        for name in ("largest_radius", "largest_offset", "largest_gap"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("fold_angle", "coplanar_angle"):
            if not 0 < getattr(self, name) < 90:
                raise ValueError(f"{name}: expected between 0 and 90 degrees, got {getattr(self, name)}")


def select_faces(
    points: Points,
    candidates: Indices,
    score: NDArray[np.float64],
    config: SelectionConfig,
    *,
    chosen: Indices | None = None,
    least_open: int = 0,
    links: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> NDArray[np.bool_]:
    """Decide candidates in order of score (ties: row order).

    Args:
        points: Vertices, shape (n, d).
        candidates: Vertex indices, shape (f, d).
        score: Higher is better, shape (f,).
        chosen: Faces that are there already and stay, shape (c, d).
        links: Edges on junction lines, which may have more than two faces, shape (m, 2).
        least_open: How many edges with exactly one face a new triangle needs.

    Returns:
        Mask of accepted candidates, shape (f,).
    """
    n, d = points.shape
    if not len(candidates):
        return np.zeros(0, dtype=bool)
    old = np.zeros((0, d), dtype=np.int32) if chosen is None else np.asarray(chosen, dtype=np.int32)
    order = np.argsort(-score, kind="stable")
    faces = np.ascontiguousarray(np.concatenate([old, candidates[order]]), dtype=np.int32)
    corner = faces.ravel()
    by_vertex, start = rows_by_label(corner, n)
    head = start[:-1] + np.bincount(old.ravel(), minlength=n).astype(np.int32)

    ranked = RankedFaces()
    ranked.start = wp.array(start, dtype=wp.int32, device=device)
    ranked.face = wp.array(by_vertex // d, dtype=wp.int32, device=device)
    ranked.head = wp.array(head, dtype=wp.int32, device=device)
    both = np.zeros((0, 2), np.int64) if links is None else np.concatenate([links, links[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    ranked.link_start = wp.array(
        np.searchsorted(both[:, 0], np.arange(n + 1)).astype(np.int32), dtype=wp.int32, device=device
    )
    ranked.link_vertex = wp.array(both[:, 1].astype(np.int32), dtype=wp.int32, device=device)
    rule = SelectionRule()
    rule.cos_fold = np.cos(np.radians(config.fold_angle))
    rule.cos_coplanar = np.cos(np.radians(config.coplanar_angle))
    rule.least_open = wp.int32(least_open)
    state_host = np.zeros(len(faces), dtype=np.int32)
    state_host[: len(old)] = CHOSEN
    state: wp.array = wp.array(state_host, dtype=wp.int32, device=device)
    x: wp.array = wp.array(points, dtype=wp.vec3d if d == 3 else wp.vec2d, device=device)
    table: wp.array = wp.array(faces, dtype=wp.int32, device=device)
    ready = wp.empty(n, dtype=wp.int32, device=device)
    while True:
        # Most vertices are done after a few rounds; long chains of candidates go on among few.
        undecided = np.flatnonzero(ranked.head.numpy() < start[1:]).astype(np.int32)
        if not len(undecided):
            break
        active: wp.array = wp.array(undecided, dtype=wp.int32, device=device)
        for _ in range(_ROUNDS_PER_CHECK):
            selection_round(active, x, table, ranked, rule, state, ready)
    accepted = np.zeros(len(candidates), dtype=bool)
    accepted[order] = state.numpy()[len(old) :] == CHOSEN
    return accepted
