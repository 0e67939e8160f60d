"""Pictures of surfaces, tetrahedral meshes and point clouds, drawn by the project's own Warp kernels.

Points are 3D and Z up. A picture is sRGB with straight alpha, uint8, shape (height, width, 4); the background
is transparent and only carries the soft shadow on the ground, so that a picture fits light and dark pages.
The same arguments give the same pixels.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.rendering.camera import View, three_quarter_view
from pipeline.rendering.colormap import hex_to_rgb, quality_colors, to_linear
from pipeline.rendering.scene import (
    Picture,
    Style,
    corner_colors,
    corner_normals,
    corner_openness,
    depth_shade,
    develop,
    ground_shadow,
    ink,
    lamps,
    unit_box,
    warp_camera,
    warp_mesh,
)
from pipeline.topology import boundary_faces
from warp_kernels import raycast, shading

CLAY = "#e6dfd2"
POINT_BLUE = "#6ea6d3"
MAX_BLOCKERS = 50_000


def draw_surface(
    points: NDArray,
    faces: NDArray,
    *,
    colors: NDArray | str = CLAY,
    view: View | None = None,
    size: tuple[int, int] = (640, 480),
    style: Style | None = None,
    device: str = "cpu",
) -> Picture:
    """Draw triangles.

    Args:
        points: Positions, shape (n, 3), Z up.
        faces: Vertex indices, shape (f, 3).
        colors: One colour ("#rrggbb"), or sRGB in [0, 1] per face (f, 3), or per vertex (n, 3);
            per face where f = n.
        view: Where to stand; None frames all points that faces use.
        size: Width and height [pixels].
    """
    style = style or Style()
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    if not len(faces):
        return np.zeros((size[1], size[0], 4), dtype=np.uint8)
    points = np.asarray(points, dtype=np.float64)
    used = points[np.unique(faces)]
    view = view or three_quarter_view(used, aspect=size[0] / size[1])
    center, scale = unit_box(used)
    p = (points - center) / scale
    mesh = warp_mesh(p, faces, device)
    camera = warp_camera(view, center, scale, size)
    hits = raycast.cast_rays(mesh, camera)
    normals = corner_normals(p, faces, 50.0 if style.smooth else 0.0)
    free = corner_openness(mesh, p, faces, normals, style)
    out = shading.shade_faces(
        hits.item,
        hits.weights,
        hits.edge_distance,
        wp.array(normals.astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(corner_colors(colors, faces, len(points)).astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(free.astype(np.float32), dtype=float, device=device),
        wp.vec3(0.85, 0.55, 0.42),
        lamps(view, style),
        ink(style),
    )
    return develop(out.numpy(), ground_shadow(mesh, p, view, center, scale, size, style))


def draw_points(
    points: NDArray,
    normals: NDArray | None = None,
    *,
    colors: NDArray | str = POINT_BLUE,
    radius: float | None = None,
    view: View | None = None,
    size: tuple[int, int] = (640, 480),
    style: Style | None = None,
    device: str = "cpu",
) -> Picture:
    """Draw a point cloud as small spheres, darkened where something stands in front.

    Args:
        points: Positions, shape (n, 3), Z up.
        normals: Unit normals of either sign, shape (n, 3).
        colors: One colour, or sRGB in [0, 1] per point (n, 3).
        radius: Radius of a sphere; None fits it to their spacing.
    """
    style = style or Style()
    points = np.asarray(points, dtype=np.float64)
    if not len(points):
        return np.zeros((size[1], size[0], 4), dtype=np.uint8)
    view = view or three_quarter_view(points, aspect=size[0] / size[1])
    center, scale = unit_box(points)
    p = (points - center) / scale
    if radius is None:
        radius = 0.85 * point_spacing(points)
    r = radius / scale
    camera = warp_camera(view, center, scale, size)
    depths = (p - np.array(camera.eye)) @ view.forward
    near, far = max(float(depths.min()) - 2 * r, 1e-4), float(depths.max()) + 2 * r + 1e-3
    cloud: wp.array = wp.array(p.astype(np.float32), dtype=wp.vec3, device=device)
    hits = raycast.splat_points(cloud, r, camera, near, far)
    free = depth_shade(hits.depth.numpy())
    if isinstance(colors, str):
        colors = np.tile(hex_to_rgb(colors), (len(p), 1))
    out = shading.shade_points(
        hits.item,
        hits.weights,
        None if normals is None else wp.array(np.asarray(normals, np.float32), dtype=wp.vec3, device=device),
        wp.array(to_linear(colors).astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(free, dtype=float, device=device),
        lamps(view, style),
    )
    # Level triangles as large as the spheres throw the shadow; of many points a few, each for its share.
    step = -(-len(p) // MAX_BLOCKERS)
    ring = 2.2 * r * np.sqrt(step) * np.array([[1.0, 0.0, 0.0], [-0.5, 0.866, 0.0], [-0.5, -0.866, 0.0]])
    blocker = (p[::step, None] + ring).reshape(-1, 3)
    mesh = warp_mesh(blocker, np.arange(len(blocker), dtype=np.int32).reshape(-1, 3), device)
    return develop(out.numpy(), ground_shadow(mesh, p, view, center, scale, size, style))


def draw_tets(
    points: NDArray,
    tets: NDArray,
    values: NDArray | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    plane: tuple[NDArray, float] | None = None,
    skin: str = CLAY,
    view: View | None = None,
    size: tuple[int, int] = (640, 480),
    style: Style | None = None,
    device: str = "cpu",
) -> Picture:
    """Draw the tets on one side of a plane, so that whole interior tets show, coloured by quality.

    Args:
        points: Positions, shape (n, 3), Z up.
        tets: Vertex indices, shape (t, 4).
        values: Quality per tet, shape (t,); colours the faces that the cut opened, not the skin.
        value_range: Values of the two ends of the colour scale; None is 0 to the regular tet's 70.5 degrees.
        plane: Normal n and offset d: tets whose centroid c has n.c <= d stay. None opens the nearer
            half, see `cut_plane`.
    """
    style = style or Style(edges=0.8, fill=0.24)
    points = np.asarray(points, dtype=np.float64)
    tets = np.asarray(tets, dtype=np.int32).reshape(-1, 4)
    if not len(tets):
        return np.zeros((size[1], size[0], 4), dtype=np.uint8)
    view = view or three_quarter_view(points[np.unique(tets)], aspect=size[0] / size[1])
    normal, offset = plane if plane is not None else cut_plane(points[np.unique(tets)], view)
    kept = np.flatnonzero(points[tets].mean(axis=1) @ np.asarray(normal) <= offset)
    faces, owner = boundary_faces(tets[kept])
    outer, _ = boundary_faces(tets)
    is_skin = np.isin(_face_keys(faces, len(points)), _face_keys(outer, len(points)))
    colors = np.tile(hex_to_rgb(skin), (len(faces), 1))
    if values is not None:
        scale = quality_colors(np.asarray(values)[kept][owner], *(value_range or ()))
        colors[~is_skin] = scale[~is_skin]
    return draw_surface(points, faces, colors=colors, view=view, size=size, style=style, device=device)


def cut_plane(points: NDArray, view: View, share: float = 0.55) -> tuple[NDArray, float]:
    """Return normal and offset of the plane that opens the near half; `share` of the box stays."""
    towards = -np.asarray(view.forward)[:2]
    axis = int(np.abs(towards).argmax())
    normal = np.zeros(3)
    normal[axis] = np.sign(towards[axis])
    along = points @ normal
    return normal, float(along.min() + share * (along.max() - along.min()))


def side_by_side(pictures: list[Picture], gap: int = 0) -> Picture:
    """Put pictures of equal height next to each other."""
    height = pictures[0].shape[0]
    space = np.zeros((height, gap, 4), dtype=np.uint8)
    parts = [part for picture in pictures for part in (picture, space)][:-1]
    return np.concatenate(parts, axis=1)


def point_spacing(points: NDArray) -> float:
    """Return the median distance to the sixth nearest point, of at most 2,000 points spread over the rows."""
    if len(points) < 2:
        return 0.02 * unit_box(points)[1]
    some = points[:: max(1, len(points) // 2000)]
    distance = np.asarray(cKDTree(points).query(some, k=[min(7, len(points))])[0])
    return max(float(np.median(distance)), 1e-3 * unit_box(points)[1])


def _face_keys(faces: NDArray, point_count: int) -> NDArray[np.int64]:
    # Three indices below 2**21 fit one key exactly; larger meshes compare rows by a structured view.
    ordered = np.sort(faces.astype(np.int64), axis=1)
    if point_count < 2**21:
        return (ordered[:, 0] << 42) | (ordered[:, 1] << 21) | ordered[:, 2]
    return np.ascontiguousarray(ordered).view([("", np.int64)] * 3).reshape(-1)
