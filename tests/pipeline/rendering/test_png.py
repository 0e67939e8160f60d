"""PNG files decoded back by a plain reader of the specification."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from pipeline.rendering.png import SIGNATURE, encode_png


def decode(data: bytes) -> np.ndarray:
    """Decode 8-bit RGB and RGBA, checking every chunk's sum; slow and straight from the specification."""
    assert data.startswith(SIGNATURE)
    at, body, kinds = len(SIGNATURE), b"", []
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, chunk = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + chunk)
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", chunk[:10])
            assert depth == 8
        if kind == b"IDAT":
            body += chunk
        kinds.append(kind)
        at += 12 + size
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    channels = {2: 3, 6: 4}[color]
    raw, stride = zlib.decompress(body), width * channels
    above, rows = [0] * stride, []
    for y in range(height):
        method, row = raw[y * (stride + 1)], list(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for k in range(stride):
            a = row[k - channels] if k >= channels else 0
            b = above[k]
            c = above[k - channels] if k >= channels else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[k] = (row[k] + (0, a, b, (a + b) // 2, nearest)[method]) % 256
        rows.append(row)
        above = row
    return np.array(rows, dtype=np.uint8).reshape(height, width, channels)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["noise", "ramp", "flat", "diagonal"])
def test_pixels_come_back_bit_for_bit(kind, channels):
    y, x = np.mgrid[0:23, 0:37]
    pattern = {
        "noise": np.random.default_rng(3).integers(0, 256, (23, 37)),
        "ramp": 7 * x,
        "flat": np.full((23, 37), 200),
        "diagonal": 3 * x + 5 * y,
    }[kind]
    pixels = np.stack([(pattern * (k + 1)) % 256 for k in range(channels)], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels)), pixels)


def test_one_pixel_is_a_picture():
    pixels = np.array([[[1, 2, 3, 4]]], dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels)), pixels)


def test_a_smooth_picture_becomes_smaller_than_its_pixels():
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([2 * x, x + y, 2 * y], axis=-1).astype(np.uint8)
    assert len(encode_png(pixels)) < pixels.size / 10


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="pixels: expected uint8"):
        encode_png(pixels)
