"""The data that stages pass on: point clouds, surface meshes, tetrahedral meshes and simulation reports.

Frozen dataclasses of NumPy arrays, `float64` points and `int32` indices, one row per entity. They validate on
construction and raise `InvalidMeshError` with the count and the first offending rows. Every geometric type
has its `Frame` (length unit, up axis): stages work in the coordinates of the input, `in_metres()` converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidMeshError

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001}


@dataclass(frozen=True)
class Frame:
    """Length unit and up axis of a set of coordinates; right-handed.

    Raises:
        InvalidMeshError: `metres_per_unit` is not positive and finite, or `up` is not "y" or "z".
    """

    metres_per_unit: float = 1.0
    """Length of one coordinate unit [m]."""
    up: str = "z"
    """Axis that points up: "y" or "z"."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.metres_per_unit) and self.metres_per_unit > 0):
            raise InvalidMeshError(f"metres_per_unit: expected a positive number, got {self.metres_per_unit}")
        if self.up not in ("y", "z"):
            raise InvalidMeshError(f"up: expected y or z, got {self.up!r}")

    def to_metres(self, points: Points) -> Points:
        """Convert 3D points, shape (n, 3), to metres and Z up (Y up turns by +90 degrees about X)."""
        p = np.asarray(points, dtype=np.float64) * self.metres_per_unit
        return rotate_up(p, self.up)

    def __str__(self) -> str:
        names = {v: k for k, v in METRES_PER_UNIT.items()}
        unit = names.get(self.metres_per_unit, f"{self.metres_per_unit:g} m")
        return f"unit {unit}, {self.up.upper()} up"


METRES = Frame()

_CHUNK = 8192


def rotate_up(vectors: Points, up: str) -> Points:
    """Rotate 3D vectors, shape (n, 3), from a frame with up axis `up` to Z up: (x, y, z) -> (x, -z, y)."""
    if up == "z":
        return vectors.copy()
    return np.stack([vectors[:, 0], -vectors[:, 2], vectors[:, 1]], axis=1)


@dataclass(frozen=True)
class PointCloud:
    """Samples of a curve (d = 2) or a surface (d = 3)."""

    points: Points
    """Positions, shape (n, d)."""
    normals: Points | None = None
    """Unit normals, shape (n, d); their sign may be arbitrary."""
    colors: Points | None = None
    """Linear RGB in [0, 1], shape (n, 3)."""
    frame: Frame = METRES

    def __post_init__(self) -> None:
        points = _points("points", self.points, minimum=1)
        object.__setattr__(self, "points", points)
        if self.normals is not None:
            normals = _rows("normals", self.normals, points.shape)
            length = np.linalg.norm(normals, axis=1)
            bad = np.flatnonzero(length < 1e-12)
            if len(bad):
                raise InvalidMeshError(
                    f"normals: {len(bad)} of {len(points)} have zero length, first rows {_first(bad)}; "
                    "remove the normals or those points",
                    bad[:10].tolist(),
                )
            # Rows that have unit length to rounding stay bit for bit: a stored cloud is read back exactly.
            length[np.abs(length - 1.0) <= 1e-15] = 1.0
            object.__setattr__(self, "normals", normals / length[:, None])
        if self.colors is not None:
            object.__setattr__(self, "colors", _rows("colors", self.colors, (len(points), 3)))

    @property
    def dimension(self) -> int:
        return self.points.shape[1]


@dataclass(frozen=True, eq=False)
class Appearance:
    """How a surface looks: colours of its vertices, or a picture laid onto its faces."""

    colors: Points | None = None
    """Linear RGB in [0, 1] per vertex, shape (n, 3)."""
    texture_coordinates: Points | None = None
    """Place in the picture per corner of each face, shape (f, 3, 2); (0, 0) is its lower left."""
    texture: str | None = None
    """File of the picture; inside a package as package[file]."""


