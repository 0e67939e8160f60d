"""Move points and real values down the expected Chamfer loss of the minimum-ball mesh. 2D and 3D.

Every step: probabilities of the candidate faces, loss and its gradient, Adam with a displacement bound. The
searches (candidates, nearest other points, lists of the loss) are kept until the points may have moved by
half the slack with which they were made. All lengths are relative to a scale per point, so nothing depends
on the unit or on grading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.dmesh.losses import ExpectedChamfer
from pipeline.dmesh.point_features import PointFeatures
from pipeline.dmesh.tessellation import MinimumBallTessellation
from pipeline.errors import InputError, StageError
from pipeline.points.neighbors import checked_points, nearest_neighbors
from pipeline.types import Indices, Points
from warp_kernels import adam

PHASE = "optimization"


@dataclass
class OptimizationConfig:
    """How points and real values follow the loss."""

    enabled: bool = False
    """Whether `reconstruct` runs the loop after the relaxation of vertices."""
    iterations: int = 200
    """Steps."""
    neighbors: int = 10
    """Nearest points that are joined to each point."""
    softness: float = 0.25
    """Scale of a point, to which signed distances are compared, in units of its neighbour distance."""
    sharpness: float = 32.0
    """Slope of the face probability at the start, in units of 1 / scale."""
    final_sharpness: float = 64.0
    """The same at the end; between them it grows geometrically."""
    step_bound: float = 1.0 / 32.0
    """Longest step of a point, in units of its scale."""
    move_points: bool = True
    """Whether positions change."""
    move_real_values: bool = True
    """Whether real values change."""
    real_rate: float = 0.02
    """Rate of the real values per step."""
    real_weight: float = 0.0
    """Pull of the mean real value towards 0, in units of the mean neighbour distance: fewer faces."""
    fallback: float = 2.0
    """Distance that a target without a face pays, in units of the mean neighbour distance."""
    batch: int = 30000
    """Targets that count at a time; a new draw at every refresh."""
    slack: float = 0.5
    """Motion that the searches allow for, in units of the scale; more means fewer searches, more faces."""
    threshold: float = 0.5
    """Least probability of a face of the result."""
    record_every: int = 10
    """Steps between two records of the loss."""
    checkpoint_every: int = 50
    """Steps between two checkpoints."""

    def __post_init__(self) -> None:
        for name in ("iterations", "record_every", "checkpoint_every", "batch", "neighbors"):
            least = 0 if name == "iterations" else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in (
            "softness",
            "sharpness",
            "final_sharpness",
            "step_bound",
            "real_rate",
            "fallback",
            "slack",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.slack < 2.0 * self.step_bound:
            raise ValueError(f"slack: expected at least two steps of {self.step_bound}, got {self.slack}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold: expected 0 to 1, got {self.threshold}")
        if not self.real_weight >= 0:
            raise ValueError(f"real_weight: expected 0 or more, got {self.real_weight}")


@dataclass(frozen=True)
class OptimizedPoints:
    """Result of `optimize_points`, in the order of the given points."""

    points: Points
    """Positions, shape (n, d)."""
    real_values: NDArray[np.float64]
    """Real values in [0, 1], shape (n,)."""
    faces: Indices
    """Faces with at least the threshold probability, vertices ascending, shape (f, d)."""
    probabilities: NDArray[np.float64]
    """Their probabilities, shape (f,)."""
    history: list[dict[str, float]]
    """One entry per record: step, loss, targets_to_faces, faces_to_targets [unit of the points], faces."""


def optimize_points(
    points: Points,
    real_values: NDArray[np.float64] | None,
    targets: Points,
    config: OptimizationConfig | None = None,
    normals: Points | None = None,
    *,
    context: RunContext | None = None,
) -> OptimizedPoints:
    """Minimise the expected Chamfer distance between targets and the minimum-ball mesh of the points.

    The same input gives the same result on the CPU, also through a checkpoint: the context must then return
    what this loop saved (arrays named `optimization_*`) and nothing else.

    Args:
        points: Start positions, shape (n, d).
        real_values: Start values psi in [0, 1], shape (n,); ones if None.
        targets: Samples of the surface, shape (m, d).
        config: Settings; the defaults if None.
        normals: Unit normals of the targets, shape (m, d), of any sign.
        context: Device, seed, progress and checkpoints.

    Raises:
        InputError: Wrong shape, coordinates that are not finite, or too few points.
        StageError: The loss is not finite.
    """
    config, context = config or OptimizationConfig(), context or RunContext()
    p, t = checked_points("points", points), checked_points("targets", targets)
    n, d = p.shape
    real = np.ones(n) if real_values is None else np.asarray(real_values, dtype=np.float64)
    if t.shape[1] != d or not len(t):
        raise InputError(f"targets: expected shape (m, {d}), got {t.shape}")
    if n <= d:
        raise InputError(f"points: expected more than {d}, got {n}")
    if real.shape != (n,) or not ((real >= 0) & (real <= 1)).all():
        raise InputError(f"real_values: expected {n} values from 0 to 1, got shape {real.shape}")
    if normals is not None and np.shape(normals) != t.shape:
        raise InputError(f"normals: expected shape {t.shape}, got {np.shape(normals)}")
    return _Loop(p, real, t, normals, config, context).run()


@dataclass
class _Loop:
    """State of one optimisation; points are kept in cell order."""

    points: Points
    real: NDArray[np.float64]
    targets: Points
    normals: Points | None
    config: OptimizationConfig
    context: RunContext
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n, d = self.points.shape
        device = self.context.device
        _, distance = nearest_neighbors(self.points, min(2 * d, n - 1), device=device)
        spacing = np.maximum(distance.mean(axis=1), 1e-9 * float(distance.mean()) + 1e-300)
        self.spacing = float(spacing.mean())
        scale = self.config.softness * spacing
        unordered = PointFeatures(self.points, self.real, scale, device)
        k = min(self.config.neighbors, n - 1)
        self.order = MinimumBallTessellation(unordered, k).cells.order.numpy()
        rows = self.order
        self.features = PointFeatures(self.points[rows], self.real[rows], scale[rows], device)
        self.tessellation = MinimumBallTessellation(self.features, k, self.config.sharpness)
        self.loss = ExpectedChamfer(
            self.targets, self.normals, self.config.fallback * self.spacing, device=device
        )
        self.first = wp.zeros_like(self.features.points)
        self.second = wp.zeros(n, dtype=wp.float64, device=device)
        self.real_first = wp.zeros(n, dtype=wp.float64, device=device)
        self.real_second = wp.zeros(n, dtype=wp.float64, device=device)
        self.origin = wp.empty_like(self.features.points)
        self.displacement = wp.zeros(1, dtype=wp.float64, device=device)
        self.prob = wp.empty(1, dtype=wp.float64, device=device)
        self.prob_gradient = wp.empty(1, dtype=wp.float64, device=device)
        self.allowed = 0.0

    def run(self) -> OptimizedPoints:
        """Iterate from the last checkpoint, or the start, to the end."""
        config = self.config
        start = self._restore()
        for i in range(start, config.iterations):
            # Lists are made anew at a checkpoint, so that an interrupted run goes on exactly as this one.
            at_checkpoint = i % config.checkpoint_every == 0
            if at_checkpoint and i > start:
                self._checkpoint(i)
            if i == start or at_checkpoint or self._moved_far():
                self._refresh(i)
            self._step(i)
            if (i + 1) % config.record_every == 0 or i + 1 == config.iterations:
                self._record(i + 1)
        return self._result()

    def _moved_far(self) -> bool:
        """True when a step may leave the slack; the true displacement is read only when the bound is hit."""
        limit = 0.5 * self.config.slack
        if self.allowed + self.config.step_bound <= limit:
            return False
        adam.largest_displacement(self.features.points, self.origin, self.features.scale, self.displacement)
        self.allowed = float(self.displacement.numpy()[0])
        return self.allowed + self.config.step_bound > limit

    def _refresh(self, step: int) -> None:
        config = self.config
        progress = step / max(config.iterations, 1)
        self.tessellation.sharpness = (
            config.sharpness * (config.final_sharpness / config.sharpness) ** progress
        )
        self.tessellation.refresh(self.features, config.slack)
        self._evaluate_probability()
        batch = None
        if config.batch < len(self.targets):
            rng = np.random.default_rng((self.context.seed, step))
            batch = np.sort(rng.choice(len(self.targets), config.batch, replace=False))
        self.loss.refresh(self.features, self.tessellation, self._probabilities, batch)
        wp.copy(self.origin, self.features.points)
        self.allowed = 0.0

    @property
    def _probabilities(self) -> wp.array:
        return self.prob[: self.tessellation.faces.shape[0]]

    def _evaluate_probability(self) -> None:
        count = self.tessellation.faces.shape[0]
        if count > self.prob.shape[0]:
            size = count + count // 4
            self.prob = wp.zeros(size, dtype=wp.float64, device=self.context.device)
            self.prob_gradient = wp.zeros(size, dtype=wp.float64, device=self.context.device)
        self.tessellation.probability(self.features, self._probabilities)

    def _step(self, i: int) -> None:
        config, features = self.config, self.features
        self._evaluate_probability()
        gradient = self.prob_gradient[: self.tessellation.faces.shape[0]]
        gradient.zero_()
        features.zero_gradient()
        if config.real_weight:
            features.real_gradient.fill_(config.real_weight * self.spacing / features.count)
        self.loss.evaluate(features, self.tessellation, self._probabilities, gradient)
        self.tessellation.gradient(features, gradient)
        # A point without influence has a gradient of rounding size; it must not move at full rate.
        epsilon = 1e-6 / features.count
        if config.move_points:
            step = adam.adam_step(i + 1, config.step_bound, config.step_bound, epsilon)
            adam.move_points(
                step, features.scale, features.points_gradient, self.first, self.second, features.points
            )
            self.allowed += config.step_bound
        if config.move_real_values:
            step = adam.adam_step(i + 1, config.real_rate, 1.0, epsilon * self.spacing)
            adam.move_real_values(
                step, features.real_gradient, self.real_first, self.real_second, features.real_values
            )

    def _record(self, step: int) -> None:
        there, back = self.loss.value()
        values = {
            "loss": there + back,
            "targets_to_faces": there,
            "faces_to_targets": back,
            "faces": float(self.tessellation.faces.shape[0]),
        }
        for name, value in values.items():
            if not np.isfinite(value):
                raise StageError(
                    f"optimization: {name} is {value} at step {step}; lower optimization.step_bound, or "
                    "remove isolated points far from the rest"
                )
        self.history.append({"step": float(step), **values})
        self.context.record(step, total=self.config.iterations, phase=PHASE, **values)

    def _checkpoint(self, step: int) -> None:
        names = [f"history_{key}" for key in (self.history[0] if self.history else {})]
        rows = [np.array([h[name[8:]] for h in self.history]) for name in names]
        self.context.checkpoint(
            step,
            optimization_step=np.array([step]),
            **{f"optimization_{name}": array.numpy() for name, array in self._state().items()},
            **{f"optimization_{name}": row for name, row in zip(names, rows, strict=True)},
        )

    def _restore(self) -> int:
        saved = self.context.restore()
        if saved is None or "optimization_step" not in saved[1]:
            return 0
        arrays: dict[str, NDArray[Any]] = saved[1]
        for name, array in self._state().items():
            array.assign(arrays[f"optimization_{name}"])
        prefix = "optimization_history_"
        columns = {name[len(prefix) :]: v for name, v in arrays.items() if name.startswith(prefix)}
        count = len(next(iter(columns.values()))) if columns else 0
        self.history = [{name: float(v[i]) for name, v in columns.items()} for i in range(count)]
        return int(arrays["optimization_step"][0])

    def _state(self) -> dict[str, wp.array]:
        return {
            "points": self.features.points,
            "real_values": self.features.real_values,
            "first": self.first,
            "second": self.second,
            "real_first": self.real_first,
            "real_second": self.real_second,
        }

    def _result(self) -> OptimizedPoints:
        """Search once more at the final positions and give everything in the order of the input."""
        self.tessellation.sharpness = self.config.final_sharpness
        self.tessellation.refresh(self.features)
        self._evaluate_probability()
        prob = self._probabilities.numpy()
        keep = prob >= self.config.threshold
        points, real = np.empty_like(self.points), np.empty_like(self.real)
        points[self.order] = self.features.points.numpy()
        real[self.order] = self.features.real_values.numpy()
        d = points.shape[1]
        faces = np.sort(self.order[self.tessellation.faces.numpy().reshape(-1, d)[keep]], axis=1)
        rows = np.lexsort(faces.T[::-1])
        return OptimizedPoints(
            points, real, np.ascontiguousarray(faces[rows], dtype=np.int32), prob[keep][rows], self.history
        )
