"""Vertex positions on decided faces: least squares to the sample planes, and borders moved out to their
samples.

With the faces decided, the expected Chamfer distance from samples to surface has the quadratic model

    sum_i (n_i . (sum_k b_ik v_k - p_i))^2 + sum_v w_v (mu |x_v|^2 - (mu - nu) (m_v . x_v)^2),    x_v the move
    of vertex v

where b_i are the barycentric coordinates of the point of the surface closest to sample p_i, constant by the
envelope theorem; moves along the vertex normal m_v are damped by nu, others by mu > nu. It is minimised by
conjugate gradients without forming the matrix. Moves are undone where they would fold a face or make two
faces intersect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.dmesh.extraction import face_normals
from pipeline.dmesh.placement import cell_sum
from pipeline.metrics.surface import self_intersecting_faces
from pipeline.points.border_samples import BorderSamples
from pipeline.points.neighbors import nearest_neighbors
from pipeline.points.sample_planes import SamplePlanes
from pipeline.surface_query import SurfaceQuery
from pipeline.topology import boundary_edges, components, simplex_edges
from pipeline.types import Indices, Points

_TOLERANCE = 1e-3
_CG_STEPS = 60


@dataclass
class RefinementConfig:
    """Least-squares fit of the vertices to the samples on decided faces."""

    rounds: int = 2
    """Rounds before coarsening."""
    damping: float = 0.02
    """Pull of a vertex back along the surface, relative to the samples."""
    normal_damping: float = 0.005
    """Pull of a vertex back along its normal."""
    chamfer_iterations: int = 0
    """Steps down the expected Chamfer loss on decided faces, after the rounds before coarsening: 200 bring
    creases and surface nearer to the samples, for about twice the time."""
    final_rounds: int = 3
    """Rounds after coarsening, each with edge flips; one is kept where it brings the samples nearer."""
    final_damping: float = 0.05
    """Pull of a vertex back along the surface in those rounds."""
    noise_damping: float = 0.2
    """Pull of a vertex back along the surface in all rounds where samples had to be denoised."""
    samples_per_vertex: float = 2.0
    """Samples behind one vertex, at least, once the faces are decided; fewer than there are before."""

    def __post_init__(self) -> None:
        for name in ("rounds", "chamfer_iterations", "final_rounds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("damping", "normal_damping", "final_damping", "noise_damping", "samples_per_vertex"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")


@dataclass(frozen=True)
class Refined:
    """Result of a refinement round."""

    points: Points
    distance: float
    """Mean distance of the samples from the surface before the round."""


def refine_positions(
    points: Points,
    faces: Indices,
    samples: Points,
    planes: SamplePlanes,
    border: BorderSamples,
    *,
    damping: float,
    normal_damping: float,
    largest_step: float,
    closest: Closest | None = None,
    device: str = "cpu",
) -> Refined:
    """Take one least-squares step.

    Args:
        points: Vertices, shape (n, d).
        faces: Vertex indices, shape (f, d).
        samples: Positions, shape (m, d).
        border: Samples that also pull the vertices of their face along the conormal.
        damping: mu of moves along the surface; w is the squared barycentric weight a vertex carries, and a
            fifth
            of the mean.
        normal_damping: mu of moves along the mean normal of the faces at a vertex: the fit decides those.
        largest_step: Longest move in units of the shortest edge at the vertex.
        closest: Closest points of the samples where they are known.
    """
    n, d = points.shape
    if closest is None:
        closest = closest_on_faces(points, faces, samples, device)
    pulls = ((planes.normals, np.arange(len(samples))), (border.conormals, border.index))
    rows = [plane_rows(faces, closest, directions, index, n) for directions, index in pulls]
    blocks = sum(diagonal_blocks(faces, closest, directions, index, n) for directions, index in pulls)
    residuals = [
        np.einsum("ij,ij->i", planes.normals, samples - closest.point),
        np.einsum("ij,ij->i", border.conormals, (samples - closest.point)[border.index]),
    ]
    matrix, target = sp.vstack(rows).tocsr(), np.concatenate(residuals)
    corner = faces[closest.face]
    carried = np.bincount(corner.ravel(), (closest.barycentric**2).ravel(), n)
    weight = carried + 0.2 * carried.mean()
    normal = vertex_normals(points, faces)
    pull = damping * np.eye(d) + (normal_damping - damping) * normal[:, :, None] * normal[:, None, :]
    move = conjugate_gradient(matrix, target, weight[:, None, None] * pull, np.asarray(blocks))
    edges, _, _ = simplex_edges(faces)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    shortest = np.full(n, np.inf)
    np.minimum.at(shortest, edges.ravel(), np.repeat(length, 2))
    shortest[~np.isfinite(shortest)] = 0
    size = np.linalg.norm(move, axis=1)
    move *= np.minimum(1, largest_step * shortest / np.maximum(size, 1e-300))[:, None]
    moved = safe_move(points, move, faces, device)
    return Refined(moved, float(closest.distance.mean()))


def vertex_normals(points: Points, faces: Indices) -> Points:
    """Return unit normals of vertices, the mean of those of their faces by size, shape (n, d); 0 where there
    is none.

    The faces have to be oriented.
    """
    normal, size = face_normals(points, faces)
    weighted = np.repeat(normal * size[:, None], faces.shape[1], axis=0)
    total = cell_sum(faces.ravel(), weighted, len(points))
    return total / np.maximum(np.linalg.norm(total, axis=1), 1e-300)[:, None]


@dataclass(frozen=True)
class Closest:
    """Closest points of samples on faces: face (m,), barycentric (m, d), point (m, d), distance (m,)."""

    face: NDArray[np.integer]
    barycentric: NDArray[np.float64]
    point: Points
    distance: NDArray[np.float64]


def closest_on_faces(points: Points, faces: Indices, samples: Points, device: str = "cpu") -> Closest:
    """Find the closest point of triangles (3D) or segments (2D) to each sample."""
    if points.shape[1] == 3:
        hit = SurfaceQuery(points, faces, device).closest(samples)
        return Closest(hit.face, hit.barycentric, hit.point, hit.distance)
    return _closest_on_segments(points, faces, samples)


def _closest_on_segments(points: Points, faces: Indices, samples: Points) -> Closest:
    """Compare each sample with the segments whose middle is among the 8 nearest ones, weighted for length.

    Segments are cut into pieces no longer than the shortest quartile, so that middles stand for their
    segment.
    """
    a, b = points[faces[:, 0]], points[faces[:, 1]]
    length = np.linalg.norm(b - a, axis=1)
    pieces = np.maximum(1, np.ceil(length / max(np.quantile(length, 0.25), length.max() / 1000))).astype(
        np.int64
    )
    owner = np.repeat(np.arange(len(faces)), pieces)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    t = ((rank + 0.5) / pieces[owner])[:, None]
    near, _ = nearest_neighbors(a[owner] * (1 - t) + b[owner] * t, min(8, len(owner)), queries=samples)
    segment = owner[near]
    edge = (b - a)[segment]
    square = np.maximum((edge**2).sum(axis=2), 1e-300)
    s = np.clip(((samples[:, None] - a[segment]) * edge).sum(axis=2) / square, 0, 1)
    foot = a[segment] + s[..., None] * edge
    distance = np.linalg.norm(samples[:, None] - foot, axis=2)
    best = distance.argmin(axis=1)
    row = np.arange(len(samples))
    s_best = s[row, best]
    return Closest(
        segment[row, best], np.stack([1 - s_best, s_best], axis=1), foot[row, best], distance[row, best]
    )


def plane_rows(
    faces: Indices, closest: Closest, normals: Points, index: NDArray[np.integer], vertex_count: int
) -> sp.csr_matrix:
    """Return one row n . sum b_k v_k per sample of `index`; columns are interleaved coordinates."""
    m, d = len(index), normals.shape[1]
    corner = faces[closest.face[index]].astype(np.int64)
    column = corner[:, :, None] * d + np.arange(d)
    value = closest.barycentric[index][:, :, None] * normals[:, None, :]
    start = np.arange(0, m * d * d + 1, d * d)
    return sp.csr_matrix((value.ravel(), column.ravel(), start), shape=(m, vertex_count * d))


def diagonal_blocks(
    faces: Indices, closest: Closest, normals: Points, index: NDArray[np.integer], vertex_count: int
) -> NDArray[np.float64]:
    """Return sum b_k^2 n n^T of each vertex over the samples of `index`, shape (v, d, d)."""
    d = normals.shape[1]
    corner = faces[closest.face[index]].ravel()
    square = closest.barycentric[index] ** 2
    blocks = np.empty((vertex_count, d, d))
    for i in range(d):
        for j in range(i, d):
            entry = (square * (normals[:, i] * normals[:, j])[:, None]).ravel()
            blocks[:, i, j] = blocks[:, j, i] = np.bincount(corner, entry, vertex_count)
    return blocks


def conjugate_gradient(
    matrix: sp.csr_matrix,
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    blocks: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise |M x - target|^2 + x^T W x from 0.

    Args:
        weight: W, one block per vertex, shape (v, d, d).
        blocks: Of the diagonal of M^T M, which with W precondition the steps, shape (v, d, d).

    Sums of products are `einsum`, as threads of a linear algebra library cost more than they bring here.
    """
    transposed = matrix.T.tocsr()
    tiny = 1e-12 * max(float(np.abs(blocks).max(initial=0)), 1e-280)
    inverse = np.linalg.inv(blocks + weight + tiny * np.eye(weight.shape[1]))
    x = np.zeros(weight.shape[:2])
    residual = (transposed @ target).reshape(x.shape)
    search = z = np.einsum("vij,vj->vi", inverse, residual)
    rho = float(np.einsum("vi,vi->", residual, z))
    goal = _TOLERANCE**2 * rho
    for _ in range(_CG_STEPS):
        if rho <= goal or rho == 0:
            break
        image = (transposed @ (matrix @ search.ravel())).reshape(x.shape)
        image += np.einsum("vij,vj->vi", weight, search)
        alpha = rho / float(np.einsum("vi,vi->", search, image))
        x += alpha * search
        residual = residual - alpha * image
        z = np.einsum("vij,vj->vi", inverse, residual)
        rho, before = float(np.einsum("vi,vi->", residual, z)), rho
        search = z + rho / before * search
    return x


