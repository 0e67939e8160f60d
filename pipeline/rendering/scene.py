"""What every picture shares: unit scene, camera, lamps, openness, shadow on the ground, development."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from pipeline.rendering.camera import View
from pipeline.rendering.colormap import hex_to_rgb, to_linear, to_srgb
from warp_kernels import raycast, shading

Picture = NDArray[np.uint8]
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Style:
    """How a scene is lit and drawn."""

    edges: float = 0.55
    """Strength of the drawn edges in [0, 1]; 0 draws none."""
    edge_width: float = 0.9
    """Width of an edge [pixels]."""
    edge_color: str = "#1d2733"
    smooth: bool = False
    """Shade with vertex normals where all faces of a vertex are within 50 degrees of its normal."""
    shadow: float = 0.5
    """Strength of the shadow on the ground; 0 draws none."""
    fill: float = 0.10
    """Light from everywhere; more of it keeps the colours of a scale apart, less shows the shape."""
    rays: int = 48
    """Rays per corner that measure how open the surface is."""


def corner_normals(points: NDArray, faces: NDArray, crease: float) -> NDArray[np.float64]:
    """Return unit normals per corner, shape (f, 3, 3): of the face, or smoothed where the surface is smooth.

    Args:
        crease: A vertex is smooth when its normal is within this angle of those of all its faces [degrees];
            0 gives flat shading.
    """
    a, b, c = (points[faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    flat = area / np.maximum(np.linalg.norm(area, axis=1), 1e-300)[:, None]
    corners = np.repeat(flat[:, None], 3, axis=1)
    if crease <= 0:
        return corners
    vertex = np.zeros((len(points), 3))
    for k in range(3):
        for axis in range(3):
            vertex[:, axis] += np.bincount(faces[:, k], weights=area[:, axis], minlength=len(points))
    vertex /= np.maximum(np.linalg.norm(vertex, axis=1), 1e-300)[:, None]
    smooth = vertex[faces]
    bent = (smooth * corners).sum(axis=2) < np.cos(np.radians(crease))
    creased = np.zeros(len(points), dtype=bool)
    creased[faces[bent]] = True
    return np.where(creased[faces][..., None], corners, smooth)


def surface_openness(
    points: NDArray, faces: NDArray, *, reach: float = 0.35, rays: int = 48, device: str = "cpu"
) -> NDArray[np.float32]:
    """Measure at each vertex how open the surface is, shape (n,), in [0, 1]; `reach` in box diagonals."""
    center, scale = unit_box(points)
    p = (points - center) / scale
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    normals = corner_normals(p, faces, 180.0).reshape(-1, 3)
    vertex = np.tile([0.0, 0.0, 1.0], (len(p), 1))
    vertex[faces.reshape(-1)] = normals
    return openness(warp_mesh(p, faces, device), p, vertex, reach, rays)


def unit_box(points: NDArray) -> tuple[NDArray, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    return 0.5 * (low + high), diagonal if diagonal > 0 else 1.0


def warp_mesh(points: NDArray, faces: NDArray, device: str) -> wp.Mesh:
    return wp.Mesh(
        points=wp.array(points.astype(np.float32), dtype=wp.vec3, device=device),
        indices=wp.array(faces.reshape(-1), dtype=wp.int32, device=device),
    )


def warp_camera(view: View, center: NDArray, scale: float, size: tuple[int, int]) -> raycast.Camera:
    camera = raycast.Camera()
    camera.eye = wp.vec3(*((view.eye - center) / scale))
    camera.right, camera.up, camera.forward = wp.vec3(*view.right), wp.vec3(*view.up), wp.vec3(*view.forward)
    camera.width, camera.height = SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]
    camera.focal = view.focal * camera.height
    return camera


def lamps(view: View, style: Style) -> shading.Lamps:
    key = -0.55 * view.right + 0.75 * view.up - 0.62 * view.forward
    lights = shading.Lamps()
    lights.view = wp.vec3(*(-view.forward))
    lights.key = wp.vec3(*(key / np.linalg.norm(key)))
    lights.up = wp.vec3(0.0, 0.0, 1.0)
    lights.ambient, lights.sky = style.fill, 0.30
    lights.key_strength, lights.head_strength = 0.62, 0.24
    return lights


def ink(style: Style) -> shading.Ink:
    line = shading.Ink()
    line.color = wp.vec3(*to_linear(hex_to_rgb(style.edge_color)))
    line.strength = style.edges
    line.half_width = 0.5 * style.edge_width * SUPERSAMPLING
    return line


def corner_colors(colors: NDArray | str, faces: NDArray, point_count: int) -> NDArray:
    if isinstance(colors, str):
        return np.tile(to_linear(hex_to_rgb(colors)), (len(faces), 3, 1))
    colors = to_linear(colors)
    if colors.shape == (len(faces), 3):
        return np.repeat(colors[:, None], 3, axis=1)
    if colors.shape == (point_count, 3):
        return colors[faces]
    raise ValueError(f"colors: expected ({len(faces)}, 3) or ({point_count}, 3), got {colors.shape}")


def openness(
    mesh: wp.Mesh, points: NDArray, normals: NDArray, reach: float, rays: int
) -> NDArray[np.float32]:
    p: wp.array = wp.array(points.astype(np.float32), dtype=wp.vec3, device=mesh.device)
    n: wp.array = wp.array(normals.astype(np.float32), dtype=wp.vec3, device=mesh.device)
    return raycast.openness(mesh, p, n, reach, 1e-3, rays).numpy()


def corner_openness(
    mesh: wp.Mesh, points: NDArray, faces: NDArray, normals: NDArray, style: Style
) -> NDArray:
    if style.smooth:
        vertex = np.tile([0.0, 0.0, 1.0], (len(points), 1))
        vertex[faces.reshape(-1)] = normals.reshape(-1, 3)
        return openness(mesh, points, vertex, 0.35, style.rays)[faces]
    centers = points[faces].mean(axis=1)
    return np.repeat(openness(mesh, centers, normals[:, 0], 0.35, style.rays)[:, None], 3, axis=1)


def depth_shade(depth: NDArray[np.float32], strength: float = 60.0) -> NDArray[np.float32]:
    """Darken pixels that lie behind their neighbours (eye-dome lighting, Boucheny 2009), shape of `depth`."""
    height, width = depth.shape
    log_depth = np.log2(np.minimum(depth, 1e3))
    total = np.zeros_like(log_depth)
    for step in (2, 5):
        padded = np.pad(log_depth, step, mode="edge")
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            y, x = step + dy * step, step + dx * step
            total += np.clip(log_depth - padded[y : y + height, x : x + width], 0.0, 0.05)
    return np.maximum(np.exp(-strength * total / 16.0), 0.3).astype(np.float32)


def ground_shadow(
    mesh: wp.Mesh,
    p: NDArray,
    view: View,
    center: NDArray,
    scale: float,
    size: tuple[int, int],
    style: Style,
) -> NDArray[np.float64]:
    """Return the darkness of the ground per final pixel, (height, width): coarse grid, blurred, looked up."""
    width, height = size
    if style.shadow <= 0:
        return np.zeros((height, width))
    floor = float(p[:, 2].min()) - 1e-3
    cells, pad = 72, 0.45
    low, high = p[:, :2].min(axis=0) - pad, p[:, :2].max(axis=0) + pad
    gx, gy = (np.linspace(low[k], high[k], cells) for k in (0, 1))
    grid = np.stack([*np.meshgrid(gx, gy, indexing="ij"), np.full((cells, cells), floor)], axis=-1)
    upward = np.tile([0.0, 0.0, 1.0], (cells * cells, 1))
    dark = 1.0 - openness(mesh, grid.reshape(-1, 3), upward, 0.4, 64).reshape(cells, cells)
    dark = gaussian_filter(dark, 1.0, mode="constant")
    dark *= _ramp(cells, 14.0)[:, None] * _ramp(cells, 14.0)[None]
    u = (np.arange(width) + 0.5 - 0.5 * width) / (view.focal * height)
    v = (np.arange(height) + 0.5 - 0.5 * height) / (view.focal * height)
    ray = view.forward + u[None, :, None] * view.right - v[:, None, None] * view.up
    eye = (view.eye - center) / scale
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (floor - eye[2]) / ray[..., 2]
    seen = (t > 0) & np.isfinite(t)
    t = np.where(seen, t, 0.0)
    at = [(eye[k] + t * ray[..., k] - low[k]) / (high[k] - low[k]) * (cells - 1) for k in (0, 1)]
    shadow = style.shadow * np.where(seen, map_coordinates(dark, at, order=1, mode="constant"), 0.0)
    # Towards the borders of the picture the shadow fades, so that no edge of the picture shows.
    return shadow * _ramp(width, 0.16 * width)[None] * _ramp(height, 0.12 * height)[:, None]


def _ramp(count: int, length: float) -> NDArray[np.float64]:
    """Rise smoothly from 0 to 1 over `length` entries at both ends, shape (count,)."""
    t = np.clip(np.minimum(np.arange(count), np.arange(count)[::-1]) / length, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def develop(samples: NDArray, shadow: NDArray) -> Picture:
    """Average the samples of each pixel over the shadow and convert to sRGB with straight alpha."""
    s = SUPERSAMPLING
    height, width = shadow.shape
    linear = samples.astype(np.float64).reshape(height, s, width, s, 4).mean(axis=(1, 3))
    coverage = linear[..., 3]
    alpha = coverage + (1.0 - coverage) * np.clip(shadow, 0.0, 1.0)
    color = linear[..., :3] / np.maximum(coverage, 1e-9)[..., None]
    # The shadow is black: in straight alpha the mixed colour is weighted by its own share.
    mixed = to_srgb(_shoulder(color)) * (coverage / np.maximum(alpha, 1e-9))[..., None]
    out = np.concatenate([mixed, alpha[..., None]], axis=2)
    return np.round(255.0 * out).astype(np.uint8)


def _shoulder(color: NDArray) -> NDArray:
    """Compress light above 0.8 softly instead of clipping it."""
    over = np.maximum(color - 0.8, 0.0)
    return np.minimum(color, 0.8) + 0.2 * (1.0 - np.exp(-over / 0.2))
