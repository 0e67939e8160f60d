"""What a mesh will cost and where it will break, before any simulation.

Per tet, with shape gradients g_i, face areas A_i, rest volume V and M = lam + 2 mu:

    heights       h_i = 1 / |g_i| = 3 V / A_i;  the smallest is how far a vertex moves to invert the tet
    element dt    2 / sqrt(max_e eig_max(K_e) / (rho V_e / 4))      safe for symplectic Euler, pessimistic
    exact dt      2 / sqrt(eig_max(M^-1/2 K M^-1/2))                by Lanczos on the whole mesh
    eig_max(K_e)  that of the 6x6 matrix V D^1/2 B B^T D^1/2        B: strain of displacement, D: moduli

K is the stiffness at rest; it is the same for every material with the same Lamé moduli. The condition number
is that of D^-1/2 K D^-1/2 with 3x3 diagonal blocks D and the lowest slab of the body held, from the Ritz
values of the CG solve whose iterations are reported too: unscaled cond(K) says little about an implicit
solver.

Source: Shewchuk 2002, What Is a Good Linear Finite Element?; Fried 1972 for the element bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix, coo_matrix, csc_matrix, identity
from scipy.sparse.csgraph import connected_components

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient
from sim.elimination import Elimination, factor_as_ordered
from sim.energy import Elastic
from sim.model import SoftBodyModel
from sim.modes import (
    ZERO_MODE,
    element_eigenvalues,
    highest_eigenvalue,
    longest_edges,
    mass_scaled,
    rest_stiffness,
    softened_stiffness,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

WORST_COUNT = 5
_SHIFT = 1e-10
_MODE_LIMIT = 66
_MODE_ITERATIONS = 30


def measure_readiness(model: SoftBodyModel, *, held: float = 0.05) -> dict[str, Any]:
    """Measure a model at rest.

    Args:
        held: Thickness of the slab at the bottom (lowest z) that is held for the condition number, over the
            height.

    Returns:
        Plain numbers and lists (JSON): see the module docstring; lengths in m, times in s.
    """
    report: dict[str, Any] = {}
    report.update(structure(model.rest_positions, model.tets))
    report.update(element_numbers(model))
    stiffness = rest_stiffness(model)
    report.update(time_step_numbers(model, stiffness))
    report.update(conditioning(model, held))
    report.update(zero_modes(model, softened_stiffness(model, stiffness), report["components"]))
    return report


def structure(points: Floats, tets: Ints) -> dict[str, int]:
    """Count defects of connectivity that importers keep silent about.

    `components` are joined by faces; `hinges` counts how many more there are than groups joined by a vertex
    or an edge: parts that can swing about each other without any resistance.
    """
    corner = points[tets]
    volumes = np.linalg.det(corner[:, 1:] - corner[:, :1]) / 6.0
    key = np.sort(tets, axis=1)
    unique = np.unique(key, axis=0)
    sides = np.concatenate([key[:, [1, 2, 3]], key[:, [0, 2, 3]], key[:, [0, 1, 3]], key[:, [0, 1, 2]]])
    _, face, uses = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    owner = np.tile(np.arange(len(tets)), 4)
    by_face = _groups(owner, face.ravel(), len(tets))
    by_vertex = _groups(np.repeat(np.arange(len(tets)), 4), tets.ravel(), len(tets))
    used = np.zeros(len(points), dtype=bool)
    used[tets] = True
    coincident = len(points) - len(np.unique(points, axis=0))
    return {
        "flipped_tets": int((volumes < 0).sum()),
        "flat_tets": int((volumes == 0).sum()),
        "duplicate_tets": len(tets) - len(unique),
        "unreferenced_vertices": int((~used).sum()),
        "coincident_vertices": int(coincident),
        "faces_in_more_than_two_tets": int((uses > 2).sum()),
        "components": by_face,
        "hinges": by_face - by_vertex,
    }


def element_numbers(model: SoftBodyModel) -> dict[str, Any]:
    """Return inversion margin and element bound of the explicit time step, and the tets that set them."""
    g = model.shape_gradients
    heights = 1.0 / np.linalg.norm(g, axis=2)
    smallest = heights.min(axis=1)
    eigenvalue = element_eigenvalues(model)
    element_dt = 2.0 / np.sqrt(eigenvalue / (model.material.density * model.volumes / 4.0))
    modulus = model.lam + 2.0 * model.mu
    cheap = smallest / np.sqrt(modulus / model.material.density)
    worst = np.argsort(element_dt)[:WORST_COUNT]
    flat = np.argsort(smallest)[:WORST_COUNT]
    centroid = model.rest_positions[model.tets].mean(axis=1)
    return {
        "inversion_margin": float(smallest.min()),
        "inversion_margin_over_size": float(smallest.min() / model.size),
        "inversion_margin_tets": flat.tolist(),
        "element_time_step": float(element_dt.min()),
        "element_time_step_tets": worst.tolist(),
        "element_time_step_positions": centroid[worst].tolist(),
        "courant_time_step": float(cheap.min()),
        "worst_elements": [
            *_worst("explicit time step [s]", element_dt, centroid),
            *_worst("inversion margin [m]", smallest, centroid),
            *_worst("height over longest edge", smallest / longest_edges(model), centroid),
        ],
        "stiffness_sum": float((model.volumes * modulus * (g**2).sum(axis=(1, 2))).max()),
    }


def _worst(metric: str, values: Floats, centroid: Floats) -> list[dict[str, Any]]:
    """Return the tets with the smallest values: index, centroid [m], metric, value."""
    return [
        {"tet": int(t), "position": centroid[t].tolist(), "metric": metric, "value": float(values[t])}
        for t in np.argsort(values, kind="stable")[:WORST_COUNT]
    ]


def time_step_numbers(model: SoftBodyModel, stiffness: bsr_matrix) -> dict[str, float]:
    """Return the exact stable step of symplectic Euler [s] and the highest frequency [Hz]."""
    frequency = float(np.sqrt(highest_eigenvalue(mass_scaled(model, stiffness))))
    return {"explicit_time_step": 2.0 / frequency, "highest_frequency": frequency / (2.0 * np.pi)}


def conditioning(model: SoftBodyModel, held: float) -> dict[str, Any]:
    """Return CG iterations to 1e-8 under the body's own weight and the scaled condition number."""
    z = model.rest_positions[:, 2]
    free = np.ones((model.vertex_count, 3))
    free[z <= z.min() + held * np.ptp(z)] = 0.0
    elastic = Elastic(model)
    rows, columns = elastic.pattern()
    matrix = BlockMatrix(model.vertex_count, rows, columns, free, model.device)
    elastic.hessian(model.to_device(model.rest_positions), matrix.blocks)
    matrix.assemble()
    b = model.to_device(free * model.masses[:, None] * np.array([0.0, 0.0, -9.81]))
    x = wp.zeros_like(b)
    try:
        # A look at every step: the count is a property of the mesh, whatever the device.
        result = ConjugateGradient(matrix, "block_jacobi", check_every=1).run(b, x, 1e-8)
    except ArithmeticError as error:
        return {"cg_iterations": None, "scaled_condition_number": None, "cg_error": str(error)}
    return {
        "cg_iterations": result.iterations,
        "scaled_condition_number": result.largest_eigenvalue / result.smallest_eigenvalue,
        "held_sag": float(np.linalg.norm(x.numpy(), axis=1).max()),
    }


