"""Smooth functions at ordinary and extreme arguments."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.smooth import sigmoid, soft_minimum, soft_minimum_weights


@wp.kernel
def sigmoid_kernel(x: wp.array[wp.float64], y: wp.array[wp.float64]):
    i = wp.tid()
    y[i] = sigmoid(x[i])


@wp.kernel
def soft_minimum_kernel(x: wp.array[wp.vec3d], y: wp.array[wp.float64], w: wp.array[wp.vec3d]):
    i = wp.tid()
    y[i] = soft_minimum(x[i])
    w[i] = soft_minimum_weights(x[i])


def test_sigmoid_and_its_adjoint_are_right_and_finite(device: str) -> None:
    values = np.r_[np.linspace(-30, 30, 61), -1e300, -800.0, 800.0, 1e300]
    x = wp.array(values, dtype=wp.float64, device=device, requires_grad=True)
    y = wp.zeros_like(x, requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(sigmoid_kernel, dim=len(values), inputs=[x], outputs=[y], device=device)
    tape.backward(grads={y: wp.ones_like(y)})
    clipped = np.clip(values, -700, 700)
    np.testing.assert_allclose(y.numpy(), 1 / (1 + np.exp(-clipped)), rtol=1e-14, atol=1e-300)
    slope = np.exp(-np.abs(clipped)) / (1 + np.exp(-np.abs(clipped))) ** 2
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-12, atol=1e-300)


def test_soft_minimum_lies_just_above_the_minimum(device: str) -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.random((200, 3)), np.full((1, 3), 0.3), [[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]]]
    x = wp.array(values, dtype=wp.vec3d, device=device)
    y = wp.zeros(len(values), dtype=wp.float64, device=device)
    w = wp.zeros(len(values), dtype=wp.vec3d, device=device)
    wp.launch(soft_minimum_kernel, dim=len(values), inputs=[x], outputs=[y, w], device=device)
    low = values.min(axis=1)
    assert (y.numpy() >= low).all()
    assert (y.numpy() <= low + np.log(3.0) / 100.0 + 1e-15).all()
    assert y.numpy()[200] == 0.3
    # The weights are the softmax of -100 x; terms below e^-40 count as 0.
    e = np.exp(-100.0 * (values - low[:, None]))
    np.testing.assert_allclose(w.numpy(), e / e.sum(axis=1, keepdims=True), atol=1e-16)
