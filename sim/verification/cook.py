"""Cook's membrane: a tapered panel, clamped at the left, sheared at the right.

    corners (0, 0), (48, 44), (48, 60), (0, 44)
    plane stress, E = 1, nu = 1/3, thickness 1, F = 1:          u_y(48, 52) -> 23.96
    in mm, plane strain, E = 70 MPa, nu = 1/3, 6.25 MPa:        u_y(48, 60) -> 32.2 to 32.3 mm

Tets in one layer with u_z = 0 are in plane strain; plane stress is plane strain with lam* = 2 mu lam /
(lam + 2 mu). Linear and quadratic tets rise to the limit from below; quadratic ones of 16 cells are
within 1 % of it (the stress at the upper left corner is singular), with each refinement closer. (The
first value is that of the middle of the end, as published; the corner moves 25.14.) The limits are
recomputed by scikit-fem with triangles of degree two where it is installed.

Source: Cook 1974, Improved two-dimensional finite element; solids4foam tutorial tables for the second.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from sim.energy import DeadLoad, Energy
from sim.material import Material
from sim.quadratic import QuadraticModel, elastic_of
from sim.solver import NewtonConfig
from sim.verification.bodies import Floats, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, at_least, near


def panel(points: Floats) -> Floats:
    """Map the unit square of x and y to the panel."""
    s, t = points[:, 0], points[:, 1]
    return np.stack([48.0 * s, 44.0 * s + t * (44.0 - 28.0 * s), points[:, 2]], axis=1)


def deflection(n: int, degree: int, material: Material, lam: float, force: float, y: float) -> float:
    """Return u_y at (48, y) of a panel of n by n cells."""
    points, tets = kuhn_box((n, n, 1), (1.0, 1.0, 1.0))
    model = make_model((panel(points), tets), material, degree, lam=lam)
    X = model.rest_positions
    free = np.ones_like(X)
    free[:, 2] = 0.0
    free[X[:, 0] < 1e-9] = 0.0
    end = X[:, 0] > 48.0 - 1e-9
    # Forces of a constant traction: the area of every triangle goes to its corners, or to its midpoints (P2).
    triangle = model.surface[end[model.surface].all(axis=1)]
    a, b, c = (X[triangle[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2.0
    nodes = triangle
    if isinstance(model, QuadraticModel):
        first = model.vertex_count - len(model.edges)
        sides = np.sort(triangle[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
        number = {tuple(edge): first + k for k, edge in enumerate(model.edges.tolist())}
        nodes = np.array([[number[tuple(side)] for side in row] for row in sides.tolist()])
    loads = np.zeros_like(X)
    np.add.at(loads[:, 1], nodes.ravel(), np.repeat(area / 3.0, 3) * force / area.sum())
    energies: list[Energy] = [elastic_of(model), DeadLoad(model, loads)]
    x = solve(model, energies, free, config=NewtonConfig(tolerance=1e-9))
    return float((x - X)[np.linalg.norm(X[:, :2] - [48.0, y], axis=1).argmin(), 1])


def peer_deflection(n: int, mu: float, lam: float, force: float, y: float) -> float:
    """Return the same in plane strain by scikit-fem, n by n cells of two quadratic triangles."""
    from skfem import Basis, ElementTriP2, ElementVector, FacetBasis, LinearForm, MeshTri, condense
    from skfem import solve as solve_system
    from skfem.models.elasticity import linear_elasticity

    grid = np.linspace(0.0, 1.0, n + 1)
    mesh = MeshTri.init_tensor(grid, grid)
    flat = np.concatenate([mesh.p.T, np.zeros((mesh.p.shape[1], 1))], axis=1)
    mesh = MeshTri(np.ascontiguousarray(panel(flat)[:, :2].T), mesh.t)
    element = ElementVector(ElementTriP2())
    basis = Basis(mesh, element)
    right = FacetBasis(mesh, element, facets=mesh.facets_satisfying(lambda x: x[0] > 48.0 - 1e-9))

    @LinearForm
    def traction(v, w):
        return force / 16.0 * v[1]

    held = basis.get_dofs(lambda x: x[0] < 1e-9)
    system = condense(linear_elasticity(lam, mu).assemble(basis), traction.assemble(right), D=held)
    u = solve_system(*system)
    nearest = int(np.linalg.norm(mesh.p.T - [48.0, y], axis=1).argmin())
    return float(u[basis.nodal_dofs[1, nearest]])


def rows() -> list[Row]:
    """Refine both panels."""
    found = []
    stress = Material("linear", 1.0, 1.0 / 3.0)
    strain = Material("linear", 70.0, 1.0 / 3.0)
    plane = 2.0 * stress.mu * stress.lam / (stress.lam + 2.0 * stress.mu)
    cases = {
        "plane stress": (stress, plane, 1.0, 23.96, 52.0),
        "plane strain [mm]": (strain, strain.lam, 6.25 * 16.0, 32.25, 60.0),
    }
    for name, (material, lam, force, known, y) in cases.items():
        if find_spec("skfem") is not None:
            peer = peer_deflection(48, material.mu, lam, force, y)
            found.append(near(f"{name}: limit by scikit-fem, as published", peer, known, 0.003))
        for degree, counts in ((1, (8, 16, 32)), (2, (4, 8, 16))):
            values = [deflection(n, degree, material, lam, force, y) for n in counts]
            is_rising = values[0] < values[1] < values[2] < known * 1.003
            found.append(at_least(f"{name}: P{degree} rises to the limit", float(is_rising), 1.0))
        found.append(near(f"{name}: P2, 16 cells", values[-1], known, 0.01))
    return found


STUDY = Study(13, "Cook's membrane", rows, is_long=True)
