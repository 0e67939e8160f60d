"""Choose evenly spread samples: Poisson-disk thinning to a wanted number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.points.sheets import PARALLEL, STRETCH
from pipeline.types import Points
from warp_kernels.thinning import KEPT, thinning_round

if TYPE_CHECKING:
    from pipeline.points.sample_planes import SamplePlanes

_ROUNDS_PER_CHECK = 4
_TOLERANCE = 0.03


def thin(
    points: Points,
    count: int,
    spacing: float,
    rng: np.random.Generator,
    device: str = "cpu",
    normals: Points | None = None,
) -> tuple[NDArray[np.int64], float]:
    """Keep about `count` samples (within 3 %) no two of which are nearer than the radius that gives this
    number.

    Args:
        points: Samples in the normal frame, shape (n, d).
        count: Wanted number; all samples are kept when there are not more.
        spacing: Typical spacing of the samples.
        rng: Gives the order in which samples are tried.
        normals: Unit normals, shape (n, 3), where sheets nearly touch: then each sheet is thinned by itself.

    Returns:
        Kept rows in ascending order, and the radius.
    """
    n, d = points.shape
    if count >= n:
        return np.arange(n), 0.0
    padded = np.zeros((n, 3), dtype=np.float32)
    padded[:, :d] = points
    x: wp.array = wp.array(padded, dtype=wp.vec3, device=device)
    sides = np.zeros((0, 3)) if normals is None else normals
    n_device: wp.array = wp.array(sides.astype(np.float32), dtype=wp.vec3, device=device)
    priority: wp.array = wp.array(rng.permutation(n).astype(np.int32), dtype=wp.int32, device=device)
    grid = wp.HashGrid(128, 128, 1 if d == 2 else 128, device=device)
    order = d - 1
    radius = spacing * (n / count) ** (1 / order)
    best: NDArray[np.int64] = np.arange(n)
    best_radius = 0.0
    for _ in range(6):
        kept = np.flatnonzero(_maximal_set(grid, x, n_device, priority, radius) == KEPT)
        if abs(len(kept) - count) < abs(len(best) - count):
            best, best_radius = kept, radius
        if abs(len(kept) - count) <= _TOLERANCE * count:
            break
        radius *= (len(kept) / count) ** (1 / order)
    return best, best_radius


def thin_to_radius(
    points: Points, radius: float, rng: np.random.Generator, device: str = "cpu"
) -> NDArray[np.int64]:
    """Return rows of a maximal set of 3D samples no two of which are nearer than the radius, ascending."""
    x: wp.array = wp.array(points.astype(np.float32), dtype=wp.vec3, device=device)
    priority: wp.array = wp.array(
        rng.permutation(len(points)).astype(np.int32), dtype=wp.int32, device=device
    )
    grid = wp.HashGrid(128, 128, 128, device=device)
    none: wp.array = wp.array(np.zeros((0, 3), dtype=np.float32), dtype=wp.vec3, device=device)
    return np.flatnonzero(_maximal_set(grid, x, none, priority, radius) == KEPT)


def thin_planes(
    points: Points, planes: SamplePlanes, count: int, rng: np.random.Generator, device: str = "cpu"
) -> tuple[NDArray[np.int64], float]:
    """Thin samples with known planes (see `thin`): each sheet by itself where sheets nearly touch."""
    normals = planes.normals if planes.layered else None
    return thin(points, count, planes.typical_spacing, rng, device, normals)


def _maximal_set(
    grid: wp.HashGrid, points: wp.array, normals: wp.array, priority: wp.array, radius: float
) -> NDArray[np.int32]:
    grid.build(points, radius)
    state = wp.zeros(len(points), dtype=wp.int32, device=points.device)
    undecided = wp.zeros(1, dtype=wp.int32, device=points.device)
    while True:
        for _ in range(_ROUNDS_PER_CHECK):
            undecided.zero_()
            thinning_round(grid, points, normals, priority, radius, PARALLEL, STRETCH, state, undecided)
        if int(undecided.numpy()[0]) == 0:
            return state.numpy()
