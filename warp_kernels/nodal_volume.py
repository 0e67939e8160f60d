"""Linear tets whose volumetric energy sees the volume around each vertex, not that of each tet; float64.

    psi(F, mu, lam) = psi(F, mu, 0) + lam/2 (J - 1)^2            true of the materials that are allowed here
    energy      sum_e W_e psi(F_e, mu_e, 0) + sum_a W_a lam_a/2 (J_a - 1)^2
    J_a         sum_{e at a} W_e J_e / (4 W_a),  W_a = sum_{e at a} W_e / 4          mean around vertex a
    pressure    p_a = lam_a (J_a - 1),  p_e = mean of p_a over the corners of tet e
    gradient    W_e (P(F, mu, 0) + p_e cof F) g_c                 as of a tet under the mean pressure
    Hessian     that of psi + p_e J per tet, and lam_a/W_a c_a c_a^T per vertex, c_a = sum_e W_e/4 cof(F_e) g

The tet part is projected where that is asked for; the vertex part is semi-definite as it stands. A *slot*
is a pair of a vertex a and a vertex of its ring; c_a has a vector in each slot.

Source: Bonet, Burton 1998, A simple average nodal pressure tetrahedral element; Smith, de Goes, Kim 2019
for the spectrum of J.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import warp as wp

from warp_kernels.elasticity import (
    TetElements,
    deformation_gradient,
    hessian_block,
    project_scaling,
)
from warp_kernels.materials import cofactor, volume_spectrum

wp.set_module_options({"enable_backward": False})


@dataclass(frozen=True)
class NodalKernels:
    """The compiled loops of one material."""

    energy: wp.Kernel
    gradient: wp.Kernel
    hessian: wp.Kernel
    stress: wp.Kernel


def nodal_kernels(name: str, functions: Any) -> NodalKernels:
    """Build the kernels of one material in a Warp module of its own, as `elasticity.elastic_kernels`."""
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
        energy[t] = elements.volumes[t] * energy_density(F, elements.mu[t], wp.float64(0.0))
        volume_ratio[t] = wp.determinant(F)

    @wp.kernel(module=module)
    def stress_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        pressure: wp.array[wp.float64],
        stress: wp.array[wp.mat33d],
    ):
        t = wp.tid()
        F = deformation_gradient(x, elements.tets[t], elements.shape_gradients[t])
        stress[t] = piola_stress(F, elements.mu[t], wp.float64(0.0)) + pressure[t] * cofactor(F)

    @wp.kernel(module=module)
    def gradient_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        pressure: wp.array[wp.float64],
        corner_gradient: wp.array2d[wp.vec3d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        F = deformation_gradient(x, elements.tets[t], g)
        P = piola_stress(F, elements.mu[t], wp.float64(0.0)) + pressure[t] * cofactor(F)
        for c in range(4):
            corner_gradient[t, c] = elements.volumes[t] * (P @ g[c])

    @wp.kernel(module=module)
    def hessian_kernel(
        x: wp.array[wp.vec3d],
        elements: TetElements,
        pressure: wp.array[wp.float64],
        is_projected: wp.bool,
        blocks: wp.array[wp.mat33d],
    ):
        t = wp.tid()
        g = elements.shape_gradients[t]
        F = deformation_gradient(x, elements.tets[t], g)
        U, s, V = frame(F)
        h = spectrum(s, elements.mu[t], wp.float64(0.0))
        of_pressure = volume_spectrum(s, pressure[t], wp.float64(0.0))
        A = h.scaling + of_pressure.scaling
        symmetric = h.symmetric + of_pressure.symmetric
        antisymmetric = h.antisymmetric + of_pressure.antisymmetric
        if is_projected:
            A = project_scaling(A)
            symmetric = wp.max(symmetric, wp.vec3d())
            antisymmetric = wp.max(antisymmetric, wp.vec3d())
        W = elements.volumes[t]
        p = wp.float64(0.5) * W * (symmetric + antisymmetric)
        m = wp.float64(0.5) * W * (symmetric - antisymmetric)
        for a in range(int(4)):
            ha = wp.transpose(V) @ g[a]
            for b in range(a, int(4)):
                block = hessian_block(U, W * A, p, m, ha, wp.transpose(V) @ g[b])
                blocks[16 * t + 4 * a + b] = block
                blocks[16 * t + 4 * b + a] = wp.transpose(block)

    return NodalKernels(energy_kernel, gradient_kernel, hessian_kernel, stress_kernel)


@wp.kernel
def vertex_volume_kernel(
    start: wp.array[wp.int32],
    corner: wp.array[wp.int32],
    volumes: wp.array[wp.float64],
    volume_ratio: wp.array[wp.float64],
    vertex_volumes: wp.array[wp.float64],
    vertex_lam: wp.array[wp.float64],
    pressure: wp.array[wp.float64],
    energy: wp.array[wp.float64],
):
    p = wp.tid()
    total = wp.float64(0.0)
    for k in range(start[p], start[p + 1]):
        t = corner[k] // 4
        total += wp.float64(0.25) * volumes[t] * (volume_ratio[t] - wp.float64(1.0))
    change = total / vertex_volumes[p]
    pressure[p] = vertex_lam[p] * change
    energy[p] = wp.float64(0.5) * vertex_volumes[p] * vertex_lam[p] * change * change


@wp.kernel
def mean_pressure_kernel(
    tets: wp.array[wp.vec4i],
    vertex_pressure: wp.array[wp.float64],
    pressure: wp.array[wp.float64],
):
    t = wp.tid()
    tet = tets[t]
    total = wp.float64(0.0)
    for c in range(4):
        total += vertex_pressure[tet[c]]
    pressure[t] = wp.float64(0.25) * total


@wp.kernel
def volume_gradient_kernel(
    x: wp.array[wp.vec3d],
    elements: TetElements,
    corner_gradient: wp.array2d[wp.vec3d],
):
    t = wp.tid()
    g = elements.shape_gradients[t]
    C = cofactor(deformation_gradient(x, elements.tets[t], g))
    for c in range(4):
        corner_gradient[t, c] = wp.float64(0.25) * elements.volumes[t] * (C @ g[c])


@wp.kernel
def slot_kernel(
    start: wp.array[wp.int32],
    corner: wp.array[wp.int32],
    corner_gradient: wp.array2d[wp.vec3d],
    out: wp.array[wp.vec3d],
):
    s = wp.tid()
    total = wp.vec3d()
    for k in range(start[s], start[s + 1]):
        total += corner_gradient[corner[k] // 4, corner[k] % 4]
    out[s] = total


@wp.kernel
def vertex_hessian_kernel(
    pairs: wp.array[wp.vec2i],
    slot_vertex: wp.array[wp.int32],
    slot_gradient: wp.array[wp.vec3d],
    vertex_volumes: wp.array[wp.float64],
    vertex_lam: wp.array[wp.float64],
    blocks: wp.array[wp.mat33d],
):
    k = wp.tid()
    pair = pairs[k]
    a = slot_vertex[pair[0]]
    scale = vertex_lam[a] / vertex_volumes[a]
    blocks[k] = scale * wp.outer(slot_gradient[pair[0]], slot_gradient[pair[1]])


def mean_pressures(
    start: wp.array,
    corner: wp.array,
    elements: TetElements,
    volume_ratio: wp.array,
    vertex_volumes: wp.array,
    vertex_lam: wp.array,
    vertex_pressure: wp.array,
    vertex_energy: wp.array,
    pressure: wp.array,
) -> None:
    """Evaluate pressure [Pa] and volumetric energy [J] of each vertex and the mean pressure of each tet.

    Args:
        start: First entry of each vertex in `corner`, shape (n + 1,).
        corner: 4 * tet + corner index, grouped by vertex, shape (4 t,).
        volume_ratio: J of each tet, shape (t,).
        vertex_volumes: W_a [m^3], shape (n,).
        vertex_lam: lam_a [Pa], shape (n,).
        vertex_pressure: Written, shape (n,).
        vertex_energy: Written, shape (n,).
        pressure: Written, shape (t,).
    """
    device = pressure.device
    wp.launch(
        vertex_volume_kernel,
        len(vertex_pressure),
        [start, corner, elements.volumes, volume_ratio, vertex_volumes, vertex_lam],
        [vertex_pressure, vertex_energy],
        device=device,
    )
    wp.launch(
        mean_pressure_kernel, len(pressure), [elements.tets, vertex_pressure], [pressure], device=device
    )


def vertex_hessian(
    x: wp.array,
    elements: TetElements,
    slot_start: wp.array,
    slot_corner: wp.array,
    slot_vertex: wp.array,
    pairs: wp.array,
    vertex_volumes: wp.array,
    vertex_lam: wp.array,
    corner_gradient: wp.array,
    slot_gradient: wp.array,
    out: wp.array,
) -> None:
    """Evaluate the blocks lam_a/W_a c_a c_a^T [N/m].

    Args:
        slot_start: First entry of each slot in `slot_corner`, shape (s + 1,).
        slot_corner: 4 * tet + corner index, grouped by slot.
        slot_vertex: The vertex a of each slot, shape (s,).
        pairs: Two slots of one vertex, vec2i of shape (k,).
        corner_gradient: Work array, vec3d of shape (t, 4).
        slot_gradient: Work array, vec3d of shape (s,).
        out: Written, mat33d of shape (k,).
    """
    device = x.device
    wp.launch(volume_gradient_kernel, len(corner_gradient), [x, elements], [corner_gradient], device=device)
    inputs = [slot_start, slot_corner, corner_gradient]
    wp.launch(slot_kernel, len(slot_gradient), inputs, [slot_gradient], device=device)
    inputs = [pairs, slot_vertex, slot_gradient, vertex_volumes, vertex_lam]
    wp.launch(vertex_hessian_kernel, len(out), inputs, [out], device=device)
