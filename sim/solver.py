"""Projected Newton: positions that minimise a sum of energies, to a stated residual.

    solve H dx = -g,   x <- x + a dx,   until  max |g_free| <= tolerance * scale + floor

H is the sum of positive semi-definite element Hessians, so dx descends. The projection leaves out what
compression takes from the stiffness, and convergence becomes linear: where it does, the exact Hessian is
tried, and taken if it is positive definite.

`scale` is the largest force that one energy exerts on one component, constraints included: the residual is
a share of the forces that balance each other, whatever the units. `floor` is rounding of the positions times
the stiffest diagonal entry.

The step a starts at 1, is cut to the bound that the energies state (contact), halved while it would turn an
element over that is not yet inverted, and then backtracked until the energy falls enough (Armijo), or, where
the expected fall is too small a share of the energies to be seen in their difference, until the slope along
dx has shrunk (Hager & Zhang 2005, approximate Wolfe condition). A whole step along which the energy falls as
if there were no curvature is doubled until it does not: surfaces that all but touch leave each other so.

Source: Nocedal & Wright 2006, Numerical Optimization, chapter 3; Teran et al. 2005 for the projection; Longva
et al. 2023, Pitfalls of Projection, for leaving it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import warp as wp
from numpy.typing import NDArray

from sim.block_matrix import BlockMatrix
from sim.energy import ChangingEnergy, Elastic, Energy, exact_hessian, single_hessian
from sim.errors import SimulationDiverged
from sim.linear_solver import LinearSolver, make_linear_solver
from sim.model import SoftBodyModel
from sim.precision import PRECISIONS
from sim.preconditioners import PRECONDITIONERS
from warp_kernels import time_integration

Floats = NDArray[np.float64]

_EPS = np.finfo(np.float64).eps
_ARMIJO = 1e-4
_ROUNDED = 16.0 * _EPS
"""Rounding of a position, over the largest position."""
_ROUNDING = 1e-12
"""Rounding of the sum of the energies, over the sum of their magnitudes."""
_LOOSEST = 1e-2
"""Residual of a linear solve, over its right-hand side, that is always small enough to ask for."""
_SLOW = 0.1
"""Share of the residual that a step may leave before the exact Hessian is tried."""
_WAIT = 4
"""Iterations until the exact Hessian is tried again after it was not positive definite."""
_LONGER = 0.75
"""Fall of the energy over what its slope promises above which a longer step is tried; a quadratic energy
gives one half."""
_LONGEST = 64.0
"""The longest step that is tried, over Newton's."""
_FINE = 1e4
"""Expected falls below so many roundings of the energy are judged by slopes."""


@dataclass
class NewtonConfig:
    """How hard the solver tries.

    Raises:
        ValueError: A value is out of range.
    """

    tolerance: float = 1e-6
    """Largest free force over the largest force of one energy, at which a solve ends."""
    max_iterations: int = 200
    """Newton iterations of one solve."""
    linear_solver: str = "auto"
    """"auto", "direct" (LU of each matrix), "lagged" (CG with the LU of an earlier one) or "cg"."""
    preconditioner: str = "fsai"
    """Of "cg": "fsai" (factorised sparse approximate inverse) or "block_jacobi" (the diagonal blocks)."""
    precision: str = "float64"
    """Of Hessians and linear systems: "float64", or "float32" with "cg"; energies and forces are float64."""

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance: expected a number in (0, 1), got {self.tolerance}")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations: expected at least 1, got {self.max_iterations}")
        for field, known in (("preconditioner", PRECONDITIONERS), ("precision", PRECISIONS)):
            name = getattr(self, field)
            if name not in known:
                raise ValueError(f"{field}: unknown name {name!r}; known: {', '.join(known)}")


@dataclass(frozen=True)
class SolveResult:
    """How a solve went."""

    iterations: int
    residual: float
    """max |g_free| [N]."""
    scale: float
    """Largest force of one energy on one component [N]."""
    energies: dict[str, float]
    """Value of each energy at the solution [J]."""
    linear_iterations: int = 0


