"""Averaged volumes: derivatives, what stays as it was, and what is refused; the locking probe is a study."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from sim.energy import Elastic
from sim.material import MATERIAL_NAMES, Material
from sim.model import SoftBodyModel
from sim.nodal_volume import AVERAGED_MATERIALS, AveragedElastic, average_volumes
from sim.quadratic import elastic_of, refine_degree


@pytest.mark.parametrize("name", AVERAGED_MATERIALS)
def test_gradient_and_hessian_are_derivatives(name: str, box: Callable, device: str) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    model = average_volumes(SoftBodyModel.from_arrays(points, tets, Material(name, 3.0, 0.4), device=device))
    elastic = AveragedElastic(model, is_projected=False)
    rng = np.random.default_rng(0)
    x = points + 0.05 * rng.normal(size=points.shape)
    d, e = rng.normal(size=x.shape), 1e-6

    def gradient(at: np.ndarray) -> np.ndarray:
        out = wp.zeros(len(at), dtype=wp.vec3d, device=device)
        elastic.gradient(model.to_device(at), out)
        return out.numpy()

    above, below = (elastic.value(model.to_device(x + s * e * d)) for s in (1, -1))
    # Central differences: truncation e^2, rounding 1e-16 / e.
    assert (gradient(x) * d).sum() == pytest.approx((above - below) / (2 * e), rel=1e-6)
    rows, columns = elastic.pattern()
    blocks = wp.zeros(len(rows), dtype=wp.mat33d, device=device)
    elastic.hessian(model.to_device(x), blocks)
    found = np.zeros_like(d)
    np.add.at(found, rows, np.einsum("kij,kj->ki", blocks.numpy().reshape(-1, 3, 3), d[columns]))
    numeric = (gradient(x + e * d) - gradient(x - e * d)) / (2 * e)
    np.testing.assert_allclose(found, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())


def test_projected_hessian_is_semi_definite(box: Callable) -> None:
    points, tets = box((1, 1, 1))
    model = average_volumes(SoftBodyModel.from_arrays(points, tets, Material(poissons_ratio=0.45)))
    elastic = elastic_of(model)
    rng = np.random.default_rng(0)
    x = points + 0.3 * rng.normal(size=points.shape)  # some tets turned over
    rows, columns = elastic.pattern()
    blocks = wp.zeros(len(rows), dtype=wp.mat33d)
    elastic.hessian(model.to_device(x), blocks)
    matrix = np.zeros((8, 8, 3, 3))
    np.add.at(matrix, (rows, columns), blocks.numpy().reshape(-1, 3, 3))
    values = np.linalg.eigvalsh(matrix.transpose(0, 2, 1, 3).reshape(24, 24))
    assert values[0] >= -1e-12 * values[-1]


def test_a_homogeneous_deformation_has_the_energy_of_plain_tets(box: Callable) -> None:
    points, tets = box((2, 2, 2), jitter=0.2)
    plain = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5, poissons_ratio=0.4))
    averaged = average_volumes(plain)
    x = points @ (np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(3, 3))).T
    found = AveragedElastic(averaged).value(averaged.to_device(x))
    assert found == pytest.approx(Elastic(plain).value(plain.to_device(x)), rel=1e-12)
    assert averaged.vertex_volumes.sum() == pytest.approx(plain.volumes.sum())


@pytest.mark.parametrize("name", sorted(set(MATERIAL_NAMES) - set(AVERAGED_MATERIALS)))
def test_other_materials_are_refused(name: str, box: Callable) -> None:
    with pytest.raises(ValueError, match=f"got {name}"):
        average_volumes(SoftBodyModel.from_arrays(*box((1, 1, 1)), Material(name)))


def test_quadratic_tets_are_refused(box: Callable) -> None:
    with pytest.raises(ValueError, match="QuadraticModel"):
        average_volumes(refine_degree(SoftBodyModel.from_arrays(*box((1, 1, 1)))))
