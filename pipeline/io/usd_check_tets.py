"""Check one TetMesh prim: indices, orientation, volumes, duplicates, surface, pieces, and its subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.topology import boundary_faces, components, unique_rows

if TYPE_CHECKING:
    from pipeline.io.usd_check import Findings

SLIVER = 1e-3
"""Volume over that of the regular tet with edges of the same root mean square; below it: a warning."""
_FACES = ((1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1))
_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def check_tet_mesh(prim: Any, findings: Findings) -> dict[str, Any] | None:
    """Check a TetMesh prim; returns its numbers, or None where its arrays cannot be used."""
    from pxr import UsdGeom

    tet_mesh = UsdGeom.TetMesh(prim)
    points = _rows(tet_mesh.GetPointsAttr(), np.float64, 3)
    tets = _rows(tet_mesh.GetTetVertexIndicesAttr(), np.int64, 4)
    if not len(points) or not len(tets):
        findings.error("no-tets", f"{len(points):,} points and {len(tets):,} tets", prim)
        return None
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        findings.error("points-not-finite", f"{len(bad):,} points are NaN or infinite", prim, bad)
        return None
    bad = np.flatnonzero(((tets < 0) | (tets >= len(points))).any(axis=1))
    if len(bad):
        findings.error(
            "index-out-of-range", f"{len(bad):,} tets name a point outside 0..{len(points) - 1}", prim, bad
        )
        return None
    left = tet_mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded
    if left:
        findings.warning(
            "left-handed", "orientation is leftHanded, which some readers ignore; write rightHanded", prim
        )
    _check_connectivity(prim, points, tets, findings)
    ratio = _check_volumes(prim, points, tets, -1.0 if left else 1.0, findings)
    faces = _check_surface(prim, points, tets, left, findings)
    _check_transform(prim, findings)
    volume = (-1.0 if left else 1.0) * _six_volumes(points, tets).sum() / 6.0
    return {
        "prim": str(prim.GetPath()),
        "points": len(points),
        "tets": len(tets),
        "surface_faces": faces,
        "pieces": int(components(tets.astype(np.int32), 3).max()) + 1,
        "volume": float(volume),
        "smallest_volume_ratio": float(ratio.min()),
    }


def check_subsets(prim: Any, findings: Findings) -> None:
    """Subsets below a TetMesh or a Mesh: kind of element, range, repeats, overlaps within a partition."""
    from pxr import UsdGeom

    tokens = UsdGeom.Tokens
    sizes = {tokens.point: len(UsdGeom.PointBased(prim).GetPointsAttr().Get() or [])}
    if prim.IsA(UsdGeom.TetMesh):
        tet_mesh = UsdGeom.TetMesh(prim)
        sizes[tokens.tetrahedron] = len(tet_mesh.GetTetVertexIndicesAttr().Get() or [])
        sizes[tokens.face] = len(tet_mesh.GetSurfaceFaceVertexIndicesAttr().Get() or [])
    else:
        sizes[tokens.face] = len(UsdGeom.Mesh(prim).GetFaceVertexCountsAttr().Get() or [])
    claimed: dict[tuple[str, str], NDArray[np.int64]] = {}
    for child in prim.GetChildren():
        if not child.IsA(UsdGeom.Subset):
            continue
        subset = UsdGeom.Subset(child)
        kind, family = subset.GetElementTypeAttr().Get(), str(subset.GetFamilyNameAttr().Get() or "")
        rows = np.asarray(subset.GetIndicesAttr().Get() or [], dtype=np.int64)
        if kind not in sizes:
            if prim.IsA(UsdGeom.TetMesh):
                findings.error("subset-kind", f"elementType {kind} does not fit a TetMesh", child)
            continue
        outside = rows[(rows < 0) | (rows >= sizes[kind])]
        if len(outside):
            findings.error("subset-range", f"{len(outside):,} indices outside 0..{sizes[kind] - 1}", child)
        elif len(np.unique(rows)) < len(rows):
            findings.error("subset-repeats", "an index stands in it twice", child)
        family_type = UsdGeom.Subset.GetFamilyType(UsdGeom.Imageable(prim), family) if family else ""
        if family_type in (tokens.partition, tokens.nonOverlapping):
            earlier = claimed.get((family, kind), np.zeros(0, dtype=np.int64))
            both = np.intersect1d(earlier, rows)
            if len(both):
                findings.error(
                    "subset-overlap", f"shares {len(both):,} with its family {family}", child, both
                )
            claimed[family, kind] = np.concatenate([earlier, rows])


def _check_connectivity(
    prim: Any, points: NDArray[np.float64], tets: NDArray[np.int64], findings: Findings
) -> None:
    ordered = np.sort(tets, axis=1)
    bad = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(bad):
        findings.error("repeated-vertex", f"{len(bad):,} tets use a point twice", prim, bad)
    _, inverse, count = unique_rows(tets.astype(np.int32))
    bad = np.flatnonzero(count[inverse] > 1)
    if len(bad):
        findings.error("duplicate-tets", f"{len(bad):,} tets share all four points with another", prim, bad)
    faces = tets[:, _FACES].reshape(-1, 3)
    _, inverse, count = unique_rows(faces.astype(np.int32))
    if (count > 2).any():
        bad = np.unique(np.flatnonzero(count[inverse] > 2) // 4)
        findings.error(
            "shared-face", f"{int((count > 2).sum()):,} faces lie in more than two tets", prim, bad
        )
    unused = np.setdiff1d(np.arange(len(points)), tets)
    if len(unused):
        findings.warning(
            "unused-points", f"{len(unused):,} points of no tet: particles without mass", prim, unused
        )
    _, first, count = np.unique(points, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        findings.warning(
            "coincident-points",
            f"{int((count - 1).sum()):,} points lie on another: the parts there are not joined",
            prim,
            first[count > 1],
        )


def _check_volumes(
    prim: Any, points: NDArray[np.float64], tets: NDArray[np.int64], sign: float, findings: Findings
) -> NDArray[np.float64]:
    """Orientation in double and single precision, and slivers; returns the relative volume of each tet."""
    volume = sign * _six_volumes(points, tets)
    corner = points[tets]
    squared = sum(np.sum((corner[:, j] - corner[:, i]) ** 2, axis=1) for i, j in _PAIRS) / 6.0
    ratio = np.sqrt(2.0) * volume / np.maximum(squared**1.5, np.finfo(float).tiny)
    bad = np.flatnonzero(volume <= 0)
    if len(bad):
        findings.error(
            "inverted-tets",
            f"{len(bad):,} of {len(tets):,} tets have no positive volume: Newton drops them",
            prim,
            bad,
        )
    single = sign * _six_volumes(points.astype(np.float32), tets)
    bad = np.flatnonzero((volume > 0) & ~(single > 0))
    if len(bad):
        findings.error(
            "inverted-in-single", f"{len(bad):,} tets are positive in double precision alone", prim, bad
        )
    bad = np.flatnonzero((volume > 0) & (ratio < SLIVER))
    if len(bad):
        findings.warning(
            "slivers",
            f"{len(bad):,} tets have a volume ratio below {SLIVER:g}",
            prim,
            bad[np.argsort(ratio[bad])],
        )
    return np.asarray(ratio)


def _check_surface(
    prim: Any, points: NDArray[np.float64], tets: NDArray[np.int64], left: bool, findings: Findings
) -> int:
    """Compare the surface faces with the boundary of the tets; returns the number of boundary faces."""
    from pxr import UsdGeom

    right = tets[:, [0, 2, 1, 3]] if left else tets
    boundary = boundary_faces(right.astype(np.int32))[0].astype(np.int64)
    surface = _rows(UsdGeom.TetMesh(prim).GetSurfaceFaceVertexIndicesAttr(), np.int64, 3)
    if not len(surface):
        findings.error("no-surface-faces", "surfaceFaceVertexIndices is missing: it will not be drawn", prim)
    elif ((surface < 0) | (surface >= len(points))).any():
        findings.error("surface-index", "surfaceFaceVertexIndices names points that are not there", prim)
    else:
        expected, found = _face_set(np.sort(boundary, axis=1)), _face_set(np.sort(surface, axis=1))
        if expected != found or len(surface) != len(found):
            findings.error(
                "surface-faces",
                f"surfaceFaceVertexIndices is not the boundary: {len(expected - found):,} faces are missing, "
                f"{len(found - expected) + len(surface) - len(found):,} too many",
                prim,
            )
        elif _face_set(_rotated(boundary)) != _face_set(_rotated(surface)):
            wrong = len(_face_set(_rotated(surface)) - _face_set(_rotated(boundary)))
            findings.error("surface-winding", f"{wrong:,} surface faces wind inwards", prim)
    return len(boundary)


def _check_transform(prim: Any, findings: Findings) -> None:
    from pxr import UsdGeom

    matrix = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(prim))[:3, :3]
    if np.linalg.det(matrix) < 0:
        findings.warning("mirrored", "the transform mirrors the mesh; apply it to the points", prim)
    elif not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5):
        findings.warning("scaled", "the transform scales the mesh; apply it to the points", prim)


def _rows(attribute: Any, dtype: Any, width: int) -> NDArray[Any]:
    """Values at the default time, else at the first sample, shape (k, width); empty where they do not fit."""
    value = attribute.Get()
    if value is None and attribute.GetNumTimeSamples():
        value = attribute.Get(attribute.GetTimeSamples()[0])
    array = np.asarray([] if value is None else value, dtype=dtype).ravel()
    return array.reshape(-1, width) if len(array) % width == 0 else np.zeros((0, width), dtype)


def _rotated(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces turned so that the smallest index leads; the winding stays."""
    first = np.argmin(faces, axis=1)[:, None]
    return np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1)


def _face_set(faces: NDArray[np.int64]) -> set[tuple[int, ...]]:
    return set(map(tuple, faces.tolist()))


def _six_volumes(points: NDArray[Any], tets: NDArray[np.int64]) -> NDArray[Any]:
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)
