"""Materials: stress is the gradient of the energy density, the spectrum its Hessian, moduli as given."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.elasticity import (
    CORNER_GRADIENTS,
    TetElements,
    elastic_energy,
    elastic_hessian,
    elastic_kernels,
    elastic_stress,
)
from warp_kernels.materials import MATERIALS

MU, LAM = 1.3, 2.1
KERNELS = {name: elastic_kernels(name, functions) for name, functions in MATERIALS.items()}


class OneTet:
    """The unit tet of volume 1/6, deformed by F: corner 0 at the origin, the others at the columns of F."""

    def __init__(self, name: str, device: str, count: int = 1) -> None:
        self.kernels, self.device, self.count = KERNELS[name], device, count
        e = TetElements()
        gradients = np.concatenate([-np.ones((1, 3)), np.eye(3)])
        e.tets = wp.array(np.arange(4 * count).reshape(-1, 4), dtype=wp.vec4i, device=device)
        e.shape_gradients = wp.array(np.tile(gradients, (count, 1, 1)), dtype=CORNER_GRADIENTS, device=device)
        e.volumes = wp.array(np.full(count, 1.0 / 6.0), dtype=wp.float64, device=device)
        e.mu = wp.array(np.full(count, MU), dtype=wp.float64, device=device)
        e.lam = wp.array(np.full(count, LAM), dtype=wp.float64, device=device)
        self.elements = e

    def positions(self, F: np.ndarray) -> wp.array:
        x = np.concatenate([np.zeros((self.count, 1, 3)), F.transpose(0, 2, 1)], axis=1).reshape(-1, 3)
        return wp.array(x, dtype=wp.vec3d, device=self.device)

    def density(self, F: np.ndarray) -> np.ndarray:
        energy, ratio = (wp.zeros(self.count, dtype=wp.float64, device=self.device) for _ in range(2))
        elastic_energy(self.kernels, self.positions(F), self.elements, energy, ratio)
        np.testing.assert_allclose(ratio.numpy(), np.linalg.det(F), rtol=0, atol=1e-13)
        return 6.0 * energy.numpy()

    def stress(self, F: np.ndarray) -> np.ndarray:
        out = wp.zeros(self.count, dtype=wp.mat33d, device=self.device)
        elastic_stress(self.kernels, self.positions(F), self.elements, out)
        return out.numpy()

    def hessian(self, F: np.ndarray, is_projected: bool) -> np.ndarray:
        """Return d2psi/dF2 as (count, 9, 9), index 3 * column + row: that of the three moving corners."""
        out = wp.zeros(16 * self.count, dtype=wp.mat33d, device=self.device)
        elastic_hessian(self.kernels, self.positions(F), self.elements, is_projected, out)
        blocks = out.numpy().reshape(self.count, 4, 4, 3, 3)[:, 1:, 1:]
        return 6.0 * blocks.transpose(0, 1, 3, 2, 4).reshape(self.count, 9, 9)


def deformations(count: int = 40) -> np.ndarray:
    """Random deformation gradients, near the identity, far from it, and turned over."""
    rng = np.random.default_rng(0)
    spread = rng.choice([0.05, 0.3, 1.0], size=(count, 1, 1))
    return np.eye(3) + spread * rng.normal(size=(count, 3, 3))


def is_regular(name: str, F: np.ndarray) -> np.ndarray:
    """Where the density is smooth: the corotated rotation jumps where two smallest singular values cancel."""
    if name != "fixed_corotated":
        return np.ones(len(F), dtype=bool)
    s = np.linalg.svd(F, compute_uv=False)
    return (np.linalg.det(F) > 0) | (s[:, 1] - s[:, 2] > 0.2)


@pytest.mark.parametrize("name", MATERIALS)
def test_stress_is_gradient_of_energy_density(name: str, device: str) -> None:
    F = deformations()
    F = F[is_regular(name, F)]
    tets = OneTet(name, device, len(F))
    step = 1e-6
    numeric = np.empty_like(F)
    for i in range(3):
        for j in range(3):
            d = np.zeros((3, 3))
            d[i, j] = step
            numeric[:, i, j] = (tets.density(F + d) - tets.density(F - d)) / (2.0 * step)
    # Central differences in float64: truncation h^2 and rounding eps / h, both about 1e-10 of the values.
    scale = np.abs(numeric).max(axis=(1, 2), keepdims=True) + 1.0
    np.testing.assert_allclose(tets.stress(F) / scale, numeric / scale, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", MATERIALS)
def test_hessian_is_gradient_of_stress(name: str, device: str) -> None:
    F = deformations()
    F = F[is_regular(name, F)]
    tets = OneTet(name, device, len(F))
    step = 1e-6
    numeric = np.empty((len(F), 9, 9))
    for i in range(3):
        for j in range(3):
            d = np.zeros((3, 3))
            d[i, j] = step
            slope = (tets.stress(F + d) - tets.stress(F - d)) / (2.0 * step)
            numeric[:, :, 3 * j + i] = slope.transpose(0, 2, 1).reshape(-1, 9)
    scale = np.abs(numeric).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(tets.hessian(F, False) / scale, numeric / scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MATERIALS)
def test_projected_hessian_keeps_the_positive_part(name: str, device: str) -> None:
    F = deformations()
    tets = OneTet(name, device, len(F))
    values, vectors = np.linalg.eigh(tets.hessian(F, False))
    expected = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    scale = np.abs(values).max(axis=1)[:, None, None]
    np.testing.assert_allclose(tets.hessian(F, True) / scale, expected / scale, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MATERIALS)
def test_rest_has_no_energy_and_no_stress(name: str, device: str) -> None:
    tet = OneTet(name, device)
    F = np.eye(3)[None]
    np.testing.assert_allclose(tet.density(F), 0.0, atol=1e-15)
    np.testing.assert_allclose(tet.stress(F), 0.0, atol=1e-14)


@pytest.mark.parametrize("name", MATERIALS)
def test_small_strain_moduli_are_the_given_ones(name: str, device: str) -> None:
    # d2psi/dF2 at I: C_ijkl = lam d_ij d_kl + mu (d_ik d_jl + d_il d_jk)
    eye = np.eye(3)
    C = LAM * np.einsum("ij,kl->ijkl", eye, eye) + MU * (
        np.einsum("ik,jl->ijkl", eye, eye) + np.einsum("il,jk->ijkl", eye, eye)
    )
    expected = C.transpose(1, 0, 3, 2).reshape(9, 9)
    np.testing.assert_allclose(OneTet(name, device).hessian(eye[None], False)[0], expected, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in MATERIALS if name != "linear"])
def test_energy_does_not_see_a_rotation(name: str, device: str) -> None:
    rng = np.random.default_rng(1)
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    R *= np.sign(np.linalg.det(R))
    F = deformations(20)
    tets = OneTet(name, device, 20)
    np.testing.assert_allclose(tets.density(R @ F), tets.density(F), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", MATERIALS)
def test_inverted_and_flat_tets_are_finite(name: str, device: str) -> None:
    F = np.stack(
        [
            np.diag([1.0, 1.0, -1.0]),
            np.diag([1.0, 1.0, 0.0]),
            np.diag([1.0, 0.0, 0.0]),
            np.zeros((3, 3)),
            -np.eye(3),
        ]
    )
    tets = OneTet(name, device, len(F))
    for values in (tets.density(F), tets.stress(F), tets.hessian(F, True)):
        assert np.isfinite(values).all()