def safe_move(points: Points, move: Points, faces: Indices, device: str = "cpu") -> Points:
    """Move vertices, but shorten and at last drop moves that turn a triangle by more than 75 degrees or
    intersect.

    Faces that intersect before the move do not count. In 2D every move is taken.
    """
    if points.shape[1] == 2 or not len(faces):
        return points + move
    before, _ = face_normals(points, faces)
    known = np.zeros(len(faces), dtype=bool)
    ignored = known.copy()
    factor = np.ones(len(points))
    changed = None
    for attempt in range(8):
        moved = points + factor[:, None] * move
        after, _ = face_normals(moved, faces)
        bad = self_intersecting_faces(moved, faces, changed, device)
        # Only faces that intersect now are asked whether they did before.
        fresh = np.flatnonzero(bad & ~known)
        known[fresh] = True
        ignored[fresh] = self_intersecting_faces(points, faces, fresh, device)[fresh]
        bad &= ~ignored
        bad |= np.einsum("ij,ij->i", before, after) < 0.25
        if not bad.any():
            return moved
        shortened = np.zeros(len(points), dtype=bool)
        shortened[faces[bad]] = True
        factor[shortened] *= 0.5 if attempt < 3 else 0.0
        # Two faces that stay where they are did not intersect: their vertices would have been shortened.
        changed = np.flatnonzero(shortened[faces].any(axis=1))
    return points.copy()