class Newton:
    """Minimises a fixed list of energies of one model; reuses matrix pattern, order and work arrays.

    Args:
        free: Components that may move, shape (n, 3) of 0 and 1; all if None.
    """

    def __init__(
        self,
        model: SoftBodyModel,
        energies: Sequence[Energy],
        config: NewtonConfig | None = None,
        *,
        free: Floats | None = None,
    ) -> None:
        self.model = model
        self.energies = list(energies)
        self.config = config or NewtonConfig()
        self.precision = PRECISIONS[self.config.precision]
        self.free = np.ones((model.vertex_count, 3)) if free is None else np.asarray(free, dtype=np.float64)
        self._make_matrix()
        self.elastic = next((e for e in self.energies if isinstance(e, Elastic)), None)
        curved = [e for e in self.energies if hasattr(e, "is_projected")]
        alone: list[Energy] = [e for e in curved if e is self.elastic]
        self._exact_choices: list[list[Energy]] = [group for group in (curved, alone) if group]
        """Energies whose exact Hessian is tried together, one group after the other."""
        if len(curved) == len(alone):
            self._exact_choices = self._exact_choices[:1]
        n, device = model.vertex_count, model.device
        self._g, self._b, self._dx, self._trial, self._work = (
            wp.zeros(n, dtype=wp.vec3d, device=device) for _ in range(5)
        )
        mean_edge = float(np.cbrt(6.0 * np.sqrt(2.0) * model.volumes.mean()))
        modulus = float((model.lam + 2.0 * model.mu).max())
        self._rounding_energy = 64.0 * _EPS * modulus * float(model.volumes.sum())
        self._wait = 0
        self._stiffness = modulus * mean_edge

    def _make_matrix(self) -> None:
        patterns = [energy.pattern() for energy in self.energies]
        self.matrix = BlockMatrix(
            self.model.vertex_count,
            np.concatenate([rows for rows, _ in patterns]),
            np.concatenate([columns for _, columns in patterns]),
            self.free,
            self.model.device,
            self.precision,
        )
        ends = np.cumsum([0, *(len(rows) for rows, _ in patterns)])
        self.slices = [self.matrix.blocks[int(a) : int(b)] if b > a else None for a, b in pairwise(ends)]
        """Element blocks of each energy in the matrix, None for one without Hessian."""
        self.linear_solver: LinearSolver = make_linear_solver(
            self.config.linear_solver, self.matrix, self.config.preconditioner
        )

    def value(self, x: wp.array) -> tuple[float, dict[str, float]]:
        """Return the sum of the energies and that of each name [J]."""
        values: dict[str, float] = {}
        for energy in self.energies:
            values[energy.name] = values.get(energy.name, 0.0) + energy.value(x)
        return float(sum(values.values())), values

    def gradient(self, x: wp.array, out: wp.array) -> None:
        """Write the gradient of the sum [N], zero where a component is fixed."""
        out.zero_()
        for energy in self.energies:
            energy.gradient(x, out)
        time_integration.apply_mask(self.matrix.free, out)

    def assemble(self, x: wp.array) -> None:
        """Fill the matrix with the projected Hessian at x; make it anew where contacts change its pattern."""
        changing = [energy for energy in self.energies if isinstance(energy, ChangingEnergy)]
        if any([energy.find_pattern(x) for energy in changing]):  # a list: all of them must look
            self._make_matrix()
        for energy, blocks in zip(self.energies, self.slices):
            if blocks is not None:
                fill = single_hessian if self.precision.is_single else type(energy).hessian
                fill(energy, x, blocks)
        self.matrix.assemble()

    def force_scale(self, x: wp.array) -> float:
        """Return the largest force of one energy on one component [N]."""
        scale = 0.0
        for energy in self.energies:
            self._work.zero_()
            energy.gradient(x, self._work)
            scale = max(scale, _largest(self._work))
        return scale

    def solve(
        self,
        positions: Floats,
        *,
        tolerance: float | None = None,
        step: int = 0,
        observe: Callable[[int, float], None] | None = None,
    ) -> tuple[Floats, SolveResult]:
        """Minimise from `positions` [m], shape (n, 3); fixed components keep their value.

        Args:
            tolerance: Replaces the one of the config.
            step: Number that an error carries.
            observe: Called with (iteration, residual over scale) before each linear solve.

        Raises:
            SimulationDiverged: Not finite, no descent, or not converged in `max_iterations`; carries the last
                iterate.
        """
        tolerance = self.config.tolerance if tolerance is None else tolerance
        x = self.model.to_device(positions)
        total, values = self.value(x)
        self._check_start(values, positions, step)
        linear_iterations = 0
        previous, stiffness = np.inf, self._stiffness
        for iteration in range(self.config.max_iterations + 1):
            self.gradient(x, self._g)
            residual = _largest(self._g)
            scale = self.force_scale(x)
            floor = _ROUNDED * stiffness * _largest(x)
            if observe is not None:
                observe(iteration, residual / max(scale, floor, 1e-300))
            if residual <= tolerance * scale + floor:
                return x.numpy().copy(), SolveResult(iteration, residual, scale, values, linear_iterations)
            if iteration == self.config.max_iterations:
                break
            time_integration.add_scaled(self._g, -2.0, self._g, self._b)
            # Eisenstat & Walker 1996, choice 2: as exact as the last step deserved; the first is loose.
            share = residual / previous if iteration else 1.0
            forcing = float(np.clip(0.5 * share**2, self.precision.tightest, _LOOSEST))
            try:
                linear_iterations += self._direction(x, forcing, residual > _SLOW * previous)
            except ArithmeticError as error:
                reason = f"{error} in float32; float64 may do" if self.precision.is_single else str(error)
                raise self._diverged(reason, "linear solve", x, step, iteration, residual, scale) from error
            stiffness = self.matrix.largest_diagonal()
            slope = _inner(self._g, self._dx)
            accepted = self._line_search(x, total, values, slope)
            if accepted is None:
                raise self._diverged(
                    "the line search found no lower energy", "residual", x, step, iteration, residual, scale
                )
            total, values = accepted
            previous = residual
        raise self._diverged(
            f"no equilibrium after {self.config.max_iterations} iterations", "residual", x, step,
            self.config.max_iterations, residual, scale,
        )  # fmt: skip

    def _direction(self, x: wp.array, forcing: float, is_slow: bool) -> int:
        """Solve for self._dx; where the projected Hessian is slow with the exact one, if it is definite.

        Tried in turn: exact in all energies, and in the elastic one alone.
        """
        self._wait -= 1
        if is_slow and self._wait < 0:
            for energies in self._exact_choices:
                try:
                    with ExitStack() as stack:
                        for energy in energies:
                            stack.enter_context(exact_hessian(energy))
                        self.assemble(x)
                    return self.linear_solver.solve(self._b, self._dx, forcing, is_definite=False)
                except ArithmeticError:
                    continue
            self._wait = _WAIT
        self.assemble(x)
        return self.linear_solver.solve(self._b, self._dx, forcing)

    def _line_search(
        self, x: wp.array, total: float, values: dict[str, float], slope: float
    ) -> tuple[float, dict[str, float]] | None:
        """Advance x along self._dx; return the new energies, or None when no step lowers them."""
        bound = min((energy.step_bound(x, self._dx) for energy in self.energies), default=np.inf)
        fraction = min(1.0, bound)
        noise = self._rounding_energy + _ROUNDING * sum(abs(v) for v in values.values())
        is_fine = abs(slope) <= _FINE * noise
        keeps_upright = self.elastic is not None and self.elastic.volume_ratios(x).min() > 0.0
        filtered = 0
        for _ in range(60):
            time_integration.add_scaled(x, fraction, self._dx, self._trial)
            trial_total, trial = self.value(self._trial)
            is_over = self.elastic is not None and self.elastic.last_volume_ratios.min() <= 0.0
            if keeps_upright and is_over and filtered < 4:
                filtered += 1
                fraction *= 0.5
                continue
            if is_fine and trial_total <= total + noise:
                self.gradient(self._trial, self._work)
                is_lower = _inner(self._work, self._dx) <= 0.9 * abs(slope)
            else:
                is_lower = trial_total <= total + _ARMIJO * fraction * slope
            if np.isfinite(trial_total) and is_lower:
                if fraction == 1.0 and not is_fine:
                    return self._extend(x, total, (trial_total, trial), slope, keeps_upright)
                wp.copy(x, self._trial)
                return trial_total, trial
            fraction *= 0.5
        return None

    def _extend(
        self,
        x: wp.array,
        total: float,
        found: tuple[float, dict[str, float]],
        slope: float,
        keeps_upright: bool,
    ) -> tuple[float, dict[str, float]]:
        """Double self._dx while the energy keeps its slope; advance x, and return the energies there.

        Args:
            found: Energies at self._trial, a whole step from x.
        """
        wp.copy(self._work, self._trial)
        length = 1.0
        while length < _LONGEST and found[0] - total < _LONGER * length * slope:
            time_integration.add_scaled(self._dx, 1.0, self._dx, self._dx)
            length *= 2.0
            if min(energy.step_bound(x, self._dx) for energy in self.energies) < 1.0:
                break
            time_integration.add_scaled(x, 1.0, self._dx, self._trial)
            longer = self.value(self._trial)
            is_over = self.elastic is not None and self.elastic.last_volume_ratios.min() <= 0.0
            if (keeps_upright and is_over) or not longer[0] < found[0]:
                break
            wp.copy(self._work, self._trial)
            found = longer
        wp.copy(x, self._work)
        return found

    def _check_start(self, values: dict[str, float], positions: Floats, step: int) -> None:
        for name, value in values.items():
            if not np.isfinite(value):
                raise SimulationDiverged(
                    f"step {step}: the {name} energy is {value} at the start", step=step, term=name,
                    positions=positions,
                )  # fmt: skip

    def _diverged(
        self, reason: str, term: str, x: wp.array, step: int, iteration: int, residual: float, scale: float
    ) -> SimulationDiverged:
        return SimulationDiverged(
            f"step {step}, iteration {iteration}: {reason}; "
            f"residual {residual:.3g} N, force scale {scale:.3g} N",
            step=step,
            term=term,
            positions=x.numpy().copy(),
            details={"iteration": iteration, "residual": residual, "scale": scale},
        )


def _largest(vectors: wp.array) -> float:
    return float(np.abs(vectors.numpy()).max())


def _inner(a: wp.array, b: wp.array) -> float:
    return float(cast(float, wp.utils.array_inner(a, b)))
