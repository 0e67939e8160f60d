"""Smoothing: all vertices take a share of their own Newton step at once.

Moves that make a tet unacceptable shrink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.quality.mesh_state import CURVE, INTERIOR, SURFACE, MeshState
from pipeline.quality.reach import Reach
from warp_kernels.tet_smoothing import ACROSS, ALONG, FIXED, FREE, check_moves, star_worst, vertex_steps

Points = NDArray[np.float64]

STEP = 0.65
"""Share of its own step that a vertex takes while its neighbours move too."""
_HALVINGS = 4


@dataclass(frozen=True)
class Pull:
    """Quadratic pull of vertices to the surface: 2 slope . d + d^T matrix d for a displacement d."""

    matrix: Points
    """Shape (n, 3, 3)."""
    slope: Points
    """Shape (n, 3)."""
    free: NDArray[np.bool_]
    """Surface vertices that may leave the reference, shape (n,); the others slide at their offset."""


def smooth(
    state: MeshState,
    threshold: float = 0.0,
    pull: Pull | None = None,
    floor: float = 1e300,
    active: NDArray[np.bool_] | None = None,
    move_surface: bool = True,
    reach: Reach | None = None,
) -> int:
    """Move every vertex once towards less energy; return how many moved.

    Surface vertices slide on the reference at their offset, or are free under a pull; crease vertices slide
    on their curve.

    Args:
        threshold: Vertices whose tets all have less energy stay (unless they are pulled).
        pull: Pull of surface vertices; with it they leave the reference as the pull wants.
        floor: Energy of a star up to which a pull may raise it.
        active: Vertices that may move, shape (n,).
        move_surface: Whether surface and crease vertices move at all.
        reach: How far boundary faces may get from the reference.
    """
    points, kind = state.points, state.kind
    n = len(points)
    freedom = np.full(n, FIXED, dtype=np.int32)
    freedom[kind == INTERIOR] = FREE
    axis = np.zeros((n, 3))
    if move_surface:
        freedom[kind == SURFACE] = ACROSS
        if pull is not None:
            freedom[(kind == SURFACE) & pull.free] = FREE
        freedom[kind == CURVE] = ALONG
    if active is not None:
        freedom[~active] = FIXED
    mesh = state.device_mesh()
    worst = star_worst(*mesh[2:])
    matrix = np.zeros((n, 3, 3)) if pull is None else pull.matrix
    slope = np.zeros((n, 3)) if pull is None else pull.slope
    pulled = np.trace(matrix, axis1=1, axis2=2) > 0.0
    freedom[(worst.numpy() < threshold) & ~pulled] = FIXED
    sliding = np.flatnonzero(freedom == ACROSS)
    if len(sliding):
        axis[sliding] = state.reference.project(points[sliding])[1]
    curve = np.flatnonzero(freedom == ALONG)
    if len(curve):
        axis[curve] = state.curves.project(points[curve])[1]
    parameters = state.parameters.to_struct()
    step = vertex_steps(
        *mesh[:4],
        state.to_device(freedom, int),
        state.to_device(axis, wp.vec3d),
        state.to_device(matrix, wp.mat33d),
        state.to_device(slope, wp.vec3d),
        parameters,
        floor,
    ).numpy()
    moved = (step != 0).any(axis=1)
    if not moved.any():
        return 0
    share = np.where(moved, STEP, 0.0)
    value = state.value.copy()
    trial, changed = points.copy(), moved
    for halving in range(60):
        rows = np.flatnonzero(changed)
        trial[rows] = _place(state, rows, points[rows] + share[rows, None] * step[rows], freedom, share)
        # Tets without a changed vertex are as they were when they were checked last.
        touched = np.flatnonzero(changed[state.tets].any(axis=1))
        new, rejected = check_moves(
            state.to_device(trial, wp.vec3d),
            state.to_device(state.tets[touched], wp.vec4i),
            state.to_device(state.value[touched], wp.float64),
            worst,
            parameters,
        )
        value[touched] = new.numpy()
        refused = rejected.numpy() > 0
        if reach is not None:
            refused |= reach.beyond(trial, changed)
        changed = refused & (share > 0)
        if not changed.any():
            break
        share[changed] *= 0.5 if halving < _HALVINGS else 0.0
    else:
        return 0
    state.points, state.value = trial, value
    return int((share > 0).sum())


def _place(
    state: MeshState, rows: NDArray[np.int64], points: Points, freedom: NDArray[np.int32], share: Points
) -> Points:
    """Put sliding vertices, given by their rows, back on the reference at their offset, or on their curve."""
    moving = share[rows] > 0
    across = np.flatnonzero(moving & (freedom[rows] == ACROSS))
    if len(across):
        place, normal = state.reference.project(points[across])
        points[across] = place + state.offset[rows[across], None] * normal
    along = np.flatnonzero(moving & (freedom[rows] == ALONG))
    if len(along):
        points[along] = state.curves.project(points[along])[0]
    return points
