"""Blocks of a damping matrix from those of a stiffness matrix, in float64."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def scale_blocks_kernel(blocks: wp.array[wp.mat33d], factor: wp.float64, out: wp.array[wp.mat33d]):
    k = wp.tid()
    out[k] = factor * blocks[k]


def scale_blocks(blocks: wp.array, factor: float, out: wp.array) -> None:
    """Write factor * blocks to `out`, mat33d of shape (k,)."""
    wp.launch(scale_blocks_kernel, len(out), [blocks, wp.float64(factor)], [out], device=out.device)
