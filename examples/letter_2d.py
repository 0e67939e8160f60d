"""Points on a curve in the plane: the same stage finds the segments of a letter B, its two holes included.

python examples/letter_2d.py
"""

import numpy as np

from pipeline import PointCloud, reconstruct, write_points


def polyline(corners: list[tuple[float, float]], spacing: float) -> np.ndarray:
    """Sample a closed polyline at equal steps, shape (n, 2)."""
    rows = []
    for a, b in zip(corners, corners[1:] + corners[:1]):
        start, end = np.array(a), np.array(b)
        count = max(1, round(float(np.linalg.norm(end - start)) / spacing))
        rows.append(start + (end - start) * np.arange(count)[:, None] / count)
    return np.concatenate(rows)


def main() -> None:
    outline = [
        (0, 0),
        (0, 2),
        (0.8, 2),
        (1.1, 1.8),
        (1.1, 1.3),
        (0.9, 1.05),
        (1.2, 0.8),
        (1.2, 0.25),
        (0.9, 0),
    ]
    upper = [(0.3, 1.2), (0.3, 1.75), (0.75, 1.75), (0.8, 1.6), (0.8, 1.35), (0.7, 1.2)]
    lower = [(0.3, 0.25), (0.3, 0.9), (0.8, 0.9), (0.9, 0.75), (0.9, 0.4), (0.8, 0.25)]
    points = np.concatenate([polyline(loop, spacing=0.02) for loop in (outline, upper, lower)])
    cloud = PointCloud(points)
    write_points("letter.npy", cloud)  # for: simmesh run experiment=letter_2d input.path=letter.npy

    curve = reconstruct(cloud)
    length = np.linalg.norm(np.diff(curve.points[curve.faces], axis=1), axis=2).sum()
    print(f"{len(cloud.points)} points, {len(curve.faces)} segments, length {length:.2f}")


if __name__ == "__main__":
    main()
