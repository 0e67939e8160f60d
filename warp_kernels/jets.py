"""Local quadratic surfaces (2-jets) of samples, and points moved onto their blend. 3D, float64.

In the frame t_1, t_2, n of a sample p with spacing h, u = T^T (x - p) / h, its surface is the height

    z(u) = b . u + u^T C u / 2,    |z n| in units of h,

through the sample itself. b and C minimise

    sum_j w_j (z(u_j) - n . (x_j - p) / h)^2 + ridge (|b|^2, C_11^2, C_12^2, C_22^2)

over its neighbours x_j, with weights that fall with distance, with the angle between the normals (a neighbour
beyond a crease has no say), and with what the fit before left (r, in units of h):

    w_j = exp(-|x_j - p|^2 / (2 (width h)^2)) max(0, (|n . n_j| - cosine) / (1 - cosine)) exp(-(r_j / band)^2)

A point x with a normal m goes to the mean of its distances to the jets of the nearest samples, weighted in
the same way; distance to a jet is (z - its height) / |gradient|.

Source: Cazals & Pouget 2005 (jet fitting); the robust weights follow Oeztireli et al. 2009.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.frames import tangents

wp.set_module_options({"enable_backward": False})

Jet = wp.types.vector(5, wp.float64)
"""b_1, b_2, C_11, C_12, C_22."""
_Normal = wp.types.matrix((5, 5), wp.float64)
_ROBUST_STEPS = wp.constant(3)
_MOVES = wp.constant(2)
_ZERO = wp.constant(wp.float64(0.0))
_HALF = wp.constant(wp.float64(0.5))
_ONE = wp.constant(wp.float64(1.0))


@wp.struct
class JetRule:
    """Who has a say in a fit or a blend; see the module docstring."""

    width: wp.float64
    cosine: wp.float64
    band: wp.float64
    slope_ridge: wp.float64
    bend_ridge: wp.float64


@wp.func
def jet_terms(u: wp.float64, v: wp.float64):
    """Return the terms that the coefficients of a jet multiply."""
    return Jet(u, v, _HALF * u * u, u * v, _HALF * v * v)


@wp.func
def side_weight(cosine: wp.float64, least: wp.float64):
    """Weight of a neighbour by the cosine between the normals: 1 for parallel ones, 0 from `least` down."""
    return wp.max(_ZERO, (wp.abs(cosine) - least) / (_ONE - least))


@wp.func
def solved(m: _Normal, y: Jet):
    """Solve m x = y for a symmetric positive definite m by elimination."""
    for k in range(4):
        for i in range(k + 1, 5):
            factor = m[i, k] / m[k, k]
            for j in range(k, 5):
                m[i, j] = m[i, j] - factor * m[k, j]
            y[i] = y[i] - factor * y[k]
    for s in range(5):
        i = 4 - s
        for j in range(i + 1, 5):
            y[i] = y[i] - m[i, j] * y[j]
        y[i] = y[i] / m[i, i]
    return y


@wp.kernel
def jet_kernel(
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    spacing: wp.array[wp.float64],
    neighbors: wp.array2d[wp.int32],
    rule: JetRule,
    tilted: wp.array[wp.vec3d],
    jets: wp.array[Jet],
):
    p = wp.tid()
    n = normals[p]
    h = spacing[p]
    a, b = tangents(n)
    jet = Jet()
    for step in range(_ROBUST_STEPS):
        m = _Normal()
        y = Jet()
        m[0, 0] = rule.slope_ridge
        m[1, 1] = rule.slope_ridge
        for i in range(2, 5):
            m[i, i] = rule.bend_ridge
        for s in range(neighbors.shape[1]):
            j = neighbors[p, s]
            if j >= 0:
                q = (points[j] - points[p]) / h
                terms = jet_terms(wp.dot(a, q), wp.dot(b, q))
                z = wp.dot(n, q)
                w = wp.exp(-_HALF * wp.length_sq(q) / (rule.width * rule.width))
                w *= side_weight(wp.dot(n, normals[j]), rule.cosine)
                if step > 0:
                    rest = (z - wp.dot(terms, jet)) / rule.band
                    w *= wp.exp(-rest * rest)
                m += w * wp.outer(terms, terms)
                y += w * z * terms
        jet = solved(m, y)
    tilted[p] = wp.normalize(n - jet[0] * a - jet[1] * b)
    jets[p] = jet


@wp.func
def jet_distance(q: wp.vec3d, n: wp.vec3d, jet: Jet):
    """Return the signed distance of a point from a jet to first order, and the jet's normal there."""
    a, b = tangents(n)
    u = wp.dot(a, q)
    v = wp.dot(b, q)
    height = wp.dot(n, q) - wp.dot(jet_terms(u, v), jet)
    normal = n - (jet[0] + jet[2] * u + jet[3] * v) * a - (jet[1] + jet[3] * u + jet[4] * v) * b
    length = wp.length(normal)
    return height / length, normal / length


