"""Factorised sparse approximate inverse of a symmetric positive definite matrix of 3x3 blocks, in float64.

    S        the columns j <= i of the blocks in row i of A, i last
    factor   A[S, S] = R R^T,   row i of G = last block row of R^-1          R: lower triangular
    apply    z = G^T (G r)

G has the pattern of the lower triangle of A. Of all such matrices whose G A G^T has the identity on the
diagonal it is next to the inverse Cholesky factor of A, and that factor itself where the pattern holds all of
it. A local matrix, its rows and columns scaled, is as well conditioned as A scaled so, or better: where it
cannot be factored, A is not positive definite.

Source: Kolotilina, Yeremin 1993, Factorized Sparse Approximate Inverse Preconditionings I, section 2.
"""

from __future__ import annotations

import warp as wp

from warp_kernels.block_rows import BlockRows

wp.set_module_options({"enable_backward": False})


@wp.func
def inverse_cholesky(A: wp.mat33d) -> wp.mat33d:
    """Return the inverse of the lower Cholesky factor, zero if A is not positive definite."""
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    d1 = A[1, 1] - A[1, 0] * A[1, 0] / A[0, 0]
    c = A[2, 1] - A[2, 0] * A[1, 0] / A[0, 0]
    d2 = A[2, 2] - A[2, 0] * A[2, 0] / A[0, 0] - c * c / d1
    if not (A[0, 0] > zero and d1 > zero and d2 > zero):
        return wp.mat33d()
    a = one / wp.sqrt(A[0, 0])
    b = one / wp.sqrt(d1)
    e = one / wp.sqrt(d2)
    # Forward substitution with the rows (A00 a), (A10 a, d1 b), (A20 a, c b, d2 e).
    ba = -b * A[1, 0] * a * a
    ea = -e * (A[2, 0] * a * a + c * b * ba)
    return wp.mat33d(a, zero, zero, ba, b, zero, ea, -e * c * b * b, e)


@wp.kernel
def factor_kernel(
    lower: BlockRows,
    full: BlockRows,
    values: wp.array[wp.mat33d],
    work: wp.array2d[wp.mat33d],
    factor: wp.array[wp.mat33d],
    failed: wp.array[wp.int32],
):
    w = wp.tid()
    for i in range(w, lower.start.shape[0] - 1, work.shape[0]):
        first = lower.start[i]
        size = lower.start[i + 1] - first
        # R row by row; in place of its diagonal blocks their inverses.
        for a in range(size):
            row = a * (a + 1) // 2
            k = full.start[lower.column[first + a]]
            end = full.start[lower.column[first + a] + 1]
            for b in range(a + 1):
                j = lower.column[first + b]
                while k < end and full.column[k] < j:
                    k += 1
                block = wp.mat33d()
                if k < end and full.column[k] == j:
                    block = values[k]
                other = b * (b + 1) // 2
                for c in range(b):
                    block -= work[w, row + c] @ wp.transpose(work[w, other + c])
                if b < a:
                    work[w, row + b] = block @ wp.transpose(work[w, other + b])
                else:
                    inverse = inverse_cholesky(block)
                    work[w, row + b] = inverse
                    if inverse[0, 0] == wp.float64(0.0):
                        wp.atomic_max(failed, 0, i + 1)
        last = size * (size - 1) // 2
        factor[first + size - 1] = work[w, last + size - 1]
        for back in range(1, size):
            a = size - 1 - back
            total = wp.mat33d()
            for c in range(a + 1, size):
                total -= factor[first + c] @ work[w, c * (c + 1) // 2 + a]
            factor[first + a] = total @ work[w, a * (a + 1) // 2 + a]


@wp.kernel
def apply_kernel(
    lower: BlockRows, factor: wp.array[wp.mat33d], r: wp.array[wp.vec3d], out: wp.array[wp.vec3d]
):
    i = wp.tid()
    y = wp.vec3d()
    for k in range(lower.start[i], lower.start[i + 1]):
        y += factor[k] @ r[lower.column[k]]
    for k in range(lower.start[i], lower.start[i + 1]):
        wp.atomic_add(out, lower.column[k], y @ factor[k])


def factor(
    lower: BlockRows, full: BlockRows, values: wp.array, work: wp.array, out: wp.array, failed: wp.array
) -> None:
    """Write the blocks of G to `out`, mat33d in the order of `lower`.

    Args:
        lower: Pattern of the lower triangle of A; the last block of each row is the diagonal one.
        full: Pattern of A.
        values: Blocks of A, mat33d.
        work: mat33d of shape (workers, m (m + 1) / 2) for at most m blocks in a row of `lower`; each worker
            does every so many rows.
        failed: `failed[0]` is raised to 1 + the row whose local matrix is not positive definite.
    """
    wp.launch(factor_kernel, work.shape[0], [lower, full, values, work], [out, failed], device=out.device)


def apply(lower: BlockRows, factor: wp.array, r: wp.array, out: wp.array) -> None:
    """Write G^T (G r) to `out`, vec3d of shape (n,), in one pass over G.

    By atomic sums: for the CPU, where they cost nothing and keep their order.
    """
    out.zero_()
    wp.launch(apply_kernel, len(out), [lower, factor, r], [out], device=out.device)
