"""How far from the surface boundary faces may get while vertices move.

A vertex that slides stays on the surface, its faces do not: between three vertices that slide apart around a
valley or a ridge lies a chord, and no quality energy sees it. `Reach` holds moves back that would take a face
beyond a given distance, or farther than it was when it already is beyond it.

A distance to the surface changes by no more than the place moves, so faces whose vertices moved little need
no new measurement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.quality.mesh_state import MeshState

Points = NDArray[np.float64]

_SHORT = 1.25
"""Longest edge, over the median of all, up to which a face is measured at its middles alone."""


class Reach:
    """Distances of the boundary faces of a mesh while its vertices move and its connectivity stays."""

    def __init__(self, state: MeshState, limit: float) -> None:
        """Measure the faces; `limit` is the distance up to which they may go.

        `gaps`, shape (b,), are their distances and `edge` the median of their longest edges.
        """
        self._reference = state.reference
        self._faces = state.connectivity.faces
        self._points = state.points
        corners = self._points[self._faces]
        longest = np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2).max(axis=1)
        self.edge = float(np.median(longest))
        self._short = _SHORT * self.edge
        self.gaps = self._reference.face_deviation(corners, self._short)
        self._limit = np.maximum(limit, self.gaps)

    def beyond(self, points: Points, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the vertices of faces that are too far, shape (n,), looking at faces of moved vertices."""
        step = np.linalg.norm(points - self._points, axis=1)[self._faces].max(axis=1)
        rows = np.flatnonzero(moved[self._faces].any(axis=1) & (self.gaps + step > self._limit))
        gaps = self._reference.face_deviation(points[self._faces[rows]], self._short)
        rows = rows[gaps > self._limit[rows]]
        found = np.zeros(len(points), dtype=bool)
        found[self._faces[rows].ravel()] = True
        return found
