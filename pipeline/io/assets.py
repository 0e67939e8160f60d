"""The record of an exported asset, and the material that goes into it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline.errors import InputError
from pipeline.types import SimReport


@dataclass(frozen=True)
class Asset:
    """A tetrahedral mesh with its material as files for simulators, in metres, kilograms, Z up."""

    paths: dict[str, Path]
    """File by format: usd, msh, vtu, npz."""
    mass: float
    """Volume times density [kg]."""
    volume: float
    """Sum of the tets [m^3]."""
    counts: dict[str, int] = field(default_factory=dict)
    """points, tets, surface_faces, labels."""
    material: dict[str, Any] = field(default_factory=dict)
    """What was written; the fields of `AssetMaterial`."""
    ready: bool | None = None
    """Whether every check of the report passed; None without a report."""


@dataclass(frozen=True)
class AssetMaterial:
    """An isotropic elastic solid with friction.

    Raises:
        InputError: A value outside its range.
    """

    name: str = "soft"
    youngs_modulus: float = 1e6
    """[Pa]"""
    poissons_ratio: float = 0.4
    density: float = 1000.0
    """[kg/m^3]"""
    static_friction: float = 0.5
    dynamic_friction: float = 0.5

    def __post_init__(self) -> None:
        ranges = {
            "youngs_modulus": (0.0, math.inf),
            "poissons_ratio": (-1.0, 0.5),
            "density": (0.0, math.inf),
        }
        for name, (low, high) in ranges.items():
            if not low < getattr(self, name) < high:
                raise InputError(
                    f"{name}: expected more than {low} and less than {high}, got {getattr(self, name)}"
                )
        if not 0 <= self.dynamic_friction <= self.static_friction < math.inf:
            raise InputError(
                f"friction: expected 0 <= dynamic <= static, "
                f"got {self.dynamic_friction} and {self.static_friction}"
            )

    @classmethod
    def from_report(cls, report: SimReport) -> Self:
        """Take the material that was validated; a single `friction` stands for both coefficients.

        Raises:
            InputError: The report names no material.
        """
        given = report.material
        missing = [name for name in ("youngs_modulus", "poissons_ratio", "density") if name not in given]
        if missing:
            raise InputError(f"the report's material has no {', '.join(missing)}; validate the mesh again")
        friction = given.get("friction", given.get("static_friction", cls.static_friction))
        values = {"static_friction": friction, "dynamic_friction": friction} | given
        return cls(**{name: values[name] for name in asdict(cls()) if name in values})

    @property
    def mu(self) -> float:
        """Second Lamé parameter [Pa]."""
        return self.youngs_modulus / (2 * (1 + self.poissons_ratio))

    @property
    def lam(self) -> float:
        """First Lamé parameter [Pa]."""
        nu = self.poissons_ratio
        return self.youngs_modulus * nu / ((1 + nu) * (1 - 2 * nu))


def material_of(report: SimReport | None, config: Any) -> AssetMaterial:
    """What is shipped is what was validated; without a report, the material of the export config."""
    if report is not None and report.material:
        return AssetMaterial.from_report(report)
    values = {name: getattr(config, name) for name in asdict(AssetMaterial()) if name != "name"}
    return AssetMaterial(**values)
