"""Exact nearest neighbours of points in the plane and in space.

`nearest_neighbors` is the numpy door; `PointCells` keeps the cell list on the device for callers that search
often. The cost stays near linear on any cloud: the cell size follows the number of occupied cells (surfaces
fill few cells of their box), and cells that stay crowded (clusters, duplicates) are ordered along a
space-filling curve of ranks, which does not depend on the scale of the cluster, so that the searches can
skip most of them.
"""

from __future__ import annotations

import math

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.errors import InputError
from warp_kernels import neighbors as search
from warp_kernels import neighbors_cells as kernels

CELLS_PER_POINT = 8
"""Upper bound of the number of cells, in cells per point."""
_BLOCK = 1 << 16
"""Points that `neighbor_table` searches for at a time."""


def nearest_neighbors(
    points: NDArray[np.float64],
    k: int,
    queries: NDArray[np.float64] | None = None,
    device: str = "cpu",
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the exact k nearest points, ascending by distance.

    Args:
        points: Positions, shape (n, d), d = 2 or 3.
        queries: Where to look, shape (m, d); every point itself (then not its own neighbour) if None.

    Returns:
        Index of each neighbour, shape (m, k), and its distance, shape (m, k); where there are fewer than k
        points, index -1 and distance inf.

    Raises:
        InputError: Wrong shape, or coordinates that are not finite.
    """
    if k < 1:
        raise InputError(f"k: expected at least 1, got {k}")
    p = checked_points("points", points)
    cells = PointCells(p, per_cell=max(3.0, k / 4.0), device=device)
    if queries is None:
        index, distance = cells.nearest(k)
    else:
        q = checked_points("queries", queries)
        if len(q) and q.shape[1] != p.shape[1]:
            raise InputError(f"queries: expected shape (m, {p.shape[1]}), got {q.shape}")
        index, distance = cells.nearest(k, to_device(q, device))
    return index.numpy(), distance.numpy()


def neighbor_table(points: NDArray[np.float64], k: int, device: str = "cpu") -> NDArray[np.int32]:
    """Find the k < n nearest points of every point, ascending, itself left out, shape (n, k).

    As `nearest_neighbors` without distances, in blocks: 4 k bytes per point instead of 12 k.
    """
    p = checked_points("points", points)
    cells = PointCells(p, per_cell=max(3.0, k / 4.0), device=device)
    order = cells.order.numpy()
    table = np.empty((len(p), k), dtype=np.int32)
    for start in range(0, len(p), _BLOCK):
        rows = order[start : start + _BLOCK]
        near = cells.nearest(k + 1, to_device(p[rows], device))[0].numpy()
        own = near == rows[:, None]
        own[~own.any(axis=1), -1] = True  # more than k copies of this point
        table[rows] = near[~own].reshape(-1, k)
    return table


def checked_points(name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points as contiguous float64 (n, d), d = 2 or 3; raise InputError where they are none."""
    points = np.ascontiguousarray(array, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise InputError(f"{name}: expected shape (n, 2) or (n, 3), got {points.shape}")
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise InputError(
            f"{name}: {len(bad)} of {len(points)} rows have NaN or infinite coordinates, first rows "
            f"{bad[:5].tolist()}; remove them from the input"
        )
    return points


def to_device(points: NDArray[np.float64], device: str) -> wp.array:
    """Copy points (n, d) to a device array of vec2d or vec3d."""
    dtype = wp.vec2d if points.shape[1] == 2 else wp.vec3d
    return wp.array(points, dtype=dtype, device=device)


class PointCells:
    """A cell list of points on a device.

    Attributes:
        cells: The Warp struct that kernels take.
        spacing: Size of a cell, same unit as the points.
    """

    def __init__(
        self, points: NDArray[np.float64] | wp.array, per_cell: float = 3.0, device: str = "cpu"
    ) -> None:
        """Build the list.

        Args:
            points: Positions, numpy (n, d), or a device array (n,) of vec2d or vec3d.
            per_cell: Wanted number of points per occupied cell.
        """
        if not isinstance(points, wp.array):
            points = to_device(points, device)
        self.device = points.device
        self.count = points.shape[0]
        n = self.count
        self._lifted = wp.empty(n, dtype=wp.vec3d, device=self.device)
        self._key = wp.empty(2 * n, dtype=wp.int32, device=self.device)
        self._order = wp.empty(2 * n, dtype=wp.int32, device=self.device)
        self._occupied = wp.zeros(2, dtype=wp.int32, device=self.device)
        self.cells = kernels.CellList()
        self._allocate_boxes()
        if n:
            kernels.lift_points(points, self._lifted)
            self._choose_grid(per_cell)
            self._sort()

    @property
    def spacing(self) -> float:
        return float(self.cells.size)

    @property
    def order(self) -> wp.array:
        """Original number of each point in cell order, int32, shape (n,)."""
        return self.cells.order

    def update(self, points: wp.array) -> None:
        """Sort moved points into the same grid, without allocation unless cells are crowded."""
        kernels.lift_points(points, self._lifted)
        self._sort()

    def nearest(
        self,
        k: int,
        queries: wp.array | None = None,
        out: tuple[wp.array, wp.array] | None = None,
    ) -> tuple[wp.array, wp.array]:
        """Find the k nearest points of every query, or of every point, itself left out.

        Returns:
            Index (m, k) and distance (m, k); `out` where given.
        """
        m = self.count if queries is None else queries.shape[0]
        if out is None:
            out = (
                wp.full((m, k), -1, dtype=wp.int32, device=self.device),
                wp.full((m, k), np.inf, dtype=wp.float64, device=self.device),
            )
        if m == 0 or self.count == 0:
            return out
        if queries is None:
            search.nearest(self.cells, self.cells.points, self.cells.order, True, *out)
            return out
        sorted_queries, rows = self.in_cell_order(queries)
        search.nearest(self.cells, sorted_queries, rows, False, *out)
        return out

    def in_cell_order(self, queries: wp.array) -> tuple[wp.array, wp.array]:
        """Return queries (m,) as vec3d in cell order, for coherent memory access, and their rows."""
        m = queries.shape[0]
        lifted = wp.empty(m, dtype=wp.vec3d, device=self.device)
        kernels.lift_points(queries, lifted)
        key = wp.empty(2 * m, dtype=wp.int32, device=self.device)
        rows = wp.empty(2 * m, dtype=wp.int32, device=self.device)
        count = wp.empty_like(self.cells.start)
        kernels.count_cells(lifted, self.cells, key, rows, count, wp.zeros_like(self._occupied))
        wp.utils.radix_sort_pairs(key, rows, m)
        ordered = wp.empty_like(lifted)
        kernels.gather_points(lifted, rows, ordered)
        return ordered, rows[:m]

    def _allocate_boxes(self) -> None:
        sizes: list[int] = []
        size = self.count
        while not sizes or (size > kernels.BLOCK and len(sizes) < kernels.MAX_LEVELS):
            size = -(-size // kernels.BLOCK)
            sizes.append(size)
        starts = np.zeros(8, dtype=np.int32)
        starts[1 : len(sizes)] = np.cumsum(sizes)[:-1]
        self.cells.count = self.count
        self.cells.levels = len(sizes)
        self.cells.level_start = kernels.vec8i(*starts.tolist())
        self.cells.box_lower = wp.empty(int(sum(sizes)), dtype=wp.vec3d, device=self.device)
        self.cells.box_upper = wp.empty(int(sum(sizes)), dtype=wp.vec3d, device=self.device)
        self.cells.points = wp.empty(self.count, dtype=wp.vec3d, device=self.device)

    def _choose_grid(self, per_cell: float) -> None:
        """Choose the cell size: volume of the box over n, smaller while occupied cells are too full."""
        n = self.count
        host = self._lifted.numpy()
        lower, upper = host.min(axis=0), host.max(axis=0)
        extent = upper - lower
        solid = extent > 1e-9 * max(float(extent.max()), 1e-300)
        if not solid.any() or float(extent.max()) < 1e-280:
            self._set_grid(lower, 1.0, np.ones(3, dtype=np.int64))
            return
        size: float = np.exp((np.log(extent[solid]).sum() + np.log(per_cell / n)) / solid.sum()).item()
        previous = 0
        for _ in range(8):
            shape = np.ones(3)
            shape[solid] = np.clip(np.ceil(extent[solid] / size), 1, None)
            if previous and shape.prod() > CELLS_PER_POINT * n + 64:
                size *= 1.01 * float(shape.prod() / (CELLS_PER_POINT * n + 64)) ** (1.0 / int(solid.sum()))
                shape[solid] = np.clip(np.ceil(extent[solid] / size), 1, None)
            self._set_grid(lower, float(size), shape.astype(np.int64))
            kernels.count_cells(self._lifted, self.cells, self._key, self._order, self._count, self._occupied)
            occupied = int(self._occupied.numpy()[0])
            crowd = n / occupied
            if (
                crowd <= 2.0 * per_cell
                or occupied < 1.3 * previous
                or shape.prod() > 0.5 * CELLS_PER_POINT * n
            ):
                break
            previous = occupied
            size /= math.sqrt(crowd / per_cell)

    def _set_grid(self, lower: NDArray[np.float64], size: float, shape: NDArray[np.int64]) -> None:
        cells = self.cells
        cells.lower = wp.vec3d(*lower.tolist())
        cells.size = wp.float64(size)
        cells.inv_size = wp.float64(1.0 / size)
        cells.nx, cells.ny, cells.nz = (int(s) for s in shape)
        total = int(shape.prod())
        self._count = wp.empty(total + 1, dtype=wp.int32, device=self.device)
        cells.start = wp.empty(total + 1, dtype=wp.int32, device=self.device)

    def _sort(self) -> None:
        kernels.sort_by_cell(self._lifted, self.cells, self._key, self._order, self._count, self._occupied)
        self.cells.order = self._order[: self.count]
        if int(self._occupied.numpy()[1]) > int(kernels.CROWDED):
            self._order_crowded_cells()
        kernels.fill_cells(self._lifted, self.cells)

    def _order_crowded_cells(self) -> None:
        """Order the points of crowded cells along a Morton curve of their coordinate ranks, on the host."""
        start = self.cells.start.numpy()
        crowded = np.diff(start) > int(kernels.CROWDED)
        order = self.cells.order.numpy().copy()
        key = self._key.numpy()[: self.count]
        rows = np.flatnonzero(crowded[key])
        subset = order[rows]
        code = rank_morton(self._lifted.numpy()[subset])
        order[rows] = subset[np.lexsort((code, key[rows]))]
        self.cells.order.assign(order)


def rank_morton(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Morton code of the dense rank of each coordinate, shape (n,): a curve that adapts to any density."""
    code = np.zeros(len(points), dtype=np.uint64)
    for axis in range(points.shape[1]):
        value = points[:, axis]
        order = np.argsort(value, kind="stable")
        ordered = value[order]
        rank = np.empty(len(value), dtype=np.uint64)
        rank[order] = np.concatenate([[0], np.cumsum(ordered[1:] > ordered[:-1])]).astype(np.uint64)
        top = int(rank.max()) if len(rank) else 0
        shift = max(0, top.bit_length() - 21)
        code |= _spread_bits(rank >> np.uint64(shift)) << np.uint64(axis)
    return code


def morton_codes(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Morton code of points in the unit box, shape (n,): near codes mean near points."""
    cell = np.clip(points, 0, 1) * float((1 << 21) - 1)
    code = np.zeros(len(points), dtype=np.uint64)
    for axis in range(points.shape[1]):
        code |= _spread_bits(cell[:, axis].astype(np.uint64)) << np.uint64(axis)
    return code


def _spread_bits(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put two zero bits between the lowest 21 bits of each number."""
    x = x & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | (x << np.uint64(shift))) & np.uint64(mask)
    return x
