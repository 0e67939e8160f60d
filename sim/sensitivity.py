"""Gradients of a loss on a converged solution, by implicit differentiation.

A solve ends at r(x; p) = 0, the free gradient of the energies. For a loss L(x) with upstream gradient dL/dx:

    K z = dL/dx,   K = dr/dx       one solve with the exact Hessian, which is its own transpose
    dL/dp = -z . dr/dp             p: rest positions, moduli, density, loads, positions that are held

What an energy contributes to dr/dp stands in `AdjointTerms.add`. Masses and contact areas depend on the rest
positions and the density; that chain is closed once at the end. The scale and thickness of a contact layer
are constants.

Source: Griewank, Walther 2008, Evaluating Derivatives, chapter 15 (implicit function theorem).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.damping import MassDamping, StiffnessDamping
from sim.damping_sensitivity import damping_slopes
from sim.element_sensitivity import elastic_slopes
from sim.energy import DeadLoad, Elastic, Energy, Gravity, GroundContact, Inertia, exact_hessian
from sim.friction import Friction
from sim.model import SoftBodyModel
from sim.obstacles import SphereContact
from sim.self_contact import SurfaceContact
from sim.solver import Newton, NewtonConfig
from sim.surface_friction import SurfaceFriction
from sim.surface_sensitivity import SurfaceSlopes, contact_slopes, friction_slopes
from warp_kernels import contact

Floats = NDArray[np.float64]

_EXACT = 1e-13
"""Residual of an iterative adjoint solve over its right-hand side."""


@dataclass
class ParameterGradient:
    """Derivatives of a loss (in its unit, here L)."""

    rest_positions: Floats
    """[L/m], shape (v, 3): of the shape that the body has without stress, vertices of the mesh; midpoints of
    quadratic tets follow them, held and initial positions stay."""
    mu: Floats
    """[L/Pa], shape (t,)."""
    lam: Floats
    """[L/Pa], shape (t,)."""
    youngs_modulus: Floats
    """[L/Pa], shape (t,), at constant Poisson's ratio; of one modulus for the whole body it is the sum."""
    density: float
    """[L m^3/kg]."""
    loads: Floats
    """[L/N], shape (n, 3): of forces on the vertices, whether there are any or not."""
    held_positions: Floats
    """[L/m], shape (n, 3), zero where free: of the positions at which components are held."""
    friction: float
    """[L]: of the coefficient of friction, of all contacts together; zero where there is none."""


def equilibrium_gradient(
    model: SoftBodyModel,
    energies: Sequence[Energy],
    positions: Floats,
    loss_gradient: Floats,
    *,
    free: Floats | None = None,
    config: NewtonConfig | None = None,
) -> ParameterGradient:
    """Differentiate a loss on an equilibrium.

    Args:
        energies: As the equilibrium was solved with.
        positions: The equilibrium [m], shape (n, 3), solved tightly: what is left of the residual is an error
            of the gradient of the same share.
        loss_gradient: dL/d positions, shape (n, 3).
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.

    Raises:
        TypeError: An energy has no derivative by its parameters.
        ArithmeticError: The stiffness is singular: the equilibrium is not isolated.
    """
    newton = Newton(model, energies, config, free=free)
    terms = AdjointTerms(newton)
    z, held = terms.solve(positions, loss_gradient)
    terms.add(positions, z, energies)
    return terms.gradient(held)


