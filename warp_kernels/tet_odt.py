"""Energy of optimal Delaunay triangulations: how far |x|^2 lies below its linear interpolant, per tet.

    E = integral over the tet of (interpolant of |x|^2 - |x|^2) = V L / 20,   L = sum of squared edges
    dE/dp_k = (L dv/dp_k + v dL/dp_k) / 120,   v = 6 V,   dv/dp_k = -N_k,   dL/dp_k = 2 (4 p_k - sum of all)

N_k is the outward normal of the face opposite k, twice its area long.

Source: Chen and Xu 2004, Optimal Delaunay triangulations; Alliez, Cohen-Steiner, Yvinec and Desbrun 2005,
Variational tetrahedral meshing.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.tet_geometry import six_volume, squared_edges, tet_normals

wp.set_module_options({"enable_backward": False})

# Quotients written inside a kernel are evaluated in single precision; constants are not.
_FACTOR = wp.constant(wp.float64(1.0 / 120.0))


@wp.kernel
def tet_odt_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    energy: wp.array[wp.float64],
    gradient: wp.array2d[wp.vec3d],
):
    t = wp.tid()
    i = tets[t]
    p0 = points[i[0]]
    p1 = points[i[1]]
    p2 = points[i[2]]
    p3 = points[i[3]]
    v = six_volume(p0, p1, p2, p3)
    L = squared_edges(p0, p1, p2, p3)
    n = tet_normals(p0, p1, p2, p3)
    total = p0 + p1 + p2 + p3
    for k in range(wp.static(4)):
        grad_L = wp.float64(2.0) * (wp.float64(4.0) * points[i[k]] - total)
        gradient[t, k] = _FACTOR * (v * grad_L - L * n[k])
    energy[t] = _FACTOR * v * L


def tet_odt_gradients(points: wp.array, tets: wp.array) -> tuple[wp.array, wp.array]:
    """Evaluate the energy of every tet, shape (t,), and its gradient at its corners, shape (t, 4), vec3d.

    Args:
        points: Vertices, shape (n,), vec3d.
        tets: Vertex indices, shape (t,), vec4i.
    """
    count = tets.shape[0]
    energy = wp.empty(count, dtype=wp.float64, device=points.device)
    gradient = wp.empty((count, 4), dtype=wp.vec3d, device=points.device)
    wp.launch(
        tet_odt_kernel, dim=count, inputs=[points, tets], outputs=[energy, gradient], device=points.device
    )
    return energy, gradient
