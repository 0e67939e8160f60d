"""Meshes that the simulation tests share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import warp as wp

from sim.block_matrix import BlockMatrix
from sim.energy import Elastic
from sim.material import Material
from sim.model import SoftBodyModel
from sim.preconditioners import Preconditioner


def kuhn_box(cells=(2, 2, 2), size=(1.0, 1.0, 1.0), jitter=0.0, seed=0):
    """Return points and tets of a box, six Kuhn tets per cell; `jitter` moves inner vertices, over a cell."""
    cells = np.asarray(cells)
    grid = np.stack(np.meshgrid(*(np.arange(n + 1) for n in cells), indexing="ij"), axis=-1).reshape(-1, 3)
    stride = np.array([(cells[1] + 1) * (cells[2] + 1), cells[2] + 1, 1])
    corner = grid[(grid < cells).all(axis=1)]
    tets = []
    for order in permutations(range(3)):
        path = [corner]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        tet = np.stack([p @ stride for p in path], axis=1)
        is_odd = np.linalg.det(np.eye(3)[list(order)]) < 0
        tets.append(tet[:, [0, 2, 1, 3]] if is_odd else tet)
    inner = ((grid > 0) & (grid < cells)).all(axis=1, keepdims=True)
    noise = jitter * np.random.default_rng(seed).uniform(-1.0, 1.0, grid.shape) * inner
    return (grid + noise) * (np.asarray(size) / cells), np.concatenate(tets).astype(np.int32)


@pytest.fixture
def box() -> Callable:
    """The function `kuhn_box`."""
    return kuhn_box


def random_rotation(seed: int = 0) -> np.ndarray:
    """Return a rotation matrix, uniformly random."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


@pytest.fixture
def rotation() -> np.ndarray:
    """One random rotation matrix."""
    return random_rotation(3)


def least_remainder_slope(loss: Callable[[float], float], derivative: float, steps=(0.04, 0.02)) -> float:
    """Return the smallest slope of |loss(e) - loss(0) - e derivative| over e: two for a right derivative."""
    zero = loss(0.0)
    remainders = np.array([abs(loss(e) - zero - e * derivative) for e in steps])
    return float((np.diff(np.log(remainders)) / np.diff(np.log(steps))).min())


@pytest.fixture
def remainder_slope() -> Callable:
    """The function `least_remainder_slope`."""
    return least_remainder_slope


