"""Bodies and solves that the studies share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.energy import Energy
from sim.material import Material
from sim.model import SoftBodyModel
from sim.quadratic import elastic_of, refine_degree
from sim.solver import Newton, NewtonConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

EXACT = NewtonConfig(tolerance=1e-12)
"""Newton to rounding, where a study asks for more digits than a simulation needs."""
TIGHT = NewtonConfig(tolerance=1e-9)


def kuhn_box(
    cells: ArrayLike = (2, 2, 2), size: ArrayLike = (1.0, 1.0, 1.0), *, jitter: float = 0.0, seed: int = 0
) -> tuple[Floats, Ints]:
    """Return points [m] and tets of a box, six tets per cell.

    Args:
        jitter: Inner vertices are moved by up to this share of a cell.
    """
    n = np.asarray(cells)
    grid = np.stack(np.meshgrid(*(np.arange(k + 1) for k in n), indexing="ij"), axis=-1).reshape(-1, 3)
    stride = np.array([(n[1] + 1) * (n[2] + 1), n[2] + 1, 1])
    corner = grid[(grid < n).all(axis=1)]
    tets = []
    for order in permutations(range(3)):
        path = [corner]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        tet = np.stack([p @ stride for p in path], axis=1)
        is_odd = np.linalg.det(np.eye(3)[list(order)]) < 0
        tets.append(tet[:, [0, 2, 1, 3]] if is_odd else tet)
    inner = ((grid > 0) & (grid < n)).all(axis=1, keepdims=True)
    noise = jitter * np.random.default_rng(seed).uniform(-1.0, 1.0, grid.shape) * inner
    return (grid + noise) * (np.asarray(size) / n), np.concatenate(tets).astype(np.int32)


def make_model(
    body: tuple[Floats, Ints], material: Material, degree: int = 1, **moduli: Any
) -> SoftBodyModel:
    """Return the model of points and tets with linear (1) or quadratic (2) shape functions."""
    model = SoftBodyModel.from_arrays(*body, material, **moduli)
    return refine_degree(model) if degree == 2 else model


def hold(is_held: NDArray[Any] | np.bool_) -> Floats:
    """Return the components that may move, shape (n, 3), where some vertices are held altogether."""
    return np.repeat(~np.asarray(is_held)[:, None], 3, axis=1).astype(np.float64)


def solve(
    model: SoftBodyModel,
    energies: Sequence[Energy],
    free: Floats,
    start: Floats | None = None,
    config: NewtonConfig = EXACT,
) -> Floats:
    """Return the equilibrium [m], shape (n, 3); held components keep their value in `start`."""
    begin = model.rest_positions if start is None else start
    return Newton(model, energies, config, free=free).solve(begin)[0]


def elastic_force(model: SoftBodyModel, positions: Floats) -> Floats:
    """Return the gradient of the elastic energy [N], shape (n, 3): at held vertices, what holds them."""
    out = model.to_device(np.zeros_like(positions))
    elastic_of(model).gradient(model.to_device(positions), out)
    return out.numpy().copy()


def stresses_at(material: Material, deformations: Floats) -> Floats:
    """Return the first Piola-Kirchhoff stress of each deformation gradient [Pa], shape (k, 3, 3)."""
    F = np.asarray(deformations, dtype=np.float64).reshape(-1, 3, 3)
    model, x = _one_tet_each(material, F)
    return elastic_of(model).stress(x)


def energy_at(material: Material, deformation: Floats) -> float:
    """Return the energy density of one deformation gradient [J/m^3]."""
    model, x = _one_tet_each(material, np.asarray(deformation, dtype=np.float64).reshape(1, 3, 3))
    return elastic_of(model).value(x) / float(model.volumes.sum())


def _one_tet_each(material: Material, F: Floats) -> tuple[SoftBodyModel, wp.array]:
    corner = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    k = len(F)
    tets = np.arange(4 * k, dtype=np.int32).reshape(k, 4)
    model = SoftBodyModel.from_arrays(np.tile(corner, (k, 1)), tets, material)
    return model, model.to_device(np.einsum("kij,cj->kci", F, corner).reshape(-1, 3))
