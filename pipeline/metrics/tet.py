"""Quality of tetrahedra: Verdict's names and ranges, one pure function per element mesh.

    dihedral angles   interior, in degrees; the regular tet has 70.53 six times
    mean_ratio        12 (3 V)^(2/3) / sum of squared edges           (0, 1], 1 = regular; 0 at V <= 0
    amips             3 / mean_ratio = tr(J^T J) / det(J)^(2/3)       [3, inf), 3 = regular; inf at V <= 0
    radius_ratio      R / (3 r), circumradius over inradius           [1, inf), 1 = regular; inf at V <= 0
    aspect_ratio      longest edge / (2 sqrt(6) r)                    [1, inf), 1 = regular; inf at V <= 0
    edge_ratio        longest edge / shortest edge                    [1, inf), 1 = regular
    scaled_jacobian   sqrt(2) 6 V / largest product of three edges    [-1, 1], 1 = regular
                      that meet at a corner
    volume            signed                                          (-inf, inf)

Source: Stimpson et al., The Verdict Geometric Quality Library, SAND2007-1751; mean ratio: Liu and Joe 1994.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.topology import TET_FACES
from pipeline.types import TetMesh

Array = NDArray[np.float64]

TET_EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]], dtype=np.int32)
"""Vertex pairs of the six edges; edge k is opposite to edge 5 - k."""

_UNBOUNDED = 1e30
"""What a summary writes for a ratio that is infinite (JSON has no infinity)."""


def signed_volumes(points: Array, tets: NDArray[Any]) -> Array:
    """Return the signed volume of each tet, shape (t,)."""
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0


def dihedral_angles(points: Array, tets: NDArray[Any]) -> Array:
    """Return the six interior dihedral angles [deg] of each tet, shape (t, 6), at the edges `TET_EDGES`.

    The angle comes from its sine and its cosine, so slivers and caps keep their accuracy:
    sin = 3 V l / (2 A_i A_j), cos = -n_i . n_j with outward normals. The volume enters by its absolute value.
    """
    points = np.asarray(points, dtype=np.float64)
    corner = points[tets]
    face = corner[:, TET_FACES]
    normal = 0.5 * np.cross(face[:, :, 1] - face[:, :, 0], face[:, :, 2] - face[:, :, 0])
    volume = np.abs(signed_volumes(points, tets))
    angle = np.empty((len(tets), 6))
    for k, (i, j) in enumerate(TET_EDGES):
        other = TET_EDGES[5 - k]
        length = np.linalg.norm(corner[:, j] - corner[:, i], axis=1)
        # The edge (i, j) lies in the two faces that are opposite to the other two vertices.
        cosine = -np.einsum("ij,ij->i", normal[:, other[0]], normal[:, other[1]])
        angle[:, k] = np.degrees(np.arctan2(1.5 * volume * length, cosine))
    return angle


def tet_quality(points: Array, tets: NDArray[Any]) -> dict[str, Array]:
    """Return the quality of each tet by name, every array of shape (t,).

    Args:
        points: Vertices, shape (n, 3), in any unit.
        tets: Vertex indices, shape (t, 4).

    Returns:
        min_dihedral_angle and max_dihedral_angle [deg], mean_ratio, amips, radius_ratio, aspect_ratio,
        edge_ratio, scaled_jacobian, and volume in the cubed unit of the points.
    """
    points = np.asarray(points, dtype=np.float64)
    tets = np.asarray(tets)
    corner = points[tets]
    edge = corner[:, TET_EDGES[:, 1]] - corner[:, TET_EDGES[:, 0]]
    squared = np.einsum("tij,tij->ti", edge, edge)
    length = np.sqrt(squared)
    volume = signed_volumes(points, tets)
    solid = volume > 0
    safe = np.where(solid, volume, 1.0)

    face = corner[:, TET_FACES]
    area = 0.5 * np.linalg.norm(
        np.cross(face[:, :, 1] - face[:, :, 0], face[:, :, 2] - face[:, :, 0]), axis=2
    )
    inradius = 3.0 * safe / np.maximum(area.sum(axis=1), np.finfo(float).tiny)
    # Circumradius from the products of opposite edges: 24 V R = sqrt((a+b+c)(a+b-c)(a-b+c)(-a+b+c)).
    a, b, c = length[:, 0] * length[:, 5], length[:, 1] * length[:, 4], length[:, 2] * length[:, 3]
    heron = np.maximum((a + b + c) * (a + b - c) * (a - b + c) * (-a + b + c), 0.0)
    circumradius = np.sqrt(heron) / (24.0 * safe)

    with np.errstate(divide="ignore", over="ignore"):
        mean_ratio = np.where(solid, 12.0 * np.cbrt((3.0 * safe) ** 2) / squared.sum(axis=1), 0.0)
        corners = np.stack(
            [
                length[:, 0] * length[:, 1] * length[:, 2],
                length[:, 0] * length[:, 3] * length[:, 4],
                length[:, 1] * length[:, 3] * length[:, 5],
                length[:, 2] * length[:, 4] * length[:, 5],
            ],
            axis=1,
        ).max(axis=1)
        angle = dihedral_angles(points, tets)
        return {
            "min_dihedral_angle": angle.min(axis=1, initial=180.0),
            "max_dihedral_angle": angle.max(axis=1, initial=0.0),
            "mean_ratio": mean_ratio,
            "amips": np.where(solid, 3.0 / np.where(solid, mean_ratio, 1.0), np.inf),
            "radius_ratio": np.where(solid, circumradius / (3.0 * inradius), np.inf),
            "aspect_ratio": np.where(solid, length.max(axis=1) / (2.0 * np.sqrt(6.0) * inradius), np.inf),
            "edge_ratio": length.max(axis=1) / np.maximum(length.min(axis=1), np.finfo(float).tiny),
            "scaled_jacobian": np.sqrt(2.0) * 6.0 * volume / np.maximum(corners, np.finfo(float).tiny),
            "volume": volume,
        }


def quality_summary(mesh: TetMesh) -> dict[str, Any]:
    """Summarise the quality of a mesh as JSON numbers.

    Returns:
        counts `points` and `tets`, `total_volume`, and for each name of `tet_quality` a dict of
        min, p01 (1st percentile), mean, p99 and max; an infinite ratio is written as 1e30.
    """
    summary: dict[str, Any] = {"points": len(mesh.points), "tets": len(mesh.tets)}
    quality = tet_quality(mesh.points, mesh.tets)
    summary["total_volume"] = float(quality["volume"].sum())
    for name, values in quality.items():
        if not len(values):
            continue
        finite = np.minimum(values, _UNBOUNDED)
        summary[name] = {
            "min": float(finite.min()),
            "p01": float(np.percentile(finite, 1)),
            "mean": float(finite.mean()),
            "p99": float(np.percentile(finite, 99)),
            "max": float(finite.max()),
        }
    return summary
