"""Check array arguments of launchers once, on the host: a wrong dtype or shape reads garbage in a kernel."""

from __future__ import annotations

from typing import Any

import warp as wp


def check_array(name: str, array: Any, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """Raise where an array is not what a kernel needs.

    Args:
        dtype: Wanted Warp type, or a tuple of them.
        shape: Wanted shape; None leaves a dimension free.

    Raises:
        TypeError: Not a Warp array, or another dtype.
        ValueError: Another shape.
    """
    if not isinstance(array, wp.array):
        raise TypeError(f"{name}: expected a Warp array, got {type(array).__name__}")
    wanted = dtype if isinstance(dtype, tuple) else (dtype,)
    if array.dtype not in wanted:
        names = " or ".join(t.__name__ for t in wanted)
        raise TypeError(f"{name}: expected {names}, got {array.dtype.__name__}")
    fits = len(array.shape) == len(shape) and all(w is None or w == s for w, s in zip(shape, array.shape))
    if not fits:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(array.shape)}")
