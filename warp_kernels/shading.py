"""Turn what a pixel sees into light: three soft lamps, openness, and thin anti-aliased edges.

    light = albedo * (o * (ambient + sky * (1 + n.up) / 2)
                      + (0.35 + 0.65 o) * key * max(n.k, 0) + (0.5 + 0.5 o) * head * max(n.v, 0))
    color = (1 - ink * coverage) * light  +  ink * coverage * edge_color

with unit normal n turned to the viewer, key light k, view v and openness o. `coverage` of an edge of half
width w at distance e [pixels] is clamp(w + 1/2 - e, 0, 1), the share of the pixel that the line covers.
Colours are linear RGB.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class Lamps:
    """Directions towards the light (unit) and strengths."""

    view: wp.vec3
    key: wp.vec3
    up: wp.vec3
    ambient: float
    sky: float
    key_strength: float
    head_strength: float


@wp.struct
class Ink:
    """How edges are drawn; strength 0 draws none."""

    color: wp.vec3
    strength: float
    half_width: float


@wp.func
def lit(albedo: wp.vec3, n: wp.vec3, free: float, lamps: Lamps):
    around = lamps.ambient + lamps.sky * 0.5 * (1.0 + wp.dot(n, lamps.up))
    direct = lamps.key_strength * wp.max(wp.dot(n, lamps.key), 0.0) * (0.35 + 0.65 * free)
    head = lamps.head_strength * wp.max(wp.dot(n, lamps.view), 0.0) * (0.5 + 0.5 * free)
    return albedo * (free * around + direct + head)


@wp.kernel
def shade_faces_kernel(
    item: wp.array2d[wp.int32],
    weights: wp.array2d[wp.vec3],
    edge_distance: wp.array2d[float],
    normals: wp.array2d[wp.vec3],
    colors: wp.array2d[wp.vec3],
    free: wp.array2d[float],
    back_tint: wp.vec3,
    lamps: Lamps,
    ink: Ink,
    out: wp.array2d[wp.vec4],
):
    row, column = wp.tid()
    f = item[row, column]
    if f < 0:
        out[row, column] = wp.vec4(0.0, 0.0, 0.0, 0.0)
        return
    w = weights[row, column]
    n = wp.normalize(w[0] * normals[f, 0] + w[1] * normals[f, 1] + w[2] * normals[f, 2])
    albedo = w[0] * colors[f, 0] + w[1] * colors[f, 1] + w[2] * colors[f, 2]
    openness = w[0] * free[f, 0] + w[1] * free[f, 1] + w[2] * free[f, 2]
    e = edge_distance[row, column]
    if e < 0.0:
        n = -n
        albedo = wp.cw_mul(albedo, back_tint)
        openness = 0.6
        e = -e
    c = lit(albedo, n, openness, lamps)
    s = ink.strength * wp.clamp(ink.half_width + 0.5 - e, 0.0, 1.0)
    c = (1.0 - s) * c + s * ink.color
    out[row, column] = wp.vec4(c[0], c[1], c[2], 1.0)


@wp.kernel
def shade_points_kernel(
    item: wp.array2d[wp.int32],
    sphere_normals: wp.array2d[wp.vec3],
    normals: wp.array[wp.vec3],
    has_normals: int,
    colors: wp.array[wp.vec3],
    free: wp.array2d[float],
    lamps: Lamps,
    out: wp.array2d[wp.vec4],
):
    row, column = wp.tid()
    p = item[row, column]
    if p < 0:
        out[row, column] = wp.vec4(0.0, 0.0, 0.0, 0.0)
        return
    n = sphere_normals[row, column]
    if has_normals == 1:
        # The sign of a sample normal may be arbitrary: the side that faces the viewer is the lit one.
        m = normals[p]
        m = wp.where(wp.dot(m, lamps.view) < 0.0, -m, m)
        n = wp.normalize(0.5 * m + 0.5 * n)
    c = lit(colors[p], n, free[row, column], lamps)
    out[row, column] = wp.vec4(c[0], c[1], c[2], 1.0)


def shade_faces(
    item: wp.array,
    weights: wp.array,
    edge_distance: wp.array,
    normals: wp.array,
    colors: wp.array,
    free: wp.array,
    back_tint: wp.vec3,
    lamps: Lamps,
    ink: Ink,
) -> wp.array:
    """Shade triangles.

    Args:
        item, weights, edge_distance: Triangle or -1, barycentric weights, signed edge distance per pixel.
        normals, colors: Per triangle corner, vec3, shape (f, 3).
        free: Openness per triangle corner, shape (f, 3).
        back_tint: Factor of the albedo on faces seen from behind.

    Returns:
        Linear RGB and coverage, vec4, shape (height, width).
    """
    out = wp.empty(item.shape, dtype=wp.vec4, device=item.device)
    wp.launch(
        shade_faces_kernel,
        dim=item.shape,
        inputs=[item, weights, edge_distance, normals, colors, free, back_tint, lamps, ink],
        outputs=[out],
        device=item.device,
    )
    return out


def shade_points(
    item: wp.array,
    sphere_normals: wp.array,
    normals: wp.array | None,
    colors: wp.array,
    free: wp.array,
    lamps: Lamps,
) -> wp.array:
    """Shade points drawn as spheres.

    Args:
        item, sphere_normals, free: Per pixel: point or -1, normal of its sphere, openness.
        normals: Sample normals, vec3, shape (n,); the spheres alone give the shape without them.
        colors: vec3, shape (n,).

    Returns:
        Linear RGB and coverage, vec4, shape (height, width).
    """
    out = wp.empty(item.shape, dtype=wp.vec4, device=item.device)
    wp.launch(
        shade_points_kernel,
        dim=item.shape,
        inputs=[
            item,
            sphere_normals,
            colors if normals is None else normals,
            0 if normals is None else 1,
            colors,
            free,
            lamps,
        ],
        outputs=[out],
        device=item.device,
    )
    return out
