"""Connectivity of a tetrahedral mesh as arrays, built when asked for, thrown away when the mesh changes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.topology import TET_FACES

Indices = NDArray[np.int32]
Keys = NDArray[np.int64]

_PAIRS = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


class Connectivity:
    """Stars, edges and boundary of tets.

    Attributes:
        tets: Vertex indices, shape (t, 4).
        star_start, star: Tets of each vertex as CSR, shapes (n + 1,) and (4 t,); an entry is 4 tet + corner.
        edges: Unique edges, shape (e, 2), sorted, first vertex lower.
        tet_edges: Edge of each of the six vertex pairs of a tet, shape (t, 6), pairs 01 02 03 12 13 23.
        faces: Outward boundary triangles, shape (b, 3).
        face_tets: The tet of each boundary triangle, shape (b,).
        boundary_edge: True for edges of boundary triangles, shape (e,).
        on_boundary: True for vertices of boundary triangles, shape (n,).
        defects: Faces shared by more than two tets plus boundary edges not shared by two boundary triangles.
    """

    def __init__(self, tets: Indices, point_count: int) -> None:
        self.tets = tets
        self.point_count = n = point_count
        vertices = tets.ravel()
        self.star = stable_order(vertices).astype(np.int32)
        self.star_start = np.zeros(n + 1, dtype=np.int32)
        np.cumsum(np.bincount(vertices, minlength=n), out=self.star_start[1:])

    @cached_property
    def _unique_edges(self) -> tuple[Keys, Indices]:
        """Sorted keys of the edges, and the row of each pair of each tet in them."""
        keys = self.pair_keys(self.tets[:, _PAIRS].reshape(-1, 2))
        order = stable_order(keys)
        first = np.ones(len(keys), dtype=bool)
        np.not_equal(keys[order[1:]], keys[order[:-1]], out=first[1:])
        row = np.empty(len(keys), dtype=np.int32)
        row[order] = np.cumsum(first, dtype=np.int32) - 1
        return keys[order[first]], row.reshape(-1, 6)

    @property
    def edge_keys(self) -> Keys:
        return self._unique_edges[0]

    @property
    def tet_edges(self) -> Indices:
        return self._unique_edges[1]

    @cached_property
    def edges(self) -> Indices:
        n = self.point_count
        return np.stack([self.edge_keys // n, self.edge_keys % n], axis=1).astype(np.int32)

    @cached_property
    def edge_tets(self) -> tuple[Keys, Indices]:
        """Tets of each edge as CSR, shapes (e + 1,) and (6 t,)."""
        flat = self.tet_edges.ravel()
        start = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=len(self.edges)))])
        return start, (stable_order(flat) // 6).astype(np.int32)

    @cached_property
    def _boundary(self) -> tuple[Indices, Indices, int]:
        """Outward boundary triangles, their tets, and how many faces have more than two tets."""
        corners = self.tets[:, TET_FACES].reshape(-1, 3)
        key = _face_keys(corners, self.point_count)
        order = stable_order(key)
        equal = key[order[1:]] == key[order[:-1]]
        alone = np.ones(len(key), dtype=bool)
        alone[1:] &= ~equal
        alone[:-1] &= ~equal
        triple = int((equal[1:] & equal[:-1]).sum())
        rows = np.sort(order[alone])
        return np.ascontiguousarray(corners[rows]), (rows // 4).astype(np.int32), triple

    @property
    def faces(self) -> Indices:
        return self._boundary[0]

    @property
    def face_tets(self) -> Indices:
        return self._boundary[1]

    @cached_property
    def _edge_uses(self) -> NDArray[np.int64]:
        """Number of boundary triangles at each edge, shape (e,)."""
        half = self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        return np.bincount(self.edge_rows(half), minlength=len(self.edges))

    @cached_property
    def boundary_edge(self) -> NDArray[np.bool_]:
        return self._edge_uses > 0

    @cached_property
    def on_boundary(self) -> NDArray[np.bool_]:
        on_boundary = np.zeros(self.point_count, dtype=bool)
        on_boundary[self.faces.ravel()] = True
        return on_boundary

    @cached_property
    def defects(self) -> int:
        return self._boundary[2] + int((self._edge_uses[self.boundary_edge] != 2).sum())

    def pair_keys(self, pairs: NDArray) -> Keys:
        """Return one number per vertex pair, shape (k,), whichever vertex comes first."""
        low = np.minimum(pairs[:, 0], pairs[:, 1]).astype(np.int64)
        return low * self.point_count + np.maximum(pairs[:, 0], pairs[:, 1])

    def edge_rows(self, pairs: NDArray) -> Keys:
        """Return the row in `edges` of each vertex pair, shape (k,), or -1 where there is no such edge."""
        return find_keys(self.edge_keys, self.pair_keys(pairs))

    def ragged_star(self, vertices: NDArray) -> tuple[Keys, Indices]:
        """Return, for given vertices.

        The index into `vertices` and the star entry of every tet corner there.
        """
        return ragged(self.star_start, self.star, vertices)

    def vertex_faces(self) -> tuple[Indices, Indices]:
        """Return the boundary triangles of each vertex as CSR, (n + 1,) and (3 b,).

        An entry is 3 face + corner.
        """
        vertices = self.faces.ravel()
        start = np.zeros(self.point_count + 1, dtype=np.int32)
        np.cumsum(np.bincount(vertices, minlength=self.point_count), out=start[1:])
        return start, stable_order(vertices).astype(np.int32)


def stable_order(keys: NDArray[Any]) -> Keys:
    """Return `np.argsort(keys, kind="stable")` of integers >= 0, several times faster.

    NumPy sorts 16 bits by radix, so wider keys are sorted 16 bits at a time, the lowest first.
    """
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    largest, shift = int(keys.max(initial=0)), 16
    while largest >> shift:
        digits = ((keys >> shift) & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
        shift += 16
    return order


def find_keys(sorted_keys: Keys, wanted: Keys) -> Keys:
    """Return the row of each wanted key in sorted keys, -1 where it is missing."""
    if not len(sorted_keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    row = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[row] == wanted, row, -1)


def ragged(start: NDArray, values: NDArray, rows: NDArray) -> tuple[Keys, NDArray]:
    """Concatenate the CSR rows asked for: position in `rows` of each entry, and the entry."""
    first = start[rows].astype(np.int64)
    count = start[np.asarray(rows) + 1] - first
    owner = np.repeat(np.arange(len(rows)), count)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, values[np.repeat(first, count) + offset]


def _face_keys(faces: Indices, point_count: int) -> Keys:
    """Return one number per triangle, equal for equal vertex sets."""
    ordered = np.sort(faces, axis=1).astype(np.int64)
    if point_count < 2**21:
        return (ordered[:, 0] << 42) | (ordered[:, 1] << 21) | ordered[:, 2]
    pair = ordered[:, 0] * point_count + ordered[:, 1]
    rank = np.unique(pair, return_inverse=True)[1]
    return rank * np.int64(point_count) + ordered[:, 2]
