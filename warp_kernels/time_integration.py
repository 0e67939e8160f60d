"""Inertia of an implicit step as an energy, and the vector arithmetic around it, in float64.

    energy    sum_p m_p / (2 dt^2) |x_p - y_p|^2       y = x_0 + dt v_0: where it would be without forces
    gradient  m_p / dt^2 (x_p - y_p)

Its minimum together with the potential energy is the implicit Euler step, v = (x - x_0) / dt.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def inertia_energy_kernel(
    x: wp.array[wp.vec3d],
    target: wp.array[wp.vec3d],
    masses: wp.array[wp.float64],
    inverse_dt_squared: wp.float64,
    energy: wp.array[wp.float64],
):
    p = wp.tid()
    d = x[p] - target[p]
    energy[p] = wp.float64(0.5) * masses[p] * inverse_dt_squared * wp.dot(d, d)


@wp.kernel
def inertia_gradient_kernel(
    x: wp.array[wp.vec3d],
    target: wp.array[wp.vec3d],
    masses: wp.array[wp.float64],
    inverse_dt_squared: wp.float64,
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    out[p] += masses[p] * inverse_dt_squared * (x[p] - target[p])


@wp.kernel
def inertia_hessian_kernel(
    masses: wp.array[wp.float64],
    inverse_dt_squared: wp.float64,
    blocks: wp.array[wp.mat33d],
):
    p = wp.tid()
    blocks[p] = masses[p] * inverse_dt_squared * wp.identity(n=3, dtype=wp.float64)


@wp.kernel
def load_energy_kernel(
    x: wp.array[wp.vec3d],
    origin: wp.array[wp.vec3d],
    loads: wp.array[wp.vec3d],
    energy: wp.array[wp.float64],
):
    p = wp.tid()
    energy[p] = -wp.dot(loads[p], x[p] - origin[p])


@wp.kernel
def add_scaled_kernel(
    x: wp.array[wp.vec3d],
    factor: wp.float64,
    y: wp.array[wp.vec3d],
    out: wp.array[wp.vec3d],
):
    p = wp.tid()
    out[p] = x[p] + factor * y[p]


@wp.kernel
def mask_kernel(free: wp.array[wp.vec3d], out: wp.array[wp.vec3d]):
    p = wp.tid()
    out[p] = wp.cw_mul(free[p], out[p])


def inertia_energy(x: wp.array, target: wp.array, masses: wp.array, dt: float, out: wp.array) -> None:
    """Evaluate the inertia energy of each vertex [J], shape (n,); `masses` [kg], `dt` [s]."""
    wp.launch(
        inertia_energy_kernel, len(x), [x, target, masses, wp.float64(1.0 / dt**2)], [out], device=x.device
    )


def inertia_gradient(x: wp.array, target: wp.array, masses: wp.array, dt: float, out: wp.array) -> None:
    """Add the gradient of the inertia energy [N] to `out`, vec3d of shape (n,)."""
    wp.launch(
        inertia_gradient_kernel, len(x), [x, target, masses, wp.float64(1.0 / dt**2)], [out], device=x.device
    )


def inertia_hessian(masses: wp.array, dt: float, out: wp.array) -> None:
    """Evaluate the diagonal Hessian block of each vertex [N/m], mat33d of shape (n,)."""
    wp.launch(inertia_hessian_kernel, len(out), [masses, wp.float64(1.0 / dt**2)], [out], device=out.device)


def load_energy(x: wp.array, origin: wp.array, loads: wp.array, out: wp.array) -> None:
    """Evaluate -f . (x - origin) [J], shape (n,), for dead loads f [N], vec3d of shape (n,)."""
    wp.launch(load_energy_kernel, len(x), [x, origin, loads], [out], device=x.device)


def add_scaled(x: wp.array, factor: float, y: wp.array, out: wp.array) -> None:
    """Write x + factor * y to `out` (which may be x or y), vec3d of shape (n,)."""
    wp.launch(add_scaled_kernel, len(x), [x, wp.float64(factor), y], [out], device=x.device)


def apply_mask(free: wp.array, out: wp.array) -> None:
    """Set the components of `out` to zero where `free` is 0, vec3d of shape (n,)."""
    wp.launch(mask_kernel, len(out), [free], [out], device=out.device)
