"""How elastic forces depend on moduli and rest shape, contracted with a vector of displacements, in float64.

With G(y) = dE/dx . y for a direction y of shape (n,), and per tet Q = sum_c y_c g_c^T, P = P(F),
H = d2psi/dF2 : Q:

    G            W P : Q
    dG/dmu       W P(F; 1, 0) : Q                    every density here is linear in mu and lam
    dG/dlam      W P(F; 0, 1) : Q
    dG/dX_c      W S g_c,    S = (P : Q) I - F^T H - Q^T P

The last from dW = W tr(B dDm), dF = -F dDm B and dQ = -Q dDm B with B = Dm^-1, whose rows are g_1, g_2, g_3;
g_0 is minus their sum. H is found in the frame of `materials.py`: with M = U^T Q V, N = U^T H V,

    N[i, i] = sum_j scaling[i, j] M[j, j],   N[i, j] = p M[i, j] + m M[j, i]
    p, m = half the sum and half the difference of the symmetric and the antisymmetric entry of the pair

Source: derived here; the tests hold it against central differences and Taylor remainders.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.elasticity import TetElements, deformation_gradient
from warp_kernels.materials import Spectrum

wp.set_module_options({"enable_backward": False})


@wp.func
def spread(p: wp.vec3d) -> wp.mat33d:
    """Return the symmetric matrix with p[k] at the pair of axes that leaves out k, zero on the diagonal."""
    zero = wp.float64(0.0)
    return wp.matrix_from_rows(
        wp.vec3d(zero, p[2], p[1]), wp.vec3d(p[2], zero, p[0]), wp.vec3d(p[1], p[0], zero)
    )


@wp.func
def stress_change(U: wp.mat33d, h: Spectrum, V: wp.mat33d, Q: wp.mat33d) -> wp.mat33d:
    """Return H = d2psi/dF2 : Q from the spectrum h in the frame of F."""
    M = wp.transpose(U) @ Q @ V
    half = wp.float64(0.5)
    N = wp.cw_mul(spread(half * (h.symmetric + h.antisymmetric)), M)
    N = N + wp.cw_mul(spread(half * (h.symmetric - h.antisymmetric)), wp.transpose(M))
    N = N + wp.diag(h.scaling @ wp.get_diag(M))
    return U @ N @ wp.transpose(V)


@wp.func
def rest_stress(F: wp.mat33d, Q: wp.mat33d, P: wp.mat33d, H: wp.mat33d) -> wp.mat33d:
    """Return S."""
    return wp.ddot(P, Q) * wp.identity(n=3, dtype=wp.float64) - wp.transpose(F) @ H - wp.transpose(Q) @ P


def sensitivity_kernel(name: str, functions: Any) -> wp.Kernel:
    """Build the kernel of one material in a Warp module of its own; arguments as `elastic_kernels`."""
    module = wp.get_module(f"{__name__}.{name}")
    module.options["enable_backward"] = False
    piola_stress, spectrum, frame = functions.stress, functions.spectrum, functions.frame

    @wp.kernel(module=module)
    def kernel(
        x: wp.array[wp.vec3d],
        direction: wp.array[wp.vec3d],
        elements: TetElements,
        mu_slope: wp.array[wp.float64],
        lam_slope: wp.array[wp.float64],
        rest_slope: wp.array2d[wp.vec3d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        F = deformation_gradient(x, elements.tets[t], g)
        Q = deformation_gradient(direction, elements.tets[t], g)
        W = elements.volumes[t]
        zero = wp.float64(0.0)
        one = wp.float64(1.0)
        mu_slope[t] = W * wp.ddot(piola_stress(F, one, zero), Q)
        lam_slope[t] = W * wp.ddot(piola_stress(F, zero, one), Q)
        U, s, V = frame(F)
        H = stress_change(U, spectrum(s, elements.mu[t], elements.lam[t]), V, Q)
        S = W * rest_stress(F, Q, piola_stress(F, elements.mu[t], elements.lam[t]), H)
        for c in range(4):
            rest_slope[t, c] = S @ g[c]

    return kernel


def elastic_sensitivity(
    kernel: wp.Kernel,
    x: wp.array,
    direction: wp.array,
    elements: TetElements,
    mu_slope: wp.array,
    lam_slope: wp.array,
    rest_slope: wp.array,
) -> None:
    """Evaluate the derivatives of dE/dx . direction.

    Args:
        kernel: Of the material, from `sensitivity_kernel`.
        x: Positions [m], vec3d of shape (n,).
        direction: vec3d of shape (n,).
        mu_slope: By mu of each tet, written, shape (t,).
        lam_slope: By lam of each tet, written, shape (t,).
        rest_slope: By the rest positions of the corners of each tet, written, vec3d of shape (t, 4).
    """
    wp.launch(
        kernel, len(mu_slope), [x, direction, elements], [mu_slope, lam_slope, rest_slope], device=x.device
    )
