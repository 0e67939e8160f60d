"""Hyperelastic materials: energy density, first Piola stress and the spectrum of the Hessian.

    F = Ds Dm^-1,   J = det F,   E = (F^T F - I) / 2,   F = U diag(s) V^T with det U = det V = 1 (signed)

    stable_neo_hookean   psi = mu/2 (F:F - 3) + (lam + mu)/2 (J - a)^2 - psi_0,  a = 1 + mu/(lam + mu)
                             = mu/2 (F:F - 3) + (lam + mu)/2 (J - 1)^2 - mu (J - 1)
    st_venant_kirchhoff  psi = mu E:E + lam/2 tr(E)^2
    fixed_corotated      psi = mu |F - R|^2 + lam/2 (J - 1)^2,           R = U V^T
    linear               psi = mu e:e + lam/2 tr(e)^2,                   e = (F + F^T)/2 - I

All four have the Lamé moduli mu and lam [Pa] of linear elasticity at F = I, and no energy there: psi_0 is the
constant mu^2 / (2 (lam + mu)), which no force sees.

For a density of the singular values alone, the 9x9 Hessian d2psi/dF2 in the frame (U, V) falls apart into a
3x3 block of scalings and, for each pair (i, j), one symmetric and one antisymmetric mode:

    scaling[i, j]  = d2psi / (ds_i ds_j)
    symmetric[k]   = (psi_i - psi_j) / (s_i - s_j)          k the axis that is neither i nor j
    antisymmetric[k] = (psi_i + psi_j) / (s_i + s_j)

so a material states these nine numbers in closed form, free of the divisions, and `elasticity.py` does the
rest. The linear material has the same structure in the frame U = V = I, which is its `frame`.

To add a material, write its four functions and list it in `MATERIALS`; tests and config find it there.

Source: Smith, de Goes, Kim 2018, Stable Neo-Hookean Flesh Simulation, eq. 13 without the logarithmic term,
which makes the given Lamé moduli exact; Smith, de Goes, Kim 2019, Analytic Eigensystems for Isotropic
Distortion Energies, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class Spectrum:
    """Hessian of an energy density in the frame (U, V) of the deformation gradient [Pa]."""

    scaling: wp.mat33d
    symmetric: wp.vec3d
    antisymmetric: wp.vec3d


@wp.func
def cofactor(F: wp.mat33d) -> wp.mat33d:
    """Return dJ/dF = J F^-T, finite for a singular F."""
    a = wp.vec3d(F[0, 0], F[1, 0], F[2, 0])
    b = wp.vec3d(F[0, 1], F[1, 1], F[2, 1])
    c = wp.vec3d(F[0, 2], F[1, 2], F[2, 2])
    return wp.matrix_from_cols(wp.cross(b, c), wp.cross(c, a), wp.cross(a, b))


@wp.func
def identity() -> wp.mat33d:
    return wp.identity(n=3, dtype=wp.float64)


@wp.func
def volume_spectrum(s: wp.vec3d, slope: wp.float64, curvature: wp.float64) -> Spectrum:
    """Return the spectrum of a function of J alone, given its first and second derivative."""
    others = wp.vec3d(s[1] * s[2], s[2] * s[0], s[0] * s[1])
    h = Spectrum()
    h.scaling = curvature * wp.outer(others, others) + slope * wp.matrix_from_rows(
        wp.vec3d(wp.float64(0.0), s[2], s[1]),
        wp.vec3d(s[2], wp.float64(0.0), s[0]),
        wp.vec3d(s[1], s[0], wp.float64(0.0)),
    )
    h.symmetric = -slope * s
    h.antisymmetric = slope * s
    return h


@wp.func
def singular_frame(F: wp.mat33d):
    """Return U, s, V of the signed singular value decomposition."""
    U, s, V = wp.svd3(F)
    return U, s, V


@wp.func
def fixed_frame(F: wp.mat33d):
    """Return the coordinate axes: the frame of a density that is not a function of singular values."""
    return identity(), wp.get_diag(F), identity()


@wp.func
def stable_neo_hookean_energy_density(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.float64:
    half = wp.float64(0.5)
    change = wp.determinant(F) - wp.float64(1.0)
    return half * mu * (wp.ddot(F, F) - wp.float64(3.0)) + half * (lam + mu) * change * change - mu * change


@wp.func
def stable_neo_hookean_stress(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.mat33d:
    a = wp.float64(1.0) + mu / (lam + mu)
    return mu * F + (lam + mu) * (wp.determinant(F) - a) * cofactor(F)


@wp.func
def stable_neo_hookean_spectrum(s: wp.vec3d, mu: wp.float64, lam: wp.float64) -> Spectrum:
    a = wp.float64(1.0) + mu / (lam + mu)
    h = volume_spectrum(s, (lam + mu) * (s[0] * s[1] * s[2] - a), lam + mu)
    shear = wp.vec3d(mu, mu, mu)
    h.scaling = h.scaling + wp.diag(shear)
    h.symmetric = h.symmetric + shear
    h.antisymmetric = h.antisymmetric + shear
    return h


@wp.func
def green_strain(F: wp.mat33d) -> wp.mat33d:
    return wp.float64(0.5) * (wp.transpose(F) @ F - identity())


@wp.func
def st_venant_kirchhoff_energy_density(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.float64:
    E = green_strain(F)
    return mu * wp.ddot(E, E) + wp.float64(0.5) * lam * wp.trace(E) * wp.trace(E)


@wp.func
def st_venant_kirchhoff_stress(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.mat33d:
    E = green_strain(F)
    return F @ (wp.float64(2.0) * mu * E + lam * wp.trace(E) * identity())


@wp.func
def st_venant_kirchhoff_spectrum(s: wp.vec3d, mu: wp.float64, lam: wp.float64) -> Spectrum:
    # psi_i = mu s_i (s_i^2 - 1) + lam tr(E) s_i
    one = wp.vec3d(wp.float64(1.0), wp.float64(1.0), wp.float64(1.0))
    square = wp.cw_mul(s, s)
    trace = lam * wp.float64(0.5) * (wp.dot(s, s) - wp.float64(3.0))
    pair_sum = wp.dot(s, s) * one - square
    pair_product = wp.vec3d(s[1] * s[2], s[2] * s[0], s[0] * s[1])
    h = Spectrum()
    h.scaling = lam * wp.outer(s, s) + wp.diag(mu * (wp.float64(3.0) * square - one) + trace * one)
    h.symmetric = mu * (pair_sum + pair_product - one) + trace * one
    h.antisymmetric = mu * (pair_sum - pair_product - one) + trace * one
    return h


@wp.func
def fixed_corotated_energy_density(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.float64:
    U, s, V = wp.svd3(F)
    one = wp.float64(1.0)
    stretch = s - wp.vec3d(one, one, one)
    J = s[0] * s[1] * s[2]
    return mu * wp.dot(stretch, stretch) + wp.float64(0.5) * lam * (J - one) * (J - one)


@wp.func
def fixed_corotated_stress(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.mat33d:
    U, s, V = wp.svd3(F)
    R = U @ wp.transpose(V)
    return wp.float64(2.0) * mu * (F - R) + lam * (wp.determinant(F) - wp.float64(1.0)) * cofactor(F)


@wp.func
def inverse_or_bound(x: wp.float64) -> wp.float64:
    """Return 1/x for a sum of two singular values, bounded where the rotation is not defined (x -> 0)."""
    return wp.float64(1.0) / wp.max(x, wp.float64(1.0e-6))


@wp.func
def fixed_corotated_spectrum(s: wp.vec3d, mu: wp.float64, lam: wp.float64) -> Spectrum:
    # psi_i = 2 mu (s_i - 1) + lam (J - 1) J / s_i; the first term gives 2 mu (1 - 2 / (s_i + s_j)) to the
    # antisymmetric mode.
    h = volume_spectrum(s, lam * (s[0] * s[1] * s[2] - wp.float64(1.0)), lam)
    two_mu = wp.float64(2.0) * mu
    shear = wp.vec3d(two_mu, two_mu, two_mu)
    turn = wp.vec3d(
        inverse_or_bound(s[1] + s[2]), inverse_or_bound(s[2] + s[0]), inverse_or_bound(s[0] + s[1])
    )
    h.scaling = h.scaling + wp.diag(shear)
    h.symmetric = h.symmetric + shear
    h.antisymmetric = h.antisymmetric + shear - wp.float64(2.0) * two_mu * turn
    return h


@wp.func
def small_strain(F: wp.mat33d) -> wp.mat33d:
    return wp.float64(0.5) * (F + wp.transpose(F)) - identity()


@wp.func
def linear_energy_density(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.float64:
    e = small_strain(F)
    return mu * wp.ddot(e, e) + wp.float64(0.5) * lam * wp.trace(e) * wp.trace(e)


@wp.func
def linear_stress(F: wp.mat33d, mu: wp.float64, lam: wp.float64) -> wp.mat33d:
    e = small_strain(F)
    return wp.float64(2.0) * mu * e + lam * wp.trace(e) * identity()


@wp.func
def linear_spectrum(s: wp.vec3d, mu: wp.float64, lam: wp.float64) -> Spectrum:
    one = wp.vec3d(wp.float64(1.0), wp.float64(1.0), wp.float64(1.0))
    two_mu = wp.float64(2.0) * mu
    h = Spectrum()
    h.scaling = lam * wp.outer(one, one) + two_mu * identity()
    h.symmetric = two_mu * one
    h.antisymmetric = wp.float64(0.0) * one
    return h


@dataclass(frozen=True)
class MaterialFunctions:
    """The Warp functions of one material; `frame` returns U, s, V for its spectrum."""

    energy_density: wp.Function
    stress: wp.Function
    spectrum: wp.Function
    frame: wp.Function = singular_frame


MATERIALS: dict[str, MaterialFunctions] = {
    "stable_neo_hookean": MaterialFunctions(
        stable_neo_hookean_energy_density, stable_neo_hookean_stress, stable_neo_hookean_spectrum
    ),
    "st_venant_kirchhoff": MaterialFunctions(
        st_venant_kirchhoff_energy_density, st_venant_kirchhoff_stress, st_venant_kirchhoff_spectrum
    ),
    "fixed_corotated": MaterialFunctions(
        fixed_corotated_energy_density, fixed_corotated_stress, fixed_corotated_spectrum
    ),
    "linear": MaterialFunctions(linear_energy_density, linear_stress, linear_spectrum, fixed_frame),
}
"""Every material by the name that a config gives."""
