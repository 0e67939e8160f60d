"""Points without connectivity: text columns (.xyz, .txt) and single NumPy arrays (.npy).

Columns: x y | x y z | x y z nx ny nz | x y z nx ny nz r g b. Six columns whose last three are whole numbers
up to 255 (and not all 0 or 1) are colours. An .npy array has 2, 3 or 6 columns in the same sense.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, OutputError
from pipeline.io.geometry import Geometry
from pipeline.io.ply import byte_colors, linear_colors
from pipeline.types import PointCloud


def read_xyz(path: Path) -> Geometry:
    """Read columns separated by white space, commas or semicolons; # and // start comments."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    if _has_decimal_commas(text):
        raise InputError("its numbers have decimal commas (0,5); write them with points (0.5)")
    text = text.replace(",", " ").replace(";", " ").replace("//", "#")
    if not any(line.split("#", 1)[0].strip() for line in text.splitlines()):
        raise InputError("no usable geometry: no line holds numbers")
    try:
        table = np.loadtxt(io.StringIO(text), dtype=np.float64, comments="#", ndmin=2)
    except ValueError as error:
        reason = str(error).partition(";")[0].rstrip(".")
        raise InputError(
            f"expected columns of numbers in every line: {reason}; put # before what is no point, "
            "such as a line of names"
        ) from error
    return _from_columns(table, (2, 3, 6, 9))


def read_npy(path: Path) -> Geometry:
    """Read an array; mapped, so that a header cannot ask for more memory than the file holds."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise InputError("Python objects are not read; write numbers with numpy.save") from error
        raise
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(f"expected numbers (n, 2), (n, 3) or (n, 6), got {array.dtype} {array.shape}")
    return _from_columns(np.array(array, dtype=np.float64), (2, 3, 6))


def write_xyz(path: Path, cloud: PointCloud) -> None:
    """Write columns with 17 significant digits, which read back exactly."""
    if cloud.dimension == 2 and (cloud.normals is not None or cloud.colors is not None):
        raise OutputError("text columns hold 2D points without normals or colours; write .npz")
    if cloud.colors is not None and cloud.normals is None:
        raise OutputError("text columns hold colours only beside normals; write .ply or .npz")
    columns = [c for c in (cloud.points, cloud.normals) if c is not None]
    formats = ["%.17g"] * (cloud.dimension * len(columns))
    if cloud.colors is not None:
        columns.append(byte_colors(cloud.colors).astype(np.float64))
        formats += ["%d"] * 3
    np.savetxt(path, np.column_stack(columns), fmt=" ".join(formats))


def write_npy(path: Path, cloud: PointCloud) -> None:
    """Write (n, d), or (n, 6) with the normals of 3D points."""
    if cloud.colors is not None or (cloud.normals is not None and cloud.dimension == 2):
        raise OutputError(".npy holds points, in 3D with normals, and no colours; write .npz")
    columns = [c for c in (cloud.points, cloud.normals) if c is not None]
    np.save(path, np.column_stack(columns), allow_pickle=False)


def _from_columns(table: NDArray[np.float64], allowed: tuple[int, ...]) -> Geometry:
    width = table.shape[1]
    if width not in allowed:
        known = "2 (x y), 3 (x y z), 6 (x y z nx ny nz)" + (" or 9 (and r g b)" if 9 in allowed else "")
        raise InputError(f"{width} columns; expected {known}")
    raw = Geometry(table[:, : min(width, 3)])
    if width == 6 and _are_bytes(table[:, 3:]):
        raw.colors = linear_colors(table[:, 3:].astype(np.uint8))
        raw.notes.append(
            ("columns_as_colors", 3, "columns 4 to 6 are whole numbers up to 255: read as colours")
        )
    elif width >= 6:
        raw.normals = table[:, 3:6]
    if width == 9:
        colors = table[:, 6:]
        raw.colors = linear_colors(colors.astype(np.uint8) if _are_bytes(colors) else colors)
    return raw


def _has_decimal_commas(text: str) -> bool:
    """Whether the first line of numbers has a comma within each number, and something else between them."""
    for line in text.splitlines():
        words = re.split(r"[\s;]+", re.split(r"#|//", line)[0].strip())
        if words != [""]:
            return len(words) > 1 and all(re.fullmatch(r"[-+]?\d+,\d+(e[-+]?\d+)?", w, re.I) for w in words)
    return False


def _are_bytes(columns: NDArray[np.float64]) -> bool:
    """Whole numbers from 0 to 255 with at least one above 1."""
    with np.errstate(invalid="ignore"):
        return bool(
            (columns >= 0).all() and (columns <= 255).all() and (columns == np.rint(columns)).all()
            and (columns > 1).any()
        )  # fmt: skip
