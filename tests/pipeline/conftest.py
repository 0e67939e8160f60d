"""Small meshes that tests of the pipeline share, as factories."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.types import SurfaceMesh, TetMesh


def kuhn_box(n: int, seed: int | None = None, scale: float = 1.0, labelled: bool = False) -> TetMesh:
    """Cut n^3 unit cells into six tets each; with a seed, move each point by less than 0.15 of a cell.

    A Kuhn tet has the corners c, c + e_i, c + e_i + e_j, c + (1, 1, 1): its volume is 1/6 of the cell.
    """
    side = n + 1
    points = np.stack(np.meshgrid(*[np.arange(side, dtype=float)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = points[(points < n).all(axis=1)].astype(int)
    steps = [np.vstack([np.zeros(3, int), np.eye(3, dtype=int)[list(p)]]) for p in permutations(range(3))]
    corners = np.concatenate([cells[:, None] + np.cumsum(step, axis=0) for step in steps])
    tets = corners @ np.array([side * side, side, 1])
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    turned = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    tets[turned] = tets[turned][:, [0, 2, 1, 3]]
    if seed is not None:
        points = points + np.random.default_rng(seed).uniform(-0.08, 0.08, points.shape)
    labels = (points[tets].mean(axis=1)[:, 0] > n / 2).astype(np.int32) * 7 if labelled else None
    return TetMesh(points * scale, tets, labels)


def random_surface(seed: int, scale: float = 1.0) -> SurfaceMesh:
    """Triangles between random points; not a closed surface, but every format must keep it."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 12))
    faces = np.array([rng.permutation(n)[:3] for _ in range(int(rng.integers(1, 15)))])
    return SurfaceMesh(rng.normal(size=(n, 3)) * scale, faces)


@pytest.fixture(scope="session")
def make_box() -> Callable[..., TetMesh]:
    """The function `kuhn_box`."""
    return kuhn_box


@pytest.fixture(scope="session")
def make_surface() -> Callable[..., SurfaceMesh]:
    """The function `random_surface`."""
    return random_surface


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with 2 and one error without a traceback; return the error."""

    def run(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 2
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("simmesh: error: ")]
        assert len(errors) == 1, err
        assert "Traceback" not in err + out
        return errors[0]

    return run