def zero_modes(model: SoftBodyModel, stiffness: bsr_matrix, component_count: int) -> dict[str, Any]:
    """Count motions without resistance (six for a body in one piece) and find the lowest frequency [Hz].

    By subspace iteration with the inverse of M^-1/2 K M^-1/2 + shift: unlike a single-vector method it finds
    every copy of a repeated eigenvalue. Beyond ten pieces they are not counted: the pieces are the finding.
    """
    size = 6 * component_count + 6
    unknowns = 3 * model.vertex_count
    if size > _MODE_LIMIT or unknowns <= size:
        return {"zero_modes": None, "lowest_frequency": None}
    scaled = mass_scaled(model, stiffness)
    highest = float(abs(scaled).sum(axis=1).max())
    order = Elimination.of(stiffness.indptr, stiffness.indices).order
    permuted = csc_matrix(scaled[order][:, order])
    factor = factor_as_ordered(csc_matrix(permuted + _SHIFT * highest * identity(unknowns, format="csc")))
    basis = np.random.default_rng(0).normal(size=(unknowns, size))
    values = np.full(size, np.inf)
    for _ in range(_MODE_ITERATIONS):
        basis = np.linalg.qr(factor.solve(basis))[0]
        previous, (values, turn) = values, np.linalg.eigh(basis.T @ (permuted @ basis))
        basis = basis @ turn
        # The guard vectors converge last and are not needed.
        wanted = values[: size - 5]
        if (np.abs(wanted - previous[: size - 5]) <= 1e-6 * np.maximum(wanted, ZERO_MODE * highest)).all():
            break
    is_zero = values <= ZERO_MODE * highest
    lowest = values[~is_zero]
    return {
        "zero_modes": int(is_zero.sum()),
        "lowest_frequency": float(np.sqrt(lowest[0]) / (2.0 * np.pi)) if len(lowest) else None,
    }


def _groups(owner: NDArray, key: NDArray, count: int) -> int:
    """Count groups of `count` owners that are joined by equal keys."""
    size = count + int(key.max()) + 1
    graph = coo_matrix((np.ones(len(owner)), (owner, count + key)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    return len(np.unique(labels[:count]))
