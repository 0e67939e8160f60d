"""Creases that hold bad tets: their vertices are freed where nothing else helps.

A corner stays and a crease vertex slides on its curve, so a tet between several of them can be as bad as the
curves make it, although they are often no more than wrinkles of the surface. Where such a tet stays under
a given angle its crease vertices become ordinary vertices of the surface: the fit still draws them to the
ridge, whose samples lie on both of its sides, but they may give way.
"""

from __future__ import annotations

import numpy as np

from pipeline.metrics.tet import dihedral_angles
from pipeline.quality.mesh_state import SURFACE, MeshState

_OWN = 2.5
"""Wedges of the mesh narrower than this many times the angle are kept: the shape itself is that sharp, or the
two or three tets that fill it are."""


def free_creases(state: MeshState, angle: float) -> int:
    """Free the crease vertices of tets with a dihedral angle below `angle` [deg]; return how many.

    Vertices between regions, and those of edges at which the mesh itself is sharp, stay as they are.
    """
    c = state.connectivity
    rows = c.edge_rows(state.creases)
    if not (rows >= 0).any():
        return 0
    angles = dihedral_angles(state.points, state.tets)
    wedge = np.bincount(c.tet_edges.ravel(), angles.ravel(), minlength=len(c.edges))
    free = np.zeros(len(state.points), dtype=bool)
    free[state.tets[angles.min(axis=1) < angle].ravel()] = True
    on_crease = np.zeros(len(state.points), dtype=bool)
    on_crease[state.creases[rows >= 0].ravel()] = True
    free &= on_crease & (state.kind < SURFACE)
    rows = rows[rows >= 0]
    free[c.edges[rows[wedge[rows] < _OWN * angle]].ravel()] = False
    free[c.edges[state.between_regions()].ravel()] = False
    state.kind[free] = SURFACE
    state.offset[free] = 0.0
    state.creases = state.creases[~free[state.creases].any(axis=1)]
    number = int(free.sum())
    if number:
        state.count("freed_crease_vertices", number)
    return number
