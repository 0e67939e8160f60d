"""What `export` makes: the record of an asset. One file of exporters per format writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asset:
    """A validated tetrahedral mesh as files for simulators, in metres, kilograms, Z up."""

    paths: dict[str, Path]
    """File by format: usd, msh, vtu, npz."""
    mass: float
    """Volume times density [kg]."""
    volume: float
    """Sum of the tets [m^3]."""
    counts: dict[str, int] = field(default_factory=dict)
    """points, tets, surface_faces."""
    material: dict[str, Any] = field(default_factory=dict)
    """What was written: name, youngs_modulus [Pa], poissons_ratio, density [kg/m^3], friction."""
    ready: bool | None = None
    """Whether every check of the report passed; None without a report."""
