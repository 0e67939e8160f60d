"""Elastic energy of linear tetrahedra: value, gradient and projected Hessian, in float64.

    x_c             corner positions,  F = Ds Dm^-1 = sum_c x_c g_c^T      g_c: shape gradients, W: volume
    energy          W psi(F)
    gradient        dE/dx_c = W P(F) g_c                                   (the force is its negative)
    Hessian block   d2E/(dx_a dx_b) = W sum_k l_k (Q_k g_a)(Q_k g_b)^T     l_k, Q_k: eigenpairs of d2psi/dF2

With l_k clamped to be non-negative the Hessian is positive semi-definite per tet, so that a Newton step
descends. In the frame F = U diag(s) V^T, with h = V^T g, the block is U K U^T and (A the projected 3x3
scaling block, `p` half the sum and `m` half the difference of the clamped symmetric and antisymmetric
eigenvalue of the pair i, j)

    K[i, i] = A[i, i] h_a[i] h_b[i] + sum_{j != i} p_ij h_a[j] h_b[j]
    K[i, j] = A[i, j] h_a[i] h_b[j] + m_ij h_a[j] h_b[i]

`elastic_kernels(name, functions)` compiles one small module per material, when that material is first used;
what a material is made of is said in `materials.py`. Sums over the tets of a vertex are gathered, not
scattered with atomics, so results are the same in every run and on every launch order.

Source: Sifakis, Barbic 2012, FEM Simulation of 3D Deformable Solids, Alg. 1; Smith, de Goes, Kim 2019,
Analytic Eigensystems for Isotropic Distortion Energies, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import warp as wp

wp.set_module_options({"enable_backward": False})

CORNER_GRADIENTS = wp.types.matrix(shape=(4, 3), dtype=wp.float64)
"""Shape gradients of one tet [1/m], one row per corner."""


@wp.struct
class TetElements:
    """Linear tetrahedra at rest, and their moduli."""

    tets: wp.array[wp.vec4i]
    shape_gradients: wp.array[CORNER_GRADIENTS]
    volumes: wp.array[wp.float64]
    """Rest volumes [m^3]."""
    mu: wp.array[wp.float64]
    """First Lamé modulus of each tet [Pa]; the shear modulus."""
    lam: wp.array[wp.float64]
    """Second Lamé modulus of each tet [Pa]."""


@wp.func
def deformation_gradient(x: wp.array[wp.vec3d], tet: wp.vec4i, g: CORNER_GRADIENTS) -> wp.mat33d:
    # Rows of g sum to zero, so that differences to corner 0 give the same F with less cancellation.
    origin = x[tet[0]]
    F = wp.outer(x[tet[1]] - origin, g[1])
    F = F + wp.outer(x[tet[2]] - origin, g[2])
    return F + wp.outer(x[tet[3]] - origin, g[3])


@wp.func
def project_scaling(A: wp.mat33d) -> wp.mat33d:
    """Return the nearest positive semi-definite matrix of a symmetric one."""
    zero = wp.float64(0.0)
    minor = A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]
    if A[0, 0] > zero and minor > zero and wp.determinant(A) > zero:
        return A
    Q, d = wp.eig3(A)
    d = wp.vec3d(wp.max(d[0], zero), wp.max(d[1], zero), wp.max(d[2], zero))
    return Q @ wp.diag(d) @ wp.transpose(Q)


@wp.func
def hessian_block(
    U: wp.mat33d, A: wp.mat33d, p: wp.vec3d, m: wp.vec3d, ha: wp.vec3d, hb: wp.vec3d
) -> wp.mat33d:
    K = wp.cw_mul(A, wp.outer(ha, hb)) + wp.cw_mul(
        wp.matrix_from_rows(
            wp.vec3d(wp.float64(0.0), m[2], m[1]),
            wp.vec3d(m[2], wp.float64(0.0), m[0]),
            wp.vec3d(m[1], m[0], wp.float64(0.0)),
        ),
        wp.outer(hb, ha),
    )
    e = wp.cw_mul(ha, hb)
    K = K + wp.diag(wp.vec3d(p[2] * e[1] + p[1] * e[2], p[2] * e[0] + p[0] * e[2], p[1] * e[0] + p[0] * e[1]))
    return U @ K @ wp.transpose(U)


@dataclass(frozen=True)
class ElasticKernels:
    """The compiled loops of one material."""

    energy: wp.Kernel
    gradient: wp.Kernel
    hessian: wp.Kernel
    stress: wp.Kernel


def elastic_kernels(name: str, functions: Any) -> ElasticKernels:
    """Build the kernels of one material in a Warp module of its own.

    Args:
        name: Names the module.
        functions: Record of the Warp functions `energy_density(F, mu, lam)`, `stress(F, mu, lam)`,
            `spectrum(s, mu, lam)` and `frame(F)`, as `materials.MaterialFunctions`.
    """
    module = wp.get_module(f"{__name__}.{name}")
    module.options["enable_backward"] = False
    energy_density, piola_stress = functions.energy_density, functions.stress
    spectrum, frame = functions.spectrum, functions.frame

    @wp.kernel(module=module)
    def energy_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        energy: wp.array[wp.float64],
        volume_ratio: wp.array[wp.float64],
    ):
        t = wp.tid()
        F = deformation_gradient(x, elements.tets[t], elements.shape_gradients[t])
        energy[t] = elements.volumes[t] * energy_density(F, elements.mu[t], elements.lam[t])
        volume_ratio[t] = wp.determinant(F)

    @wp.kernel(module=module)
    def gradient_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        corner_gradient: wp.array2d[wp.vec3d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        F = deformation_gradient(x, elements.tets[t], g)
        P = elements.volumes[t] * piola_stress(F, elements.mu[t], elements.lam[t])
        for c in range(4):
            corner_gradient[t, c] = P @ g[c]

    @wp.kernel(module=module)
    def stress_kernel(x: wp.array[wp.vec3d], elements: TetElements, stress: wp.array[wp.mat33d]):
        t = wp.tid()
        F = deformation_gradient(x, elements.tets[t], elements.shape_gradients[t])
        stress[t] = piola_stress(F, elements.mu[t], elements.lam[t])

    @wp.kernel(module=module)
    def hessian_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        is_projected: wp.bool,
        blocks: wp.array[wp.mat33d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        F = deformation_gradient(x, elements.tets[t], g)
        U, s, V = frame(F)
        h = spectrum(s, elements.mu[t], elements.lam[t])
        A = h.scaling
        symmetric = h.symmetric
        antisymmetric = h.antisymmetric
        if is_projected:
            A = project_scaling(h.scaling)
            zero = wp.vec3d()
            symmetric = wp.max(h.symmetric, zero)
            antisymmetric = wp.max(h.antisymmetric, zero)
        W = elements.volumes[t]
        A = W * A
        p = wp.float64(0.5) * W * (symmetric + antisymmetric)
        m = wp.float64(0.5) * W * (symmetric - antisymmetric)
        for a in range(int(4)):
            ha = wp.transpose(V) @ g[a]
            for b in range(a, int(4)):
                block = hessian_block(U, A, p, m, ha, wp.transpose(V) @ g[b])
                blocks[16 * t + 4 * a + b] = block
                blocks[16 * t + 4 * b + a] = wp.transpose(block)

    return ElasticKernels(energy_kernel, gradient_kernel, hessian_kernel, stress_kernel)


@wp.kernel
def gather_kernel(
    start: wp.array[wp.int32],
    corner: wp.array[wp.int32],
    values: wp.array2d[wp.vec3d],
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    total = wp.vec3d()
    for k in range(start[p], start[p + 1]):
        total += values[corner[k] // 4, corner[k] % 4]
    out[p] += total


def elastic_energy(
    kernels: ElasticKernels,
    x: wp.array,
    elements: TetElements,
    energy: wp.array,
    volume_ratio: wp.array,
) -> None:
    """Evaluate the energy [J] and the volume ratio J of each tet.

    Args:
        kernels: Of the material, from `elastic_kernels`.
        x: Positions [m], vec3d of shape (n,).
        elements: Arrays of shape (t,).
        energy: Written, shape (t,).
        volume_ratio: Written, shape (t,).
    """
    wp.launch(
        kernels.energy, elements.volumes.shape[0], [x, elements], [energy, volume_ratio], device=x.device
    )


def elastic_gradient(
    kernels: ElasticKernels,
    x: wp.array,
    elements: TetElements,
    start: wp.array,
    corner: wp.array,
    corner_gradient: wp.array,
    out: wp.array,
) -> None:
    """Add the gradient of the elastic energy [N] to `out`; the force is its negative.

    Args:
        kernels: Of the material, from `elastic_kernels`.
        x: Positions [m], vec3d of shape (n,).
        elements: Arrays of shape (t,).
        start: First entry of each vertex in `corner`, shape (n + 1,).
        corner: 4 * tet + corner index, grouped by vertex, shape (4 t,).
        corner_gradient: Work array, vec3d of shape (t, 4).
        out: Accumulated into, vec3d of shape (n,).
    """
    wp.launch(kernels.gradient, len(corner_gradient), [x, elements], [corner_gradient], device=x.device)
    wp.launch(gather_kernel, len(out), [start, corner, corner_gradient], [out], device=x.device)


def elastic_stress(kernels: ElasticKernels, x: wp.array, elements: TetElements, out: wp.array) -> None:
    """Evaluate the first Piola-Kirchhoff stress of each tet [Pa], mat33d of shape (t,)."""
    wp.launch(kernels.stress, len(out), [x, elements], [out], device=x.device)


def elastic_hessian(
    kernels: ElasticKernels, x: wp.array, elements: TetElements, is_projected: bool, out: wp.array
) -> None:
    """Evaluate the 16 Hessian blocks of each tet [N/m], mat33d of shape (16 t,), row 16 t + 4 a + b.

    Args:
        is_projected: Clamp the eigenvalues of d2psi/dF2 at zero.
    """
    tet_count = elements.volumes.shape[0]
    wp.launch(kernels.hessian, tet_count, [x, elements, is_projected], [out], device=x.device)
