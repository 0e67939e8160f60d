"""The loops around the products of conjugate gradients, one by one."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.conjugate_gradient import constrain, descend, invert_blocks, precondition, turn


def test_constrain_puts_the_identity_where_nothing_is_free(device: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 3, 3))
    row, column = np.array([0, 0, 1, 1, -1]), np.array([0, 1, 0, 1, 0])
    free = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    out = wp.array(values, dtype=wp.mat33d, device=device)
    to_index = lambda a: wp.array(a, dtype=wp.int32, device=device)  # noqa: E731
    constrain(to_index(row), to_index(column), wp.array(free, dtype=wp.vec3d, device=device), out)
    for k in range(4):
        i, j = row[k], column[k]
        expected = np.diag(free[i]) @ values[k] @ np.diag(free[j]) + (i == j) * np.diag(1.0 - free[i])
        np.testing.assert_allclose(out.numpy()[k], expected, atol=1e-15)
    np.testing.assert_array_equal(out.numpy()[4], values[4])


def test_one_iteration_matches_numpy(device: str) -> None:
    rng = np.random.default_rng(1)
    n = 4
    B = rng.normal(size=(n, 3, 3))
    diagonal = B @ B.transpose(0, 2, 1) + np.eye(3)
    r, p, q = rng.normal(size=(3, n, 3))
    vec = lambda a: wp.array(a, dtype=wp.vec3d, device=device)  # noqa: E731
    num = lambda a: wp.array(a, dtype=wp.float64, device=device)  # noqa: E731
    inverse = wp.zeros(n, dtype=wp.mat33d, device=device)
    index = wp.array(np.arange(n), dtype=wp.int32, device=device)
    invert_blocks(index, wp.array(diagonal, dtype=wp.mat33d, device=device), inverse)
    z = wp.zeros(n, dtype=wp.vec3d, device=device)
    precondition(inverse, vec(r), z)
    solve = lambda v: np.linalg.solve(diagonal, v[..., None])[..., 0]  # noqa: E731
    np.testing.assert_allclose(z.numpy(), solve(r), rtol=1e-11)

    x, rs, ps = wp.zeros(n, dtype=wp.vec3d, device=device), vec(r), vec(p)
    rz, pq = num([3.0, 1.5]), num([2.0])
    descend(rz, pq, 0, ps, vec(q), x, rs)
    precondition(inverse, rs, z)
    np.testing.assert_allclose(x.numpy(), 1.5 * p, rtol=1e-14)
    np.testing.assert_allclose(rs.numpy(), r - 1.5 * q, rtol=1e-13)
    np.testing.assert_allclose(z.numpy(), solve(r - 1.5 * q), rtol=1e-11)
    turn(rz, 0, z, ps)
    np.testing.assert_allclose(ps.numpy(), z.numpy() + 0.5 * p, rtol=1e-13)
