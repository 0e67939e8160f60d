"""Junction lines of a sampled surface: where three and more sheets meet, traced from the samples. 3D.

Nodes (`line_nodes`) are joined in rows, gaps of the sampling bridged; a row that is long, dense and smooth is
a line. Its ends are prolonged to where the third sheet stops, and lines that pass or end near each other get
a common corner (`line_ends`). All lengths are in units of the sample spacing h.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.points.line_ends import Sheets, share_corners
from pipeline.points.line_nodes import NEIGHBORS, Feet, find_nodes
from pipeline.points.sample_planes import SamplePlanes
from pipeline.types import Points

STEP, BRIDGE = 4.0, 10.0
"""Distance from one node to the next, at most, and over a gap where both ends point at each other [h]."""
LEAST_LENGTH = 12.0
"""Length of a line, at least [h]."""
LEAST_COVER = 0.88
"""Share of a line in steps of at most `COVER_STEP` from node to node, at least."""
COVER_STEP = 1.5
"""Length of such a step [h]."""
LARGEST_BUMP = 0.08
"""Median distance of a node from the middle of its neighbours, at most [h]: where near layers touch, chance
nodes jump about."""
SMOOTH_STEPS = 4
"""Neighbours on each side that smooth a line."""
MIXED = 2.2
"""Distance from a line within which plane fits of 14 neighbours reach onto other sheets [h]."""
CLEAN_NEIGHBORS = 24
"""Samples beyond that distance from which a nearer one takes its plane: some of each sheet."""
PATH_COST = 0.02
"""Cost of the distance to such a sample against its plane's: prefers near ones on curved sheets."""


@dataclass(frozen=True)
class FeatureLines:
    """Polylines where three and more sheets meet."""

    lines: list[Points] = field(default_factory=list)
    """Points of each line in order, shape (k, 3), about one h apart; a closed line repeats its first point.
    Lines that meet have an end in common, bit by bit."""

    def __len__(self) -> int:
        return len(self.lines)


def find_junction_lines(samples: Points, planes: SamplePlanes, device: str = "cpu") -> FeatureLines:
    """Trace the lines where three and more sheets meet.

    Args:
        samples: Positions, shape (m, 3).
        planes: Their planes, sharp up to the lines; layered ones show the rays of a junction everywhere, and
            get none.
    """
    if samples.shape[1] != 3 or len(samples) < 4 * NEIGHBORS or planes.layered:
        return FeatureLines()
    nodes = find_nodes(samples, planes, device)
    if len(nodes.position) < 3:
        return FeatureLines()
    sheets = Sheets(samples, planes)
    lines, size = [], []
    for chain in _join(nodes):
        x, h = nodes.position[chain], float(np.median(nodes.spacing[chain]))
        if not _is_line(x, h):
            continue
        x = _smooth(x)
        if chain[0] != chain[-1]:
            x = sheets.finish(sheets.finish(x, h)[::-1], h)
        lines.append(x)
        size.append(h)
    return FeatureLines(share_corners(lines, size, sheets))


def planes_beside_lines(samples: Points, planes: SamplePlanes, lines: FeatureLines) -> SamplePlanes:
    """Let samples near lines take planes of their own sheet.

    A plane fit near a line reaches onto other sheets. The samples beyond its reach show each sheet as it is;
    a sample nearer to the line takes the plane of the one of them that it lies on best.
    """
    if not len(lines):
        return planes
    h = planes.typical_spacing
    points = np.concatenate([_refined(line, h / 2) for line in lines.lines])
    distance, _ = cKDTree(points).query(samples, distance_upper_bound=MIXED * h)
    mixed = np.isfinite(distance)
    clean, dirty = np.flatnonzero(~mixed), np.flatnonzero(mixed)
    if len(clean) < CLEAN_NEIGHBORS:
        return planes
    _, near = cKDTree(samples[clean]).query(samples[dirty], k=CLEAN_NEIGHBORS)
    near = clean[near]
    offset = samples[dirty][:, None] - samples[near]
    miss = np.abs(np.einsum("nkx,nkx->nk", offset, planes.normals[near])) + planes.residuals[near]
    cost = miss + PATH_COST * np.linalg.norm(offset, axis=2)
    best = near[np.arange(len(dirty)), cost.argmin(axis=1)]
    normals, residuals = planes.normals.copy(), planes.residuals.copy()
    sign = np.where(np.einsum("ij,ij->i", normals[dirty], normals[best]) < 0, -1.0, 1.0)
    normals[dirty], residuals[dirty] = sign[:, None] * normals[best], residuals[best]
    return replace(planes, normals=normals, residuals=residuals)