@dataclass(frozen=True)
class SurfaceMesh:
    """Segments in 2D, triangles in 3D; may be open, non-manifold, or several components."""

    points: Points
    """Vertices, shape (n, d)."""
    faces: Indices
    """Vertex indices, shape (f, d)."""
    frame: Frame = METRES
    appearance: Appearance | None = field(default=None, compare=False, repr=False)
    """Colours and texture, where the input has them."""

    def __post_init__(self) -> None:
        points = _points("points", self.points)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "faces", _simplices("faces", self.faces, points.shape[1], len(points)))
        look = self.appearance
        if look is None:
            return
        if look.colors is not None:
            look = replace(look, colors=_rows("colors", look.colors, (len(points), 3)))
        if look.texture_coordinates is not None:
            shape = (len(self.faces), 3, 2)
            look = replace(
                look, texture_coordinates=_rows("texture_coordinates", look.texture_coordinates, shape)
            )
        object.__setattr__(self, "appearance", look)

    @property
    def dimension(self) -> int:
        return self.points.shape[1]


@dataclass(frozen=True)
class TetMesh:
    """Tetrahedra with positive volume: det(p1 - p0, p2 - p0, p3 - p0) > 0 for every row."""

    points: Points
    """Vertices, shape (n, 3)."""
    tets: Indices
    """Vertex indices, shape (t, 4)."""
    labels: Indices | None = None
    """Region of each tet, shape (t,)."""
    crease_edges: Indices | None = None
    """Edges on creases of the surface, shape (e, 2)."""
    frame: Frame = METRES

    def __post_init__(self) -> None:
        points = _points("points", self.points, dimensions=(3,))
        object.__setattr__(self, "points", points)
        tets = _simplices("tets", self.tets, 4, len(points))
        object.__setattr__(self, "tets", tets)
        if self.labels is not None:
            labels = np.ascontiguousarray(self.labels, dtype=np.int32)
            if labels.shape != (len(tets),):
                raise InvalidMeshError(f"labels: expected ({len(tets)},), got {labels.shape}")
            object.__setattr__(self, "labels", labels)
        if self.crease_edges is not None:
            object.__setattr__(
                self, "crease_edges", _simplices("crease_edges", self.crease_edges, 2, len(points))
            )
        volumes = self.volumes
        bad = np.flatnonzero(~(volumes > 0))
        if len(bad):
            raise InvalidMeshError(
                f"tets: {len(bad)} of {len(tets)} have no positive volume "
                f"({int((volumes < 0).sum())} inverted, {int((volumes == 0).sum())} flat), "
                f"first rows {_first(bad)}; "
                "swap two vertices of an inverted tet to turn it over, and remove the flat ones",
                bad[:10].tolist(),
            )
        if not _may_repeat(tets, len(points)):
            return
        _, first, count = np.unique(np.sort(tets, axis=1), axis=0, return_index=True, return_counts=True)
        if (count > 1).any():
            raise InvalidMeshError(
                f"tets: {int((count - 1).sum())} duplicates (the same four vertices), for example of row "
                f"{_first(first[count > 1])}; remove them",
                first[count > 1][:10].tolist(),
            )

    @property
    def volumes(self) -> NDArray[np.float64]:
        """Signed volume of each tet, shape (t,)."""
        volumes = np.empty(len(self.tets))
        axes = [np.ascontiguousarray(self.points[:, k]) for k in range(3)]
        for start in range(0, len(volumes), _CHUNK):  # what fits into the cache takes half the time
            rows = self.tets[start : start + _CHUNK].T.astype(np.intp)
            origin = [axis.take(rows[0]) for axis in axes]
            # (u x v) . w / 6 by coordinates, each an array that is contiguous.
            (ux, uy, uz), (vx, vy, vz), (wx, wy, wz) = (
                [axis.take(rows[k]) - start_of for axis, start_of in zip(axes, origin)] for k in (1, 2, 3)
            )
            six = (uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz
            volumes[start : start + _CHUNK] = six / 6.0
        return volumes

    def in_metres(self) -> Self:
        """Return the mesh in metres and Z up."""
        return replace(self, points=self.frame.to_metres(self.points), frame=METRES)


@dataclass(frozen=True, eq=False)
class Obstacle:
    """A rigid thing that the body of a motion touches: it moves as a whole and never turns."""

    points: Points
    """At the first frame [m], Z up, shape (m, 3)."""
    faces: Indices
    """Outward triangles, shape (f, 3)."""
    offsets: Points
    """Way from there at each frame [m], shape (k, 3)."""

    def __post_init__(self) -> None:
        for name, dtype in (("points", np.float64), ("faces", np.int32), ("offsets", np.float64)):
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
                raise InvalidMeshError(
                    f"obstacle: {name}: expected finite numbers of shape (., 3), got {array.shape}"
                )
            object.__setattr__(self, name, array)
        if len(self.faces) and not 0 <= self.faces.min() <= self.faces.max() < len(self.points):
            raise InvalidMeshError(f"obstacle: faces name points beyond the {len(self.points)} there are")


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the points of a mesh were during a scenario."""

    times: Points
    """Increasing times [s], shape (k,); a scenario without time runs from 0 to 1."""
    points: NDArray[np.float32]
    """Positions [m], Z up, shape (k, n, 3): of the points that tets use, in the order of the mesh."""
    obstacles: dict[str, Obstacle] = field(default_factory=dict)
    """What the body touched, by name."""

    def __post_init__(self) -> None:
        times = np.ascontiguousarray(self.times, dtype=np.float64)
        points = np.ascontiguousarray(self.points, dtype=np.float32)
        if times.ndim != 1 or points.ndim != 3 or points.shape[2] != 3 or len(points) != len(times):
            raise InvalidMeshError(
                f"motion: expected times (k,) and points (k, n, 3), got {times.shape} and {points.shape}"
            )
        if not (np.isfinite(times).all() and np.isfinite(points).all()):
            raise InvalidMeshError("motion: times or positions are not finite")
        if (np.diff(times) <= 0).any():
            raise InvalidMeshError("motion: times do not increase")
        for name, obstacle in self.obstacles.items():
            if len(obstacle.offsets) != len(times):
                raise InvalidMeshError(
                    f"motion: {name} has {len(obstacle.offsets)} frames, the body {len(times)}"
                )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "points", points)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, for `from_arrays`."""
        found: dict[str, NDArray[Any]] = {"times": self.times, "points": self.points}
        for name, obstacle in self.obstacles.items():
            for part in ("points", "faces", "offsets"):
                found[f"obstacle.{name}.{part}"] = getattr(obstacle, part)
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the motion whose `arrays` these are; other names are left out."""
        ends = [key.split(".") for key in arrays if key.startswith("obstacle.") and key.endswith(".points")]
        names = [".".join(words[1:-1]) for words in ends]
        obstacles = {
            name: Obstacle(*(arrays[f"obstacle.{name}.{part}"] for part in ("points", "faces", "offsets")))
            for name in names
        }
        return cls(arrays["times"], arrays["points"], obstacles)


@dataclass(frozen=True)
class Check:
    """A metric against its limit."""

    name: str
    value: float
    limit: float
    direction: str
    """"min": value >= limit passes; "max": value <= limit passes."""
    unit: str = ""
    description: str = ""

    @property
    def passed(self) -> bool:
        """True when the limit holds; a value that is not a number fails."""
        if not np.isfinite(self.value):
            return False
        return bool(self.value >= self.limit if self.direction == "min" else self.value <= self.limit)


@dataclass(frozen=True)
class SimReport:
    """What validation found about one tetrahedral mesh, in metres, kilograms and seconds."""

    checks: tuple[Check, ...]
    metrics: dict[str, Any] = field(default_factory=dict)
    """Readiness numbers by name: plain numbers, strings, lists and dicts (JSON)."""
    scenarios: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per scenario: its settings, results and series (JSON)."""
    material: dict[str, Any] = field(default_factory=dict)
    """name, youngs_modulus [Pa], poissons_ratio, density [kg/m^3] and friction coefficients."""
    motions: dict[str, Motion] = field(default_factory=dict, compare=False, repr=False)
    """Per scenario that was solved: where the points were."""
    last_states: dict[str, dict[str, NDArray[np.float64]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Per scenario that was not solved, of its last good state: "positions" [m], Z up, and, of motions in
    time, "velocities" [m/s], shape (n, 3) each, in the order of `motions`."""

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)


def _may_repeat(rows: Indices, point_count: int) -> bool:
    """Whether two rows may hold the same points in any order: those have equal sums of random numbers."""
    number = np.random.default_rng(0).integers(0, 1 << 63, point_count, dtype=np.int64)
    sums = number.take(rows[:, 0])
    for k in range(1, rows.shape[1]):
        sums += number.take(rows[:, k])  # wraps around: that is meant
    sums.sort()
    return bool((sums[1:] == sums[:-1]).any())


def _first(rows: NDArray[Any]) -> list[int]:
    return [int(r) for r in rows[:5]]


def _points(name: str, array: Any, minimum: int = 0, dimensions: tuple[int, ...] = (2, 3)) -> Points:
    points = np.require(array, np.float64, ["C", "A"])
    if points.ndim != 2 or points.shape[1] not in dimensions:
        wanted = " or ".join(f"(n, {d})" for d in dimensions)
        raise InvalidMeshError(f"{name}: expected shape {wanted}, got {points.shape}")
    if len(points) < minimum:
        raise InvalidMeshError(f"{name}: expected at least {minimum}, got {len(points)}")
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise InvalidMeshError(
            f"{name}: {len(bad)} of {len(points)} rows have NaN or infinite coordinates, "
            f"first rows {_first(bad)}; remove them from the input",
            bad[:10].tolist(),
        )
    return points


def _rows(name: str, array: Any, shape: tuple[int, ...]) -> Points:
    rows = np.ascontiguousarray(array, dtype=np.float64)
    if rows.shape != tuple(shape):
        raise InvalidMeshError(f"{name}: expected shape {tuple(shape)}, got {rows.shape}")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=tuple(range(1, rows.ndim))))
    if len(bad):
        raise InvalidMeshError(
            f"{name}: {len(bad)} of {len(rows)} rows are not finite, first rows {_first(bad)}",
            bad[:10].tolist(),
        )
    return rows


def _simplices(name: str, array: Any, width: int, point_count: int) -> Indices:
    raw = np.asarray(array)
    if raw.size == 0:
        raw = np.zeros((0, width), dtype=np.int32)
    if raw.ndim != 2 or raw.shape[1] != width or raw.dtype.kind not in "iu":
        raise InvalidMeshError(f"{name}: expected integers (k, {width}), got {raw.dtype} {raw.shape}")
    if len(raw) and (raw.min() < 0 or raw.max() >= point_count):
        bad = np.flatnonzero(((raw < 0) | (raw >= point_count)).any(axis=1))
        raise InvalidMeshError(
            f"{name}: {len(bad)} of {len(raw)} rows name a vertex outside 0..{point_count - 1}, "
            f"first rows {_first(bad)}",
            bad[:10].tolist(),
        )
    corners = np.ascontiguousarray(raw.T)
    if any((corners[i] == corners[k]).any() for k in range(width) for i in range(k)):
        ordered = np.sort(raw, axis=1)
        bad = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        raise InvalidMeshError(
            f"{name}: {len(bad)} of {len(raw)} rows repeat a vertex, first rows {_first(bad)}; remove them",
            bad[:10].tolist(),
        )
    return np.require(raw, np.int32, ["C", "A"])
