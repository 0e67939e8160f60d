"""Products of a sparse matrix of 3x3 blocks, or of its transpose, and a vector, in float64.

y_i = sum_j A_ij x_j          or          y_i = sum_j A_ji^T x_j
"""

from __future__ import annotations

import warp as wp

from warp_kernels.block_rows import BlockRows

wp.set_module_options({"enable_backward": False})


@wp.kernel
def multiply_kernel(
    rows: BlockRows, values: wp.array[wp.mat33d], x: wp.array[wp.vec3d], out: wp.array[wp.vec3d]
):
    i = wp.tid()
    total = wp.vec3d()
    for k in range(rows.start[i], rows.start[i + 1]):
        total += values[k] @ x[rows.column[k]]
    out[i] = total


@wp.kernel
def multiply_transposed_kernel(
    rows: BlockRows,
    source: wp.array[wp.int32],
    values: wp.array[wp.mat33d],
    x: wp.array[wp.vec3d],
    out: wp.array[wp.vec3d],
):
    i = wp.tid()
    total = wp.vec3d()
    for k in range(rows.start[i], rows.start[i + 1]):
        total += x[rows.column[k]] @ values[source[k]]
    out[i] = total


def multiply(rows: BlockRows, values: wp.array, x: wp.array, out: wp.array) -> None:
    """Write the product of a matrix and x to `out`, vec3d of shape (n,)."""
    wp.launch(multiply_kernel, len(out), [rows, values, x], [out], device=out.device)


def multiply_transposed(
    rows: BlockRows, source: wp.array, values: wp.array, x: wp.array, out: wp.array
) -> None:
    """Write the product of a transposed matrix and x to `out`, vec3d of shape (n,).

    Args:
        rows: Pattern of the transposed matrix.
        source: Where each block of it is in `values`.
        values: Blocks of the matrix itself, mat33d.
    """
    wp.launch(multiply_transposed_kernel, len(out), [rows, source, values, x], [out], device=out.device)
