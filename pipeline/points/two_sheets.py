"""Two sheets told from noise by the heights over a fit: no noise leaves the middle empty.

A slab one to three spacings thick looks like noise to fits of few neighbours. The heights of many neighbours
over a fitted quadric tell: of two sheets they have two peaks, of noise one. The kurtosis m4 / m2^2 is 1 for
two peaks of no width and 1.8 for the uniform distribution, and no symmetric distribution of one peak is below
that (Gauss: 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Points

LEAST_KURTOSIS = 1.8
"""Kurtosis of the uniform distribution: the least of all symmetric distributions of one peak."""


def shows_two_sheets(points: Points, neighbors: NDArray[np.integer]) -> bool:
    """Whether most neighbourhoods consist of two sheets with nothing between them.

    Args:
        points: Samples, shape (n, 3).
        neighbors: Rows of the neighbourhoods, shape (p, k); k at least 64, so that both sheets are in it.
    """
    heights = heights_over_quadrics(points[neighbors])
    second, fourth = (heights**2).mean(axis=1), (heights**4).mean(axis=1)
    return float(np.median(fourth / np.maximum(second**2, 1e-300))) < LEAST_KURTOSIS


def heights_over_quadrics(local: Points) -> NDArray[np.float64]:
    """Return the heights of neighbourhoods (p, k, 3) over their least-squares quadrics, shape (p, k).

    The height z is along the axis of least variance; the quadric is a polynomial of degree 2 in the others.
    """
    local = local - local.mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("pki,pkj->pij", local, local))
    z, u, v = np.moveaxis(np.einsum("pki,pij->pkj", local, axes), 2, 0)
    size = np.maximum(np.sqrt((v**2).mean(axis=1, keepdims=True)), 1e-300)
    u, v = u / size, v / size
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=2)
    normal = np.einsum("pki,pkj->pij", terms, terms)
    # Samples on a line leave the normal equations singular.
    normal += 1e-9 * local.shape[1] * np.eye(6)
    coefficients = np.linalg.solve(normal, np.einsum("pki,pk->pi", terms, z)[:, :, None])
    return np.asarray(z - np.einsum("pki,pi->pk", terms, coefficients[:, :, 0]))
