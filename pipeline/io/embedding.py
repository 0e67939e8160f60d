"""Embed points in a tetrahedral mesh, so that a fine surface moves with a coarse simulation mesh.

    x = sum_k w_k p_k,   sum_k w_k = 1      p_k: the four vertices of the tet of x, w: barycentric weights

A point inside belongs to the tet that contains it. A point outside belongs to the tet in which its smallest
weight is largest: it is extrapolated as little as possible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.errors import InputError

_INSIDE = -1e-9
"""Smallest weight that still counts as inside: rounding on shared faces."""
_NEAREST = 16
_CHUNK = 4096

Floats = NDArray[np.float64]


def embed_points(
    points: Floats, tets: NDArray[np.int32], queries: Floats
) -> tuple[NDArray[np.int32], Floats]:
    """Find the tet and the barycentric weights of each query.

    Args:
        points: Vertices of the mesh, shape (n, 3).
        tets: Vertex indices, shape (t, 4), positive volume.
        queries: Points to embed, shape (m, 3), in the same coordinates.

    Returns:
        Row of the tet, shape (m,), and weights, shape (m, 4); one is negative where a query lies outside.

    Raises:
        InputError: There are no tets.
    """
    if not len(tets):
        raise InputError("the mesh has no tets: nothing to embed in")
    corners = points[tets]
    inverse = np.linalg.inv(np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)).astype(np.float64)
    centre = corners.mean(axis=1)
    reach = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)

    best = np.zeros(len(queries), dtype=np.int32)
    lowest = np.full(len(queries), -np.inf)

    def try_tets(query: NDArray[np.int64], tet: NDArray[np.int64]) -> None:
        """Keep for each query the tet with the largest smallest weight; pairs (query, tet), one row each."""
        smallest = _weights(corners, inverse, tet, queries[query]).min(axis=1)
        order = np.lexsort((smallest, query))
        last = np.flatnonzero(np.append(np.diff(query[order]) != 0, True))
        rows = order[last]
        better = rows[smallest[rows] > lowest[query[rows]]]
        best[query[better]], lowest[query[better]] = tet[better], smallest[better]

    count = min(_NEAREST, len(tets))
    tree = cKDTree(centre)
    for start in range(0, len(queries), _CHUNK):
        query = np.arange(start, min(start + _CHUNK, len(queries)))
        near = tree.query(queries[query], k=count)[1].reshape(len(query), count)
        try_tets(np.repeat(query, count), near.ravel().astype(np.int64))

    # A tet that contains a point reaches it from its centre: search each class of reach with its radius.
    open_queries = np.flatnonzero(lowest < _INSIDE)
    size_class = np.floor(np.log2(reach / reach.min())).astype(np.int64)
    for value in np.unique(size_class) if len(open_queries) else ():
        members = np.flatnonzero(size_class == value)
        tree, radius = cKDTree(centre[members]), reach[members].max()
        for start in range(0, len(open_queries), _CHUNK // 4):
            query = open_queries[start : start + _CHUNK // 4]
            lists = tree.query_ball_point(queries[query], radius)
            sizes = np.array([len(found) for found in lists], dtype=np.int64)
            if sizes.any():
                found = np.concatenate([np.asarray(part, dtype=np.int64) for part in lists])
                try_tets(np.repeat(query, sizes), members[found])
    return best, _weights(corners, inverse, best, queries)


def _weights(corners: Floats, inverse: Floats, tet: NDArray[np.integer], x: Floats) -> Floats:
    """Barycentric weights of x, shape (m, 3), in the tets of rows `tet`, shape (m, 4)."""
    last = np.einsum("mij,mj->mi", inverse[tet], x - corners[tet, 0])
    return np.column_stack([1.0 - last.sum(axis=1), last])
