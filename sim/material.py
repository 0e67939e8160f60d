"""What a body is made of: an energy density by name, elastic moduli and a density."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from warp_kernels import elasticity, materials
from warp_kernels.elasticity import ElasticKernels, elastic_kernels
from warp_kernels.materials import MATERIALS
from warp_kernels.single_precision import in_single_precision

MATERIAL_NAMES = tuple(MATERIALS)
"""Names that `Material` knows; `warp_kernels/materials.py` says what they mean."""


def lame_parameters(youngs_modulus: float, poissons_ratio: float) -> tuple[float, float]:
    """Convert Young's modulus [Pa] and Poisson's ratio to the Lamé moduli mu and lam [Pa]."""
    mu = youngs_modulus / (2.0 * (1.0 + poissons_ratio))
    lam = youngs_modulus * poissons_ratio / ((1.0 + poissons_ratio) * (1.0 - 2.0 * poissons_ratio))
    return mu, lam


@dataclass(frozen=True)
class Material:
    """Elastic material of a whole body.

    Raises:
        ValueError: A value is out of range or the name is unknown.
    """

    name: str = "stable_neo_hookean"
    """Energy density: one of MATERIAL_NAMES."""
    youngs_modulus: float = 1.0e6
    """Stiffness [Pa]."""
    poissons_ratio: float = 0.4
    """Lateral contraction over axial extension, 0 <= nu < 0.5."""
    density: float = 1000.0
    """Mass over volume [kg/m^3]."""

    def __post_init__(self) -> None:
        if self.name not in MATERIALS:
            raise ValueError(f"material: unknown name {self.name!r}; known: {', '.join(MATERIAL_NAMES)}")
        if not 0.0 < self.youngs_modulus < float("inf"):
            raise ValueError(f"youngs_modulus: expected a positive number [Pa], got {self.youngs_modulus}")
        if not 0.0 <= self.poissons_ratio < 0.5:
            raise ValueError(f"poissons_ratio: expected 0 <= value < 0.5, got {self.poissons_ratio}")
        if not 0.0 < self.density < float("inf"):
            raise ValueError(f"density: expected a positive number [kg/m^3], got {self.density}")

    @property
    def mu(self) -> float:
        """Shear modulus [Pa]."""
        return lame_parameters(self.youngs_modulus, self.poissons_ratio)[0]

    @property
    def lam(self) -> float:
        """Second Lamé modulus [Pa]."""
        return lame_parameters(self.youngs_modulus, self.poissons_ratio)[1]


@cache
def kernels_of(name: str) -> ElasticKernels:
    """Return the kernels of a material by name; they compile on first launch."""
    return elastic_kernels(name, MATERIALS[name])


@cache
def single_kernels_of(name: str) -> ElasticKernels:
    """Return the kernels of a material by name in float32."""
    functions = in_single_precision(materials).MATERIALS[name]
    return in_single_precision(elasticity).elastic_kernels(name, functions)
