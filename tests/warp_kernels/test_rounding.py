"""Float64 to float32 and back."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.rounding import round_blocks, round_positions, round_vectors, widen_vectors


def test_vectors_and_blocks_are_rounded_to_nearest(device: str) -> None:
    rng = np.random.default_rng(0)
    x, blocks = rng.normal(size=(5, 3)), rng.normal(size=(4, 3, 3))
    vectors = wp.array(x, dtype=wp.vec3d, device=device)
    single = wp.zeros(5, dtype=wp.vec3f, device=device)
    round_vectors(vectors, 3.0, single)
    np.testing.assert_array_equal(single.numpy(), (3.0 * x).astype(np.float32))
    round_positions(vectors, single)
    np.testing.assert_array_equal(single.numpy(), (x - x[0]).astype(np.float32))
    back = wp.zeros(5, dtype=wp.vec3d, device=device)
    widen_vectors(single, 0.5, back)
    np.testing.assert_array_equal(back.numpy(), 0.5 * single.numpy().astype(np.float64))
    out = wp.zeros(4, dtype=wp.mat33f, device=device)
    round_blocks(wp.array(blocks, dtype=wp.mat33d, device=device), out)
    np.testing.assert_array_equal(out.numpy(), blocks.astype(np.float32))
