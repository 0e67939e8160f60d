"""Verification: what a soft-body code must get right, each against its equation.

    from sim.verification import STUDIES
    for study in STUDIES: print(study.title, [row.passed for row in study.rows()])

One file per study; `simmesh verify` runs them all and writes the table of `docs/verification.md`. Bodies
and beams that several share are in `bodies.py` and `beam.py`.
"""

from sim.verification import (
    cantilever,
    conservation,
    cook,
    drop,
    elastica,
    equibiaxial,
    free_modes,
    gradients,
    gravity_column,
    ground,
    hertz,
    incline,
    invariance,
    inversion,
    locking,
    manufactured_solution,
    natural_frequencies,
    objectivity,
    patch_test,
    rest_stability,
    self_contact,
    simple_shear,
    small_strain_moduli,
    time_order,
    torsion,
    uniaxial,
)
from sim.verification.study import Row, Study

STUDIES: tuple[Study, ...] = (
    patch_test.STUDY,
    rest_stability.STUDY,
    small_strain_moduli.STUDY,
    uniaxial.STUDY,
    equibiaxial.STUDY,
    simple_shear.STUDY,
    inversion.STUDY,
    cantilever.STUDY,
    elastica.STUDY,
    natural_frequencies.STUDY,
    free_modes.STUDY,
    torsion.STUDY,
    cook.STUDY,
    gravity_column.STUDY,
    manufactured_solution.STUDY,
    time_order.STUDY,
    conservation.STUDY,
    objectivity.STUDY,
    invariance.STUDY,
    gradients.STUDY,
    ground.STUDY,
    incline.STUDY,
    drop.STUDY,
    hertz.STUDY,
    self_contact.STUDY,
    locking.STUDY,
)
"""Every study, by number."""

__all__ = ["STUDIES", "Row", "Study"]
