"""Locking probe: the cantilever of study 8 at nu = 0.49, 1,296 tets.

    linear tets                  lock: 0.197 of Timoshenko's tip (0.681 at nu = 0.3), to 0.5 %
    linear, volumes averaged     at least the share of linear tets at nu = 0.3, where no volume locks;
                                 at nu = 0.499 within 5 % of that at 0.49
    quadratic tets               within 6 %
    refined                      10,368 linear tets with averaged volumes within 10 % of the quadratic 1,296

The beams with averaged volumes are stable neo-Hookean (that element has no linear elasticity);
deflections of 1 % of the length keep the difference below 1e-3.

Source: Hughes 2000, section 4.4; Bonet, Burton 1998 for the cure, `sim/nodal_volume.py`.
"""

from __future__ import annotations

from sim.energy import Energy, Gravity
from sim.material import Material
from sim.nodal_volume import average_volumes
from sim.quadratic import elastic_of
from sim.solver import NewtonConfig
from sim.verification.beam import DENSITY, GRAVITY, LENGTH, MODULUS, SIDE, beam_model, sagged, timoshenko, tip
from sim.verification.bodies import hold, kuhn_box, make_model, solve
from sim.verification.study import Row, Study, at_least, near

CELLS = (24, 3, 3)


def averaged_tip(cells: tuple[int, int, int], nu: float) -> float:
    """Return the tip of linear tets with averaged volumes [m]."""
    material = Material("stable_neo_hookean", MODULUS, nu, DENSITY)
    model = average_volumes(make_model(kuhn_box(cells, (LENGTH, SIDE, SIDE)), material))
    X = model.rest_positions
    energies: list[Energy] = [elastic_of(model), Gravity(model, (0.0, 0.0, -GRAVITY))]
    x = solve(model, energies, hold(X[:, 0] < 1e-9), config=NewtonConfig(tolerance=1e-7))
    return tip(model, x - X)


def rows() -> list[Row]:
    """Solve the beam with each element."""
    linear = {nu: beam_model(CELLS, nu) for nu in (0.3, 0.49)}
    shares = {nu: tip(model, sagged(model)) / timoshenko(nu) for nu, model in linear.items()}
    quadratic = beam_model(CELLS, 0.49, 2)
    best = tip(quadratic, sagged(quadratic)) / timoshenko(0.49)
    cured = averaged_tip(CELLS, 0.49) / timoshenko(0.49)
    nearly = averaged_tip(CELLS, 0.499) / timoshenko(0.499)
    fine = averaged_tip((48, 6, 6), 0.49) / timoshenko(0.49)
    return [
        near("P1, nu 0.49: tip / Timoshenko", shares[0.49], 0.197, 0.005),
        at_least("P1 averaged, nu 0.49: tip / Timoshenko, against P1 at nu 0.3", cured, shares[0.3]),
        near("P1 averaged, nu 0.499: tip / Timoshenko, against nu 0.49", nearly, cured, 0.05),
        near("P2, nu 0.49: tip / Timoshenko", best, 1.0, 0.06),
        near("P1 averaged, 10,368 tets, nu 0.49: against P2", fine, best, 0.1),
    ]


STUDY = Study(26, "Locking probe", rows, is_long=True)
