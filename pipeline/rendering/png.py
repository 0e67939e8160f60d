"""PNG files from NumPy arrays, with the standard library alone (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode 8-bit pixels, shape (height, width, 3) RGB or (height, width, 4) RGBA with straight alpha.

    Each row takes the filter with the smallest sum of absolute differences, the usual heuristic.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or not pixels.size:
        raise ValueError(f"pixels: expected uint8 (height, width, 3 or 4), got {pixels.dtype} {pixels.shape}")
    height, width, channels = pixels.shape
    color_type = 2 if channels == 3 else 6
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    data = zlib.compress(_filtered(pixels), 9)
    return (
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"sRGB", b"\0")
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _filtered(pixels: NDArray[np.uint8]) -> bytes:
    height = len(pixels)
    x = pixels.astype(np.int16)
    left = np.zeros_like(x)
    left[:, 1:] = x[:, :-1]
    above = np.zeros_like(x)
    above[1:] = x[:-1]
    corner = np.zeros_like(x)
    corner[1:, 1:] = x[:-1, :-1]
    guess = left + above - corner
    to_left, to_above, to_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
    paeth = np.where(
        (to_left <= to_above) & (to_left <= to_corner), left, np.where(to_above <= to_corner, above, corner)
    )
    predictions = (np.zeros_like(x), left, above, (left + above) >> 1, paeth)
    rows = np.stack([(x - p).astype(np.uint8).reshape(height, -1) for p in predictions], axis=1)
    cost = np.abs(rows.view(np.int8).astype(np.int32)).sum(axis=2)
    best = cost.argmin(axis=1)
    out = np.empty((height, rows.shape[2] + 1), dtype=np.uint8)
    out[:, 0] = best
    out[:, 1:] = rows[np.arange(height), best]
    return out.tobytes()
