"""How far linear tets are from quadratic ones on the same mesh, by small displacements: an error bar.

    E(u) = 1/2 u K u - f u      u given where it is held; quadratic tets have the lower least value
    K u     sum_q W/4 (lam tr D I + mu (D + D^T)) grad N        D: displacement gradient at point q of a tet

The quadratic system is solved from the linear solution by conjugate gradients, without a matrix. Its
preconditioner is the factored linear system plus the diagonal blocks: edges see what is rough, linear tets
what is smooth, so that the iterations do not grow with the mesh (Poisson's ratio near 1/2 raises them).
Every step lowers E by a known amount; they end where the last ten have lowered it by less than a thousandth
of all.

Source: Schneider et al. 2022, A Large-Scale Comparison of Tetrahedral and Hexahedral Elements; Smith,
Bjorstad, Gropp 1996, Domain Decomposition, chapter 2, for two levels; Hestenes, Stiefel 1952, theorem 6:1,
for the fall of E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix, identity, vstack

from sim.block_matrix import BlockMatrix
from sim.elimination import Elimination, factor_as_ordered
from sim.linear_solver import FILL_LIMIT, LARGE
from sim.model import Floats, SoftBodyModel
from sim.quadratic import QuadraticModel, elastic_of, refine_degree

_ENOUGH, _DELAY = 1e-3, 10
"""Conjugate gradients end where the last so many steps have done less than this share of all."""
_LAST = 3000
_SOLVED = 1e-6
"""Largest residual of a factored system over its right-hand side."""

Map = Callable[[Floats], Floats]


@dataclass(frozen=True)
class SmallLoad:
    """What moves a body a little."""

    free: Floats
    """Components that may move, shape (v, 3) of 0 and 1."""
    displacement: Floats | None = None
    """Of the components that are held [m], shape (v, 3); zero if None."""
    acceleration: Floats | None = None
    """Of the weight [m/s^2], shape (3,); none if None."""


class ElementError:
    """Compares the element of a model, linear or with averaged volumes, with quadratic tets."""

    def __init__(self, model: SoftBodyModel) -> None:
        if isinstance(model, QuadraticModel):
            raise ValueError("model: expected linear tets, got quadratic ones, which have no finer")
        self.model = model
        given = {f.name: getattr(model, f.name) for f in fields(SoftBodyModel)}
        self._linear = SoftBodyModel(**given)
        self.quadratic = quadratic = refine_degree(model)
        self._points = np.concatenate(list(quadratic.quadrature), axis=2)
        t, n, e = model.tet_count, quadratic.vertex_count, len(quadratic.edges)
        ones, nodes = np.ones(10 * t), quadratic.nodes.ravel()
        self._sum = csr_array(coo_array((ones, (nodes, np.arange(10 * t))), shape=(n, 10 * t)))
        ends = (np.repeat(np.arange(e), 2), quadratic.edges.ravel())
        middles = coo_array((np.full(2 * e, 0.5), ends), shape=(e, model.vertex_count))
        self._prolong = csr_matrix(vstack([identity(model.vertex_count), middles]))
        self._inverse = np.linalg.inv(self._diagonal())

    def energies(self, load: SmallLoad) -> tuple[float, float]:
        """Return the elastic energies [J] of the given element and of quadratic tets.

        Raises:
            ArithmeticError: The body is not held, or too badly conditioned.
        """
        start, energy, coarse = _solve(self._linear, load)
        if type(self.model) is not SoftBodyModel:
            _, energy, _ = _solve(self.model, load)
        free, prolong = np.ceil(self.quadratic.at_nodes(load.free)), self._prolong
        u, force = prolong @ start, _weight(self.quadratic, load)
        product = self._multiply(u)

        def precondition(r: Floats) -> Floats:
            z = np.einsum("nij,nj->ni", self._inverse, r)
            return free * (z if coarse is None else z + prolong @ coarse(prolong.T @ r))

        _, fall = _descend(lambda p: free * self._multiply(p), precondition, free * (force - product))
        return energy, abs(_least(u, product, force) - fall)

    def _multiply(self, u: Floats) -> Floats:
        """Return K u of the quadratic tets [N], shape (n, 3)."""
        model = self.quadratic
        D = (u[model.nodes].transpose(0, 2, 1) @ self._points).reshape(-1, 3, 4, 3).transpose(0, 2, 1, 3)
        weight = (0.25 * model.volumes)[:, None, None, None]
        mu, lam = (m[:, None, None, None] for m in (model.mu, model.lam))
        pressure = lam * np.trace(D, axis1=2, axis2=3)[:, :, None, None] * np.eye(3)
        stress = weight * (mu * (D + D.transpose(0, 1, 3, 2)) + pressure)
        forces = self._points @ stress.transpose(0, 1, 3, 2).reshape(-1, 12, 3)
        return self._sum @ forces.reshape(-1, 3)

    def _diagonal(self) -> Floats:
        """Return the diagonal blocks of K [N/m], shape (n, 3, 3)."""
        model = self.quadratic
        g = self._points.reshape(-1, 10, 4, 3)
        outer = np.einsum("tnqi,tnqj->tnij", g, g)
        weight = (0.25 * model.volumes)[:, None, None, None]
        mu, lam = (m[:, None, None, None] for m in (model.mu, model.lam))
        square = np.trace(outer, axis1=2, axis2=3)[:, :, None, None] * np.eye(3)
        blocks = weight * ((lam + mu) * outer + mu * square)
        return (self._sum @ blocks.reshape(-1, 9)).reshape(-1, 3, 3)


def discretization_error(
    model: SoftBodyModel, *, held: float = 0.05, gravity: float = 9.81, errors: ElementError | None = None
) -> dict[str, float]:
    """Compare the sag of the tets of a model with that of quadratic ones, under the own weight.

    Args:
        held: Thickness of the slab at the bottom (lowest z) that is held, over the height.
        errors: Of the same model, where there is one already.

    Returns:
        `element_sag` and `quadratic_sag`: mean displacement downwards, weighted with the mass [m], twice the
        elastic energy over the weight, which refinement of linear tets can only raise; `sag_error`: 1 -
        element / quadratic.

    Raises:
        ArithmeticError: A solve failed; the stiffness is singular or too badly conditioned.
    """
    z = model.rest_positions[:, 2]
    free = np.repeat((z > z.min() + held * np.ptp(z))[:, None], 3, axis=1).astype(np.float64)
    load = SmallLoad(free, acceleration=np.array([0.0, 0.0, -gravity]))
    sags = [2.0 * e / (model.mass * gravity) for e in (errors or ElementError(model)).energies(load)]
    return {"element_sag": sags[0], "quadratic_sag": sags[1], "sag_error": 1.0 - sags[0] / sags[1]}


def _weight(model: SoftBodyModel, load: SmallLoad) -> Floats:
    acceleration = np.zeros(3) if load.acceleration is None else load.acceleration
    return model.load_masses[:, None] * acceleration


def _least(u: Floats, product: Floats, force: Floats) -> float:
    """Return E from u, K u and f: the elastic energy under given displacements, minus it under a weight."""
    return 0.5 * float((u * product).sum()) - float((u * force).sum())


def _solve(model: SoftBodyModel, load: SmallLoad) -> tuple[Floats, float, Map | None]:
    """Return displacements [m], shape (v, 3), elastic energy [J], and K^-1 where it is free, if factored."""
    n, elastic = model.vertex_count, elastic_of(model)
    matrix = BlockMatrix(n, *elastic.pattern(), np.ones((n, 3)), model.device)
    elastic.hessian(model.to_device(model.rest_positions), matrix.blocks)
    matrix.assemble()
    K = csr_matrix(matrix.to_scipy())
    given = np.zeros((n, 3)) if load.displacement is None else (1.0 - load.free) * load.displacement
    force = _weight(model, load)

    def multiply(p: Floats) -> Floats:
        return (K @ p.ravel()).reshape(-1, 3)

    inverse = _factor(matrix, K, load.free)
    residual = load.free * (force - multiply(given))
    if inverse is not None:
        u = given + inverse(residual)
    else:
        blocks = np.linalg.inv(matrix.matrix.values.numpy()[matrix.diagonal.numpy()].reshape(-1, 3, 3))
        u = (
            given
            + _descend(
                lambda p: load.free * multiply(p),
                lambda r: load.free * np.einsum("nij,nj->ni", blocks, r),
                residual,
            )[0]
        )
    product = multiply(u)
    left = np.linalg.norm(load.free * (force - product))
    # LU of a singular matrix returns what does not solve it.
    if inverse is not None and not left <= _SOLVED * np.linalg.norm(residual):
        raise ArithmeticError("the stiffness is singular")
    return u, abs(_least(u, product, force)), inverse


def _factor(matrix: BlockMatrix, K: csr_matrix, free: Floats) -> Map | None:
    """Return K^-1 of the free components, or None where its factors are too large."""
    n, is_free = len(free), free.ravel() > 0.0
    if n > LARGE:
        return None
    elimination = Elimination.of(matrix.offsets, matrix.columns)
    if elimination.fill > FILL_LIMIT:
        return None
    order = elimination.order[is_free[elimination.order]]
    factor = factor_as_ordered(csc_matrix(K[order][:, order]))

    def solve(b: Floats) -> Floats:
        x = np.zeros(3 * n)
        x[order] = factor.solve(b.ravel()[order])
        return x.reshape(-1, 3)

    return solve


def _descend(multiply: Map, precondition: Map, residual: Floats) -> tuple[Floats, float]:
    """Minimise 1/2 x K x - x . residual by conjugate gradients; return x and by how much it fell."""
    x, r = np.zeros_like(residual), residual
    z = precondition(r)
    p, rz, falls = z, float((r * z).sum()), [0.0]
    if rz == 0.0:
        return x, 0.0
    for _ in range(_LAST):
        q = multiply(p)
        curvature = float((p * q).sum())
        if not (curvature > 0.0 and rz > 0.0):
            raise ArithmeticError("the stiffness is singular")
        x, r = x + rz / curvature * p, r - rz / curvature * q
        falls.append(falls[-1] + 0.5 * rz**2 / curvature)
        if len(falls) > _DELAY and falls[-1] - falls[-1 - _DELAY] <= _ENOUGH * falls[-1]:
            return x, falls[-1]
        z = precondition(r)
        last, rz = rz, float((r * z).sum())
        if rz == 0.0:
            return x, falls[-1]
        p = z + rz / last * p
    raise ArithmeticError(f"conjugate gradients: no end after {_LAST} iterations")
