"""Planes through the neighbourhoods of samples: principal component fit and best patch. 2D and 3D, float64.

Fit, over a sample and its k nearest neighbours x_j (m points in all):

    c = mean x_j,   C = sum (x_j - c)(x_j - c)^T,   n = eigenvector of the least eigenvalue e,   residual =
    sqrt(e / m)

Best patch: a fitted plane averages over a crease, but some neighbour's patch lies on one side of it. Sample p
takes the plane of the neighbour j (or its own) that minimises

    residual_j + |n_j . (p - c_j)| + (bonus if j is not p)

so that normals stay sharp up to the crease.

Source: facts of the project's own experiments, docs/algorithms/reconstruction.md; the fit is Hoppe et al.
1992.
"""

from __future__ import annotations

from typing import Any

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def least_eigenpair(m: wp.mat22d):
    """Return the unit eigenvector of the least eigenvalue of a symmetric matrix, and the eigenvalue."""
    half = wp.float64(0.5)
    mean = half * (m[0, 0] + m[1, 1])
    d = half * (m[0, 0] - m[1, 1])
    root = wp.sqrt(d * d + m[0, 1] * m[0, 1])
    # Both rows of m - (mean + root) I are parallel to the wanted eigenvector; the longer one is safe.
    v = wp.vec2d(d - root, m[0, 1])
    w = wp.vec2d(m[0, 1], -d - root)
    if wp.dot(w, w) > wp.dot(v, v):
        v = w
    if wp.dot(v, v) == wp.float64(0.0):
        v = wp.vec2d(wp.float64(0.0), wp.float64(1.0))
    return wp.normalize(v), mean - root


@wp.func
def least_eigenpair(m: wp.mat33d):
    q, e = wp.eig3(m)
    k = int(0)
    if e[1] < e[k]:
        k = 1
    if e[2] < e[k]:
        k = 2
    return wp.normalize(wp.vec3d(q[0, k], q[1, k], q[2, k])), e[k]


@wp.kernel
def plane_fit_kernel(
    points: wp.array[Any],
    neighbors: wp.array2d[wp.int32],
    neighbor_count: int,
    normals: wp.array[Any],
    centers: wp.array[Any],
    residuals: wp.array[wp.float64],
):
    p = wp.tid()
    x = points[p]
    offset = x - x
    count = wp.float64(1.0)
    for s in range(neighbor_count):
        j = neighbors[p, s]
        if j >= 0:
            offset += points[j] - x
            count += wp.float64(1.0)
    c = x + offset / count
    covariance = wp.outer(x - c, x - c)
    for s in range(neighbor_count):
        j = neighbors[p, s]
        if j >= 0:
            covariance += wp.outer(points[j] - c, points[j] - c)
    # Scaled to trace 1: the eigenvalue iteration works with absolute tolerances.
    trace = wp.max(wp.trace(covariance), wp.float64(1.0e-300))
    n, e = least_eigenpair(covariance / trace)
    normals[p] = n
    centers[p] = c
    residuals[p] = wp.sqrt(wp.max(e, wp.float64(0.0)) * trace / count)


@wp.kernel
def best_patch_kernel(
    points: wp.array[Any],
    neighbors: wp.array2d[wp.int32],
    neighbor_count: int,
    normals: wp.array[Any],
    centers: wp.array[Any],
    residuals: wp.array[wp.float64],
    bonus: wp.float64,
    patch: wp.array[wp.int32],
):
    p = wp.tid()
    x = points[p]
    best = int(p)
    least = residuals[p] + wp.abs(wp.dot(normals[p], x - centers[p]))
    for s in range(neighbor_count):
        j = neighbors[p, s]
        if j >= 0:
            cost = bonus + residuals[j]
            if cost < least:
                cost += wp.abs(wp.dot(normals[j], x - centers[j]))
                if cost < least:
                    least = cost
                    best = j
    patch[p] = best


_VECTORS = (wp.vec2d, wp.vec3d)
for _v in _VECTORS:
    wp.overload(
        plane_fit_kernel,
        [wp.array[_v], wp.array2d[wp.int32], int, wp.array[_v], wp.array[_v], wp.array[wp.float64]],
    )
    wp.overload(
        best_patch_kernel,
        [
            wp.array[_v],
            wp.array2d[wp.int32],
            int,
            wp.array[_v],
            wp.array[_v],
            wp.array[wp.float64],
            wp.float64,
            wp.array[wp.int32],
        ],
    )


def fit_planes(
    points: wp.array, neighbors: wp.array, neighbor_count: int
) -> tuple[wp.array, wp.array, wp.array]:
    """Fit a plane (a line in 2D) to every point and its nearest neighbours.

    Args:
        points: Positions, shape (n,), vec2d or vec3d.
        neighbors: Rows of neighbours without the point itself, nearest first, -1 where missing, shape (n, k).
        neighbor_count: How many columns to use, at most k.

    Returns:
        Unit normals (n,), centres (n,) and root mean square residuals (n,).
    """
    _check(points, neighbors, neighbor_count)
    normals = wp.empty_like(points)
    centers = wp.empty_like(points)
    residuals = wp.empty(len(points), dtype=wp.float64, device=points.device)
    wp.launch(
        plane_fit_kernel,
        dim=len(points),
        inputs=[points, neighbors, neighbor_count],
        outputs=[normals, centers, residuals],
        device=points.device,
    )
    return normals, centers, residuals


def best_patch(
    points: wp.array,
    neighbors: wp.array,
    neighbor_count: int,
    normals: wp.array,
    centers: wp.array,
    residuals: wp.array,
    bonus: float,
) -> wp.array:
    """Choose for every point the neighbour whose plane explains it best; the point itself is favoured by
    `bonus`.

    Args as returned by `fit_planes`; `bonus` is a length. Returns point indices, shape (n,), int32.
    """
    _check(points, neighbors, neighbor_count)
    patch = wp.empty(len(points), dtype=wp.int32, device=points.device)
    wp.launch(
        best_patch_kernel,
        dim=len(points),
        inputs=[points, neighbors, neighbor_count, normals, centers, residuals, wp.float64(bonus)],
        outputs=[patch],
        device=points.device,
    )
    return patch


def _check(points: wp.array, neighbors: wp.array, neighbor_count: int) -> None:
    if points.dtype not in _VECTORS:
        raise TypeError(f"points: expected vec2d or vec3d, got {points.dtype.__name__}")
    if neighbors.ndim != 2 or neighbors.shape[0] != len(points) or neighbors.shape[1] < neighbor_count:
        raise ValueError(
            f"neighbors: expected ({len(points)}, at least {neighbor_count}), got {tuple(neighbors.shape)}"
        )
