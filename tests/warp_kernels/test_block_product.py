"""Products of a sparse block matrix against scipy."""

from __future__ import annotations

import numpy as np
import warp as wp
from scipy.sparse import bsr_matrix, csr_matrix

from warp_kernels.block_product import multiply, multiply_transposed
from warp_kernels.block_rows import make_rows


def test_products_match_scipy(device: str) -> None:
    rng = np.random.default_rng(0)
    n = 6
    is_stored = rng.random((n, n)) < 0.4
    is_stored[2] = False  # a row without a block
    rows, columns = np.nonzero(is_stored)
    start = np.searchsorted(rows, np.arange(n + 1)).astype(np.int32)
    values = rng.normal(size=(len(rows), 3, 3))
    x = rng.normal(size=(n, 3))
    expected = bsr_matrix((values, columns, start), shape=(3 * n, 3 * n))
    transposed = csr_matrix((np.arange(1, len(rows) + 1), columns, start), shape=(n, n)).T.tocsr()

    blocks = wp.array(values, dtype=wp.mat33d, device=device)
    source = wp.array(transposed.data - 1, dtype=wp.int32, device=device)
    to_vector = lambda a: wp.array(a, dtype=wp.vec3d, device=device)  # noqa: E731
    out = to_vector(np.full((n, 3), np.nan))
    multiply(make_rows(start, columns.astype(np.int32), device), blocks, to_vector(x), out)
    np.testing.assert_allclose(out.numpy().ravel(), expected @ x.ravel(), rtol=0, atol=1e-14)
    turned = make_rows(transposed.indptr, transposed.indices, device)
    multiply_transposed(turned, source, blocks, to_vector(x), out)
    np.testing.assert_allclose(out.numpy().ravel(), expected.T @ x.ravel(), rtol=0, atol=1e-14)
