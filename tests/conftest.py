"""Fixtures that all tests share: the devices, and a quiet Warp."""

from __future__ import annotations

import pytest
import warp as wp

wp.config.quiet = True


def _devices() -> list[object]:
    wp.init()
    params: list[object] = [pytest.param("cpu", id="cpu")]
    if wp.is_cuda_available():
        params.append(pytest.param("cuda:0", id="cuda", marks=pytest.mark.gpu))
    else:
        skip = pytest.mark.skip(reason="no CUDA device")
        params.append(pytest.param("cuda:0", id="cuda", marks=[pytest.mark.gpu, skip]))
    return params


@pytest.fixture(params=_devices())
def device(request: pytest.FixtureRequest) -> str:
    """Every Warp device that is present: a test that takes it runs on each."""
    return request.param
