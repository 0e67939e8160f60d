"""Material parameters: conversions and refusals."""

from __future__ import annotations

import pytest

from sim.material import MATERIAL_NAMES, Material, lame_parameters


def test_lame_parameters_satisfy_their_definitions() -> None:
    mu, lam = lame_parameters(2.0e5, 0.3)
    # E = mu (3 lam + 2 mu) / (lam + mu),  nu = lam / (2 (lam + mu))
    assert mu * (3 * lam + 2 * mu) / (lam + mu) == pytest.approx(2.0e5, rel=1e-14)
    assert lam / (2 * (lam + mu)) == pytest.approx(0.3, rel=1e-14)


def test_unknown_material_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="rubber.*" + ".*".join(MATERIAL_NAMES)):
        Material("rubber")


@pytest.mark.parametrize(
    "bad",
    [
        {"youngs_modulus": 0.0},
        {"youngs_modulus": float("nan")},
        {"poissons_ratio": 0.5},
        {"poissons_ratio": -0.1},
        {"density": -1.0},
    ],
)
def test_values_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Material(**bad)
