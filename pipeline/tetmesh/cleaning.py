"""Bring triangles into the form that occupancy needs: welded, single, oriented, cavities turned inward.

Every change is counted. Orientation is decided in three steps:

1. Patches (faces joined by edges of exactly two faces) are oriented consistently; the majority, by area,
   decides. A component whose edges are all used equally often in both directions already bounds something and
   stays.
2. A patch turns outward when its signed volume, with every hole closed by a fan of triangles, is negative.
3. A closed component inside an odd number of other closed components is a cavity and turns inward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.context import RunContext
from pipeline.errors import StageError
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import compact, components, orient_faces, simplex_edges, unique_rows

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

WELD_TOLERANCE = 1e-9
"""Points that agree to this fraction of the diagonal are one."""
NESTING_SAMPLES = 64
"""Vertices of a component that are looked at to tell whether it lies inside another."""
LARGEST_NEST = 1000
"""Components, the largest first, that others may lie inside."""


@dataclass(frozen=True)
class CleanSurface:
    """An oriented triangle surface in normalised coordinates: centred, bounding-box diagonal 1."""

    points: Points
    faces: Indices
    component: NDArray[np.int64]
    """Component (faces joined by edges) of each face, shape (f,)."""
    is_closed: NDArray[np.bool_]
    """Whether each component is closed: every edge used equally often in both directions."""
    volume: Points
    """Signed volume of each component, holes closed by fans; negative for a cavity."""
    origin: Points
    diagonal: float

    @property
    def normals(self) -> Points:
        """Unit normal of each face, shape (f, 3); zero for a face without area."""
        vector = area_vectors(self.points, self.faces)
        length = np.linalg.norm(vector, axis=1)
        return vector / np.where(length > 0, length, 1.0)[:, None]

    def to_input(self, points: Points) -> Points:
        """Convert normalised points to the coordinates of the input."""
        return points * self.diagonal + self.origin


def area_vectors(points: Points, faces: Indices) -> Points:
    """Return area times normal of each triangle, shape (f, 3)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    return 0.5 * np.cross(b - a, c - a)


def clean_surface(points: Points, faces: Indices, context: RunContext) -> CleanSurface:
    """Weld, drop duplicates and degenerate faces, orient patches and cavities; count each change.

    Raises:
        StageError: Fewer than four faces are left, or the surface has no extent.
    """
    points, faces, _ = compact(points, faces)
    low, high = points.min(axis=0), points.max(axis=0)
    origin, diagonal = 0.5 * (low + high), float(np.linalg.norm(high - low))
    if diagonal <= 0:
        raise StageError("tetrahedralize: all vertices of the surface coincide; there is nothing to fill")
    points, faces = _weld((points - origin) / diagonal, faces, context)
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    context.count("degenerate_faces", repeated.sum(), "faces that fall onto an edge or a point, dropped")
    faces = faces[~repeated]
    faces = _drop_duplicates(faces, context)
    if len(faces) < 4:
        raise StageError(
            f"tetrahedralize: a closed surface needs at least 4 different faces, this one has {len(faces)}"
        )
    points, faces, _ = compact(points, faces)
    context.count("nonmanifold_edges", (simplex_edges(faces)[2] > 2).sum(), "edges with three or more faces")
    component, given = components(faces, 2), faces
    faces, component, is_closed = _orient_patches(points, faces, component, context)
    faces, volume = _turn_outward(points, faces, component, is_closed, context)
    faces, volume = _turn_cavities(points, faces, component, is_closed, volume, context)
    context.count(
        "turned_faces",
        (faces != given).any(axis=1).sum(),
        "faces turned over to agree with their neighbours and to face outward",
    )
    return CleanSurface(points, faces, component, is_closed, volume, origin, diagonal)


def _weld(points: Points, faces: Indices, context: RunContext) -> tuple[Points, Indices]:
    key = np.round(points / WELD_TOLERANCE).astype(np.int64)
    order = np.lexsort(key.T)
    new = np.ones(len(key), dtype=bool)
    new[1:] = (key[order][1:] != key[order][:-1]).any(axis=1)
    index = np.empty(len(key), dtype=np.int32)
    index[order] = np.cumsum(new) - 1
    context.count("welded_vertices", len(key) - new.sum(), "vertices in the same place, merged")
    return points[order[new]], index[faces]


