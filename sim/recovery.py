"""Bring a crushed body back to its rest shape, whatever became of it: flat, inverted, vertices at random.

    1  steps of implicit Euler without memory of velocity, of growing length, in the body's own material
    2  the same as fixed corotated solid of the same moduli, then again in its own material
    3  as 2, from a seeded random motion of what 2 ended in; a few times, each larger than the last

Every step descends, but the energy has more minima than rest. F = 0, a body crushed to a point, is one of
stable neo-Hookean, whose density grows there like mu/2 |F|^2. The fixed corotated density mu |F - R|^2 has
the slope -2 mu R there: it is none of its. What else is left are folds, which a random motion opens.

Source: Smith, de Goes, Kim 2018, Stable Neo-Hookean Flesh Simulation, section 3.4, for the minimum at F = 0
(they add a term to the energy; here the energy stays as stated, and the solver goes around it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sim.energy import Elastic
from sim.errors import SimulationDiverged
from sim.integrator import Relaxation
from sim.model import SoftBodyModel
from sim.quadratic import QuadraticElastic, QuadraticModel, elastic_of
from sim.solver import NewtonConfig

Floats = NDArray[np.float64]

_REST = 1e-10
"""Elastic energy at rest, over P-wave modulus times volume: strains of 1e-5."""
_FIRST_STEP = 3.0
"""Length of the first step in sqrt(vertex mass / (modulus size))."""
_KICK = 0.3
"""Standard deviation of the first random motion, over the size; each further one is as much larger."""


@dataclass(frozen=True)
class Recovery:
    """A body at rest again."""

    positions: Floats
    """[m], shape (n, 3)."""
    attempts: int
    """1 if its own material sufficed, 2 with the fixed corotated one, one more for each random motion."""
    energy: float
    """Elastic energy that is left [J]."""


def recover(
    model: SoftBodyModel,
    positions: Floats,
    *,
    free: Floats | None = None,
    solver: NewtonConfig | None = None,
    kicks: int = 8,
    seed: int = 0,
) -> Recovery:
    """Return the body to rest, up to a rigid motion where nothing is held.

    Args:
        positions: Any finite ones [m], shape (n, 3).
        free: Components that may move, shape (n, 3) of 0 and 1, the others where they are at rest; all if
            None.
        kicks: Random motions to try.

    Raises:
        SimulationDiverged: It did not come to rest; says how much energy and how many inverted tets are left,
            and carries the state.
    """
    tolerance = solver or NewtonConfig(tolerance=1e-8, max_iterations=300)
    scale = float(((model.lam + 2.0 * model.mu) * model.volumes).sum())
    own = elastic_of(model)
    corotated = replace(model, material=replace(model.material, name="fixed_corotated"))
    # Not `elastic_of`: averaged volumes know no fixed corotated material.
    round_shape = QuadraticElastic(corotated) if isinstance(corotated, QuadraticModel) else Elastic(corotated)
    rng = np.random.default_rng(seed)
    mobile = np.ones_like(positions) if free is None else free
    x, reason = positions, ""
    for attempt in range(1, kicks + 3):
        kick = _KICK * (attempt - 2) * model.size
        start = positions if attempt <= 2 else x + kick * mobile * rng.normal(size=x.shape)
        stages = [own] if attempt == 1 else [round_shape, own]
        try:
            x = start
            for elastic in stages:
                x = _relax(elastic, x, mobile, tolerance)
        except SimulationDiverged as error:
            reason = f"; the last attempt ended with: {error}"
            x = start if error.positions is None else error.positions
            continue
        reason, energy = "", own.value(model.to_device(x))
        if energy <= _REST * scale:
            return Recovery(x, attempt, energy)
    ratios = own.volume_ratios(model.to_device(x))
    share = own.value(model.to_device(x)) / scale
    raise SimulationDiverged(
        f"not at rest after {kicks + 2} attempts: elastic energy {share:.2g} of modulus times volume, "
        f"{int((ratios <= 0.0).sum())} of {len(ratios)} tets inverted, smallest volume ratio "
        f"{ratios.min():.2g}{reason}",
        step=kicks + 2,
        term="elastic",
        positions=x,
    )


def _relax(elastic: Elastic, positions: Floats, free: Floats, solver: NewtonConfig) -> Floats:
    """Return a minimum of an elastic energy below `positions`."""
    model = elastic.model
    modulus = float((model.lam + 2.0 * model.mu).max())
    dt = _FIRST_STEP * np.sqrt(model.mass / model.vertex_count / (modulus * model.size))
    relaxation = Relaxation(model, [elastic], dt, solver, free=free)
    force = modulus * float(model.volumes.sum()) ** (2.0 / 3.0)
    return relaxation.settle(positions, weight=force, tolerance=1e-9, growth=1.6)[0]
