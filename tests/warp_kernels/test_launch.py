"""Sliced launches give what one launch gives, and argument checks name the argument."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from warp_kernels.checks import check_array
from warp_kernels.launch import MIN_SLICE, launch_sliced, thread_count


@wp.kernel
def root_kernel(offset: int, x: wp.array[wp.float64], y: wp.array[wp.float64]):
    i = wp.tid() + offset
    y[i] = wp.sqrt(x[i]) + wp.float64(i)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2 * MIN_SLICE - 1, 2 * MIN_SLICE, 50_001])
def test_every_item_is_computed_once(
    count: int, threads: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMMESH_THREADS", str(threads))
    values = np.random.default_rng(0).random(max(count, 1))
    x = wp.array(values, dtype=wp.float64, device=device)
    y = wp.full(max(count, 1), -1.0, dtype=wp.float64, device=device)
    launch_sliced(root_kernel, count, [x], [y], device)
    np.testing.assert_allclose(
        y.numpy()[:count], (np.sqrt(values) + np.arange(len(values)))[:count], rtol=1e-15
    )


def test_thread_count_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMMESH_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.setenv("SIMMESH_THREADS", "many")
    assert thread_count() >= 1


def test_checks_name_the_argument(device: str) -> None:
    array = wp.zeros((2, 3), dtype=wp.float64, device=device)
    check_array("x", array, wp.float64, (2, None))
    with pytest.raises(TypeError, match="x: expected a Warp array"):
        check_array("x", [1.0], wp.float64, (1,))
    with pytest.raises(TypeError, match="x: expected float32 or int32, got float64"):
        check_array("x", array, (wp.float32, wp.int32), (2, 3))
    with pytest.raises(ValueError, match=r"x: expected shape \(3, None\), got \(2, 3\)"):
        check_array("x", array, wp.float64, (3, None))