def _drop_duplicates(faces: Indices, context: RunContext) -> Indices:
    """Keep the first of the faces with the same vertices; none of two that are a wall within the solid."""
    _, group, count = unique_rows(faces)
    _, first = np.unique(group, return_index=True)
    # Parity of the permutation that sorts a row: +1 for even.
    a, b, c = faces.astype(np.int64).T
    opposed = (np.bincount(group, np.sign((b - a) * (c - b) * (c - a))) == 0) & (count > 1)
    wall = _is_wall(faces[first], opposed[group[first]])
    context.count("inner_walls", wall.sum(), "pairs of faces back to back within the solid dropped")
    dropped = len(faces) - len(first) - int((count[group[first[wall]]] - 1).sum())
    context.count("duplicate_faces", dropped, "duplicate faces dropped")
    return np.ascontiguousarray(faces[np.sort(first[~wall])])


def _is_wall(faces: Indices, paired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which of the paired faces (each stands for two, back to back) separate two bodies that touch.

    Without a wall, its edges keep an even number of faces. An odd number means that one face of each pair is
    needed, and so does a component made of pairs alone: a surface given twice.
    """
    if not paired.any():
        return paired
    single = np.bincount(components(faces, 2), ~paired) > 0
    wall = paired & single[components(faces, 2)]
    _, edge, count, owner = _half_edges(faces)
    rest = np.bincount(edge, ~wall[owner], len(count))
    odd = np.bincount(owner, (rest % 2 == 1)[edge] & wall[owner], len(faces)) > 0
    rows = np.flatnonzero(wall)
    patch = components(faces[rows], 2)
    wall[rows] = (np.bincount(patch, odd[rows]) == 0)[patch]
    return wall


def _half_edges(faces: Indices) -> tuple[Indices, NDArray, NDArray, NDArray]:
    """Return half edges (3f, 2) blockwise per side, their edge, the uses per edge, and the face of each."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, edge, count = unique_rows(half)
    return half, edge, count, np.tile(np.arange(len(faces)), 3)


def _is_balanced(faces: Indices, component: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each component whether every edge is used equally often in both directions."""
    half, edge, count, owner = _half_edges(faces)
    direction = np.where(half[:, 0] < half[:, 1], 1, -1)
    unbalanced = np.bincount(edge, direction, len(count))[edge] != 0
    return np.bincount(component[owner], unbalanced, component.max() + 1) == 0


def _orient_patches(
    points: Points, faces: Indices, component: NDArray[np.int64], context: RunContext
) -> tuple[Indices, NDArray[np.int64], NDArray[np.bool_]]:
    """Orient the patches of components that are not balanced; the majority by area of each patch decides."""
    turn_allowed = ~_is_balanced(faces, component)[component]
    oriented, bad = orient_faces(faces)
    turned = (oriented != faces).any(axis=1)
    patch = _patches(faces)
    area = np.linalg.norm(area_vectors(points, faces), axis=1)
    total = np.bincount(patch, area)
    minority = np.bincount(patch, np.where(turned, area, 0.0)) <= 0.5 * total
    turned = np.where(minority[patch], turned, ~turned) & turn_allowed
    faces = faces.copy()
    faces[turned] = faces[turned][:, [0, 2, 1]]
    context.count(
        "unorientable_edges", bad, "edges whose faces cannot be oriented consistently (Moebius strip)"
    )
    return faces, component, _is_balanced(faces, component)


def _patches(faces: Indices) -> NDArray[np.int64]:
    """Label faces joined by edges that have exactly two faces."""
    _, edge, count, owner = _half_edges(faces)
    order = np.argsort(edge, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])[:-1][count == 2]
    left, right = owner[order[start]], owner[order[start + 1]]
    graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(len(faces), len(faces)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _capped_volume(points: Points, faces: Indices, group: NDArray[np.int64]) -> Points:
    """Return the signed volume of each group of faces, its boundary loops closed by fans of triangles."""
    groups = int(group.max()) + 1
    face_count = np.bincount(group, minlength=groups)
    center: Points = np.stack(
        [np.bincount(group, points[faces][:, :, k].mean(axis=1), groups) for k in range(3)], axis=1
    ).astype(np.float64)
    center /= face_count[:, None]
    corner = points[faces] - center[group][:, None]
    volume = np.bincount(
        group, np.einsum("fi,fi->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6.0
    ).astype(np.float64)
    # Boundary of each group: an edge is counted within its group alone.
    half, edge, _, owner = _half_edges(faces)
    pair = group[owner] * (edge.max() + 1) + edge
    _, pair, count = np.unique(pair, return_inverse=True, return_counts=True)
    direction = np.bincount(pair, np.where(half[:, 0] < half[:, 1], 1, -1), len(count))
    rim = (count == 1)[pair] | ((direction != 0)[pair] & (count % 2 == 1)[pair])
    if not rim.any():
        return volume
    corner_group = np.repeat(group[owner[rim]], 2)
    local, ends = np.unique(corner_group * len(points) + half[rim].ravel(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(local), len(local)))
    loop = connected_components(graph, directed=False)[1]
    position = points[local % len(points)] - center[local // len(points)]
    size = np.bincount(loop[ends.ravel()])
    middle = np.stack(
        [np.bincount(loop[ends.ravel()], position[ends.ravel(), k]) for k in range(3)], axis=1
    ).astype(np.float64)
    middle /= size[:, None]
    a, b, c = position[ends[:, 1]], position[ends[:, 0]], middle[loop[ends[:, 0]]]
    cap = np.einsum("fi,fi->f", a, np.cross(b, c)) / 6.0
    return volume + np.bincount(corner_group[::2], cap, groups).astype(np.float64)


def _turn_outward(
    points: Points,
    faces: Indices,
    component: NDArray[np.int64],
    is_closed: NDArray[np.bool_],
    context: RunContext,
) -> tuple[Indices, Points]:
    """Turn closed components, and the patches of open ones, whose capped volume is negative."""
    patch = _patches(faces)
    group = np.where(is_closed[component], component, component.max() + 1 + patch)
    group = np.unique(group, return_inverse=True)[1]
    volume = _capped_volume(points, faces, group)
    area = np.bincount(group, np.linalg.norm(area_vectors(points, faces), axis=1))
    closed = np.zeros(len(volume), dtype=bool)
    closed[group] = is_closed[component]
    # An open, nearly flat patch has no volume to tell its sides by: it stays as it came.
    turn = np.where(closed, volume < 0, volume < -1e-2 * area**1.5)[group]
    faces = faces.copy()
    faces[turn] = faces[turn][:, [0, 2, 1]]
    context.count("turned_patches", len(np.unique(group[turn])), "inside-out patches turned outward")
    return faces, _capped_volume(points, faces, component)


def _turn_cavities(
    points: Points,
    faces: Indices,
    component: NDArray[np.int64],
    is_closed: NDArray[np.bool_],
    volume: Points,
    context: RunContext,
) -> tuple[Indices, Points]:
    """Turn closed components that lie within an odd number of other closed components inward."""
    count = len(is_closed)
    if is_closed.sum() < 2:
        return faces, volume
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for k in range(3):
        np.minimum.at(low, component, points[faces[:, k]])
        np.maximum.at(high, component, points[faces[:, k]])
    depth = np.zeros(count, dtype=np.int64)
    for outer in np.argsort(-np.where(is_closed, volume, 0.0), kind="stable")[:LARGEST_NEST]:
        inner = np.flatnonzero(is_closed & (low > low[outer]).all(axis=1) & (high < high[outer]).all(axis=1))
        if not is_closed[outer] or not len(inner):
            continue
        query = SurfaceQuery(points, faces[component == outer])
        vertices = [np.unique(faces[component == k]) for k in inner]
        vertices = [v[:: max(1, len(v) // NESTING_SAMPLES)] for v in vertices]
        owner = np.repeat(np.arange(len(inner)), [len(v) for v in vertices])
        is_inside = query.winding_number(points[np.concatenate(vertices)]) > 0.5
        depth[inner] += np.bincount(owner, ~is_inside, len(inner)) == 0
    turn = (depth % 2 == 1)[component]
    faces = faces.copy()
    faces[turn] = faces[turn][:, [0, 2, 1]]
    context.count("cavities", (depth % 2 == 1).sum(), "closed surfaces inside others, taken as cavities")
    return faces, np.where(depth % 2 == 1, -volume, volume)
