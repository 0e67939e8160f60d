"""Edge removal, evaluated for many cavities at once.

Removing an edge (a, b) whose tets have the ring r_0 .. r_{m-1} replaces them by the tets (a, r_i, r_k, r_j)
and (b, r_j, r_k, r_i) of a triangulation of the ring polygon. The best triangulation is found by dynamic
programming

    cost(i, j) = min over i < k < j of  cost(i, k) + cost(k, j) + E(a, r_i, r_k, r_j) + E(b, r_j, r_k, r_i)

An edge of the boundary has an open ring: removing it flips the two boundary triangles, and with a single tet
(m = 2) that tet is peeled off. A removal is worth its gain, energy before minus energy after, and is refused
where the worst tet would become worse or a new one has no volume.

Source: Shewchuk 2002, Two discrete optimization algorithms for the topological improvement of tetrahedral
meshes (dynamic programming of Klincsek 1980).
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.tet_geometry import others
from warp_kernels.tet_quality import QualityParameters, upright_energy

wp.set_module_options({"enable_backward": False, "max_unroll": 2})

RING = 9
"""Largest ring of an edge that is removed."""
CREATED = 2 * (RING - 2)
"""Largest number of tets made by one edge removal."""

ring_indices = wp.types.vector(length=RING, dtype=wp.int32)
ring_costs = wp.types.matrix(shape=(RING, RING), dtype=wp.float64)
ring_choices = wp.types.matrix(shape=(RING, RING), dtype=wp.int32)
ring_stack = wp.types.vector(length=2 * RING, dtype=wp.int32)

_RING = wp.constant(RING)
_MANY = wp.constant(wp.float64(1.0e300))
_GOOD = wp.constant(wp.float64(0.5))
_GAIN = wp.constant(wp.float64(1.0e-3))


@wp.kernel
def edge_removal_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    star_start: wp.array[int],
    star: wp.array[int],
    tet_value: wp.array[wp.float64],
    edges: wp.array[wp.vec2i],
    parameters: QualityParameters,
    gain: wp.array[wp.float64],
    ring_tets: wp.array[int],
    ends: wp.array[wp.vec2i],
    removed: wp.array2d[int],
    created: wp.array2d[wp.vec4i],
):
    e = wp.tid()
    gain[e] = wp.float64(0.0)
    ring_tets[e] = 0
    a = edges[e][0]
    b = edges[e][1]
    if star_start[b + 1] - star_start[b] < star_start[a + 1] - star_start[a]:
        c = a
        a = b
        b = c

    # Tets of the edge, each as a directed link of the ring: (a, b, tail, head) is positive.
    tail = ring_indices()
    head = ring_indices()
    count = int(0)
    old = wp.float64(0.0)
    old_worst = wp.float64(0.0)
    for s in range(star_start[a], star_start[a + 1]):
        t = star[s] // 4
        o = others(tets[t], star[s] % 4)
        if o[0] == b or o[1] == b or o[2] == b:
            if count < _RING:
                removed[e, count] = t
                if o[0] == b:
                    tail[count] = o[1]
                    head[count] = o[2]
                elif o[1] == b:
                    tail[count] = o[2]
                    head[count] = o[0]
                else:
                    tail[count] = o[0]
                    head[count] = o[1]
            old += tet_value[t]
            old_worst = wp.max(old_worst, tet_value[t])
            count += 1
    if count == 0 or count > _RING:
        return

    # Chain the links, from the one without a predecessor where the ring is open.
    first = int(0)
    starts = int(0)
    for i in range(count):
        has = int(0)
        for j in range(count):
            if head[j] == tail[i]:
                has = 1
        if has == 0:
            first = i
            starts += 1
    ring = ring_indices()
    ring[0] = tail[first]
    current = head[first]
    m = int(1)
    for i in range(count - 1):
        following = int(-1)
        for j in range(count):
            if tail[j] == current:
                following = j
        if following < 0 or m >= _RING:
            return
        ring[m] = current
        current = head[following]
        m += 1
    if starts == 0:
        if current != ring[0]:
            return
    elif starts == 1 and m < _RING:
        ring[m] = current
        m += 1
    else:
        return
    ends[e] = wp.vec2i(ring[0], ring[m - 1])
    if m == 2:
        if starts == 1:
            ring_tets[e] = 1
            gain[e] = old
        return

    pa = points[a]
    pb = points[b]
    cost = ring_costs()
    choice = ring_choices()
    for width in range(2, m):
        for i in range(m - width):
            j = i + width
            best = _MANY
            best_k = int(-1)
            for k in range(i + 1, j):
                value = cost[i, k] + cost[k, j]
                if value < best and value < old:
                    pi = points[ring[i]]
                    pk = points[ring[k]]
                    pj = points[ring[j]]
                    value += upright_energy(pa, pi, pk, pj, parameters)
                    if value < best:
                        value += upright_energy(pb, pj, pk, pi, parameters)
                    if value < best:
                        best = value
                        best_k = k
            cost[i, j] = best
            choice[i, j] = best_k
    final = cost[0, m - 1]
    if not (final < old - _GAIN * wp.min(old, wp.float64(1.0))):
        return

    stack = ring_stack()
    stack[0] = 0
    stack[1] = m - 1
    depth = int(1)
    made = int(0)
    worst = wp.float64(0.0)
    while depth > 0:
        depth -= 1
        i = stack[2 * depth]
        j = stack[2 * depth + 1]
        if j - i >= 2:
            k = choice[i, j]
            vi = ring[i]
            vj = ring[j]
            vk = ring[k]
            created[e, made] = wp.vec4i(a, vi, vk, vj)
            created[e, made + 1] = wp.vec4i(b, vj, vk, vi)
            made += 2
            worst = wp.max(worst, upright_energy(pa, points[vi], points[vk], points[vj], parameters))
            worst = wp.max(worst, upright_energy(pb, points[vj], points[vk], points[vi], parameters))
            stack[2 * depth] = i
            stack[2 * depth + 1] = k
            stack[2 * depth + 2] = k
            stack[2 * depth + 3] = j
            depth += 2
    if worst > wp.max(old_worst, _GOOD):
        return
    ring_tets[e] = count
    gain[e] = old - final


def edge_removals(
    points: wp.array,
    tets: wp.array,
    star_start: wp.array,
    star: wp.array,
    tet_value: wp.array,
    edges: wp.array,
    parameters: Any,
) -> tuple[wp.array, wp.array, wp.array, wp.array, wp.array]:
    """Evaluate the removal of edges, shape (e,), vec2i; `star_start` and `star` as in `vertex_steps`.

    Returns:
        Gain (e,), 0 where impossible; tets of the edge (e,), 0 where impossible; first and last vertex of
        the ring (e,); the tets to remove (e, RING); the tets to make (e, CREATED), twice the ring minus 2
        of which are valid.
    """
    count, device = edges.shape[0], points.device
    gain = wp.empty(count, dtype=wp.float64, device=device)
    ring_tets = wp.empty(count, dtype=int, device=device)
    ends = wp.empty(count, dtype=wp.vec2i, device=device)
    removed = wp.full((count, RING), -1, dtype=int, device=device)
    created = wp.full((count, CREATED), wp.vec4i(-1, -1, -1, -1), dtype=wp.vec4i, device=device)
    wp.launch(
        edge_removal_kernel,
        dim=count,
        inputs=[points, tets, star_start, star, tet_value, edges, parameters],
        outputs=[gain, ring_tets, ends, removed, created],
        device=device,
    )
    return gain, ring_tets, ends, removed, created
