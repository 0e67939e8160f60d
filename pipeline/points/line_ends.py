"""Where lines of a sampled surface end and meet: ends traced along the sheets, corners in common. 3D."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipeline.points.line_nodes import LARGEST_MISS, NEAR_AXIS, around, rays
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points

PROLONG = 10.0
"""Distance by which an end is prolonged, at most [h]."""
BACK = 3.0
"""The last part of a line, which is traced anew from the samples of its sheets [h]."""
STRIP = 4.0
"""Width of a sheet next to the line that shows how far it goes [h]."""
FLAT = 0.4
"""Distance of a sample from the half plane of such a strip, at most [h]; nearer to the line in units of the
distance from it."""
STOP = 2.0
"""Gap along such a strip at which the sheet ends [h]."""
TOGETHER = 1.5
"""Difference of the places where sheets stop that chance explains [h]."""
MEET = 2.5
"""Distance within which lines share a corner [h]."""
CORNER_ROUNDS = 3
CORNER_WEIGHT = 0.02
"""Pull of a corner to where its lines meet, relative to the planes around it."""


class Sheets:
    """The samples around lines, for the ends and corners."""

    def __init__(self, samples: Points, planes: SamplePlanes) -> None:
        self.samples, self.planes = samples, planes
        self.tree = cKDTree(samples)

    def finish(self, x: Points, h: float) -> Points:
        """Trace the end of a line anew: it reaches as far as three of its sheets do."""
        back = np.linalg.norm(x - x[-1], axis=1)
        base = int(np.flatnonzero(back > BACK * h).max(initial=0))
        if base == 0:
            return x
        t = x[base] - x[max(0, base - 5)]
        t = t / np.linalg.norm(t)
        rows = np.array(
            self.tree.query_ball_point(x[base] + PROLONG / 3 * h * t, (PROLONG + BACK + STRIP) * h)
        )
        offset = (self.samples[rows] - x[base])[None]
        angle, turn, rho, place = (a[0] for a in around(t[None], offset, self.planes.normals[rows][None]))
        strip = (rho < STRIP * h) & (rho > NEAR_AXIS * h)
        behind = np.flatnonzero(strip & np.isfinite(angle) & (place < 0) & (place > -2 * BACK * h))
        extent = []
        for group in rays(angle[behind]):
            middle = np.angle(np.exp(1j * angle[behind[group]]).sum())
            mine = (
                strip
                & (np.cos(turn - middle) > 0)
                & (np.abs(np.sin(turn - middle)) * rho < FLAT * np.minimum(h, rho))
            )
            along = np.concatenate([[0.0], np.sort(place[mine & (place > 0)]), [np.inf]])
            extent.append(along[np.flatnonzero(np.diff(along) > STOP * h)[0]] + h / STRIP)
        if len(extent) < 3:
            return x
        # The third sheet ends the line; sheets that stop at about the same place end together.
        reach = np.sort(extent)[::-1]
        end = min(float(reach[reach < reach[2] + TOGETHER * h].max()), (PROLONG + BACK) * h)
        if end <= 0:
            return x[: base + 1]
        steps = np.linspace(0, end, max(2, int(np.ceil(end / h)) + 1))[1:]
        tail = x[base] + steps[:, None] * t
        # Along the line, a plane that stops it decides.
        tail[-1] += ((self.corner(tail[-1], h) - tail[-1]) @ t) * t
        return np.concatenate([x[: base + 1], tail])

    def corner(self, x: Points, h: float) -> Points:
        """Return the point near x where the planes around it meet; free directions stay at x."""
        rows = np.array(self.tree.query_ball_point(x, MEET * h), dtype=np.int64)
        if len(rows) < 3:
            return x
        n = self.planes.normals[rows]
        offset = np.einsum("ij,ij->i", n, self.samples[rows] - x)
        weight = np.ones(len(rows))
        for _ in range(CORNER_ROUNDS):
            matrix = (n.T * weight) @ n + CORNER_WEIGHT * weight.sum() * np.eye(3)
            move = np.linalg.solve(matrix, n.T @ (weight * offset))
            # Planes fitted across the line miss the corner: they count less from round to round.
            weight = 1 / (1 + ((n @ move - offset) / (LARGEST_MISS / 2 * h)) ** 2)
        size = float(np.linalg.norm(move))
        return np.asarray(x + move * min(1.0, MEET * h / max(size, 1e-300)), dtype=np.float64)


def share_corners(lines: list[Points], size: list[float], sheets: Sheets) -> list[Points]:
    """Cut lines where they pass or end near each other, and give the pieces a common corner."""
    if not lines:
        return []
    x = np.concatenate(lines)
    owner = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    h = np.asarray(size)[owner]
    pairs = cKDTree(x).query_pairs(MEET * float(h.max()), output_type="ndarray").reshape(-1, 2)
    i, j = pairs.T
    close = (owner[i] != owner[j]) & (np.linalg.norm(x[i] - x[j], axis=1) < MEET * np.minimum(h[i], h[j]))
    i, j = i[close], j[close]
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(x), len(x)))
    label = connected_components(graph, directed=False)[1]
    shared = np.bincount(label)[label] > 1
    corner = {}
    for spot in np.unique(label[shared]):
        rows = np.flatnonzero(label == spot)
        corner[spot] = sheets.corner(_crossing(x, owner, rows), float(h[rows].mean()))
    pieces = []
    for k, line in enumerate(lines):
        rows = np.flatnonzero(owner == k)
        spots = np.where(shared[rows], label[rows], -1)
        pieces += _cut(line, spots, corner, MEET * size[k])
    return pieces


def _crossing(x: Points, owner: NDArray[np.int64], rows: NDArray[np.int64]) -> Points:
    """Return the mean of the points in which lines are nearest to the other lines of a spot."""
    nearest = []
    for k in np.unique(owner[rows]):
        mine, others = rows[owner[rows] == k], rows[owner[rows] != k]
        distance = np.asarray(cKDTree(x[others]).query(x[mine])[0])
        nearest.append(x[mine[distance.argmin()]])
    return np.asarray(np.mean(nearest, axis=0), dtype=np.float64)


def _cut(line: Points, spots: NDArray[np.int64], corner: dict[int, Points], shortest: float) -> list[Points]:
    """Cut a line at its spots; a spot becomes its corner; stubs at free ends are dropped."""
    change = np.flatnonzero(np.diff(spots)) + 1
    runs = np.split(np.arange(len(line)), change)
    pieces, current, has_start = [], [], False
    for run in runs:
        if spots[run[0]] < 0:
            current += list(line[run])
            continue
        current.append(corner[int(spots[run[0]])])
        pieces.append((current, has_start, True))
        current, has_start = [corner[int(spots[run[0]])]], True
    pieces.append((current, has_start, False))
    result = []
    for points, start, end in pieces:
        array = np.array(points)
        if len(array) < 2:
            continue
        length = np.linalg.norm(np.diff(array, axis=0), axis=1).sum()
        if (start and end and length > 0) or length > shortest:
            result.append(array)
    return result
