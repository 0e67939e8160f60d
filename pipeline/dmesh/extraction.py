"""Faces from placed vertices: minimum-ball candidates, their support by the samples, and the greedy choice.

The score of a candidate joins its minimum-ball margin m = (d - R) / R (d: distance of the ball centre to the
nearest other vertex, R: ball radius) with a face-level real value from the samples:

    score = m - 3 e / R - 0.1 gap - 1.5 (1 - a)

e is the mean distance of 7 places of the face (2D: 5) from the planes of their nearest samples, gap the
largest distance of such a place to a sample in units of the sample spacing, a the mean cosine between the
normals of face and samples. Without e and a, chords across creases survive; without the gap, lids over
openings do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.dmesh.candidate_faces import CandidateWorkspace
from pipeline.dmesh.junctions import Junctions
from pipeline.dmesh.polygons import EdgeKeys
from pipeline.dmesh.selection import SelectionConfig, select_faces
from pipeline.dmesh.tessellation import minimum_ball, signed_distance
from pipeline.points.neighbors import PointCells, checked_points, nearest_neighbors, to_device
from pipeline.points.sample_planes import SamplePlanes
from pipeline.points.sheets import margin_on_sheet, neighbors_on_sheet
from pipeline.types import Indices, Points
from warp_kernels.face_support import face_support

_TRIANGLE_PLACES = np.array(
    [[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [5, 5, 1], [5, 1, 5], [1, 5, 5]], float
)
_SEGMENT_PLACES = np.array([[1, 1], [3, 1], [1, 3], [7, 1], [1, 7]], float)
PLACES = {
    2: _SEGMENT_PLACES / _SEGMENT_PLACES.sum(axis=1, keepdims=True),
    3: _TRIANGLE_PLACES / _TRIANGLE_PLACES.sum(axis=1, keepdims=True),
}
"""Barycentric coordinates of the places of a face that are compared with the samples, by dimension."""
CHANCE_GAP = {2: 3.5, 3: 1.0}
"""Width of the gaps that random sampling leaves by chance, relative to a surface."""
_NEAREST_SAMPLES = 3
_LINK_SAMPLES = 9
"""Nearest samples of a place of a face on a junction line, where many of them lie on other sheets."""
_SPACING_NEIGHBORS = 6
_CHUNK = 1 << 17
"""Faces whose samples are searched at a time."""


@dataclass(frozen=True)
class Support:
    """How well the samples support each face."""

    offset: NDArray[np.float64]
    """Mean distance of the places of a face from the planes of their nearest samples, shape (f,)."""
    gap: NDArray[np.float64]
    """Largest distance of a place to a sample in units of the spacing there and of `CHANCE_GAP`, shape (f,);
    the spacing is the typical one, or that of the sample where it is larger, so that sparse parts are
    supported too."""
    agreement: NDArray[np.float64]
    """Mean over places of the largest cosine between the normals of face and samples, shape (f,)."""


def face_normals(points: Points, faces: Indices) -> tuple[Points, NDArray[np.float64]]:
    """Return unit normals (f, d) and areas (3D) or lengths (2D), shape (f,); a flat face has the normal 0."""
    corners = points[faces]
    if points.shape[1] == 2:
        edge = corners[:, 1] - corners[:, 0]
        normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1)
        size = np.linalg.norm(normal, axis=1)
    else:
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(normal, axis=1)
    unit = normal / np.maximum(size, 1e-300)[:, None]
    return unit, size if points.shape[1] == 2 else size / 2


def measure_support(
    points: Points,
    faces: Indices,
    samples: Points,
    planes: SamplePlanes,
    device: str = "cpu",
    links: NDArray[np.int64] | None = None,
) -> Support:
    """Compare faces with the samples near them.

    Args:
        points: Vertices, shape (n, d).
        faces: Vertex indices, shape (f, d).
        samples: Positions of the samples that `planes` belongs to, shape (m, d).
        links: Edges on junction lines, shape (m, 2); faces there are compared with more samples.
    """
    compare = _Comparison(points, faces, samples, planes, device)
    support = compare.with_nearest(_NEAREST_SAMPLES, np.arange(len(faces)))
    if links is not None and len(links):
        at_link = np.flatnonzero(on_links(faces, links, len(points)).any(axis=1))
        part = compare.with_nearest(_LINK_SAMPLES, at_link)
        support.offset[at_link], support.agreement[at_link] = part.offset, part.agreement
    return support


class SupportMemory:
    """Support of triangles among vertices that stay, each measured once however often it is asked for."""

    def __init__(
        self,
        points: Points,
        samples: Points,
        planes: SamplePlanes,
        device: str = "cpu",
        links: NDArray[np.int64] | None = None,
    ) -> None:
        """Take what `measure_support` takes, but for the faces."""
        self._key = EdgeKeys(len(points))
        self._measure = partial(
            measure_support, points, samples=samples, planes=planes, device=device, links=links
        )
        self._keys = np.zeros(0, dtype=np.int64)
        self._known = np.zeros((3, 0))

    def of(self, faces: Indices) -> Support:
        """Return the support of faces whose vertices are sorted, shape (f, 3)."""
        keys = self._key.of_faces(faces)
        fresh = ~np.isin(keys, self._keys)
        if fresh.any():
            found = self._measure(faces=faces[fresh])
            all_keys = np.concatenate([self._keys, keys[fresh]])
            self._keys, first = np.unique(all_keys, return_index=True)
            columns = np.stack([found.offset, found.gap, found.agreement])
            self._known = np.concatenate([self._known, columns], axis=1)[:, first]
        return Support(*self._known[:, np.searchsorted(self._keys, keys)])


def on_links(faces: Indices, links: NDArray[np.int64], vertex_count: int) -> NDArray[np.bool_]:
    """Mark the edges 01, 02, 12 of triangles that are links, shape (f, 3)."""
    low, high = np.sort(links, axis=1).T
    edges = np.sort(faces[:, [0, 1, 0, 2, 1, 2]].reshape(-1, 2), axis=1).astype(np.int64)
    key = edges[:, 0] * vertex_count + edges[:, 1]
    return np.asarray(np.isin(key, low * vertex_count + high)).reshape(-1, 3)


class _Comparison:
    """Faces and samples on the device, searched in chunks."""

    def __init__(
        self, points: Points, faces: Indices, samples: Points, planes: SamplePlanes, device: str
    ) -> None:
        self.points, self.faces, self.device = points, faces, device
        self.typical = planes.typical_spacing
        self.cells = PointCells(checked_points("samples", samples), device=device)
        self.samples, self.normals = to_device(samples, device), to_device(planes.normals, device)
        self.spacing: wp.array = wp.array(planes.spacing, dtype=wp.float64, device=device)

    def with_nearest(self, count: int, rows: NDArray[np.int64]) -> Support:
        """Compare the faces `rows` with the `count` samples nearest to each of their places."""
        parts = [self._chunk(count, rows[i : i + _CHUNK]) for i in range(0, max(len(rows), 1), _CHUNK)]
        return Support(*(np.concatenate(column) for column in zip(*parts)))

    def _chunk(self, count: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        faces, d = self.faces[rows], self.points.shape[1]
        places = to_device(
            np.einsum("wk,fkx->fwx", PLACES[d], self.points[faces]).reshape(-1, d), self.device
        )
        near, distance = self.cells.nearest(min(count, self.cells.count), places)
        normals = to_device(face_normals(self.points, faces)[0], self.device)
        offset, gap, agreement = face_support(
            places, normals, self.samples, self.normals, self.spacing, self.typical, near, distance
        )
        return offset.numpy(), gap.numpy() / CHANCE_GAP[d], agreement.numpy()


def extract_faces(
    points: Points,
    samples: Points,
    planes: SamplePlanes,
    config: SelectionConfig,
    device: str = "cpu",
    junctions: Junctions | None = None,
) -> tuple[Indices, dict[str, int]]:
    """Choose the faces of placed vertices; none passes a junction line between two of its vertices.

    Returns:
        Faces, shape (f, d), and counts: candidates, empty (no vertex inside the minimum ball), supported,
        chosen.
    """
    normals = None
    if planes.layered:
        nearest, _ = nearest_neighbors(samples, 1, queries=points, device=device)
        normals = np.ascontiguousarray(planes.normals[nearest[:, 0]])
    faces, margin, radius = find_candidates(points, config, device, normals)
    links = None
    if junctions is not None and len(junctions.links):
        links = junctions.links
        free = ~junctions.crossed_by(points, faces)
        faces, margin, radius = faces[free], margin[free], radius[free]
    support = measure_support(points, faces, samples, planes, device, links)
    ok = (
        (support.offset < config.largest_offset * radius)
        & (support.gap < config.largest_gap)
        & (support.agreement > config.least_agreement)
    )
    score = (
        margin
        - config.offset_weight * support.offset / radius
        - config.gap_weight * support.gap
        - config.agreement_weight * (1 - support.agreement)
    )
    chosen = select_faces(points, faces[ok], score[ok], config, links=links, device=device)
    counts = {
        "candidates": len(faces),
        "empty": int((margin > 0).sum()),
        "supported": int(ok.sum()),
        "chosen": int(chosen.sum()),
    }
    return faces[ok][chosen], counts


def find_candidates(
    points: Points, config: SelectionConfig, device: str = "cpu", normals: Points | None = None
) -> tuple[Indices, NDArray[np.float64], NDArray[np.float64]]:
    """Join vertices with their neighbours and keep faces whose minimum ball is nearly empty and not large.

    Args:
        points: Vertices, shape (n, d).
        normals: Unit normals of the vertices, shape (n, 3), where sheets nearly touch: then a vertex is
            joined with the neighbours on its sheet, and only those may lie in the ball.

    Returns:
        Faces (f, d), margin (d - R) / R and ball radius R, shape (f,).
    """
    n, d = points.shape
    k = min(config.neighbors, n - 1)
    if normals is None:
        near, distance = nearest_neighbors(points, k, device=device)
        spacing = distance[:, :_SPACING_NEIGHBORS].mean(axis=1)
    else:
        near, distance = neighbors_on_sheet(points, normals, k, device)
        ring = distance[:, :_SPACING_NEIGHBORS]
        found = np.isfinite(ring)
        spacing = np.where(found, ring, 0).sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    workspace = CandidateWorkspace(n, k, d, device)
    # A ball of the largest radius may hold a point as deep as this; deeper ones end the search early.
    reach = -config.least_margin * config.largest_radius
    faces = workspace.find(
        to_device(points, device),
        wp.array(_largest_around(near, spacing), dtype=wp.float64, device=device),
        wp.array(near, dtype=wp.int32, device=device),
        max(reach, 0.0),
    ).numpy()
    radius = minimum_ball(points, faces, device).radius
    small = radius < config.largest_radius * spacing[faces].max(axis=1)
    faces, radius = faces[small], radius[small]
    if normals is None:
        margin = signed_distance(points, faces, neighbors=(near, distance), device=device)[0] / radius
    else:
        margin = margin_on_sheet(points, normals, faces, near, device)
    keep = margin > config.least_margin
    return faces[keep], margin[keep], radius[keep]


def _largest_around(near: NDArray[np.int32], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest spacing within two steps along the lists, in either direction, shape (n,).

    The early end of the search compares with the mean over the corners of a face, the limit of the radius
    with the largest of them; two steps reach from any corner to all others, so that nothing is lost.
    """
    n, k = near.shape
    row = np.repeat(np.arange(n), k)[near.ravel() >= 0]
    other = near.ravel()[near.ravel() >= 0]
    for _ in range(2):
        largest = spacing.copy()
        np.maximum.at(largest, row, spacing[other])
        np.maximum.at(largest, other, spacing[row])
        spacing = largest
    return spacing