@wp.kernel
def blend_kernel(
    places: wp.array[wp.vec3d],
    directions: wp.array[wp.vec3d],
    points: wp.array[wp.vec3d],
    normals: wp.array[wp.vec3d],
    spacing: wp.array[wp.float64],
    jets: wp.array[Jet],
    nearest: wp.array2d[wp.int32],
    rule: JetRule,
    moved: wp.array[wp.vec3d],
    moved_normals: wp.array[wp.vec3d],
    spread: wp.array[wp.float64],
):
    q = wp.tid()
    x = places[q]
    m = directions[q]
    scatter = wp.float64(wp.inf)
    for _turn in range(_MOVES):
        total = _ZERO
        mean = _ZERO
        square = _ZERO
        normal = wp.vec3d()
        closest = wp.length_sq(x - points[nearest[q, 0]])
        for s in range(nearest.shape[1]):
            j = nearest[q, s]
            if j >= 0:
                h = spacing[j]
                # Relative to the nearest, so that far from all samples the weights do not vanish.
                w = wp.exp(
                    (closest - wp.length_sq(x - points[j])) * _HALF / (rule.width * rule.width * h * h)
                )
                side = side_weight(wp.dot(m, normals[j]), rule.cosine)
                w *= side * side
                d, toward = jet_distance((x - points[j]) / h, normals[j], jets[j])
                if wp.dot(toward, m) < _ZERO:
                    d = -d
                    toward = -toward
                d *= h
                total += w
                mean += w * d
                square += w * d * d
                normal += w * toward
        scatter = wp.float64(wp.inf)
        if total > wp.float64(1.0e-3):
            mean /= total
            scatter = wp.sqrt(wp.max(square / total - mean * mean, _ZERO))
            m = wp.normalize(normal)
            x -= mean * m
    moved[q] = x
    moved_normals[q] = m
    spread[q] = scatter


def fit_jets(
    points: wp.array, normals: wp.array, spacing: wp.array, neighbors: wp.array, rule: JetRule
) -> tuple[wp.array, wp.array]:
    """Fit the jet of every sample in the frame of its normal.

    Args:
        points: Samples, shape (n,), vec3d.
        normals: Unit normals of any sign, shape (n,), vec3d.
        spacing: Distance to the samples around, shape (n,), float64.
        neighbors: Samples around each, -1 where missing, shape (n, k), int32.

    Returns:
        The normals of the jets at their samples, shape (n,), vec3d, and the coefficients in the frame of the
        normals given, shape (n,), `Jet`.
    """
    n, device = len(points), points.device
    check_array("normals", normals, wp.vec3d, (n,))
    check_array("spacing", spacing, wp.float64, (n,))
    check_array("neighbors", neighbors, wp.int32, (n, None))
    tilted = wp.empty(n, dtype=wp.vec3d, device=device)
    jets = wp.empty(n, dtype=Jet, device=device)
    wp.launch(
        jet_kernel,
        dim=n,
        inputs=[points, normals, spacing, neighbors, rule],
        outputs=[tilted, jets],
        device=device,
    )
    return tilted, jets


def blend_jets(
    places: wp.array,
    directions: wp.array,
    points: wp.array,
    normals: wp.array,
    spacing: wp.array,
    jets: wp.array,
    nearest: wp.array,
    rule: JetRule,
) -> tuple[wp.array, wp.array, wp.array]:
    """Move places onto the blend of the jets near them.

    Args:
        places: Points near the surface, shape (q,), vec3d.
        directions: Unit normals there; jets of other directions have no say, shape (q,), vec3d.
        points, normals, spacing, jets: Samples with the frames of their jets, shape (n,).
        nearest: Samples near each place, nearest first, -1 where missing, shape (q, k), int32.

    Returns:
        Places and unit normals on the blend, shape (q,), vec3d, and how far the jets scatter around it, shape
        (q,), float64; inf where none has a say.
    """
    q, device = len(places), places.device
    check_array("directions", directions, wp.vec3d, (q,))
    check_array("nearest", nearest, wp.int32, (q, None))
    moved = wp.empty(q, dtype=wp.vec3d, device=device)
    moved_normals = wp.empty(q, dtype=wp.vec3d, device=device)
    spread = wp.empty(q, dtype=wp.float64, device=device)
    wp.launch(
        blend_kernel,
        dim=q,
        inputs=[places, directions, points, normals, spacing, jets, nearest, rule],
        outputs=[moved, moved_normals, spread],
        device=device,
    )
    return moved, moved_normals, spread
