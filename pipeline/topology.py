"""Connectivity of simplices as pure functions of index arrays: edges, boundary, components, orientation.

Any dimension unless a function says otherwise: a simplex is a row of vertex indices.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

Indices = NDArray[np.int32]

TET_FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]], dtype=np.int32)
"""Faces of a tet of positive volume, oriented outward; face k is opposite vertex k."""


def unique_rows(rows: Indices) -> tuple[Indices, NDArray[np.int64], NDArray[np.int64]]:
    """Return sorted unique rows (vertices sorted within a row), the inverse index and the counts.

    Args:
        rows: Vertex indices, shape (n, k), k from 1 to 4.
    """
    columns = _sorted_columns(rows)
    if not len(columns[0]):
        empty = np.zeros(0, dtype=np.int64)
        return np.zeros((0, len(columns)), dtype=np.int32), empty, empty
    bits = int(columns[-1].max()).bit_length()
    if bits * len(columns) < 64 and columns[0].min() >= 0:
        # One integer names a row: a single sort of numbers, several times faster than by columns.
        key = columns[0]
        for column in columns[1:]:
            key = (key << bits) | column
        order = np.argsort(key)
        ordered = key[order]
        changes = ordered[1:] != ordered[:-1]
    else:
        order = np.lexsort(columns[::-1])
        changes = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    new = np.concatenate([[True], changes])
    group = np.cumsum(new) - 1
    inverse = np.empty(len(order), dtype=np.int64)
    inverse[order] = group
    first = order[new]
    return np.stack([c[first] for c in columns], axis=1).astype(np.int32), inverse, np.bincount(group)


def _sorted_columns(rows: Indices) -> list[NDArray[np.int64]]:
    """Return the columns of rows whose entries are sorted within each row."""
    columns = list(np.asarray(rows).T.astype(np.int64))
    for last in range(len(columns) - 1, 0, -1):
        for k in range(last):
            low, high = columns[k], columns[k + 1]
            columns[k], columns[k + 1] = np.minimum(low, high), np.maximum(low, high)
    return columns


def rows_by_label(labels: NDArray[np.integer], count: int) -> tuple[Indices, Indices]:
    """Group rows by their label 0..count-1 without a sort.

    Returns:
        Rows by label, ascending within one, shape (n,), and where each label starts, shape (count + 1,).
    """
    n = len(labels)
    one_each = (np.ones(n, dtype=np.int8), labels, np.arange(n + 1))
    table = csr_matrix(one_each, shape=(n, count)).tocsc()
    return table.indices.astype(np.int32), table.indptr.astype(np.int32)


def simplex_edges(simplices: Indices) -> tuple[Indices, NDArray[np.int64], NDArray[np.int64]]:
    """Return the unique edges (e, 2), the edge of each corner pair (s, pairs), and uses per edge (e,).

    Pairs are in the order of `itertools.combinations`: for a triangle 01, 02, 12.
    """
    pairs = list(combinations(range(simplices.shape[1]), 2))
    rows = np.concatenate([simplices[:, list(p)] for p in pairs])
    edges, inverse, count = unique_rows(rows)
    return edges, inverse.reshape(len(pairs), -1).T.copy(), count


def boundary_edges(faces: Indices) -> Indices:
    """Return the edges of triangles used exactly once, as directed half edges (b, 2) of their face."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, inverse, count = unique_rows(half)
    return half[count[inverse] == 1]


def boundary_faces(tets: Indices) -> tuple[Indices, NDArray[np.int64]]:
    """Return the outward triangles used by exactly one tet, shape (b, 3), and the tet of each, shape (b,)."""
    faces = tets[:, TET_FACES].reshape(-1, 3)
    _, inverse, count = unique_rows(faces)
    keep = np.flatnonzero(count[inverse] == 1)
    return np.ascontiguousarray(faces[keep]), keep // 4


