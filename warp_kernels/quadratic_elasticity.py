"""Elastic energy of quadratic tetrahedra with straight edges: value, gradient and projected Hessian, float64.

    nodes      corners 0 to 3, then the midpoints of the edges 01, 02, 03, 12, 13, 23
    shapes     N_c = L_c (2 L_c - 1),   N_ab = 4 L_a L_b                   L: barycentric coordinates
    gradients  (4 L_c - 1) g_c,         4 (L_a g_b + L_b g_a)              g_c: as of the linear tet
    energy     sum_q W/4 psi(F_q),      F_q = sum_n x_n (grad N_n)^T       four points of degree two

Everything else is as in `elasticity.py`, at each point q: (a, b, b, b) and its turns with
a = (5 + 3 sqrt 5)/20 and b = (5 - sqrt 5)/20. Exact for the stiffness of small
strains, whose integrand has degree two.

Source: Hughes 2000, The Finite Element Method, chapter 3; Keast 1986 for the points.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from warp_kernels.elasticity import (
    CORNER_GRADIENTS,
    ElasticKernels,
    TetElements,
    hessian_block,
    project_scaling,
)

wp.set_module_options({"enable_backward": False})

NODES = wp.types.vector(length=10, dtype=wp.int32)
"""Node indices of one tet."""


@wp.func
def barycentric(q: int) -> wp.vec4d:
    """Return the quadrature point q."""
    b = wp.float64(0.1381966011250105)
    L = wp.vec4d(b, b, b, b)
    L[q] = wp.float64(0.5854101966249685)
    return L


@wp.func
def node_gradient(g: CORNER_GRADIENTS, L: wp.vec4d, n: int) -> wp.vec3d:
    """Return the gradient of the shape function of node n at L."""
    four = wp.float64(4.0)
    if n < 4:
        return (four * L[n] - wp.float64(1.0)) * g[n]
    a = int(0)
    b = n - 3
    if n == 7 or n == 8:
        a = int(1)
        b = n - 5
    if n == 9:
        a = int(2)
        b = int(3)
    return four * (L[a] * g[b] + L[b] * g[a])


@wp.func
def deformation_gradient_at(
    x: wp.array[wp.vec3d], nodes: NODES, g: CORNER_GRADIENTS, L: wp.vec4d
) -> wp.mat33d:
    # The gradients sum to zero: differences to node 0 lose less to cancellation.
    origin = x[nodes[0]]
    F = wp.mat33d()
    for n in range(int(1), int(10)):
        F = F + wp.outer(x[nodes[n]] - origin, node_gradient(g, L, n))
    return F


def quadratic_kernels(name: str, functions: Any) -> ElasticKernels:
    """Build the kernels of one material in a Warp module of its own; arguments as `elastic_kernels`."""
    module = wp.get_module(f"{__name__}.{name}")
    module.options["enable_backward"] = False
    energy_density, piola_stress = functions.energy_density, functions.stress
    spectrum, frame = functions.spectrum, functions.frame

    @wp.kernel(module=module)
    def energy_kernel(
        x: wp.array[wp.vec3d],
        nodes: wp.array[NODES],
        elements: TetElements,
        energy: wp.array[wp.float64],
        volume_ratio: wp.array[wp.float64],
    ):
        t = wp.tid()
        total = wp.float64(0.0)
        smallest = wp.float64(wp.inf)
        for q in range(int(4)):
            F = deformation_gradient_at(x, nodes[t], elements.shape_gradients[t], barycentric(q))
            total += energy_density(F, elements.mu[t], elements.lam[t])
            smallest = wp.min(smallest, wp.determinant(F))
        energy[t] = wp.float64(0.25) * elements.volumes[t] * total
        volume_ratio[t] = smallest

    @wp.kernel(module=module)
    def gradient_kernel(
        x: wp.array[wp.vec3d],
        nodes: wp.array[NODES],
        elements: TetElements,
        node_force: wp.array2d[wp.vec3d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        for n in range(int(10)):
            node_force[t, n] = wp.vec3d()
        for q in range(int(4)):
            L = barycentric(q)
            F = deformation_gradient_at(x, nodes[t], g, L)
            P = wp.float64(0.25) * elements.volumes[t] * piola_stress(F, elements.mu[t], elements.lam[t])
            for n in range(int(10)):
                node_force[t, n] = node_force[t, n] + P @ node_gradient(g, L, n)

    @wp.kernel(module=module)
    def stress_kernel(
        x: wp.array[wp.vec3d], nodes: wp.array[NODES], elements: TetElements, stress: wp.array[wp.mat33d]
    ):
        t = wp.tid()
        P = wp.mat33d()
        for q in range(int(4)):
            F = deformation_gradient_at(x, nodes[t], elements.shape_gradients[t], barycentric(q))
            P = P + wp.float64(0.25) * piola_stress(F, elements.mu[t], elements.lam[t])
        stress[t] = P

    @wp.kernel(module=module)
    def hessian_kernel(
        x: wp.array[wp.vec3d],
        nodes: wp.array[NODES],
        elements: TetElements,
        is_projected: wp.bool,
        blocks: wp.array[wp.mat33d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        W = wp.float64(0.25) * elements.volumes[t]
        for k in range(int(100)):
            blocks[100 * t + k] = wp.mat33d()
        for q in range(int(4)):
            L = barycentric(q)
            U, s, V = frame(deformation_gradient_at(x, nodes[t], g, L))
            h = spectrum(s, elements.mu[t], elements.lam[t])
            A = h.scaling
            symmetric = h.symmetric
            antisymmetric = h.antisymmetric
            if is_projected:
                A = project_scaling(h.scaling)
                zero = wp.vec3d()
                symmetric = wp.max(h.symmetric, zero)
                antisymmetric = wp.max(h.antisymmetric, zero)
            A = W * A
            p = wp.float64(0.5) * W * (symmetric + antisymmetric)
            m = wp.float64(0.5) * W * (symmetric - antisymmetric)
            for a in range(int(10)):
                ha = wp.transpose(V) @ node_gradient(g, L, a)
                for b in range(a, int(10)):
                    hb = wp.transpose(V) @ node_gradient(g, L, b)
                    block = hessian_block(U, A, p, m, ha, hb)
                    blocks[100 * t + 10 * a + b] = blocks[100 * t + 10 * a + b] + block
        for a in range(int(10)):
            for b in range(a):
                blocks[100 * t + 10 * a + b] = wp.transpose(blocks[100 * t + 10 * b + a])

    return ElasticKernels(energy_kernel, gradient_kernel, hessian_kernel, stress_kernel)


@wp.kernel
def gather_nodes_kernel(
    start: wp.array[wp.int32],
    corner: wp.array[wp.int32],
    values: wp.array2d[wp.vec3d],
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    total = wp.vec3d()
    for k in range(start[p], start[p + 1]):
        total += values[corner[k] // 10, corner[k] % 10]
    out[p] += total


def quadratic_energy(
    kernels: ElasticKernels,
    x: wp.array,
    nodes: wp.array,
    elements: TetElements,
    energy: wp.array,
    volume_ratio: wp.array,
) -> None:
    """Evaluate the energy [J] of each tet and its smallest J at the four points, both written, shape (t,).

    Args:
        x: Positions of the nodes [m], vec3d of shape (n,).
        nodes: NODES of shape (t,).
    """
    wp.launch(kernels.energy, len(energy), [x, nodes, elements], [energy, volume_ratio], device=x.device)


def quadratic_gradient(
    kernels: ElasticKernels,
    x: wp.array,
    nodes: wp.array,
    elements: TetElements,
    start: wp.array,
    corner: wp.array,
    node_force: wp.array,
    out: wp.array,
) -> None:
    """Add the gradient of the elastic energy [N] to `out`, vec3d of shape (n,).

    Args:
        start: First entry of each node in `corner`, shape (n + 1,).
        corner: 10 * tet + local node, grouped by node, shape (10 t,).
        node_force: Work array, vec3d of shape (t, 10).
    """
    wp.launch(kernels.gradient, len(node_force), [x, nodes, elements], [node_force], device=x.device)
    wp.launch(gather_nodes_kernel, len(out), [start, corner, node_force], [out], device=x.device)


def quadratic_stress(
    kernels: ElasticKernels, x: wp.array, nodes: wp.array, elements: TetElements, out: wp.array
) -> None:
    """Evaluate the mean first Piola-Kirchhoff stress of each tet [Pa], mat33d of shape (t,)."""
    wp.launch(kernels.stress, len(out), [x, nodes, elements], [out], device=x.device)


def quadratic_hessian(
    kernels: ElasticKernels,
    x: wp.array,
    nodes: wp.array,
    elements: TetElements,
    is_projected: bool,
    out: wp.array,
) -> None:
    """Evaluate the 100 Hessian blocks of each tet [N/m], mat33d of shape (100 t,), row 100 t + 10 a + b."""
    wp.launch(kernels.hessian, len(out) // 100, [x, nodes, elements, is_projected], [out], device=x.device)
