"""Poisson thinning in rounds gives the set of serial dart throwing."""

from __future__ import annotations

import numpy as np
import warp as wp

from warp_kernels.thinning import KEPT, thinning_round


def test_rounds_equal_serial_dart_throwing(device: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(500, 3)).astype(np.float32)
    priority = rng.permutation(500).astype(np.int32)
    radius = 0.15
    x = wp.array(points, dtype=wp.vec3, device=device)
    grid = wp.HashGrid(16, 16, 16, device=device)
    grid.build(x, radius)
    state = wp.zeros(500, dtype=wp.int32, device=device)
    undecided = wp.zeros(1, dtype=wp.int32, device=device)
    no_normals = wp.empty(0, dtype=wp.vec3, device=device)
    order = wp.array(priority, dtype=wp.int32, device=device)
    for _ in range(500):
        undecided.zero_()
        thinning_round(grid, x, no_normals, order, radius, 1.0, 0.0, state, undecided)
        if int(undecided.numpy()[0]) == 0:
            break
    kept: list[int] = []
    for p in np.argsort(priority):
        if all(np.linalg.norm(points[p] - points[q]) >= radius for q in kept):
            kept.append(int(p))
    assert np.flatnonzero(state.numpy() == int(KEPT)).tolist() == sorted(kept)