def _refined(line: Points, step: float) -> Points:
    """Return points along a polyline at most about `step` apart."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], int(np.ceil(arc[-1] / step)) + 1)
    return np.stack([np.interp(at, arc, line[:, k]) for k in range(3)], axis=1)


def _join(nodes: Feet) -> list[NDArray[np.int64]]:
    """Walk from node to node along their lines; return the rows of each walk, closed ones with the first row
    repeated.

    The next node is the nearest one ahead; across a gap, the nearest one on the prolonged line.
    """
    x, t, h = nodes.position, nodes.direction, nodes.spacing
    near = cKDTree(x).query_ball_point(x, BRIDGE * h)
    used = np.zeros(len(x), dtype=bool)

    def follow(start: int, heading: Points) -> list[int]:
        path = [start]
        while True:
            here = path[-1]
            rows = np.array(near[here])
            offset = x[rows] - x[here]
            size = np.linalg.norm(offset, axis=1)
            ahead = offset @ heading
            agree = np.abs(t[rows] @ heading)
            closing = (rows == start) & (len(path) > LEAST_LENGTH)
            fits = (~used[rows] | closing) & (ahead > 0.85 * size) & (agree > 0.85) & (ahead > 0.3 * h[here])
            fits &= (size < STEP * h[here]) | ((ahead > 0.98 * size) & (agree > 0.95))
            rows, size = rows[fits], size[fits]
            if not len(rows):
                break
            following = int(rows[size.argmin()])
            if following == start:
                path.append(start)
                break
            beside = np.array(near[following])
            gap = x[beside] - x[following]
            passed = (np.linalg.norm(gap, axis=1) < 1.5 * h[following]) & (gap @ heading < 0.3 * h[following])
            used[beside[passed & (beside != start)]] = True
            used[following] = True
            step = x[following] - x[here]
            turned = t[following] * np.sign(t[following] @ heading)
            heading = turned + 0.5 * step / np.linalg.norm(step)
            heading /= np.linalg.norm(heading)
            path.append(following)
        return path

    walks = []
    for start in range(len(x)):
        if used[start]:
            continue
        used[start] = True
        forward = follow(start, t[start])
        if len(forward) > 1 and forward[-1] == start:
            walks.append(np.array(forward))
            continue
        backward = follow(start, -t[start])
        walks.append(np.array(backward[:0:-1] + forward))
    return walks


def _is_line(x: Points, h: float) -> bool:
    """Whether a walk is long enough, smooth, and dense in nodes over most of its length."""
    if len(x) < 3:
        return False
    step = np.linalg.norm(np.diff(x, axis=0), axis=1)
    length = step.sum()
    chord = x[2:] - x[:-2]
    bump = x[1:-1] - x[:-2]
    bump -= (np.einsum("ij,ij->i", bump, chord) / np.einsum("ij,ij->i", chord, chord))[:, None] * chord
    return bool(
        length >= LEAST_LENGTH * h
        and np.minimum(step, COVER_STEP * h).sum() >= LEAST_COVER * length
        and np.median(np.linalg.norm(bump, axis=1)) <= LARGEST_BUMP * h
    )


def _smooth(x: Points) -> Points:
    """Replace each point by the median of itself and the chords between neighbours 1, 2, ... steps away.

    Most nodes lie on the line as exactly as the planes do; a few were moved by samples of another sheet.
    """
    n = len(x)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(x, axis=0), axis=1))])
    guesses = [x]
    for k in range(1, SMOOTH_STEPS + 1):
        chord = x.copy()
        i = np.arange(k, n - k)
        if len(i):
            t = ((arc[i] - arc[i - k]) / (arc[i + k] - arc[i - k]))[:, None]
            chord[i] = x[i - k] * (1 - t) + x[i + k] * t
        guesses.append(chord)
    return np.asarray(np.median(guesses, axis=0), dtype=np.float64)
