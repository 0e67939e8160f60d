"""Smooth functions that stay finite, value and derivative.

    sigmoid(x)      = 1 / (1 + exp(-x)),  with exp(-|x|) only
    soft_minimum(x) = -1/beta log(1/m sum_i exp(-beta x_i))
    d soft_minimum / d x_i = softmax(-beta x)_i

The soft minimum of m equal values is that value, and it is never more than log(m)/beta above the smallest
one. Its exact derivative is the softmax weight, which DMesh uses as a detached weight.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

SOFT_MINIMUM_SHARPNESS = wp.constant(wp.float64(100.0))
"""beta; DMesh uses 100 for real values in [0, 1]."""


@wp.func
def sigmoid(x: wp.float64):
    """Logistic function; exp(-x) would overflow for the very negative arguments that sliver balls give."""
    one = wp.float64(1.0)
    e = wp.exp(-wp.abs(x))
    s = one / (one + e)
    if x < wp.float64(0.0):
        s = e * s
    return s


@wp.func
def decay(x: wp.float64):
    """exp(-beta x) for x >= 0; 0 where it is below 4e-18, which no sum with a 1 in it sees."""
    t = SOFT_MINIMUM_SHARPNESS * x
    e = wp.float64(0.0)
    if t < wp.float64(40.0):
        e = wp.exp(-t)
    return e


@wp.func
def soft_minimum(x: wp.vec2d):
    low = wp.min(x[0], x[1])
    s = decay(x[0] - low) + decay(x[1] - low)
    return low - wp.log(s / wp.float64(2.0)) / SOFT_MINIMUM_SHARPNESS


@wp.func
def soft_minimum(x: wp.vec3d):
    low = wp.min(x[0], wp.min(x[1], x[2]))
    s = decay(x[0] - low) + decay(x[1] - low) + decay(x[2] - low)
    return low - wp.log(s / wp.float64(3.0)) / SOFT_MINIMUM_SHARPNESS


@wp.func
def soft_minimum_weights(x: wp.vec2d):
    """Derivative of `soft_minimum`: softmax(-beta x)."""
    low = wp.min(x[0], x[1])
    e = wp.vec2d(decay(x[0] - low), decay(x[1] - low))
    return e / (e[0] + e[1])


@wp.func
def soft_minimum_weights(x: wp.vec3d):
    low = wp.min(x[0], wp.min(x[1], x[2]))
    e = wp.vec3d(
        decay(x[0] - low),
        decay(x[1] - low),
        decay(x[2] - low),
    )
    return e / (e[0] + e[1] + e[2])
