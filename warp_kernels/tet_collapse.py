"""Edge collapse, evaluated for many edges at once.

Collapsing a vertex v into u drops the tets of the edge and moves the other tets of v to u. It keeps the
topology where v and u have no common neighbours but the ring of their edge. A collapse is worth its gain,
energy before minus energy after over the tets of v, and is refused where the worst tet would become worse or
one would have no volume.

Source: Dey et al. 1999, Topology preserving edge contraction (the vertex part of the link condition).
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.tet_geometry import others
from warp_kernels.tet_quality import QualityParameters, upright_energy

wp.set_module_options({"enable_backward": False})

_GOOD = wp.constant(wp.float64(0.5))
_GAIN = wp.constant(wp.float64(1.0e-3))


@wp.kernel
def collapse_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    star_start: wp.array[int],
    star: wp.array[int],
    tet_value: wp.array[wp.float64],
    neighbor_start: wp.array[int],
    neighbors: wp.array[int],
    edges: wp.array[wp.vec2i],
    on_boundary: wp.array[int],
    parameters: QualityParameters,
    gain: wp.array[wp.float64],
):
    e = wp.tid()
    gain[e] = wp.float64(0.0)
    v = edges[e][0]
    u = edges[e][1]
    old = wp.float64(0.0)
    old_worst = wp.float64(0.0)
    for s in range(star_start[v], star_start[v + 1]):
        old += tet_value[star[s] // 4]
        old_worst = wp.max(old_worst, tet_value[star[s] // 4])
    limit = old - _GAIN * wp.min(old, wp.float64(1.0))
    new = wp.float64(0.0)
    worst = wp.float64(0.0)
    ring = int(0)
    pu = points[u]
    for s in range(star_start[v], star_start[v + 1]):
        o = others(tets[star[s] // 4], star[s] % 4)
        if o[0] == u or o[1] == u or o[2] == u:
            ring += 1
        elif new < limit:
            value = upright_energy(pu, points[o[0]], points[o[1]], points[o[2]], parameters)
            new += value
            worst = wp.max(worst, value)
    if not (new < limit) or worst > wp.max(old_worst, _GOOD):
        return
    # Neighbours are sorted: count the common ones in one pass.
    i = neighbor_start[v]
    j = neighbor_start[u]
    common = int(0)
    while i < neighbor_start[v + 1] and j < neighbor_start[u + 1]:
        if neighbors[i] == neighbors[j]:
            common += 1
            i += 1
            j += 1
        elif neighbors[i] < neighbors[j]:
            i += 1
        else:
            j += 1
    # An open ring of k tets has k + 1 vertices.
    if common == ring + on_boundary[e]:
        gain[e] = old - new


def collapses(
    points: wp.array,
    tets: wp.array,
    star_start: wp.array,
    star: wp.array,
    tet_value: wp.array,
    neighbor_start: wp.array,
    neighbors: wp.array,
    edges: wp.array,
    on_boundary: wp.array,
    parameters: Any,
) -> wp.array:
    """Evaluate the collapse of the first vertex of each edge into the second; return the gains, 0 where
    impossible.

    Args:
        neighbor_start, neighbors: Sorted neighbours of each vertex as CSR.
        edges: Directed edges, shape (e,), vec2i.
        on_boundary: 1 for edges of the boundary, shape (e,).
    """
    gain = wp.empty(edges.shape[0], dtype=wp.float64, device=points.device)
    mesh = [points, tets, star_start, star, tet_value, neighbor_start, neighbors]
    wp.launch(
        collapse_kernel,
        dim=edges.shape[0],
        inputs=[*mesh, edges, on_boundary, parameters],
        outputs=[gain],
        device=points.device,
    )
    return gain