def components(simplices: Indices, shared: int) -> NDArray[np.int64]:
    """Label simplices by connected component, shape (s,); two are joined when they share `shared` vertices.

    `shared` is 1 (vertex), 2 (edge) or 3 (face).
    """
    n = len(simplices)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    sides = list(combinations(range(simplices.shape[1]), shared))
    rows = np.concatenate([simplices[:, list(s)] for s in sides])
    _, inverse, _ = unique_rows(rows)
    owner = np.tile(np.arange(n), len(sides))
    size = int(max(n, inverse.max() + 1))
    graph = coo_matrix((np.ones(len(owner)), (owner, inverse + n)), shape=(n + size, n + size))
    labels = connected_components(graph, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def manifold_parts(faces: Indices) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Label faces by part, shape (f,), and say of each part whether it has a border or a junction.

    A part goes on through edges of two triangles (2D: vertices of two segments) and ends at all others.
    """
    n, d = faces.shape
    if d == 3:
        _, sides, uses = simplex_edges(faces)
    else:
        sides, uses = faces.astype(np.int64), np.bincount(faces.ravel())
    face, ridge = np.repeat(np.arange(n), d), sides.ravel()
    inner = uses[ridge] == 2
    size = n + len(uses)
    graph = coo_matrix((np.ones(int(inner.sum())), (face[inner], n + ridge[inner])), shape=(size, size))
    part = np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]
    is_open = np.zeros(int(part.max(initial=-1)) + 1, dtype=bool)
    is_open[part[face[~inner]]] = True
    return part.astype(np.int64), is_open


def compact(points: NDArray[np.float64], simplices: Indices) -> tuple[NDArray[np.float64], Indices, Indices]:
    """Drop vertices that no simplex uses; return points, renumbered simplices and the kept vertex rows."""
    used = np.unique(simplices)
    index = np.full(len(points), -1, dtype=np.int32)
    index[used] = np.arange(len(used), dtype=np.int32)
    return points[used], index[simplices], used


def orient_faces(faces: Indices) -> tuple[Indices, int]:
    """Turn triangles so that neighbours across two-face edges agree; return them and how many edges disagree.

    Segments, shape (f, 2), are turned so that they run on through vertices of two segments. Every component
    keeps the orientation of its lowest face. Edges with three or more faces do not transmit.
    A non-zero count of disagreeing edges means a surface that cannot be oriented (a Moebius strip).
    """
    n = len(faces)
    if n == 0:
        return faces.copy(), 0
    if faces.shape[1] == 2:
        half = faces.T.reshape(-1, 1)
        forward = np.repeat([False, True], n)
    else:
        half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        forward = half[:, 0] < half[:, 1]
    owner = np.tile(np.arange(n), faces.shape[1])
    _, inverse, count = unique_rows(half)
    order = np.argsort(inverse, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])[:-1]
    two = np.flatnonzero(count == 2)
    a, b = order[start[two]], order[start[two] + 1]
    left, right = owner[a], owner[b]
    differs = forward[a] == forward[b]
    flip = _two_colour(n, left, right, differs)
    result = faces.copy()
    result[flip] = result[flip][:, [1, 0] if faces.shape[1] == 2 else [0, 2, 1]]
    bad = int((differs ^ flip[left] ^ flip[right]).sum())
    return np.ascontiguousarray(result), bad


def _two_colour(n: int, left: NDArray, right: NDArray, differs: NDArray) -> NDArray[np.bool_]:
    """Colour nodes 0..n-1 so that linked nodes differ where `differs`: spanning trees of a signed graph."""
    double = coo_matrix(
        (
            np.ones(2 * len(left)),
            (
                np.concatenate([left, left + n]),
                np.concatenate([np.where(differs, right + n, right), np.where(differs, right, right + n)]),
            ),
        ),
        shape=(2 * n, 2 * n),
    )
    single = coo_matrix((np.ones(len(left)), (left, right)), shape=(n, n))
    part = connected_components(single, directed=False)[1]
    sheet = connected_components(double, directed=False)[1]
    root = np.full(part.max() + 1, n, dtype=np.int64)
    np.minimum.at(root, part, np.arange(n))
    # In the double cover a node has two copies; that in the sheet of the root's first copy keeps its sign.
    return sheet[:n] != sheet[root[part]]
