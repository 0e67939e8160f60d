"""Approximate inverses of a block matrix, to be applied in every step of conjugate gradients.

block_jacobi   the inverses of the 3x3 blocks on the diagonal
fsai           factorised sparse approximate inverse G^T G on the pattern of the matrix itself
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
import warp as wp
from scipy.sparse import csr_matrix

from sim.block_matrix import BlockMatrix
from warp_kernels import block_product, conjugate_gradient, factorized_inverse
from warp_kernels.block_rows import make_rows

_WORK = 2**20
"""Blocks of work space on a GPU, of 72 bytes each."""


class Preconditioner(Protocol):
    """A symmetric positive definite matrix next to the inverse of a `BlockMatrix`."""

    def __init__(self, matrix: BlockMatrix) -> None: ...

    def update(self) -> None:
        """Take up the values that the matrix has now.

        Raises:
            ArithmeticError: They showed that the matrix is not positive definite.
        """

    def apply(self, r: wp.array, out: wp.array) -> None:
        """Write the product with r to `out`, both of shape (n,) in the precision of the matrix."""


class BlockJacobi:
    """The inverses of the diagonal blocks."""

    def __init__(self, matrix: BlockMatrix) -> None:
        self.matrix = matrix
        self._kernels = matrix.precision.kernels(conjugate_gradient)
        n, device = matrix.vertex_count, matrix.device
        self._inverse = wp.zeros(n, dtype=matrix.precision.mat33, device=device)

    def update(self) -> None:
        self._kernels.invert_blocks(self.matrix.diagonal, self.matrix.matrix.values, self._inverse)

    def apply(self, r: wp.array, out: wp.array) -> None:
        self._kernels.precondition(self._inverse, r, out)


class FactorizedInverse:
    """G^T G with G on the lower triangle of the pattern of the matrix."""

    def __init__(self, matrix: BlockMatrix) -> None:
        self.matrix = matrix
        n, device, precision = matrix.vertex_count, matrix.device, matrix.precision
        self._kernels = precision.kernels(factorized_inverse)
        self._products = precision.kernels(block_product)
        is_lower = matrix.columns <= matrix.rows
        self._columns = matrix.columns[is_lower]
        sizes = np.bincount(matrix.rows[is_lower], minlength=n)
        self._start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        self._lower = make_rows(self._start, self._columns, device)
        self.factor = wp.zeros(len(self._columns), dtype=precision.mat33, device=device)
        """Blocks of G, row after row."""
        size = int(sizes.max())
        size = size * (size + 1) // 2
        self._is_cpu = wp.get_device(device).is_cpu
        workers = 1 if self._is_cpu else max(1, min(n, _WORK // size))
        self._work = wp.zeros((workers, size), dtype=precision.mat33, device=device)
        self._failed = wp.zeros(1, dtype=wp.int32, device=device)

    @cached_property
    def _transposed(self) -> tuple[Any, wp.array, wp.array]:
        """Pattern of G^T, where each block of it is in `factor`, and room for a vector."""
        n, device = self.matrix.vertex_count, self.matrix.device
        # Counted from one: scipy drops nothing then.
        position = np.arange(1, len(self._columns) + 1, dtype=np.int32)
        upper = csr_matrix((position, self._columns, self._start), shape=(n, n)).T.tocsr()
        upper.sort_indices()
        source: wp.array = wp.array(upper.data - 1, dtype=wp.int32, device=device)
        vector = wp.zeros(n, dtype=self.matrix.precision.vec3, device=device)
        return make_rows(upper.indptr, upper.indices, device), source, vector

    def update(self) -> None:
        self._failed.zero_()
        m = self.matrix
        self._kernels.factor(
            self._lower, m.block_rows, m.matrix.values, self._work, self.factor, self._failed
        )
        failed = int(self._failed.numpy()[0])
        if failed:
            raise ArithmeticError(
                f"the matrix is not positive definite: that of vertex {failed - 1} and its neighbours is not"
            )

    def apply(self, r: wp.array, out: wp.array) -> None:
        if self._is_cpu:
            self._kernels.apply(self._lower, self.factor, r, out)
        else:
            upper, source, y = self._transposed
            self._products.multiply(self._lower, self.factor, r, y)
            self._products.multiply_transposed(upper, source, self.factor, y, out)


PRECONDITIONERS: dict[str, type[Preconditioner]] = {"block_jacobi": BlockJacobi, "fsai": FactorizedInverse}
"""By the name that a config gives."""
