"""Drop a rubber block on the ground, then pull it, and print what it does: plain arrays in, numbers out."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from sim import Drop, Material, Stretch, simulate


def block(cells: int = 3, size: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return a cube [m] of jittered grid points and its Delaunay tets, positive volume."""
    grid = np.stack(np.meshgrid(*[np.arange(cells + 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inner = ((grid > 0) & (grid < cells)).all(axis=1, keepdims=True)
    points = size / cells * (grid + 0.1 * inner * np.random.default_rng(0).normal(size=grid.shape))
    tets = Delaunay(points).simplices.astype(np.int32)
    volume = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]])
    tets = tets[np.abs(volume) > 1e-9 * size**3]  # slices of the flat sides
    volume = np.linalg.det(points[tets[:, 1:]] - points[tets[:, :1]])
    tets[volume < 0] = tets[volume < 0][:, [1, 0, 2, 3]]
    return points, tets


def main() -> None:
    """Simulate and print."""
    points, tets = block()
    rubber = Material("stable_neo_hookean", youngs_modulus=1.0e5, poissons_ratio=0.45, density=1100.0)

    drop = simulate(points, tets, Drop(height=0.5, steps=20), rubber).results
    print(f"weight {drop['weight']:.2f} N, ground pushes {drop['reaction']:.2f} N after the fall")
    print(f"height lost on impact {100 * drop['max_compression']:.1f} %")
    print(f"height lost at rest {100 * drop['settled_compression']:.2f} %")
    print(f"inverted tets: {drop['inversions']:.0f}")

    pull = simulate(points, tets, Stretch(stretch=1.2, steps=4), rubber)
    for stretch, force in zip(pull.series["stretch"], pull.series["force"]):
        print(f"length x {stretch:.2f}: {force:.1f} N")


if __name__ == "__main__":
    main()
