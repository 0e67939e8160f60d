"""The pattern of a sparse matrix of blocks on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray


@wp.struct
class BlockRows:
    """Where the blocks of a sparse matrix are, row after row with ascending columns."""

    start: wp.array[wp.int32]
    """First block of each row, shape (n + 1,)."""
    column: wp.array[wp.int32]


def make_rows(start: NDArray[np.int32], column: NDArray[np.int32], device: str) -> BlockRows:
    """Copy a pattern to a device.

    Args:
        start: First block of each row, shape (n + 1,).
        column: Column of each block, ascending in a row.
    """
    rows: Any = BlockRows()
    rows.start = wp.array(start, dtype=wp.int32, device=device)
    rows.column = wp.array(column, dtype=wp.int32, device=device)
    return rows
