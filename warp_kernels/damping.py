"""Blocks of a damping matrix: of a stiffness matrix, or of the strain rate of tetrahedra, in float64.

    dE = sym(F^T dF)                            rate of Green's strain, F where the step begins
    D  = lam tr(.) I + 2 mu (.)
    dE : D : dE = sum d_a . K_ab d_b,   K_ab = W F (lam g_a g_b^T + mu g_b g_a^T + mu (g_a . g_b) I) F^T

K is the part of the tangent of a St. Venant-Kirchhoff solid that its stress has no share in: symmetric,
positive semi-definite at every F, a polynomial in F, zero along rigid motions, and at rest the stiffness of
every material with these moduli.

Source: Bonet, Wood 2008, Nonlinear Continuum Mechanics for Finite Element Analysis, section 9.4 (constitutive
part of the tangent).
"""

from __future__ import annotations

import warp as wp

from warp_kernels.elasticity import TetElements, deformation_gradient
from warp_kernels.quadratic_elasticity import NODES, barycentric, deformation_gradient_at, node_gradient

wp.set_module_options({"enable_backward": False})


@wp.func
def strain_rate_block(F: wp.mat33d, ga: wp.vec3d, gb: wp.vec3d, mu: wp.float64, lam: wp.float64) -> wp.mat33d:
    # F (lam g_a g_b^T + ...) F^T with h = F g.
    ha = F @ ga
    hb = F @ gb
    return lam * wp.outer(ha, hb) + mu * wp.outer(hb, ha) + mu * wp.dot(ga, gb) * (F @ wp.transpose(F))


@wp.kernel
def strain_rate_kernel(x: wp.array[wp.vec3d], elements: TetElements, blocks: wp.array[wp.mat33d]):
    t = wp.tid()
    g = elements.shape_gradients[t]
    F = deformation_gradient(x, elements.tets[t], g)
    for a in range(int(4)):
        for b in range(int(4)):
            block = strain_rate_block(F, g[a], g[b], elements.mu[t], elements.lam[t])
            blocks[16 * t + 4 * a + b] = elements.volumes[t] * block


@wp.kernel
def quadratic_strain_rate_kernel(
    x: wp.array[wp.vec3d], nodes: wp.array[NODES], elements: TetElements, blocks: wp.array[wp.mat33d]
):
    t = wp.tid()
    g = elements.shape_gradients[t]
    W = wp.float64(0.25) * elements.volumes[t]
    for k in range(int(100)):
        blocks[100 * t + k] = wp.mat33d()
    for q in range(int(4)):
        L = barycentric(q)
        F = deformation_gradient_at(x, nodes[t], g, L)
        for a in range(int(10)):
            ga = node_gradient(g, L, a)
            for b in range(int(10)):
                gb = node_gradient(g, L, b)
                block = strain_rate_block(F, ga, gb, elements.mu[t], elements.lam[t])
                blocks[100 * t + 10 * a + b] = blocks[100 * t + 10 * a + b] + W * block


@wp.kernel
def scale_blocks_kernel(blocks: wp.array[wp.mat33d], factor: wp.float64, out: wp.array[wp.mat33d]):
    k = wp.tid()
    out[k] = factor * blocks[k]


def strain_rate_blocks(x: wp.array, elements: TetElements, out: wp.array) -> None:
    """Write K of linear tets at positions x [m], mat33d of shape (16 t,), row 16 t + 4 a + b."""
    wp.launch(strain_rate_kernel, elements.volumes.shape[0], [x, elements], [out], device=out.device)


def quadratic_strain_rate_blocks(x: wp.array, nodes: wp.array, elements: TetElements, out: wp.array) -> None:
    """Write K of quadratic tets at positions x [m], mat33d of shape (100 t,), row 100 t + 10 a + b."""
    count = elements.volumes.shape[0]
    wp.launch(quadratic_strain_rate_kernel, count, [x, nodes, elements], [out], device=out.device)


def scale_blocks(blocks: wp.array, factor: float, out: wp.array) -> None:
    """Write factor * blocks to `out`, mat33d of shape (k,)."""
    wp.launch(scale_blocks_kernel, len(out), [blocks, wp.float64(factor)], [out], device=out.device)
