"""Manufactured solutions: a smooth u* and the body force and boundary values that make it the solution.

    linear              u* = a sin(k . X + 1),    f = (mu k^2 a + (lam + mu) (a . k) k) sin(k . X + 1)
    stable neo-Hookean  u* = a sin(k . X + 1)/4,  f = -Div P(I + grad u*), by central differences of P

L2 error of linear tets falls with h^2 (slope >= 1.9), of their gradient with h (>= 0.95), L2 of quadratic
tets with h^3 (>= 2.8), their gradient with h^2 (>= 1.9). Irregular meshes of the unit cube; Gauss points
of the collapsed cube.

Source: Roache 2002, Code verification by the method of manufactured solutions; Hughes 2000, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.energy import DeadLoad, Energy
from sim.material import Material
from sim.model import SoftBodyModel
from sim.quadratic import EDGES, QuadraticModel, elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import Floats, Ints, hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, order_row

WAVE, SHIFT = np.array([2.0, 1.0, -1.5]), 1.0
AMPLITUDES = {"linear": np.array([0.3, -0.2, 0.5]), "stable_neo_hookean": np.array([0.075, -0.05, 0.125])}


def gauss_points(order: int) -> tuple[Floats, Floats]:
    """Return barycentric points (q, 4) and weights (q,) of a tet, from the cube collapsed."""
    x, w = np.polynomial.legendre.leggauss(order)
    x, w = (x + 1.0) / 2.0, w / 2.0
    a, b, c = (grid.ravel() for grid in np.meshgrid(x, x, x, indexing="ij"))
    wa, wb, wc = (grid.ravel() for grid in np.meshgrid(w, w, w, indexing="ij"))
    L1, L2, L3 = a, (1 - a) * b, (1 - a) * (1 - b) * c
    return np.stack([1 - L1 - L2 - L3, L1, L2, L3], 1), 6 * wa * wb * wc * (1 - a) ** 2 * (1 - b)


def shape_functions(L: Floats, degree: int) -> tuple[Floats, Floats]:
    """Return values (q, m) and derivatives by barycentric coordinates (q, m, 4) of the shape functions."""
    q = len(L)
    if degree == 1:
        return L, np.tile(np.eye(4), (q, 1, 1))
    i, j = EDGES.T
    values = np.concatenate([L * (2 * L - 1), 4 * L[:, i] * L[:, j]], axis=1)
    slopes = np.zeros((q, 10, 4))
    slopes[:, range(4), range(4)] = 4 * L - 1
    slopes[:, range(4, 10), i] = 4 * L[:, j]
    slopes[:, range(4, 10), j] = 4 * L[:, i]
    return values, slopes


def body_force(material: Material, amplitude: Floats) -> Callable[[Floats], Floats]:
    """Return f(X) [N/m^3] for points of shape (..., 3)."""
    mu, lam = material.mu, material.lam
    if material.name == "linear":
        vector = mu * (WAVE @ WAVE) * amplitude + (lam + mu) * (amplitude @ WAVE) * WAVE
        return lambda X: np.sin(X @ WAVE + SHIFT)[..., None] * vector

    def stress(X: Floats) -> Floats:
        F = np.eye(3) + np.cos(X @ WAVE + SHIFT)[..., None, None] * np.outer(amplitude, WAVE)
        cofactor = np.linalg.det(F)[..., None, None] * np.swapaxes(np.linalg.inv(F), -1, -2)
        excess = np.linalg.det(F) - 1.0 - mu / (lam + mu)
        return mu * F + (lam + mu) * excess[..., None, None] * cofactor

    def force(X: Floats) -> Floats:
        e = 1e-5
        total = np.zeros_like(X)
        for j in range(3):
            d = e * np.eye(3)[j]
            total -= (stress(X + d) - stress(X - d))[..., :, j] / (2.0 * e)
        return total

    return force


def errors_of(n: int, degree: int, name: str) -> tuple[float, float]:
    """Return the errors of displacement [m^2.5] and of its gradient [m^1.5] on n^3 cells, in L2."""
    material, amplitude = Material(name, 1.0, 0.3), AMPLITUDES[name]
    model = make_model(kuhn_box((n, n, n), jitter=0.1), material, degree)
    nodes = model.nodes if isinstance(model, QuadraticModel) else model.tets
    L, weights = gauss_points(4 if degree == 2 else 3)
    values, slopes = shape_functions(L, degree)
    loads = _loads(model, nodes, L, weights, values, body_force(material, amplitude))
    X = model.rest_positions
    exact = np.sin(X @ WAVE + SHIFT)[:, None] * amplitude
    free = hold(~((X > 1e-9) & (X < 1.0 - 1e-9)).all(axis=1))
    energies: list[Energy] = [elastic_of(model), DeadLoad(model, loads)]
    u = solve(model, energies, free, X + exact * (1.0 - free), NewtonConfig(tolerance=1e-10)) - X
    where = np.einsum("qc,tcd->tqd", L, X[model.tets])
    phase = where @ WAVE + SHIFT
    wrong = np.einsum("qm,tmd->tqd", values, u[nodes]) - np.sin(phase)[..., None] * amplitude
    gradients = np.einsum("qmc,tcj->tqmj", slopes, model.shape_gradients)
    slope = np.einsum("tqmj,tmi->tqij", gradients, u[nodes])
    slope -= np.cos(phase)[..., None, None] * np.outer(amplitude, WAVE)
    squares = [
        np.einsum("t,q,tq->", model.volumes, weights, (e**2).reshape(*phase.shape, -1).sum(axis=-1))
        for e in (wrong, slope)
    ]
    return float(np.sqrt(squares[0])), float(np.sqrt(squares[1]))


def _loads(
    model: SoftBodyModel, nodes: Ints, L: Floats, weights: Floats, values: Floats, force: Callable
) -> Floats:
    """Integrate a body force against the shape functions [N], shape (n, 3)."""
    where = np.einsum("qc,tcd->tqd", L, model.rest_positions[model.tets])
    per_node = np.einsum("t,q,tqd,qm->tmd", model.volumes, weights, force(where), values, optimize=True)
    loads = np.zeros((model.vertex_count, 3))
    np.add.at(loads, nodes, per_node)
    return loads


def rows() -> list[Row]:
    """Refine once for each element and material."""
    found = []
    for degree, counts, bounds in ((1, (7, 14), (1.9, 0.95)), (2, (3, 6), (2.8, 1.9))):
        for name in AMPLITUDES:
            errors = np.array([errors_of(n, degree, name) for n in counts])
            sizes = [1.0 / n for n in counts]
            found.append(order_row(f"P{degree} {name}: order in L2", errors[:, 0], sizes, bounds[0]))
            found.append(
                order_row(f"P{degree} {name}: order of the gradient", errors[:, 1], sizes, bounds[1])
            )
    return found


STUDY = Study(15, "Manufactured solutions", rows, is_long=True)
