"""Rows of the factorised approximate inverse against dense local solves."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.block_rows import make_rows
from warp_kernels.factorized_inverse import factor

N = 7


def pattern(device: str) -> tuple[np.ndarray, object, object, np.ndarray, np.ndarray]:
    """Return where blocks are stored (n, n), the two patterns on the device, and their rows and columns."""
    is_stored = np.random.default_rng(1).random((N, N)) < 0.4
    is_stored |= is_stored.T | np.eye(N, dtype=bool)
    rows, columns = np.nonzero(is_stored)
    is_lower = columns <= rows

    def on_device(r: np.ndarray, c: np.ndarray) -> object:
        return make_rows(np.searchsorted(r, np.arange(N + 1)).astype(np.int32), c.astype(np.int32), device)

    lower = on_device(rows[is_lower], columns[is_lower])
    return is_stored, lower, on_device(rows, columns), rows, columns


@pytest.mark.parametrize("workers", [1, 3, N])
def test_rows_are_last_rows_of_inverse_cholesky_factors(workers: int, device: str) -> None:
    is_stored, lower, full, rows, columns = pattern(device)
    B = np.random.default_rng(0).normal(size=(3 * N, 3 * N))
    A = (B @ B.T + np.eye(3 * N)).reshape(N, 3, N, 3)
    values = wp.array(A.transpose(0, 2, 1, 3)[rows, columns], dtype=wp.mat33d, device=device)
    is_lower = columns <= rows
    out = wp.zeros(int(is_lower.sum()), dtype=wp.mat33d, device=device)
    work = wp.zeros((workers, N * (N + 1) // 2), dtype=wp.mat33d, device=device)
    failed = wp.zeros(1, dtype=wp.int32, device=device)
    factor(lower, full, values, work, out, failed)
    assert failed.numpy()[0] == 0
    found = out.numpy()
    for i in range(N):
        S = np.flatnonzero(is_stored[i, : i + 1])
        # The unstored blocks of the local matrix count as zero.
        local = np.where(is_stored[np.ix_(S, S)][:, None, :, None], A[S][:, :, S], 0.0)
        size = 3 * len(S)
        R = np.linalg.cholesky(local.reshape(size, size))
        expected = np.linalg.inv(R)[-3:].reshape(3, len(S), 3).transpose(1, 0, 2)
        np.testing.assert_allclose(found[rows[is_lower] == i], expected, rtol=0, atol=1e-12)


def test_last_row_that_fails_is_told(device: str) -> None:
    _, lower, full, rows, columns = pattern(device)
    blocks = np.where((rows == columns)[:, None, None], np.eye(3), np.zeros((3, 3)))
    for vertex in (2, 4):
        blocks[(rows == vertex) & (columns == vertex), 1, 1] = -1.0
    values = wp.array(blocks, dtype=wp.mat33d, device=device)
    out = wp.zeros(int((columns <= rows).sum()), dtype=wp.mat33d, device=device)
    work = wp.zeros((2, N * (N + 1) // 2), dtype=wp.mat33d, device=device)
    failed = wp.zeros(1, dtype=wp.int32, device=device)
    factor(lower, full, values, work, out, failed)
    # Every row whose local matrix holds one of the two fails.
    holds = np.isin(columns, (2, 4)) & (columns <= rows)
    assert failed.numpy()[0] == 1 + rows[holds].max()
