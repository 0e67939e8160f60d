"""Preconditioned conjugate gradients on a 3x3 block matrix, the loops between its products, in float64.

    constrain     A <- S A S + (I - S),   S = diag(free): a component with free = 0 keeps its value
    precondition  z = D^-1 r,             D: the 3x3 diagonal blocks of A (block Jacobi)
    descend       alpha = (r, z) / (p, A p);   x += alpha p;   r -= alpha A p
    turn          beta = (r, z)_new / (r, z)_old;   p <- z + beta p

All scalars stay in device arrays: the loop reads nothing back between its checks of the residual.

Source: Saad 2003, Iterative Methods for Sparse Linear Systems, Alg. 9.1.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def constrain_kernel(
    row: wp.array[wp.int32],
    column: wp.array[wp.int32],
    free: wp.array[wp.vec3d],
    values: wp.array[wp.mat33d],
):
    k = wp.tid()
    i = row[k]
    if i >= 0:
        j = column[k]
        block = wp.cw_mul(wp.outer(free[i], free[j]), values[k])
        if i == j:
            block = block + wp.identity(n=3, dtype=wp.float64) - wp.diag(free[i])
        values[k] = block


@wp.kernel
def largest_diagonal_kernel(
    diagonal: wp.array[wp.int32],
    values: wp.array[wp.mat33d],
    largest: wp.array[wp.float64],
):
    p = wp.tid()
    d = wp.get_diag(values[diagonal[p]])
    wp.atomic_max(largest, 0, wp.max(d[0], wp.max(d[1], d[2])))


@wp.kernel
def invert_blocks_kernel(
    diagonal: wp.array[wp.int32], values: wp.array[wp.mat33d], inverse: wp.array[wp.mat33d]
):
    p = wp.tid()
    inverse[p] = wp.inverse(values[diagonal[p]])


@wp.kernel
def precondition_kernel(inverse: wp.array[wp.mat33d], r: wp.array[wp.vec3d], z: wp.array[wp.vec3d]):
    p = wp.tid()
    z[p] = inverse[p] @ r[p]


@wp.kernel
def descend_kernel(
    rz: wp.array[wp.float64],
    pq: wp.array[wp.float64],
    step: int,
    p: wp.array[wp.vec3d],
    q: wp.array[wp.vec3d],
    x: wp.array[wp.vec3d],
    r: wp.array[wp.vec3d],
):
    i = wp.tid()
    alpha = wp.float64(0.0)
    if pq[step] > wp.float64(0.0):
        alpha = rz[step] / pq[step]
    x[i] += alpha * p[i]
    r[i] -= alpha * q[i]


@wp.kernel
def turn_kernel(rz: wp.array[wp.float64], step: int, z: wp.array[wp.vec3d], p: wp.array[wp.vec3d]):
    i = wp.tid()
    beta = wp.float64(0.0)
    if rz[step] > wp.float64(0.0):
        beta = rz[step + 1] / rz[step]
    p[i] = z[i] + beta * p[i]


def constrain(row: wp.array, column: wp.array, free: wp.array, values: wp.array) -> None:
    """Replace rows and columns of fixed components by those of the identity, in place.

    Args:
        row: Block row of each value, shape (k,); negative rows are left alone (unused capacity).
        column: Block column of each value, shape (k,).
        free: 1 for a free component, 0 for a fixed one, vec3d of shape (n,).
        values: mat33d of shape (k,).
    """
    wp.launch(constrain_kernel, len(row), [row, column, free], [values], device=values.device)


def largest_diagonal(diagonal: wp.array, values: wp.array, out: wp.array) -> None:
    """Raise `out[0]` to the largest diagonal entry of the diagonal blocks `values[diagonal]`."""
    wp.launch(largest_diagonal_kernel, len(diagonal), [diagonal, values], [out], device=values.device)


def invert_blocks(diagonal: wp.array, values: wp.array, out: wp.array) -> None:
    """Invert the diagonal blocks `values[diagonal]` into `out`, mat33d of shape (n,)."""
    wp.launch(invert_blocks_kernel, len(out), [diagonal, values], [out], device=out.device)


def precondition(inverse: wp.array, r: wp.array, out: wp.array) -> None:
    """Write inverse @ r to `out`, vec3d of shape (n,)."""
    wp.launch(precondition_kernel, len(r), [inverse, r], [out], device=r.device)


def descend(
    rz: wp.array, pq: wp.array, step: int, p: wp.array, q: wp.array, x: wp.array, r: wp.array
) -> None:
    """Move x and r along the search direction, both vec3d of shape (n,).

    Args:
        rz: (r, z) of every step so far, read at `step`.
        pq: (p, A p) of every step so far, read at `step`.
        p: Search direction.
        q: A p.
    """
    wp.launch(descend_kernel, len(x), [rz, pq, step, p, q], [x, r], device=x.device)


def turn(rz: wp.array, step: int, z: wp.array, p: wp.array) -> None:
    """Set the next search direction p = z + rz[step + 1] / rz[step] p, vec3d of shape (n,)."""
    wp.launch(turn_kernel, len(p), [rz, step, z], [p], device=p.device)
