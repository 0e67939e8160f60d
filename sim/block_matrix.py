"""Symmetric sparse matrix of 3x3 blocks of a fixed pattern, filled again and again from elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
import warp.sparse as wps
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix

from sim.precision import PRECISIONS, Precision
from warp_kernels import block_product, conjugate_gradient
from warp_kernels.block_rows import make_rows


class BlockMatrix:
    """Symmetric matrix of 3x3 blocks on a device, refilled from element blocks of a fixed pattern.

    Args:
        vertex_count: Block rows n.
        rows: Block row of each element block, shape (k,).
        columns: Block column of each element block, shape (k,); every vertex has a diagonal block among them.
        free: 1 for a free component, 0 for one that the solve leaves at zero, shape (n, 3).
        precision: Of the values.
    """

    def __init__(
        self,
        vertex_count: int,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        free: NDArray[np.float64],
        device: str = "cpu",
        precision: Precision = PRECISIONS["float64"],
    ) -> None:
        self.precision = precision
        self._kernels = precision.kernels(conjugate_gradient)
        self._products = precision.kernels(block_product)
        self.vertex_count = vertex_count
        self.device = device
        self.blocks = wp.zeros(len(rows), dtype=precision.mat33, device=device)
        """Element blocks to be filled before `assemble`."""
        matrix: Any = wps.bsr_zeros(vertex_count, vertex_count, precision.mat33, device=device)
        self.matrix = matrix
        self._map: Any = wps.bsr_set_from_triplets(
            matrix,
            wp.array(rows, dtype=wp.int32, device=device),
            wp.array(columns, dtype=wp.int32, device=device),
            self.blocks,
            prune_numerical_zeros=False,
            build_mapping=True,
        )
        self.block_count = matrix.nnz_sync()
        self.offsets = matrix.offsets.numpy()[: vertex_count + 1].copy()
        self.columns = matrix.columns.numpy()[: self.block_count].copy()
        self.rows = np.repeat(np.arange(vertex_count, dtype=np.int32), np.diff(self.offsets))
        diagonal = np.flatnonzero(self.rows == self.columns)
        if len(diagonal) != vertex_count:
            raise ValueError(
                f"{vertex_count - len(diagonal)} of {vertex_count} vertices have no diagonal block"
            )
        self._rows: wp.array = wp.array(self.rows, dtype=wp.int32, device=device)
        self.diagonal: wp.array = wp.array(diagonal, dtype=wp.int32, device=device)
        self.free: wp.array = wp.array(free, dtype=wp.vec3d, device=device)
        self._free = self.free
        if precision.is_single:
            self._free = wp.array(free, dtype=precision.vec3, device=device)
        self.block_rows = make_rows(self.offsets, self.columns, device)
        self._is_cpu = wp.get_device(device).is_cpu

    def assemble(self) -> None:
        """Sum `blocks` into the matrix and put the identity where a component is not free."""
        wps.bsr_set_from_mapped_values(self.matrix, self._map, self.blocks)
        self._kernels.constrain(self._rows, self.matrix.columns, self._free, self.matrix.values)

    def multiply(self, x: wp.array, out: wp.array) -> None:
        """Write A x to `out`, both of shape (n,)."""
        # On the CPU Warp's product, a thread for each scalar row, takes 2.8 times as long.
        if self._is_cpu:
            self._products.multiply(self.block_rows, self.matrix.values, x, out)
        else:
            wps.bsr_mv(self.matrix, x, out, alpha=1.0, beta=0.0)

    def largest_diagonal(self) -> float:
        """Return the largest diagonal entry."""
        out = wp.zeros(1, dtype=self.precision.scalar, device=self.device)
        self._kernels.largest_diagonal(self.diagonal, self.matrix.values, out)
        return float(out.numpy()[0])

    def to_scipy(self) -> bsr_matrix:
        """Copy the matrix to the host as scipy BSR, shape (3 n, 3 n)."""
        values = self.matrix.values.numpy()[: self.block_count]
        size = 3 * self.vertex_count
        return bsr_matrix((values, self.columns, self.offsets), shape=(size, size))
