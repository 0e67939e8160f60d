"""Vectors and blocks from float64 to float32 and back."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def round_vectors_kernel(x: wp.array[wp.vec3d], factor: wp.float64, out: wp.array[wp.vec3f]):
    p = wp.tid()
    out[p] = wp.vec3f(factor * x[p])


@wp.kernel
def widen_vectors_kernel(x: wp.array[wp.vec3f], factor: wp.float64, out: wp.array[wp.vec3d]):
    p = wp.tid()
    out[p] = factor * wp.vec3d(x[p])


@wp.kernel
def round_positions_kernel(x: wp.array[wp.vec3d], out: wp.array[wp.vec3f]):
    p = wp.tid()
    out[p] = wp.vec3f(x[p] - x[0])


@wp.kernel
def round_blocks_kernel(values: wp.array[wp.mat33d], out: wp.array[wp.mat33f]):
    k = wp.tid()
    out[k] = wp.mat33f(values[k])


def round_vectors(x: wp.array, factor: float, out: wp.array) -> None:
    """Write factor * x, vec3d of shape (n,), to `out`, vec3f of shape (n,)."""
    wp.launch(round_vectors_kernel, len(x), [x, wp.float64(factor)], [out], device=out.device)


def round_positions(x: wp.array, out: wp.array) -> None:
    """Write positions relative to the first, vec3d of shape (n,), to `out`, vec3f of shape (n,)."""
    wp.launch(round_positions_kernel, len(x), [x], [out], device=out.device)


def widen_vectors(x: wp.array, factor: float, out: wp.array) -> None:
    """Write factor * x, vec3f of shape (n,), to `out`, vec3d of shape (n,)."""
    wp.launch(widen_vectors_kernel, len(x), [x, wp.float64(factor)], [out], device=out.device)


def round_blocks(values: wp.array, out: wp.array) -> None:
    """Write values, mat33d of shape (k,), to `out`, mat33f of shape (k,)."""
    wp.launch(round_blocks_kernel, len(values), [values], [out], device=out.device)
