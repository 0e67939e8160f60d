"""See a scene from a camera: rays against triangles, points as small spheres, openness to the sky.

All lengths are in scene units; the caller brings the scene to about unit size, because this is float32.
A pixel (x, y) counts from the upper left corner, its centre is (x + 1/2, y + 1/2), and its ray is

    d = forward + (x + 1/2 - width/2) / focal * right - (y + 1/2 - height/2) / focal * up

with unit right, up, forward, so that the ray parameter of d is the depth along `forward`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp

wp.set_module_options({"enable_backward": False})

FAR = 1.0e6
DEPTH_STEPS = wp.constant(float(2.0**22))
NO_POINT = wp.constant(wp.int64(2**62))
INDEX_BITS = wp.constant(wp.int64(32))


@wp.struct
class Camera:
    """A pinhole camera without distortion."""

    eye: wp.vec3
    right: wp.vec3
    up: wp.vec3
    forward: wp.vec3
    focal: float
    width: int
    height: int


@dataclass(frozen=True)
class Hits:
    """What each pixel sees; every array has shape (height, width)."""

    item: wp.array
    """Index of the triangle or point, -1 for nothing."""
    weights: wp.array
    """Barycentric weights of the hit (triangles), or its outward sphere normal (points); vec3."""
    depth: wp.array
    """Depth along the forward axis; FAR for nothing."""
    edge_distance: wp.array
    """Distance to the nearest edge of the triangle [pixels], signed by facing: negative on a back face."""


@wp.func
def pixel_ray(camera: Camera, x: float, y: float):
    u = (x - 0.5 * float(camera.width)) / camera.focal
    v = (y - 0.5 * float(camera.height)) / camera.focal
    return camera.forward + u * camera.right - v * camera.up


@wp.func
def project(camera: Camera, p: wp.vec3):
    """Pixel coordinates and depth of a point."""
    q = p - camera.eye
    z = wp.dot(q, camera.forward)
    s = camera.focal / wp.max(z, 1.0e-6)
    return wp.vec3(
        0.5 * float(camera.width) + s * wp.dot(q, camera.right),
        0.5 * float(camera.height) - s * wp.dot(q, camera.up),
        z,
    )


@wp.func
def segment_distance(x: float, y: float, a: wp.vec3, b: wp.vec3):
    """Distance of a pixel to the segment a, b on the screen."""
    ex = b[0] - a[0]
    ey = b[1] - a[1]
    dx = x - a[0]
    dy = y - a[1]
    s = wp.clamp((dx * ex + dy * ey) / wp.max(ex * ex + ey * ey, 1.0e-12), 0.0, 1.0)
    fx = dx - s * ex
    fy = dy - s * ey
    return wp.sqrt(fx * fx + fy * fy)


@wp.kernel
def cast_kernel(
    mesh: wp.uint64,
    camera: Camera,
    item: wp.array2d[wp.int32],
    weights: wp.array2d[wp.vec3],
    depth: wp.array2d[float],
    edge_distance: wp.array2d[float],
):
    row, column = wp.tid()
    x = float(column) + 0.5
    y = float(row) + 0.5
    direction = wp.normalize(pixel_ray(camera, x, y))
    item[row, column] = -1
    depth[row, column] = 1.0e6
    hit = wp.mesh_query_ray(mesh, camera.eye, direction, 1.0e6)
    if hit.result:
        f = hit.face
        item[row, column] = f
        weights[row, column] = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
        depth[row, column] = hit.t * wp.dot(direction, camera.forward)
        a = project(camera, wp.mesh_eval_position(mesh, f, 1.0, 0.0))
        b = project(camera, wp.mesh_eval_position(mesh, f, 0.0, 1.0))
        c = project(camera, wp.mesh_eval_position(mesh, f, 0.0, 0.0))
        nearest = wp.min(
            segment_distance(x, y, a, b), wp.min(segment_distance(x, y, b, c), segment_distance(x, y, c, a))
        )
        # A back face keeps its sign even where the edge distance is zero.
        edge_distance[row, column] = wp.where(wp.dot(hit.normal, direction) > 0.0, -nearest - 1.0e-6, nearest)


@wp.kernel
def splat_kernel(
    points: wp.array[wp.vec3],
    radius: float,
    near: float,
    far: float,
    camera: Camera,
    key: wp.array2d[wp.int64],
):
    """Keep, per pixel, the smallest (depth, index): the order of the threads does not matter."""
    p = wp.tid()
    c = project(camera, points[p])
    if c[2] <= near:
        return
    r = wp.max(radius * camera.focal / c[2], 0.75)
    x0 = wp.max(0, int(wp.floor(c[0] - r)))
    x1 = wp.min(camera.width - 1, int(wp.ceil(c[0] + r)))
    y0 = wp.max(0, int(wp.floor(c[1] - r)))
    y1 = wp.min(camera.height - 1, int(wp.ceil(c[1] + r)))
    for row in range(y0, y1 + 1):
        for column in range(x0, x1 + 1):
            dx = (float(column) + 0.5 - c[0]) / r
            dy = (float(row) + 0.5 - c[1]) / r
            inside = 1.0 - dx * dx - dy * dy
            if inside >= 0.0:
                z = c[2] - radius * wp.sqrt(inside)
                step = wp.int64(wp.clamp((z - near) / (far - near), 0.0, 1.0) * DEPTH_STEPS)
                wp.atomic_min(key, row, column, wp.lshift(step, INDEX_BITS) + wp.int64(p))


@wp.kernel
def resolve_kernel(
    points: wp.array[wp.vec3],
    radius: float,
    camera: Camera,
    key: wp.array2d[wp.int64],
    item: wp.array2d[wp.int32],
    weights: wp.array2d[wp.vec3],
    depth: wp.array2d[float],
):
    row, column = wp.tid()
    item[row, column] = -1
    depth[row, column] = 1.0e6
    k = key[row, column]
    if k < NO_POINT:
        p = wp.int32(k - wp.lshift(wp.rshift(k, INDEX_BITS), INDEX_BITS))
        c = project(camera, points[p])
        r = wp.max(radius * camera.focal / c[2], 0.75)
        dx = (float(column) + 0.5 - c[0]) / r
        dy = (float(row) + 0.5 - c[1]) / r
        h = wp.sqrt(wp.max(1.0 - dx * dx - dy * dy, 0.0))
        item[row, column] = p
        depth[row, column] = c[2] - radius * h
        weights[row, column] = dx * camera.right - dy * camera.up - h * camera.forward


@wp.func
def to_frame(n: wp.vec3, d: wp.vec3):
    """Turn direction d from the frame whose z axis is n (Duff et al. 2017, a basis without branches)."""
    s = wp.where(n[2] >= 0.0, 1.0, -1.0)
    a = -1.0 / (s + n[2])
    b = n[0] * n[1] * a
    t1 = wp.vec3(1.0 + s * n[0] * n[0] * a, s * b, -s * n[0])
    t2 = wp.vec3(b, s + n[1] * n[1] * a, -n[1])
    return d[0] * t1 + d[1] * t2 + d[2] * n


@wp.kernel
def openness_kernel(
    mesh: wp.uint64,
    points: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    directions: wp.array[wp.vec3],
    reach: float,
    lift: float,
    out: wp.array[float],
):
    p = wp.tid()
    n = normals[p]
    start = points[p] + lift * n
    free = float(0.0)
    for k in range(directions.shape[0]):
        if not wp.mesh_query_ray_anyhit(mesh, start, to_frame(n, directions[k]), reach):
            free += 1.0
    out[p] = free / float(directions.shape[0])


def cast_rays(mesh: wp.Mesh, camera: Camera) -> Hits:
    """Find the nearest triangle of every pixel."""
    hits = _empty(camera, mesh.device)
    wp.launch(
        cast_kernel,
        dim=(camera.height, camera.width),
        inputs=[mesh.id, camera],
        outputs=[hits.item, hits.weights, hits.depth, hits.edge_distance],
        device=mesh.device,
    )
    return hits


def splat_points(points: wp.array, radius: float, camera: Camera, near: float, far: float) -> Hits:
    """Draw every point as a sphere of `radius` (at least 0.75 pixels) into a depth buffer.

    Args:
        points: Positions, vec3, shape (n,).
        near, far: Depth range that holds the scene; depths are compared in steps of (far - near) / 2**22,
            ties go to the lower index.
    """
    if not 0.0 < near < far:
        raise ValueError(f"near, far: expected 0 < near < far, got {near}, {far}")
    device = points.device
    hits = _empty(camera, device)
    shape = (camera.height, camera.width)
    key = wp.full(shape, value=2**62, dtype=wp.int64, device=device)
    wp.launch(
        splat_kernel,
        dim=len(points),
        inputs=[points, radius, near, far, camera],
        outputs=[key],
        device=device,
    )
    wp.launch(
        resolve_kernel,
        dim=shape,
        inputs=[points, radius, camera, key],
        outputs=[hits.item, hits.weights, hits.depth],
        device=device,
    )
    return hits


def openness(
    mesh: wp.Mesh, points: wp.array, normals: wp.array, reach: float, lift: float, rays: int = 48
) -> wp.array:
    """Measure how much of the cosine-weighted half space over each point is free of the mesh within `reach`.

    Args:
        points, normals: Positions and unit normals, vec3, shape (n,).
        lift: Rays start this far along the normal, so that they do not hit the surface they leave.

    Returns:
        Free fraction in [0, 1], shape (n,): 1 is open, 0 is enclosed.
    """
    directions = wp.array(half_sphere(rays), dtype=wp.vec3, device=mesh.device)
    out = wp.empty(len(points), dtype=float, device=mesh.device)
    wp.launch(
        openness_kernel,
        dim=len(points),
        inputs=[mesh.id, points, normals, directions, reach, lift],
        outputs=[out],
        device=mesh.device,
    )
    return out


def half_sphere(count: int) -> np.ndarray:
    """Return `count` cosine-distributed unit directions around +z, shape (count, 3): a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    r = np.sqrt(k / count)
    return np.stack([r * np.cos(angle), r * np.sin(angle), np.sqrt(1.0 - r * r)], axis=1).astype(np.float32)


def _empty(camera: Camera, device) -> Hits:
    shape = (camera.height, camera.width)
    return Hits(
        item=wp.empty(shape, dtype=wp.int32, device=device),
        weights=wp.zeros(shape, dtype=wp.vec3, device=device),
        depth=wp.empty(shape, dtype=float, device=device),
        edge_distance=wp.zeros(shape, dtype=float, device=device),
    )
