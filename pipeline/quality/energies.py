"""Differentiable quality energies of tetrahedral meshes: low is good, finite everywhere, steep at inversion.

    from pipeline.quality.energies import quality_energy
    value, gradient = quality_energy(points, tets, energy="dihedral")

The formulas stand in `warp_kernels/tet_quality.py`. Moving, turning or scaling a mesh changes no energy. The
energy of optimal Delaunay triangulations, `odt_energy`, belongs to a whole mesh and stands apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from warp_kernels.tet_odt import tet_odt_gradients
from warp_kernels.tet_quality import (
    AMIPS,
    DIHEDRAL,
    FLAT,
    MEAN_RATIO,
    QualityParameters,
    tet_energy_gradients,
)

Points = NDArray[np.float64]

_LARGEST = 1e30
"""Energies beyond it leave the range in which single precision orders gains."""


@dataclass(frozen=True)
class EnergyParameters:
    """Numbers of a quality energy; the dihedral one uses the angles, the others weight and power."""

    energy: str = "dihedral"
    """Name in `ENERGIES`."""
    low: float = 30.0
    """Angle [deg] under which the energy of a dihedral angle grows exponentially."""
    low_scale: float = 5.0
    """Angle [deg] over which that energy grows by e."""
    high: float = 140.0
    """Angle [deg] above which the energy grows exponentially."""
    high_scale: float = 5.0
    """Angle [deg] over which that energy grows by e."""
    weight: float = 0.5
    """Factor of the mean-ratio term."""
    power: float = 6.0
    """Exponent of the inverse mean ratio in the energy "mean_ratio"."""

    def __post_init__(self) -> None:
        if self.energy not in ENERGIES:
            raise ValueError(f"energy: expected one of {', '.join(ENERGIES)}, got {self.energy!r}")
        for name in ("low_scale", "high_scale", "weight", "power"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not self.barrier < _LARGEST:
            names = "low_scale and high_scale" if self.energy == "dihedral" else "power"
            raise ValueError(f"{names}: the energy of a sliver overflows, reaching {self.barrier:.0e}")

    @property
    def barrier(self) -> float:
        """Energy of a flat tet: twice the largest that a tet with volume can have.

        Angles are within 0 to 180 degrees, and v = `FLAT` L^1.5 bounds the inverse mean ratio.
        """
        q = 1.0 / (12.0 * (0.5 * float(FLAT)) ** (2.0 / 3.0))
        with np.errstate(over="ignore"):
            if self.energy == "amips":
                largest = 3.0 * self.weight * q
            elif self.energy == "mean_ratio":
                largest = self.weight * np.power(q, self.power)
            else:
                angles = np.exp(self.low / self.low_scale) + np.exp((180.0 - self.high) / self.high_scale)
                largest = 6.0 * angles + self.weight * q
        return 2.0 * float(largest)

    def to_struct(self) -> Any:
        """Return the parameters as the kernels want them."""
        s: Any = QualityParameters()
        s.energy = ENERGIES[self.energy]
        s.low, s.low_scale = self.low, self.low_scale
        s.high, s.high_scale = self.high, self.high_scale
        s.weight, s.power = self.weight, self.power
        s.barrier = self.barrier
        return s


ENERGIES: dict[str, int] = {"dihedral": DIHEDRAL, "amips": AMIPS, "mean_ratio": MEAN_RATIO}
"""Energy names and the number by which the kernels know them; tests run over all."""

CONTINUATION: tuple[EnergyParameters, ...] = (
    EnergyParameters(low=30, low_scale=5, high=140, high_scale=5, weight=0.5),
    EnergyParameters(low=32, low_scale=3, high=138, high_scale=3, weight=0.3),
    EnergyParameters(low=34, low_scale=2, high=136, high_scale=2, weight=0.3),
)
"""From wide to sharp: first every bad tet counts, in the end only the worst."""


def matched(parameters: EnergyParameters, energy: str, angle: float) -> EnergyParameters:
    """Return the numbers of another energy, scaled so that it equals the dihedral one at an angle [deg].

    Limits of the optimiser are energies of single tets ("worth a change", "bad"); they keep their meaning
    when the energies agree at one poor tet. That tet is a regular one, squeezed along the line between the
    middles of two opposite edges until its four small angles are `angle`:

        (+-1, 0, h), (0, +-1, -h) with cos(angle) = 1 / (1 + 4 h^2)
    """
    if energy == "dihedral":
        return replace(parameters, energy=energy)
    h = 0.5 * np.sqrt(1.0 / np.cos(np.radians(angle)) - 1.0)
    points = np.array([[1, 0, h], [-1, 0, h], [0, 1, -h], [0, -1, -h]], dtype=np.float64)
    tet = np.array([[0, 1, 2, 3]])
    wanted = quality_energy(points, tet, parameters=replace(parameters, energy="dihedral"))[0][0]
    other = replace(parameters, energy=energy, weight=1.0)
    return replace(other, weight=float(wanted / quality_energy(points, tet, parameters=other)[0][0]))


def quality_energy(
    points: Points,
    tets: NDArray[Any],
    energy: str = "dihedral",
    parameters: EnergyParameters | Mapping[str, float] | None = None,
    device: str = "cpu",
) -> tuple[Points, Points]:
    """Evaluate an energy of every tet and the gradient of the sum.

    Args:
        points: Vertices, shape (n, 3).
        tets: Vertex indices, shape (t, 4).
        energy: Name in `ENERGIES`.
        parameters: `EnergyParameters`, or some of its fields; with the former, `energy` is taken from it.
        device: Warp device.

    Returns:
        Value per tet, shape (t,), dimensionless; gradient of the sum by the points, shape (n, 3) [1/length].

    Raises:
        ValueError: Unknown energy, wrong shape, or an index out of range.
    """
    if not isinstance(parameters, EnergyParameters):
        parameters = EnergyParameters(**{"energy": energy, **(parameters or {})})  # type: ignore[arg-type]
    points, tets = _checked(points, tets)
    if not len(tets):
        return np.zeros(0), np.zeros_like(points)
    value, corner = tet_energy_gradients(
        wp.array(points, dtype=wp.vec3d, device=device),
        wp.array(tets, dtype=wp.vec4i, device=device),
        parameters.to_struct(),
    )
    return value.numpy(), _summed(corner, tets, len(points))


def odt_energy(points: Points, tets: NDArray[Any], device: str = "cpu") -> tuple[Points, Points]:
    """Evaluate the energy of optimal Delaunay triangulations of every tet and the gradient of the sum.

    Volume times squared edges over 20: the error of interpolating |x|^2. At fixed volume it is the inverse
    mean ratio; over a mesh whose vertices move inside a fixed boundary its sum rewards even tets, but a
    sliver costs nothing, so `optimize` does not descend it.

    Args:
        points: Vertices, shape (n, 3).
        tets: Vertex indices, shape (t, 4), of positive volume.
        device: Warp device.

    Returns:
        Value per tet, shape (t,) [length^5]; gradient of the sum by the points, shape (n, 3) [length^4].

    Raises:
        ValueError: Wrong shape, or an index out of range.
    """
    points, tets = _checked(points, tets)
    if not len(tets):
        return np.zeros(0), np.zeros_like(points)
    value, corner = tet_odt_gradients(
        wp.array(points, dtype=wp.vec3d, device=device), wp.array(tets, dtype=wp.vec4i, device=device)
    )
    return value.numpy(), _summed(corner, tets, len(points))


def _checked(points: Points, tets: NDArray[Any]) -> tuple[Points, NDArray[np.int32]]:
    """Return points and tets as the kernels take them."""
    points = np.ascontiguousarray(points, dtype=np.float64)
    tets = np.ascontiguousarray(tets, dtype=np.int32)
    if points.ndim != 2 or points.shape[1] != 3 or tets.ndim != 2 or tets.shape[1] != 4:
        raise ValueError(f"expected points (n, 3) and tets (t, 4), got {points.shape} and {tets.shape}")
    if len(tets) and (tets.min() < 0 or tets.max() >= len(points)):
        raise ValueError(f"tets: expected vertices 0..{len(points) - 1}, got {tets.min()}..{tets.max()}")
    return points, tets


def _summed(corner: wp.array, tets: NDArray[np.int32], point_count: int) -> Points:
    """Sum gradients at the corners of tets, shape (t, 4), by vertex.

    On the host in a fixed order: the result is the same on every run.
    """
    rows = corner.numpy().reshape(-1, 3)
    sums = [np.bincount(tets.ravel(), weights=rows[:, axis], minlength=point_count) for axis in range(3)]
    return np.stack(sums, axis=1)
