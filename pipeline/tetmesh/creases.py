"""Creases of a surface: sharp edges linked into chains, and points spread along them.

A crease edge turns by more than the crease angle, or has three or more faces. Where other than two crease
edges meet, or a crease itself turns sharply, is a corner. Chains run from corner to corner; closed ones are
cut at one vertex.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from pipeline.tetmesh.cleaning import area_vectors
from pipeline.tetmesh.sampling import thin_points
from pipeline.topology import unique_rows

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

CORNER_ANGLE = 40.0
"""A crease that turns by more than this [degrees] at a vertex has a corner there."""
SHORTEST_CREASE = 2.0
"""Connected creases shorter than this many edge lengths are left out: noise, or creases that fade."""
MERGE_DISTANCE = 0.45
"""Corners nearer than this many edge lengths become one."""

STAGGER = 0.08
"""Largest displacement of a crease point along its crease, in steps."""


@dataclass(frozen=True)
class CreaseGraph:
    """Crease edges of a surface."""

    edges: Indices
    """Vertex pairs of the surface, shape (e, 2)."""
    is_corner: NDArray[np.bool_]
    """Per vertex of the surface, shape (n,)."""


def find_creases(points: Points, faces: Indices, angle: float) -> CreaseGraph:
    """Find edges that turn by more than `angle` [degrees] or have more than two faces, and the corners."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, edge, count = unique_rows(half)
    order = np.argsort(edge, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])[:-1]
    vector = area_vectors(points, faces)
    length = np.linalg.norm(vector, axis=1)
    unit = vector / np.where(length > 0, length, 1.0)[:, None]
    owner = np.tile(np.arange(len(faces)), 3)
    two = np.flatnonzero(count == 2)
    left, right = owner[order[start[two]]], owner[order[start[two] + 1]]
    turn = np.einsum("ei,ei->e", unit[left], unit[right]) < np.cos(np.radians(angle))
    # Faces without area have no normal to turn from.
    turn &= (length[left] > 1e-12) & (length[right] > 1e-12)
    is_crease = count > 2
    is_crease[two[turn]] = True
    edges = edges[is_crease]
    n = len(points)
    degree = np.bincount(edges.ravel(), minlength=n)
    # At a vertex of two crease edges, the sum of their unit vectors away from it vanishes on a straight line.
    direction = points[edges[:, 1]] - points[edges[:, 0]]
    direction /= np.maximum(np.linalg.norm(direction, axis=1), 1e-300)[:, None]
    total = np.stack(
        [
            np.bincount(edges[:, 0], direction[:, k], n) - np.bincount(edges[:, 1], direction[:, k], n)
            for k in range(3)
        ],
        axis=1,
    )
    bend = np.linalg.norm(total, axis=1) > 2.0 * np.sin(np.radians(0.5 * CORNER_ANGLE))
    return CreaseGraph(edges, ((degree > 0) & (degree != 2)) | ((degree == 2) & bend))


def spread_on_creases(
    points: Points, graph: CreaseGraph, size: Callable[[Points], Points], rng: np.random.Generator
) -> Points:
    """Spread points along the creases with spacing `size`, corners included, shape (c, 3)."""
    edges = graph.edges
    if not len(edges):
        return np.zeros((0, 3))
    length = np.linalg.norm(points[edges[:, 1]] - points[edges[:, 0]], axis=1)
    spacing = size(points)
    steps = length / (0.5 * (spacing[edges[:, 0]] + spacing[edges[:, 1]]))
    # Leave out connected creases that are too short.
    n = len(points)
    part = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n)), directed=False)[1]
    total = np.bincount(part[edges[:, 0]], steps, n)
    keep = total[part[edges[:, 0]]] >= SHORTEST_CREASE
    edges, steps = edges[keep], steps[keep]
    if not len(edges):
        return np.zeros((0, 3))
    chain, vertex, parameter = _chains(edges, steps, graph.is_corner, n)
    sites, is_end = _place(points, chain, vertex, parameter, rng)
    kept = thin_points(sites, MERGE_DISTANCE * size(sites), is_end.astype(float))
    return sites[kept]


def crease_curve(points: Points, graph: CreaseGraph, step: float) -> Points:
    """Return points at most `step` apart along all creases, shape (c, 3)."""
    a, b = (points[graph.edges[:, k]] for k in range(2))
    count = np.maximum(1, np.ceil(np.linalg.norm(b - a, axis=1) / step)).astype(np.int64)
    row = np.repeat(np.arange(len(a)), count)
    t = (np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[row]
    return a[row] + t[:, None] * (b - a)[row]


def _chains(edges: Indices, steps: Points, is_corner: NDArray, n: int) -> tuple[NDArray, NDArray, Points]:
    """Split the crease graph into chains; return (chain, vertex, parameter), sorted by chain and parameter.

    The parameter counts edge lengths from one end of the chain.
    """
    part = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n)), directed=False)[1]
    used = np.unique(edges)
    has_corner = np.bincount(part[used], is_corner[used], n) > 0
    loops = used[~has_corner[part[used]]]
    cut = is_corner.copy()
    cut[loops[np.unique(part[loops], return_index=True)[1]]] = True
    # Every crease edge gets its own copy of a cut vertex, so each chain becomes a path with two free ends.
    flat = edges.astype(np.int64).ravel()
    copy = cut[flat]
    flat[copy] = n + np.arange(copy.sum())
    vertex_of = np.concatenate([np.arange(n), edges.ravel()[copy]])
    ends = flat.reshape(-1, 2)
    size = len(vertex_of)
    graph = coo_matrix((np.maximum(steps, 1e-12), ends.T), shape=(size, size)).tocsr()
    label = connected_components(graph, directed=False)[1]
    nodes = np.unique(ends)
    free = nodes[nodes >= n]
    first = free[np.unique(label[free], return_index=True)[1]]
    distance = dijkstra(graph, directed=False, indices=first, min_only=True)
    order = np.lexsort((distance[nodes], label[nodes]))
    nodes = nodes[order]
    return np.unique(label[nodes], return_inverse=True)[1], vertex_of[nodes], distance[nodes]


def _place(
    points: Points, chain: NDArray, vertex: NDArray, parameter: Points, rng: np.random.Generator
) -> tuple[Points, NDArray[np.bool_]]:
    """Place points at steps of about 1 along each chain; return them and which are chain ends."""
    first = np.flatnonzero(np.concatenate([[True], chain[1:] != chain[:-1]]))
    last = np.concatenate([first[1:], [len(chain)]]) - 1
    total = parameter[last] - parameter[first]
    is_loop = vertex[first] == vertex[last]
    count = np.maximum(np.round(total), np.where(is_loop, 3, 1)).astype(np.int64)
    # One increasing coordinate for all chains: each is shifted past the end of the one before it.
    offset = np.concatenate([[0.0], np.cumsum(total + 1.0)])[:-1]
    coordinate = parameter + offset[chain]
    owner = np.repeat(np.arange(len(first)), count + 1)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(count + 1) - (count + 1), count + 1)
    is_end = (step == 0) | (step == count[owner])
    # Equal steps on parallel creases make rectangles, whose four corners make flat tets.
    shift = np.where(is_end, 0.0, rng.uniform(-STAGGER, STAGGER, len(step)))
    wanted = offset[owner] + total[owner] * (step + shift) / count[owner]
    sites = np.stack([np.interp(wanted, coordinate, points[vertex, k]) for k in range(3)], axis=1)
    return sites, is_end