def count_crossings(positions: np.ndarray, faces: np.ndarray) -> int:
    """Return how many pairs of an edge and a triangle without common vertex cross, by signs of volumes.

    Every edge against every triangle, without tree; what extended precision finds or cannot exclude, as in
    flat faces, is settled in rational arithmetic. No code of what it judges.
    """
    x = positions.astype(np.longdouble)
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    e, f = (k.ravel() for k in np.meshgrid(np.arange(len(edges)), np.arange(len(faces)), indexing="ij"))
    a, b, tri = x[edges[e, 0]], x[edges[e, 1]], x[faces[f]]
    near = (np.minimum(a, b) <= tri.max(axis=1)).all(axis=1)
    near &= (np.maximum(a, b) >= tri.min(axis=1)).all(axis=1)
    near &= ~(edges[e][:, :, None] == faces[f][:, None, :]).any(axis=(1, 2))
    e, f, a, b, tri = e[near], f[near], a[near], b[near], tri[near]

    def volume(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
        return (np.cross(q - p, r - p) * (s - p)).sum(axis=1)

    # A hundred roundings of products of three lengths.
    doubt = 100.0 * np.finfo(np.longdouble).eps * np.ptp(x, axis=0).max() ** 3
    ends = np.stack([volume(*tri.transpose(1, 0, 2), p) for p in (a, b)])
    sides = np.stack([volume(a, b, tri[:, k], tri[:, (k + 1) % 3]) for k in range(3)])
    may = (ends.min(axis=0) <= doubt) & (ends.max(axis=0) >= -doubt)
    may &= (sides >= -doubt).all(axis=0) | (sides <= doubt).all(axis=0)
    return sum(_crosses(positions, edges[e[k]], faces[f[k]]) for k in np.flatnonzero(may))


def _crosses(positions: np.ndarray, edge: np.ndarray, face: np.ndarray) -> bool:
    """Tell exactly whether an edge passes through the inside of a triangle."""
    p, q, *tri = ([Fraction(float(c)) for c in positions[v]] for v in (*edge, *face))

    def volume(a: list, b: list, c: list, d: list) -> Fraction:
        u, v, w = ([r[i] - a[i] for i in range(3)] for r in (b, c, d))
        return sum(u[i] * (v[i - 2] * w[i - 1] - v[i - 1] * w[i - 2]) for i in range(3))

    if volume(*tri, p) * volume(*tri, q) >= 0:
        return False
    sides = [volume(p, q, tri[k], tri[(k + 1) % 3]) for k in range(3)]
    return all(s > 0 for s in sides) or all(s < 0 for s in sides)


@pytest.fixture
def crossings() -> Callable:
    """The function `count_crossings`."""
    return count_crossings


def two_blocks(cells=(1, 1, 1), gap=0.1, seed=0):
    """Return points and tets of two boxes of about unit size, one turned and `gap` above the other."""
    rng = np.random.default_rng(seed)
    below, tets = kuhn_box(cells)
    turn = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    above = 0.8 * below @ turn.T + [0.1, 0.3, 1.0 + gap]
    points = np.concatenate([below, above])
    return points + 0.02 * rng.normal(size=points.shape), np.concatenate([tets, tets + len(below)])


@pytest.fixture
def blocks() -> Callable:
    """The function `two_blocks`."""
    return two_blocks


@pytest.fixture
def system(box: Callable, device: str) -> tuple[SoftBodyModel, BlockMatrix]:
    """Stiffness of a box that is held at the bottom."""
    points, tets = box((3, 3, 3), jitter=0.2)
    model = SoftBodyModel.from_arrays(
        points, tets, Material(youngs_modulus=1.0, poissons_ratio=0.3), device=device
    )
    elastic = Elastic(model)
    rows, columns = elastic.pattern()
    free = np.repeat(points[:, 2:] > 1e-9, 3, axis=1).astype(float)
    matrix = BlockMatrix(len(points), rows, columns, free, device)
    elastic.hessian(model.to_device(points), matrix.blocks)
    matrix.assemble()
    return model, matrix


def negate_lowest(model: SoftBodyModel, matrix: BlockMatrix) -> None:
    """Shift the spectrum so that one eigenvalue is negative and every diagonal block stays definite."""
    free = matrix.free.numpy().ravel() > 0
    lowest = np.linalg.eigvalsh(matrix.to_scipy().toarray()[np.ix_(free, free)])[:2]
    rows, columns = Elastic(model).pattern()
    on_diagonal = np.flatnonzero(rows == columns)
    once = on_diagonal[np.unique(rows[on_diagonal], return_index=True)[1]]
    blocks = matrix.blocks.numpy()
    blocks[once] -= lowest.mean() * np.eye(3)
    matrix.blocks.assign(blocks)
    matrix.assemble()
    values = np.linalg.eigvalsh(matrix.to_scipy().toarray())
    assert (values < 0.0).sum() == 1
    assert np.linalg.eigvalsh(matrix.matrix.values.numpy()[matrix.diagonal.numpy()]).min() > 0.0


@pytest.fixture
def negate() -> Callable:
    """The function `negate_lowest`."""
    return negate_lowest


def matrix_of(preconditioner: Preconditioner, n: int, device: str) -> np.ndarray:
    """Return the matrix of a preconditioner of n block rows, shape (3 n, 3 n)."""
    out = wp.zeros(n, dtype=wp.vec3d, device=device)
    columns = []
    for unit in np.eye(3 * n):
        preconditioner.apply(wp.array(unit.reshape(-1, 3), dtype=wp.vec3d, device=device), out)
        columns.append(out.numpy().ravel().copy())
    return np.stack(columns, axis=1)


@pytest.fixture
def dense_of() -> Callable:
    """The function `matrix_of`."""
    return matrix_of
