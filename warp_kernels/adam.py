"""Adam on positions with a displacement bound, and on real values in [0, 1].

    m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) |g|^2
    step = -rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps),   |step| <= bound scale

The second moment of a position is one number, of the squared length of its gradient: the step then turns
with the points (vector Adam). Rate and bound are multiples of the length `scale` of the point, so nothing
depends on the unit.

Source: Kingma and Ba 2015; Ling et al. 2022, VectorAdam; the bound after the step is that of DMesh++.
"""

from __future__ import annotations

from typing import Any

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class AdamStep:
    """Rates of one step; `correct_first`, `correct_second` are 1 / (1 - b^t)."""

    rate: wp.float64
    bound: wp.float64
    first_decay: wp.float64
    second_decay: wp.float64
    correct_first: wp.float64
    correct_second: wp.float64
    epsilon: wp.float64


@wp.kernel
def move_points_kernel(
    step: AdamStep,
    scale: wp.array[wp.float64],
    gradient: wp.array[Any],
    first: wp.array[Any],
    second: wp.array[wp.float64],
    points: wp.array[Any],
):
    p = wp.tid()
    one = wp.float64(1.0)
    g = gradient[p]
    m = step.first_decay * first[p] + (one - step.first_decay) * g
    v = step.second_decay * second[p] + (one - step.second_decay) * wp.dot(g, g)
    first[p] = m
    second[p] = v
    size = wp.sqrt(v * step.correct_second) + step.epsilon
    delta = m * (-step.rate * scale[p] * step.correct_first / size)
    length = wp.length(delta)
    limit = step.bound * scale[p]
    if length > limit:
        delta = delta * (limit / length)
    points[p] = points[p] + delta


@wp.kernel
def move_real_values_kernel(
    step: AdamStep,
    gradient: wp.array[wp.float64],
    first: wp.array[wp.float64],
    second: wp.array[wp.float64],
    real: wp.array[wp.float64],
):
    p = wp.tid()
    one = wp.float64(1.0)
    g = gradient[p]
    m = step.first_decay * first[p] + (one - step.first_decay) * g
    v = step.second_decay * second[p] + (one - step.second_decay) * g * g
    first[p] = m
    second[p] = v
    size = wp.sqrt(v * step.correct_second) + step.epsilon
    real[p] = wp.clamp(real[p] - step.rate * step.correct_first * m / size, wp.float64(0.0), one)


@wp.kernel
def displacement_kernel(
    points: wp.array[Any],
    origin: wp.array[Any],
    scale: wp.array[wp.float64],
    largest: wp.array[wp.float64],
):
    p = wp.tid()
    wp.atomic_max(largest, 0, wp.length(points[p] - origin[p]) / scale[p])


for _vector in (wp.vec2d, wp.vec3d):
    _points = wp.array(dtype=_vector)
    wp.overload(move_points_kernel, {"gradient": _points, "first": _points, "points": _points})
    wp.overload(displacement_kernel, {"points": _points, "origin": _points})


def adam_step(t: int, rate: float, bound: float, epsilon: float, decays=(0.9, 0.99)) -> AdamStep:
    """Return the numbers of step t = 1, 2, ..."""
    step = AdamStep()
    step.rate, step.bound, step.epsilon = rate, bound, epsilon
    step.first_decay, step.second_decay = decays
    step.correct_first = 1.0 / (1.0 - decays[0] ** t)
    step.correct_second = 1.0 / (1.0 - decays[1] ** t)
    return step


def move_points(step: AdamStep, scale, gradient, first, second, points) -> None:
    """Update points (n,) and their moments in place; first (n,) vectors, second (n,) numbers."""
    wp.launch(
        move_points_kernel,
        dim=points.shape[0],
        inputs=[step, scale, gradient],
        outputs=[first, second, points],
        device=points.device,
    )


def move_real_values(step: AdamStep, gradient, first, second, real) -> None:
    """Update real values (n,) and their moments in place; `bound` does not apply, the range [0, 1] does."""
    wp.launch(
        move_real_values_kernel,
        dim=real.shape[0],
        inputs=[step, gradient],
        outputs=[first, second, real],
        device=real.device,
    )


def largest_displacement(points, origin, scale, out) -> None:
    """Write the largest |points - origin| / scale to `out`, shape (1,)."""
    out.zero_()
    wp.launch(
        displacement_kernel,
        dim=points.shape[0],
        inputs=[points, origin, scale],
        outputs=[out],
        device=points.device,
    )
