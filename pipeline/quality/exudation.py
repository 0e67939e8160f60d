"""Sliver exudation by gradient: vertex weights of a regular triangulation as differentiable variables.

    from pipeline.quality.exudation import exude
    result = exude(points, lambda places: query.winding_number(places) > 0.5)

A regular (weighted Delaunay) triangulation is the lower hull of the points lifted to |p|^2 - w. Every facet
has a margin M that is linear in the weights and whose sign decides whether it is there
(`warp_kernels/tet_exudation.py`), so what the flip of a facet would change is blended in smoothly:

    E(w) = sum over facets of sigmoid(-m / tau) (badness after the flip - badness before),   m = M / |dM/dw|

E falls along its gradient in steps of unit size, the weights stay in [0, bound d_i^2] with d_i the distance
to the nearest neighbour, and the hull is taken again after every step. Points never move. With bound < 1 no
vertex is lost: at p_j, every other power distance |p_i - p_j|^2 - w_i is positive and that of j is not.

It lessens slivers and does not end them: what is left lies mostly on the boundary, and the changes of
connectivity with smoothing of `optimize` do more in less time. Its result is a regular triangulation, with a
dual, and stays differentiable by the weights. The boundary is not made manifold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree

from pipeline.metrics.tet import signed_volumes, tet_quality
from pipeline.topology import unique_rows
from warp_kernels.tet_exudation import NO_FLIP, facet_margins, tet_badnesses

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

_TAU = 0.02
"""Softness of the sigmoid over the square of the nearest distance."""
_REACH = 6.0
"""Margins beyond this many tau feel nothing."""
_LARGEST_CHANGE = 30.0
"""Cap on what one flip counts."""
_HOT = 0.15
"""Badness from which a tet offers its facets."""
_MEMORY = 0.9


@dataclass(frozen=True)
class RegularTriangulation:
    """Tets of the lower hull, with positive volume."""

    tets: Indices
    """Shape (t, 4)."""
    neighbors: Indices
    """The tet opposite to each vertex, -1 outside, shape (t, 4)."""


@dataclass(frozen=True)
class FacetEnergy:
    """E and its parts at one triangulation."""

    value: float
    gradient: Points
    """By the weights, shape (n,) [1/length^2]."""
    margins: Points
    """Of the facets, shape (f,) [length^2]."""


@dataclass(frozen=True)
class Exudation:
    """The best weights found, and the tets that they give."""

    weights: Points
    """Shape (n,) [length^2]."""
    tets: Indices
    """The tets inside, shape (t, 4)."""
    history: list[dict[str, float]]
    """Per step, the first before any: energy, badness, tets, and the tets below 5, 10 and 15 degrees."""


def regular_triangulation(points: Points, weights: Points) -> RegularTriangulation:
    """Return the regular triangulation of points (n, 3) with weights (n,)."""
    local = points - points.mean(axis=0)
    hull = ConvexHull(np.column_stack([local, np.einsum("ij,ij->i", local, local) - weights]))
    lower = hull.equations[:, 3] < -1e-12
    index = np.full(len(lower) + 1, -1, dtype=np.int32)
    index[:-1][lower] = np.arange(lower.sum(), dtype=np.int32)
    tets = hull.simplices[lower].astype(np.int32)
    neighbors = index[hull.neighbors[lower]]
    turned = signed_volumes(points, tets) < 0
    for array in (tets, neighbors):
        array[turned] = array[turned][:, [1, 0, 2, 3]]
    return RegularTriangulation(tets, neighbors)


def facet_energy(
    points: Points,
    weights: Points,
    mesh: RegularTriangulation,
    inside: NDArray[np.bool_],
    scale: Points,
    device: str = "cpu",
) -> FacetEnergy:
    """Evaluate E and its gradient by the weights; the triangulation is held.

    Args:
        inside: Tets that count, shape (t,): a facet takes part when one of its tets does.
        scale: Length of each vertex by which its margins are measured, shape (n,).
    """
    tets, neighbors = mesh.tets, mesh.neighbors
    place: wp.array = wp.array(points, dtype=wp.vec3d, device=device)
    cells: wp.array = wp.array(tets, dtype=wp.vec4i, device=device)
    badness = tet_badnesses(place, cells)
    host = badness.numpy()
    tet, corner = np.nonzero(neighbors > np.arange(len(tets))[:, None])
    other = neighbors[tet, corner]
    keep = (inside[tet] | inside[other]) & (np.maximum(host[tet], host[other]) > _HOT)
    facets = np.stack([tet[keep], corner[keep]], axis=1).astype(np.int32)
    if not len(facets):
        return FacetEnergy(0.0, np.zeros(len(points)), np.zeros(0))
    margin, slope, apex, change, flip = (
        a.numpy()
        for a in facet_margins(
            place,
            wp.array(weights, dtype=wp.float64, device=device),
            cells,
            wp.array(neighbors, dtype=wp.vec4i, device=device),
            badness,
            wp.array(facets, dtype=wp.vec2i, device=device),
        )
    )
    size = np.sqrt(1.0 + np.einsum("fi,fi->f", slope, slope))
    tau = _TAU * scale[apex] ** 2
    x = margin / (size * tau)
    near = (flip != NO_FLIP) & (np.abs(x) < _REACH)
    worth = np.where(near, np.clip(change, -_LARGEST_CHANGE, _LARGEST_CHANGE), 0.0)
    share = 1.0 / (1.0 + np.exp(np.clip(x, -_REACH, _REACH)))
    by_margin = -worth * share * (1.0 - share) / (tau * size)
    gradient: Points = np.zeros(len(points))
    gradient -= np.bincount(apex, by_margin, minlength=len(points))
    corners = tets[facets[:, 0]]
    gradient += np.bincount(corners.ravel(), (by_margin[:, None] * slope).ravel(), minlength=len(points))
    return FacetEnergy(float((worth * share).sum()), gradient, np.asarray(margin))


def exude(
    points: Points,
    inside: Callable[[Points], NDArray[np.bool_]],
    bound: float = 0.7,
    steps: int = 30,
    rate: float = 2.0,
    device: str = "cpu",
) -> Exudation:
    """Search weights that drive slivers out of the triangulation of points.

    Args:
        points: Vertices, shape (n, 3).
        inside: Of places, shape (m, 3), which lie in the solid: asked at the centroids of the tets.
        bound: Largest weight over the square of the distance to the nearest neighbour, 0 to 1.
        steps: Steps of descent; each takes one hull.
        rate: Size of a step over the softness of the sigmoid.

    Raises:
        ValueError: `bound` is not in [0, 1), or there are fewer than five points.
    """
    if not 0.0 <= bound < 1.0:
        raise ValueError(f"bound: expected 0 to below 1, where every vertex is kept, got {bound}")
    if len(points) < 5:
        raise ValueError(f"points: expected at least five, got {len(points)}")
    points = np.ascontiguousarray(points, dtype=np.float64)
    scale = np.asarray(cKDTree(points).query(points, k=2)[0])[:, 1]
    weights, square = np.zeros(len(points)), np.zeros(len(points))
    best = np.inf, weights, np.zeros((0, 4), dtype=np.int32)
    known, solid = np.zeros((0, 4), dtype=np.int32), np.zeros(0, dtype=bool)
    history: list[dict[str, float]] = []
    for step in range(steps + 1):
        mesh = regular_triangulation(points, weights)
        solid = _ask(points, mesh.tets, known, solid, inside)
        known = mesh.tets
        energy = facet_energy(points, weights, mesh, solid, scale, device)
        chosen = mesh.tets[solid & (signed_volumes(points, mesh.tets) > 0)]
        angle = tet_quality(points, chosen)["min_dihedral_angle"]
        badness = float(np.exp((20.0 - angle) / 6.0).sum())
        history.append(
            {"energy": energy.value, "badness": badness, "tets": float(len(chosen))}
            | {f"below_{limit}": float((angle < limit).sum()) for limit in (5, 10, 15)}
        )
        if badness < best[0]:
            best = badness, weights.copy(), chosen
        if step < steps:
            # The gradient in units of each vertex's own squared length, normalised by its running size.
            slope = energy.gradient * scale**2
            square = slope**2 if step == 0 else _MEMORY * square + (1.0 - _MEMORY) * slope**2
            move = rate * _TAU * scale**2 * slope / (np.sqrt(square) + 1e-12)
            weights = np.clip(weights - move, 0.0, bound * scale**2)
    return Exudation(best[1], best[2], history)


def _ask(
    points: Points,
    tets: Indices,
    known: Indices,
    solid: NDArray[np.bool_],
    inside: Callable[[Points], NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Return which tets are inside; the answers for `known` tets are `solid`."""
    inverse = unique_rows(np.concatenate([known, tets]))[1]
    answer = np.full(inverse.max() + 1, -1, dtype=np.int8)
    answer[inverse[: len(known)]] = solid
    result = answer[inverse[len(known) :]]
    new = np.flatnonzero(result < 0)
    if len(new):
        result[new] = np.asarray(inside(points[tets[new]].mean(axis=1)), dtype=bool)
    return result == 1
