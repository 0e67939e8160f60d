"""Twins of kernel files: every double replaced, everything else the same."""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np
import pytest
import warp as wp

from warp_kernels import block_product, conjugate_gradient, elasticity, factorized_inverse, materials
from warp_kernels.single_precision import in_single_precision

FILES = (block_product, conjugate_gradient, elasticity, factorized_inverse, materials)


@pytest.mark.parametrize("module", FILES, ids=lambda m: m.__name__)
def test_no_double_is_left_in_a_twin_and_none_is_lost_in_the_file(module: ModuleType) -> None:
    twin = in_single_precision(module)
    doubles = re.compile(r"wp\.(float64|(?!array)\w+\dd)\b")
    before, after = (m.__loader__.get_source(m.__name__) for m in (module, twin))
    assert doubles.search(before)
    assert not doubles.search(after)
    assert len(before.splitlines()) == len(after.splitlines())
    kernels = [k for k in vars(twin).values() if isinstance(k, wp.Kernel)]
    names = " ".join(str(a.type) for k in kernels for a in k.adj.args)
    assert "64" not in names


def test_twin_is_made_once() -> None:
    assert in_single_precision(materials) is in_single_precision(materials)
    assert in_single_precision(materials) is not materials


@pytest.mark.parametrize("name", materials.MATERIALS)
def test_stress_of_a_twin_is_that_of_the_file(name: str, device: str) -> None:
    rng = np.random.default_rng(0)
    x = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) + 0.2 * rng.normal(size=(4, 3))
    gradients = np.array([[-1.0, -1, -1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = []
    for kernels, functions, scalar, vec3, mat33 in (
        (elasticity, materials, wp.float64, wp.vec3d, wp.mat33d),
        (in_single_precision(elasticity), in_single_precision(materials), wp.float32, wp.vec3f, wp.mat33f),
    ):
        e = kernels.TetElements()
        e.tets = wp.array([[0, 1, 2, 3]], dtype=wp.vec4i, device=device)
        e.shape_gradients = wp.array(gradients[None], dtype=kernels.CORNER_GRADIENTS, device=device)
        e.volumes, e.mu, e.lam = (wp.array([v], dtype=scalar, device=device) for v in (1.0 / 6.0, 2.0, 3.0))
        out = wp.zeros(1, dtype=mat33, device=device)
        compiled = kernels.elastic_kernels(name, functions.MATERIALS[name])
        kernels.elastic_stress(compiled, wp.array(x, dtype=vec3, device=device), e, out)
        found.append(out.numpy()[0])
    assert found[1].dtype == np.float32
    # Some ten roundings of 6e-8 of numbers of the size of the moduli.
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-5)
