"""How elastic forces of quadratic tets depend on moduli and rest shape, in float64.

Edges are straight at rest, so that the rest shape is that of the corners, and at each of the four points q

    grad N_n = sum_c a_nc g_c,   F_q = sum_n x_n (grad N_n)^T,   Q_q = sum_n y_n (grad N_n)^T

change with the corners as they do in a linear tet. The equations of `elasticity_sensitivity.py` hold at each
point with a quarter of the volume.

Source: as there.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.elasticity import TetElements
from warp_kernels.elasticity_sensitivity import rest_stress, stress_change
from warp_kernels.quadratic_elasticity import NODES, barycentric, deformation_gradient_at

wp.set_module_options({"enable_backward": False})


def quadratic_sensitivity_kernel(name: str, functions: Any) -> wp.Kernel:
    """Build the kernel of one material in a Warp module of its own; arguments as `elastic_kernels`."""
    module = wp.get_module(f"{__name__}.{name}")
    module.options["enable_backward"] = False
    piola_stress, spectrum, frame = functions.stress, functions.spectrum, functions.frame

    @wp.kernel(module=module)
    def kernel(
        x: wp.array[wp.vec3d],
        direction: wp.array[wp.vec3d],
        nodes: wp.array[NODES],
        elements: TetElements,
        mu_slope: wp.array[wp.float64],
        lam_slope: wp.array[wp.float64],
        rest_slope: wp.array2d[wp.vec3d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        W = wp.float64(0.25) * elements.volumes[t]
        zero = wp.float64(0.0)
        one = wp.float64(1.0)
        by_mu = wp.float64(0.0)
        by_lam = wp.float64(0.0)
        S = wp.mat33d()
        for q in range(int(4)):
            L = barycentric(q)
            F = deformation_gradient_at(x, nodes[t], g, L)
            Q = deformation_gradient_at(direction, nodes[t], g, L)
            by_mu += W * wp.ddot(piola_stress(F, one, zero), Q)
            by_lam += W * wp.ddot(piola_stress(F, zero, one), Q)
            U, s, V = frame(F)
            H = stress_change(U, spectrum(s, elements.mu[t], elements.lam[t]), V, Q)
            S = S + W * rest_stress(F, Q, piola_stress(F, elements.mu[t], elements.lam[t]), H)
        mu_slope[t] = by_mu
        lam_slope[t] = by_lam
        for c in range(4):
            rest_slope[t, c] = S @ g[c]

    return kernel


def quadratic_sensitivity(
    kernel: wp.Kernel,
    x: wp.array,
    direction: wp.array,
    nodes: wp.array,
    elements: TetElements,
    mu_slope: wp.array,
    lam_slope: wp.array,
    rest_slope: wp.array,
) -> None:
    """Evaluate the derivatives of dE/dx . direction.

    Args:
        kernel: Of the material, from `quadratic_sensitivity_kernel`.
        x: Positions of the nodes [m], vec3d of shape (n,).
        direction: vec3d of shape (n,).
        nodes: NODES of shape (t,).
        mu_slope: By mu of each tet, written, shape (t,).
        lam_slope: By lam of each tet, written, shape (t,).
        rest_slope: By the rest positions of the corners of each tet, written, vec3d of shape (t, 4).
    """
    wp.launch(
        kernel, len(mu_slope), [x, direction, nodes, elements], [mu_slope, lam_slope, rest_slope],
        device=x.device,
    )  # fmt: skip
