"""The motion of every validated scenario for the 3D view: the boundary of the mesh at the kept times.

Positions are 16-bit shares of the box of the whole motion, lowest byte first, frame after frame:

    x = low + (high - low) k / 65535

An error of one part in 65,000 of the box is below a pixel. The view stands on the lowest place of the motion.
What the body touches is drawn by its edges, which hide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.io.report_contents import Contents
from pipeline.io.report_scene import cluster_faces, encode
from pipeline.topology import boundary_faces, compact
from pipeline.types import Motion, TetMesh

MAX_TRIANGLES = 24_000
"""Triangles of a motion in the view: each frame moves all of them."""
MAX_BYTES = 8 << 20
"""All motions on a page together [byte]; larger ones lose frames, evenly, until each fits into its share."""
LEVELS = 65535
FLAT = 0.9999
"""Cosine of half the angle between two faces, from which on they are one plane."""


def motion_shapes(contents: Contents) -> list[dict[str, Any]]:
    """Return the motions of a run as shapes of the 3D view, all in one scale; empty without any.

    Raises:
        ValueError: A motion of another mesh than the one that was validated.
    """
    report = contents.report
    mesh = contents.geometry("sim_mesh") or contents.geometry("tet_mesh")
    if report is None or not isinstance(mesh, TetMesh) or not report.motions or not len(mesh.tets):
        return []
    mesh = mesh.in_metres()
    points, tets, _ = compact(mesh.points, mesh.tets)
    for name, motion in report.motions.items():
        if motion.points.shape[1] != len(points):
            raise ValueError(f"{name} moves {motion.points.shape[1]:,} points, the mesh has {len(points):,}")
    shown, faces, note = _thinned(points, tets)
    scale = float(np.linalg.norm(np.ptp(points, axis=0))) or 1.0
    share = MAX_BYTES // len(report.motions)
    return [
        motion_shape(name, motion, shown, faces, scale, share)
        | {"note": note, "timed": _has_time(report.scenarios.get(name))}
        for name, motion in report.motions.items()
    ]


def motion_shape(
    name: str,
    motion: Motion,
    shown: NDArray[np.integer],
    faces: NDArray[np.int32],
    scale: float,
    most: int = MAX_BYTES,
) -> dict[str, Any]:
    """Return one motion for the page.

    Args:
        name: Of the scenario.
        motion: Of the whole mesh.
        shown: Rows of its points that the faces use, shape (m,).
        faces: Indices into `shown`, shape (f, 3).
        scale: Length that is one in the view [m].
        most: Largest size of its frames [byte]; two are kept in any case.
    """
    kept = _kept_frames(len(motion.times), most // (6 * len(shown)))
    frames = motion.points[kept][:, shown].astype(np.float64)
    low, high = frames.min(axis=(0, 1)), frames.max(axis=(0, 1))
    size = np.where(high > low, high - low, 1.0)
    center = 0.5 * (low + high)
    levels = np.round((frames - low) / size * LEVELS)
    obstacles = [
        {
            "lines": encode((_sharp_edges(o.points, o.faces) - center) / scale, "<f4"),
            "offsets": encode(o.offsets[kept] / scale, "<f4"),
        }
        for o in motion.obstacles.values()
    ]
    return {
        "name": f"motion_{name}",
        "label": name.replace("_", " ").capitalize(),
        "kind": "motion",
        "times": [round(float(t), 9) for t in motion.times[kept]],
        "low": ((low - center) / scale).tolist(),
        "high": ((low + size - center) / scale).tolist(),
        "faces": encode(faces, "<u4"),
        "frames": encode(levels, "<u2"),
        "obstacles": obstacles,
    }


def _sharp_edges(points: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Ends of the edges between faces of different planes, and of the open ones, shape (e, 2, 3)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    rows = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, inverse, count = np.unique(np.sort(rows, axis=1), axis=0, return_inverse=True, return_counts=True)
    # The normals of the faces at an edge add up to their number only where all are equal.
    sums = np.zeros((len(edges), 3))
    np.add.at(sums, inverse.ravel(), np.tile(normals, (3, 1)))
    is_flat = (count == 2) & (np.linalg.norm(sums, axis=1) > 2.0 * FLAT)
    return points[edges[~is_flat]]


def _thinned(
    points: NDArray[np.float64], tets: NDArray[np.int32]
) -> tuple[NDArray[np.integer], NDArray[np.int32], str]:
    """Rows of the boundary's points, its faces over them, and the note that says when they were thinned."""
    outer, faces, rows = compact(points, boundary_faces(tets)[0])
    if len(faces) <= MAX_TRIANGLES:
        return rows, faces, ""
    merged, thin = cluster_faces(outer, faces, MAX_TRIANGLES)
    merged, thin, _ = compact(merged, thin)
    # Each merged vertex follows the vertex of the mesh that is nearest to it.
    nearest = cKDTree(outer).query(merged)[1]
    note = f"{len(faces):,} triangles are thinned to at most {MAX_TRIANGLES:,} for this view."
    return rows[nearest], thin.astype(np.int32), note


def _has_time(scenario: Any) -> bool:
    """Whether a scenario runs in time; others go through states of rest."""
    series = scenario.get("series") if isinstance(scenario, Mapping) else None
    return isinstance(series, Mapping) and "time" in series


def _kept_frames(count: int, fit: int) -> NDArray[np.int64]:
    """At most `fit` of the frames, and at least two: evenly spaced, with the first and the last."""
    return np.unique(np.round(np.linspace(0, count - 1, min(count, max(2, fit)))).astype(np.int64))