def snap_border(
    points: Points, faces: Indices, samples: Points, planes: SamplePlanes, device: str = "cpu"
) -> Points:
    """Move the vertices of long borders along their conormal out to the outermost samples.

    A vertex of a loop of at least 10 edges, without samples beyond it, moves to max_i c . (p_i - v) plus the
    expected distance of the border from its outermost sample, 1 / (density * window); |move| is at most 0.35
    edges.
    """
    half = boundary_edges(faces)
    if not len(half):
        return points
    n = len(points)
    edges, _, uses = simplex_edges(faces)
    label = components(half, 1)
    long = np.bincount(label)[label] >= 10
    half = half[long]
    if not len(half):
        return points
    conormal = border_conormals(points, faces)[long]
    length = np.linalg.norm(points[half[:, 1]] - points[half[:, 0]], axis=1)
    both = half.T.ravel()
    degree = np.bincount(both, minlength=n)
    total = np.stack([np.bincount(both, np.tile(conormal[:, k], 2), n) for k in range(3)], axis=1)
    size = np.linalg.norm(total, axis=1)
    junction = np.zeros(n, dtype=bool)
    junction[edges[uses > 2].ravel()] = True
    # A sharp corner of the border has conormals that cancel: left alone.
    v = np.flatnonzero((degree == 2) & (size > 1.2) & ~junction)
    if not len(v):
        return points
    c = total[v] / size[v][:, None]
    edge = np.bincount(both, np.tile(length, 2), n)[v] / 2
    beyond = nearest_neighbors(samples, 1, queries=points[v] + 0.8 * edge[:, None] * c, device=device)[1][
        :, 0
    ]
    near, distance = nearest_neighbors(samples, min(32, len(samples)), queries=points[v], device=device)
    offset = samples[near] - points[v][:, None]
    normal = planes.normals[near[:, 0]]
    window = 0.8 * edge
    inside = (
        (distance < 1.3 * edge[:, None])
        & (np.abs(np.einsum("vkx,vx->vk", offset, np.cross(c, normal))) < window[:, None])
        & (np.abs(np.einsum("vkx,vx->vk", offset, normal)) < 0.25 * edge[:, None])
    )
    outermost = np.where(inside, np.einsum("vkx,vx->vk", offset, c), -np.inf).max(axis=1)
    area = face_normals(points, faces)[1].sum()
    step = outermost + area / (len(samples) * 2 * window)
    ok = (inside.sum(axis=1) >= 5) & (beyond >= 0.4 * edge)
    move = np.zeros_like(points)
    move[v[ok]] = c[ok] * np.clip(step, -0.35 * edge, 0.35 * edge)[ok][:, None]
    return safe_move(points, move, faces, device)


def border_conormals(points: Points, faces: Indices) -> Points:
    """Return unit vectors that leave the surface across the half edges of `boundary_edges`, shape (b, 3)."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    apex = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    _, face_edges, uses = simplex_edges(faces)
    # simplex_edges lists the corner pairs 01, 02, 12; the half edges here are 01, 12, 20.
    edge = np.concatenate([face_edges[:, 0], face_edges[:, 2], face_edges[:, 1]])
    single = uses[edge] == 1
    a, b, o = points[half[single, 0]], points[half[single, 1]], points[apex[single]]
    along = (b - a) / np.maximum(np.linalg.norm(b - a, axis=1), 1e-300)[:, None]
    out = a - o
    out -= np.einsum("ij,ij->i", out, along)[:, None] * along
    return out / np.maximum(np.linalg.norm(out, axis=1), 1e-300)[:, None]
