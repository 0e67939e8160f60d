"""Repair what other programs write into tetrahedral meshes, and say what was done.

Tets are dropped that name no point, a point without finite coordinates or a vertex twice, that are flat, or
that repeat earlier ones; inverted tets are turned over; points of no tet are dropped. Points are neither
moved nor merged: where tets overlap or a hole is left, the mesh stays so, and validation finds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.topology import compact
from pipeline.types import METRES, Frame, TetMesh

FLAT = 1e-9
"""Volume over that of the regular tet with edges of the same root mean square; at most this is flat."""

MESSAGES = {
    "tets_outside": "tets that name no point of the mesh, dropped",
    "tets_not_finite": "tets with a point that is not finite, dropped",
    "tets_degenerate": "tets that repeat a vertex, dropped",
    "tets_flat": "flat tets, dropped",
    "tets_turned": "inverted tets, turned over",
    "tets_duplicate": "tets with the vertices of an earlier one, dropped",
    "unused_points": "points that no tet uses, dropped",
}
"""What each count means, in the order of the steps."""

_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def repair_tets(
    points: NDArray[Any], tets: NDArray[Any], labels: NDArray[Any] | None = None, frame: Frame = METRES
) -> tuple[TetMesh, dict[str, int]]:
    """Make a valid mesh of raw arrays.

    Args:
        points: Vertices, shape (n, 3); rows may be NaN.
        tets: Vertex indices, shape (t, 4), in any state.
        labels: Region of each tet, shape (t,).
        frame: Of the result.

    Returns:
        The mesh, and how often each step of `MESSAGES` was needed; steps that were not are left out.

    Raises:
        InputError: Arrays of another shape, or no tet is left.
    """
    points = np.asarray(points, dtype=np.float64)
    tets = np.asarray(tets)
    if points.ndim != 2 or points.shape[1] != 3 or tets.ndim != 2 or tets.shape[1] != 4:
        raise InputError(f"expected points (n, 3) and tets (t, 4), got {points.shape} and {tets.shape}")
    if tets.dtype.kind not in "iu":
        raise InputError(f"tets: expected integers, got {tets.dtype}")
    row = np.arange(len(tets))
    counts: dict[str, int] = {}

    def keep(name: str, good: Any) -> None:
        nonlocal tets, row
        counts[name] = int(len(good) - good.sum())
        tets, row = tets[good], row[good]

    keep("tets_outside", ((tets >= 0) & (tets < len(points))).all(axis=1))
    keep("tets_not_finite", np.isfinite(points[tets]).all(axis=(1, 2)))
    ordered = np.sort(tets, axis=1)
    keep("tets_degenerate", (ordered[:, 1:] != ordered[:, :-1]).all(axis=1))
    volume, ratio = _volumes(points, tets)
    solid = ratio > FLAT
    keep("tets_flat", solid)
    inverted = volume[solid] < 0
    tets = np.where(inverted[:, None], tets[:, [0, 2, 1, 3]], tets).astype(np.int32)
    counts["tets_turned"] = int(inverted.sum())
    first = np.zeros(len(tets), dtype=bool)
    first[np.unique(np.sort(tets, axis=1), axis=0, return_index=True)[1]] = True
    keep("tets_duplicate", first)
    if not len(tets):
        dropped = ", ".join(f"{count:,} {MESSAGES[name]}" for name, count in counts.items() if count)
        raise InputError(f"no tet is left after repair: {dropped or 'there were none'}")
    kept, tets, used = compact(points, tets)
    counts["unused_points"] = len(points) - len(used)
    mesh = TetMesh(kept, tets, None if labels is None else np.asarray(labels)[row], frame=frame)
    return mesh, {name: count for name, count in counts.items() if count}


def _volumes(
    points: NDArray[np.float64], tets: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signed volume of each tet, and its size relative to a regular one: 6 sqrt(2) |V| / rms edge^3."""
    corner = points[tets]
    a, b, c, d = (corner[:, k] for k in range(4))
    volume = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0
    squared = sum(np.sum((corner[:, j] - corner[:, i]) ** 2, axis=1) for i, j in _PAIRS) / 6.0
    scale = np.sqrt(squared) ** 3
    ratio = np.divide(6.0 * np.sqrt(2.0) * np.abs(volume), scale, out=np.zeros_like(scale), where=scale > 0)
    return volume, ratio
