"""Quality energies of a tetrahedron with their derivatives, and the kernels that evaluate them over a mesh.

Everything is a function of the six dihedral angles a_e [deg] and of the inverse mean ratio q:

    v = det(p1 - p0, p2 - p0, p3 - p0) = 6 V,   L = sum of squared edges,   q = L / (12 (v / 2)^(2/3)) >= 1
    dihedral     E = sum_e [exp((low - a_e) / low_scale) + exp((a_e - high) / high_scale)] + weight (q - 1)
    amips        E = weight (3 q - 3)
    mean_ratio   E = weight (q^power - 1)
    barrier      E = B (1 - 100 v / L^1.5)   where v <= 1e-7 L^1.5   (flat or inverted: finite, opening)

The barrier B is twice the largest energy of any tet above it, so turning a sliver over is never a gain.

Derivatives are with respect to vertex 0, the other three fixed. N_k is the outward normal of the face
opposite k, twice its area long. For the angle at the edge (i, j) with other vertices k and l, e = p_j - p_i:

    da/dp_k = |e| N_l / |N_l|^2
    da/dp_i = -(1 - u_k) da/dp_k - (1 - u_l) da/dp_l,    u_k = (p_k - p_i) . e / |e|^2

The curvature is the part that is never negative: Gauss-Newton for the angles (exp'' > 0), and the exact one
for q, which is convex in one vertex. With a = grad L / L and b = grad v / v:

    grad q = q (a - 2/3 b),     hess q = q (6 I / L - 2/3 (a b^T + b a^T) + 10/9 b b^T)

Source: mean ratio, Liu and Joe 1994; its convexity in a vertex, Munson 2007 (Mesh shape-quality optimization
using the inverse mean-ratio metric). The exponential soft minimum of dihedrals is this project's own.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.tet_geometry import face_normals, six_volume, squared_edges, tet_normals

wp.set_module_options({"enable_backward": False})

DIHEDRAL = 0
AMIPS = 1
MEAN_RATIO = 2

_DEGREES = wp.constant(wp.float64(57.29577951308232))
FLAT = wp.constant(wp.float64(1.0e-7))  # v / L^1.5 up to which a tet counts as flat
_MANY = wp.constant(wp.float64(1.0e300))
_TINY = wp.constant(wp.float64(1.0e-260))
# Quotients written inside a kernel are evaluated in single precision; constants are not.
_TWO_THIRDS = wp.constant(wp.float64(2.0 / 3.0))
_TEN_NINTHS = wp.constant(wp.float64(10.0 / 9.0))


@wp.struct
class QualityParameters:
    """Which energy, and its numbers; angles in degrees."""

    energy: int
    low: wp.float64
    low_scale: wp.float64
    high: wp.float64
    high_scale: wp.float64
    weight: wp.float64
    power: wp.float64
    barrier: wp.float64


@wp.struct
class Derivatives:
    """Energy of a tet, its gradient and its curvature with respect to the first vertex."""

    value: wp.float64
    gradient: wp.vec3d
    curvature: wp.mat33d


@wp.func
def angle_between(n_k: wp.vec3d, n_l: wp.vec3d):
    """Interior dihedral angle [deg] between two faces with outward normals of any length."""
    cosine = -wp.dot(n_k, n_l) / wp.sqrt(wp.length_sq(n_k) * wp.length_sq(n_l))
    return _DEGREES * wp.acos(wp.clamp(cosine, wp.float64(-1.0), wp.float64(1.0)))


@wp.func
def angle_energy(a: wp.float64, s: QualityParameters):
    return wp.exp((s.low - a) / s.low_scale) + wp.exp((a - s.high) / s.high_scale)


@wp.func
def dihedral_energy(n: face_normals, q: wp.float64, s: QualityParameters):
    n0 = n[0]
    n1 = n[1]
    n2 = n[2]
    n3 = n[3]
    e = s.weight * (q - wp.float64(1.0))
    e += angle_energy(angle_between(n0, n1), s)
    e += angle_energy(angle_between(n0, n2), s)
    e += angle_energy(angle_between(n0, n3), s)
    e += angle_energy(angle_between(n1, n2), s)
    e += angle_energy(angle_between(n1, n3), s)
    e += angle_energy(angle_between(n2, n3), s)
    return e


@wp.func
def amips_energy(q: wp.float64, s: QualityParameters):
    return s.weight * wp.float64(3.0) * (q - wp.float64(1.0))


@wp.func
def mean_ratio_energy(q: wp.float64, s: QualityParameters):
    return s.weight * (wp.pow(q, s.power) - wp.float64(1.0))


@wp.func
def barrier_energy(v: wp.float64, scale: wp.float64, s: QualityParameters):
    """Linear in the volume; `scale` is L^1.5."""
    return s.barrier * (wp.float64(1.0) - wp.float64(100.0) * v / (scale + _TINY))


@wp.func
def tet_energy(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d, s: QualityParameters):
    v = six_volume(p0, p1, p2, p3)
    L = squared_edges(p0, p1, p2, p3)
    scale = L * wp.sqrt(L)
    if v <= FLAT * scale:
        return barrier_energy(v, scale, s)
    q = L / (wp.float64(12.0) * wp.pow(wp.float64(0.5) * v, _TWO_THIRDS))
    if s.energy == DIHEDRAL:
        return dihedral_energy(tet_normals(p0, p1, p2, p3), q, s)
    if s.energy == AMIPS:
        return amips_energy(q, s)
    return mean_ratio_energy(q, s)


@wp.func
def upright_energy(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d, s: QualityParameters):
    """Energy of a tet to be made; past all bounds without a positive volume."""
    if not (six_volume(p0, p1, p2, p3) > wp.float64(0.0)):
        return _MANY
    return tet_energy(p0, p1, p2, p3, s)


@wp.func
def add_angle(r: Derivatives, a: wp.float64, g: wp.vec3d, s: QualityParameters):
    """Add the energy of one angle [deg] whose gradient is g [rad]."""
    low = wp.exp((s.low - a) / s.low_scale)
    high = wp.exp((a - s.high) / s.high_scale)
    slope = _DEGREES * (high / s.high_scale - low / s.low_scale)
    bend = _DEGREES * _DEGREES * (high / (s.high_scale * s.high_scale) + low / (s.low_scale * s.low_scale))
    r.value += low + high
    r.gradient += slope * g
    r.curvature += bend * wp.outer(g, g)
    return r


@wp.func
def end_gradient(e: wp.vec3d, to_k: wp.vec3d, to_l: wp.vec3d, n_k: wp.vec3d, n_l: wp.vec3d):
    """da/dp_i of the angle at an edge e = p_j - p_i, from the vertices k and l given relative to p_i."""
    one = wp.float64(1.0)
    e2 = wp.length_sq(e)
    g_k = (one - wp.dot(to_k, e) / e2) / wp.length_sq(n_l) * n_l
    g_l = (one - wp.dot(to_l, e) / e2) / wp.length_sq(n_k) * n_k
    return -wp.sqrt(e2) * (g_k + g_l)


@wp.func
def tet_derivatives(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, p3: wp.vec3d, s: QualityParameters):
    """Energy, gradient and non-negative curvature with respect to p0."""
    one = wp.float64(1.0)
    r = Derivatives()
    v = six_volume(p0, p1, p2, p3)
    L = squared_edges(p0, p1, p2, p3)
    scale = L * wp.sqrt(L)
    n = tet_normals(p0, p1, p2, p3)
    n0 = n[0]
    grad_v = -n0
    grad_L = wp.float64(2.0) * (wp.float64(3.0) * p0 - p1 - p2 - p3)
    if v <= FLAT * scale:
        # d(v / L^1.5) = dv / L^1.5 - 1.5 v dL / L^2.5; the curvature only keeps steps at the size of the tet.
        r.value = barrier_energy(v, scale, s)
        steep = wp.float64(100.0) * s.barrier / (scale + _TINY)
        r.gradient = -steep * (grad_v - wp.float64(1.5) * v / (L + _TINY) * grad_L)
        bend = wp.float64(100.0) * s.barrier / (L + _TINY)
        r.curvature = bend * wp.identity(n=3, dtype=wp.float64)
        return r
    q = L / (wp.float64(12.0) * wp.pow(wp.float64(0.5) * v, _TWO_THIRDS))
    a = grad_L / L
    b = grad_v / v
    grad_q = q * (a - _TWO_THIRDS * b)
    hess_q = q * (
        wp.float64(6.0) / L * wp.identity(n=3, dtype=wp.float64)
        - _TWO_THIRDS * (wp.outer(a, b) + wp.outer(b, a))
        + _TEN_NINTHS * wp.outer(b, b)
    )
    if s.energy == MEAN_RATIO:
        first = s.weight * s.power * wp.pow(q, s.power - one)
        second = s.weight * s.power * (s.power - one) * wp.pow(q, s.power - wp.float64(2.0))
        r.value = mean_ratio_energy(q, s)
        r.gradient = first * grad_q
        r.curvature = first * hess_q + second * wp.outer(grad_q, grad_q)
        return r
    if s.energy == AMIPS:
        r.value = amips_energy(q, s)
        r.gradient = wp.float64(3.0) * s.weight * grad_q
        r.curvature = wp.float64(3.0) * s.weight * hess_q
        return r
    r.value = s.weight * (q - one)
    r.gradient = s.weight * grad_q
    r.curvature = s.weight * hess_q
    n1 = n[1]
    n2 = n[2]
    n3 = n[3]
    e1 = p1 - p0
    e2 = p2 - p0
    e3 = p3 - p0
    # Edges away from p0: it turns one of the two faces about the edge.
    r = add_angle(r, angle_between(n0, n3), wp.length(e2 - e1) / wp.length_sq(n3) * n3, s)
    r = add_angle(r, angle_between(n0, n2), wp.length(e3 - e1) / wp.length_sq(n2) * n2, s)
    r = add_angle(r, angle_between(n0, n1), wp.length(e3 - e2) / wp.length_sq(n1) * n1, s)
    r = add_angle(r, angle_between(n2, n3), end_gradient(e1, e2, e3, n2, n3), s)
    r = add_angle(r, angle_between(n1, n3), end_gradient(e2, e1, e3, n1, n3), s)
    r = add_angle(r, angle_between(n1, n2), end_gradient(e3, e1, e2, n1, n2), s)
    return r


@wp.kernel
def tet_energy_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    parameters: QualityParameters,
    energy: wp.array[wp.float64],
):
    t = wp.tid()
    i = tets[t]
    energy[t] = tet_energy(points[i[0]], points[i[1]], points[i[2]], points[i[3]], parameters)


@wp.kernel
def tet_gradient_kernel(
    points: wp.array[wp.vec3d],
    tets: wp.array[wp.vec4i],
    parameters: QualityParameters,
    energy: wp.array[wp.float64],
    gradient: wp.array2d[wp.vec3d],
):
    t = wp.tid()
    i = tets[t]
    p0 = points[i[0]]
    p1 = points[i[1]]
    p2 = points[i[2]]
    p3 = points[i[3]]
    r = Derivatives()
    for k in range(wp.static(4)):
        # Even permutations that bring vertex k to the front keep the orientation.
        if k == 0:
            r = tet_derivatives(p0, p1, p2, p3, parameters)
        elif k == 1:
            r = tet_derivatives(p1, p0, p3, p2, parameters)
        elif k == 2:
            r = tet_derivatives(p2, p3, p0, p1, parameters)
        else:
            r = tet_derivatives(p3, p2, p1, p0, parameters)
        gradient[t, k] = r.gradient
    energy[t] = r.value


def tet_energy_values(
    points: wp.array, tets: wp.array, parameters: Any, out: wp.array | None = None
) -> wp.array:
    """Evaluate the energy of every tet.

    Args:
        points: Vertices, shape (n,), vec3d.
        tets: Vertex indices, shape (t,), vec4i.
        parameters: `QualityParameters`.
        out: Energies, shape (t,), float64. Allocated if None.
    """
    if out is None:
        out = wp.empty(tets.shape[0], dtype=wp.float64, device=points.device)
    wp.launch(
        tet_energy_kernel,
        dim=tets.shape[0],
        inputs=[points, tets, parameters],
        outputs=[out],
        device=points.device,
    )
    return out


def tet_energy_gradients(points: wp.array, tets: wp.array, parameters: Any) -> tuple[wp.array, wp.array]:
    """Evaluate the energy of every tet, shape (t,), and its gradient at its corners, shape (t, 4), vec3d."""
    count = tets.shape[0]
    energy = wp.empty(count, dtype=wp.float64, device=points.device)
    gradient = wp.empty((count, 4), dtype=wp.vec3d, device=points.device)
    wp.launch(
        tet_gradient_kernel,
        dim=count,
        inputs=[points, tets, parameters],
        outputs=[energy, gradient],
        device=points.device,
    )
    return energy, gradient
