"""How the elastic forces of each element depend on moduli and rest positions, contracted with z.

Linear and quadratic tets: `warp_kernels/elasticity_sensitivity.py`, `quadratic_sensitivity.py`. Averaged
volumes: the part of mu is that of a linear tet; with v_a, v'_a the volume around vertex a and its change
along z, which do not depend on the rest shape, and L_a = sum lam_e W_e / 4 of the tets around it,

    G = sum_a lam_a (J_a - 1) v'_a = sum_a L_a / W_a (v_a / W_a - 1) v'_a
    dG/dL_a = (J_a - 1) v'_a / W_a,   dG/dW_a = lam_a (1 - 2 J_a) v'_a / W_a,   dW_e/dX_c = W_e g_c

Source: plain differentiation; the chain is that of `sensitivity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import warp as wp

from sim.energy import Elastic
from sim.model import Floats, SoftBodyModel
from sim.nodal_volume import AveragedModel
from sim.quadratic import QuadraticModel
from warp_kernels.elasticity import TetElements
from warp_kernels.elasticity_sensitivity import elastic_sensitivity, sensitivity_kernel
from warp_kernels.materials import MATERIALS
from warp_kernels.quadratic_sensitivity import quadratic_sensitivity, quadratic_sensitivity_kernel


@dataclass(frozen=True)
class ElasticSlopes:
    """Derivatives of z . (gradient of the elastic energy), per tet."""

    mu: Floats
    """[J/Pa], shape (t,)."""
    lam: Floats
    """[J/Pa], shape (t,)."""
    rest: Floats
    """By the rest positions of the corners [J/m], shape (t, 4, 3)."""


def elastic_slopes(energy: Elastic, x: wp.array, z: Floats) -> ElasticSlopes:
    """Differentiate z . gradient of an elastic energy at positions x, for z of shape (n, 3)."""
    model = energy.model
    if isinstance(model, AveragedModel):
        return _averaged_slopes(model, x, z)
    return _tet_slopes(model, model.elements, x, z)


def _tet_slopes(model: SoftBodyModel, elements: TetElements, x: wp.array, z: Floats) -> ElasticSlopes:
    name, direction, t, device = model.material.name, model.to_device(z), model.tet_count, model.device
    mu, lam = (wp.zeros(t, dtype=wp.float64, device=device) for _ in range(2))
    rest = wp.zeros((t, 4), dtype=wp.vec3d, device=device)
    if isinstance(model, QuadraticModel):
        quadratic_sensitivity(
            _quadratic_kernel(name), x, direction, model.node_array, elements, mu, lam, rest
        )
    else:
        elastic_sensitivity(_kernel(name), x, direction, elements, mu, lam, rest)
    return ElasticSlopes(mu.numpy(), lam.numpy(), rest.numpy())


def _averaged_slopes(model: AveragedModel, x: wp.array, z: Floats) -> ElasticSlopes:
    elements = TetElements()
    for name in ("tets", "shape_gradients", "volumes", "mu"):
        setattr(elements, name, getattr(model.elements, name))
    elements.lam = wp.zeros_like(model.elements.lam)
    shear = _tet_slopes(model, elements, x, z)

    edges, motions = (v[model.tets[:, 1:]] - v[model.tets[:, :1]] for v in (x.numpy(), z))
    normals = np.stack([np.cross(edges[:, k - 2], edges[:, k - 1]) for k in range(3)], axis=1)
    volumes = (edges[:, 0] * normals[:, 0]).sum(axis=1) / 6.0
    changes = (motions * normals).sum(axis=(1, 2)) / 6.0
    W = model.vertex_volumes
    J, change = model.gather(volumes / 4.0) / W, model.gather(changes / 4.0)
    by_lam_sum = (J - 1.0) * change / W
    by_volume = model.vertex_lam * (1.0 - 2.0 * J) * change / W

    per_tet = by_lam_sum[model.tets].sum(axis=1) / 4.0
    of_volume = model.volumes * (model.lam * per_tet + by_volume[model.tets].sum(axis=1) / 4.0)
    return ElasticSlopes(
        mu=shear.mu,
        lam=model.volumes * per_tet,
        rest=shear.rest + of_volume[:, None, None] * model.shape_gradients,
    )


@cache
def _kernel(name: str) -> wp.Kernel:
    return sensitivity_kernel(name, MATERIALS[name])


@cache
def _quadratic_kernel(name: str) -> wp.Kernel:
    return quadratic_sensitivity_kernel(name, MATERIALS[name])
