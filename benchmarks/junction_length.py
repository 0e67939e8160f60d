"""Length of the junctions of a surface: edges of three and more faces, beside those of a reference.

    python benchmarks/junction_length.py SURFACE.ply REFERENCE.obj [--tolerance 0.01]

Both shapes are moved by the reference's transform: centre of its bounding box to the origin, longest side
to 1. Edges are cut into pieces of a tenth of the tolerance; a piece counts as present when its middle lies
within the tolerance of a junction of the other shape. Prints one JSON object; `measure` is for other
benchmarks.

present_pct     length of the surface's junctions near one of the reference, in percent of the reference's
false_pct       the rest of the surface's junctions, in percent of the reference's
covered_pct     share of the reference's junctions that lie near one of the surface
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.io.formats import read_surface
from pipeline.topology import simplex_edges
from pipeline.types import Indices, Points

TOLERANCE = 0.01
"""Distance from a junction of the reference, in units of its longest side."""


def junction_edges(points: Points, faces: Indices) -> NDArray[np.float64]:
    """Return the ends of the edges of three and more faces, shape (e, 2, 3); equal points count as one."""
    _, welded = np.unique(points, axis=0, return_inverse=True)
    first = np.unique(welded, return_index=True)[1]
    edges, _, uses = simplex_edges(welded.ravel()[faces])
    return np.asarray(points[first[edges[uses > 2]]], dtype=np.float64)


def measure(
    points: Points,
    faces: Indices,
    reference_points: Points,
    reference_faces: Indices,
    tolerance: float = TOLERANCE,
) -> dict[str, float | None]:
    """Compare the junctions of two triangle meshes (see the module docstring).

    Returns:
        length and reference_length in units of the reference's longest side, and present_pct, false_pct and
        covered_pct; percentages are None where the reference has no junction.
    """
    used = reference_points[np.unique(reference_faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    scale = 1.0 / float((high - low).max())
    step = tolerance / 10
    mine, own = _pieces(junction_edges((points - (low + high) / 2) * scale, faces), step)
    theirs, whole = _pieces(
        junction_edges((reference_points - (low + high) / 2) * scale, reference_faces), step
    )
    near = _near(mine, theirs, tolerance)
    total = float(whole.sum())

    def share(length: float) -> float | None:
        return 100 * length / total if total else None

    return {
        "length": float(own.sum()),
        "reference_length": total,
        "present_pct": share(float(own[near].sum())),
        "false_pct": share(float(own[~near].sum())),
        "covered_pct": share(float(whole[_near(theirs, mine, tolerance)].sum())),
    }


def _pieces(segments: NDArray[np.float64], step: float) -> tuple[Points, NDArray[np.float64]]:
    """Cut segments (e, 2, 3) into pieces of at most `step`: their middles (p, 3) and lengths (p,)."""
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    count = np.maximum(1, np.ceil(length / step)).astype(np.int64)
    owner = np.repeat(np.arange(len(segments)), count)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    t = ((rank + 0.5) / count[owner])[:, None]
    return segments[owner, 0] * (1 - t) + segments[owner, 1] * t, (length / count)[owner]


def _near(points: Points, others: Points, tolerance: float) -> NDArray[np.bool_]:
    if not len(points) or not len(others):
        return np.zeros(len(points), dtype=bool)
    return np.asarray(cKDTree(others).query(points)[0] <= tolerance)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("surface", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    options = parser.parse_args()
    ours, theirs = read_surface(options.surface), read_surface(options.reference)
    print(
        json.dumps(measure(ours.points, ours.faces, theirs.points, theirs.faces, options.tolerance), indent=1)
    )


if __name__ == "__main__":
    main()