class AdjointTerms:
    """Solves adjoint systems of one Newton and sums up what each says about the parameters."""

    def __init__(self, newton: Newton) -> None:
        if newton.precision.is_single:
            raise ValueError("gradients: the linear systems of float32 are not exact enough; take float64")
        self.newton = newton
        self.model = model = newton.model
        n, t, device = model.vertex_count, model.tet_count, model.device
        self._mu, self._lam = np.zeros(t), np.zeros(t)
        self._rest, self._loads = np.zeros((n, 3)), np.zeros((n, 3))
        self.masses, self._load_masses = np.zeros(n), np.zeros(n)
        """Derivatives by the masses of inertia and of weight [L/kg], shape (n,)."""
        self._areas, self._face_areas = np.zeros(n), np.zeros(len(model.contact_faces))
        self._friction = 0.0
        self.start = np.zeros((n, 3))
        """Derivatives by the positions at the begin of a step, of which friction lags [L/m]; summed until
        reset."""
        self._out = wp.zeros(n, dtype=wp.vec3d, device=device)

    def solve(self, positions: Floats, upstream: Floats) -> tuple[Floats, Floats]:
        """Return z with K z = upstream where free, and upstream - K z where held, shape (n, 3) each."""
        newton, model = self.newton, self.model
        self.assemble(positions)
        b, out = model.to_device(newton.free * upstream), model.to_device(np.zeros_like(upstream))
        newton.linear_solver.solve(b, out, _EXACT)
        z = out.numpy().copy()
        held = (1.0 - newton.free) * upstream
        if held.size and newton.free.min() < 1.0:
            held = held - (1.0 - newton.free) * self.product(newton.energies, z)
        return z, held

    def assemble(self, positions: Floats) -> None:
        """Fill the matrix with the exact Hessian."""
        with ExitStack() as stack:
            for energy in self.newton.energies:
                stack.enter_context(exact_hessian(energy))
            self.newton.assemble(self.model.to_device(positions))

    def product(self, energies: Sequence[Energy], vectors: Floats) -> Floats:
        """Return the sum of the Hessians of some energies, as assembled last, times vectors, (n, 3)."""
        result = np.zeros_like(vectors)
        for energy, blocks in zip(self.newton.energies, self.newton.slices):
            if blocks is not None and any(energy is e for e in energies):
                rows, columns = energy.pattern()
                values = np.einsum("kij,kj->ki", blocks.numpy().reshape(-1, 3, 3), vectors[columns])
                for axis in range(3):
                    result[:, axis] += np.bincount(rows, values[:, axis], minlength=len(result))
        return result

    def add(self, positions: Floats, z: Floats, energies: Sequence[Energy]) -> None:
        """Add -z . dr/dp of the gradients of some energies at `positions`.

        Raises:
            TypeError: An energy is not known here.
        """
        self._loads += self.newton.free * z
        x = self.model.to_device(positions)
        for energy in energies:
            if isinstance(energy, Elastic):
                self._add_elastic(energy, x, z)
            elif isinstance(energy, Gravity):
                self._load_masses += z @ energy.acceleration
            elif isinstance(energy, DeadLoad):
                pass
            elif isinstance(energy, GroundContact):
                self._add_contact(energy, x, z)
            elif isinstance(energy, SphereContact):
                self._areas -= energy.work_per_area(x, z)
            elif isinstance(energy, SurfaceContact):
                self._add_surface(contact_slopes(energy, x, z))
            elif isinstance(energy, SurfaceFriction):
                slopes = friction_slopes(energy, x, z)
                self._add_surface(slopes)
                self._friction -= slopes.work / energy.coefficient if energy.coefficient else 0.0
                self.start -= slopes.start
            elif isinstance(energy, Inertia):
                self.masses -= (z * (positions - energy.target.numpy())).sum(axis=1) / energy.dt**2
            elif isinstance(energy, MassDamping):
                self.masses -= (z * energy.force_per_mass(positions)).sum(axis=1)
            elif isinstance(energy, StiffnessDamping):
                self._add_stiffness_damping(energy, positions, z)
            elif isinstance(energy, Friction):
                work, per_area, at_start = energy.lagged_slopes(positions, z)
                self._friction -= float(work.sum()) / energy.coefficient if energy.coefficient else 0.0
                self._areas -= per_area
                self.start -= at_start
            else:
                raise TypeError(f"{energy.name}: no derivative by its parameters is known")

    def _add_elastic(self, energy: Elastic, x: wp.array, z: Floats) -> None:
        slopes, model = elastic_slopes(energy, x, z), self.model
        self._mu -= slopes.mu
        self._lam -= slopes.lam
        self._rest -= scatter(model.tets, slopes.rest, model.vertex_count)

    def _add_contact(self, energy: GroundContact, x: wp.array, z: Floats) -> None:
        touching = (self.model.vertex_areas > 0.0).astype(np.float64)
        unit: wp.array = wp.array(touching, dtype=wp.float64, device=x.device)
        self._out.zero_()
        contact.contact_gradient(x, unit, energy.plane, self._out)
        self._areas -= (z * self._out.numpy()).sum(axis=1)

    def _add_stiffness_damping(self, energy: StiffnessDamping, positions: Floats, z: Floats) -> None:
        slopes, model = damping_slopes(energy, positions, z), self.model
        self._mu -= slopes.mu
        self._lam -= slopes.lam
        self._rest -= scatter(model.tets, slopes.rest, model.vertex_count)
        self.start -= scatter(model.element_nodes, slopes.start, model.vertex_count)

    def _add_surface(self, slopes: SurfaceSlopes) -> None:
        self._rest -= slopes.rest
        self._face_areas -= slopes.face_areas

    def gradient(self, held: Floats) -> ParameterGradient:
        """Return the sums, with masses and areas traced back to rest positions and density."""
        model = self.model
        rest = self._rest.copy()
        # dV/dX_c = V g_c
        per_tet = model.volume_slopes(self.masses, self._load_masses) * model.volumes
        rest += scatter(model.tets, per_tet[:, None, None] * model.shape_gradients, model.vertex_count)
        # A_p = 1/3 sum A;  dA/db = (c - a) x n / 2,  dA/dc = n x (b - a) / 2,  dA/da = -(dA/db + dA/dc)
        a, b, c = (model.rest_positions[model.contact_faces[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        at_b, at_c = np.cross(c - a, normal) / 2.0, np.cross(normal, b - a) / 2.0
        faces = model.contact_faces
        per_face = (self._areas[faces].sum(axis=1) / 3.0 + self._face_areas)[:, None, None]
        rest += scatter(faces, per_face * np.stack([-at_b - at_c, at_b, at_c], 1), model.vertex_count)
        mu, lam = model.mu, model.lam
        modulus = mu * (3.0 * lam + 2.0 * mu) / (lam + mu)
        return ParameterGradient(
            rest_positions=model.onto_vertices(rest),
            mu=self._mu.copy(),
            lam=self._lam.copy(),
            youngs_modulus=(mu * self._mu + lam * self._lam) / modulus,
            density=float(self.masses @ model.masses + self._load_masses @ model.load_masses)
            / model.material.density,
            loads=self._loads.copy(),
            held_positions=held,
            friction=self._friction,
        )


def scatter(simplices: NDArray[Any], values: Floats, count: int) -> Floats:
    """Sum vectors of corners, shape (s, k, 3), to vertices, shape (count, 3)."""
    index = simplices.ravel()
    flat = values.reshape(-1, 3)
    sums = [np.bincount(index, flat[:, axis], minlength=count) for axis in range(3)]
    return np.stack(sums, axis=1).astype(np.float64)
