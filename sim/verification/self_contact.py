"""Self-contact: surfaces that do not cross at the start never do, whatever the step.

    no edge of the surface passes through a triangle of it        exact count in extended precision: 0
    a step that would go three gaps is cut at or before a third of it, and not far before
    what one surface feels, the other feels too: forces sum to zero, and to no turn        1e-10 of the load

Two blocks thrown on each other with steps of 1, 10 and 50 ms, and a fork whose prongs are pressed
together. The count takes every edge against every triangle, by signs of volumes, and shares no code with
the contact.

Source: Li et al. 2020, Incremental Potential Contact, sections 3 and 4; Newton's third law.
"""

from __future__ import annotations

import numpy as np

from sim.energy import DeadLoad, Elastic, Energy, Gravity, GroundContact
from sim.integrator import ImplicitEuler
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.self_contact import SelfContact
from sim.solver import NewtonConfig
from sim.verification.bodies import Floats, Ints, hold, kuhn_box, solve
from sim.verification.study import Row, Study, at_least, at_most, within

STEPS = 12


def count_crossings(positions: Floats, faces: Ints) -> int:
    """Return how many pairs of an edge and a triangle without common vertex cross."""
    x = positions.astype(np.longdouble)
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    e, f = (k.ravel() for k in np.meshgrid(np.arange(len(edges)), np.arange(len(faces)), indexing="ij"))
    a, b, triangle = x[edges[e, 0]], x[edges[e, 1]], x[faces[f]]
    near = (np.minimum(a, b) <= triangle.max(axis=1)).all(axis=1)
    near &= (np.maximum(a, b) >= triangle.min(axis=1)).all(axis=1)
    near &= ~(edges[e][:, :, None] == faces[f][:, None, :]).any(axis=(1, 2))
    a, b, triangle = a[near], b[near], triangle[near]

    def volume(p: Floats, q: Floats, r: Floats, s: Floats) -> Floats:
        return (np.cross(q - p, r - p) * (s - p)).sum(axis=1)

    p, q, r = (triangle[:, k] for k in range(3))
    is_through = volume(p, q, r, a) * volume(p, q, r, b) < 0
    sides = np.stack([volume(a, b, triangle[:, k], triangle[:, (k + 1) % 3]) for k in range(3)])
    return int((is_through & ((sides > 0).all(axis=0) | (sides < 0).all(axis=0))).sum())


def two_blocks(gap: float, turn: float) -> tuple[Floats, Ints]:
    """Return two unit cubes, the second turned about the vertical and `gap` above the first [m]."""
    points, tets = kuhn_box((2, 2, 2))
    c, s = np.cos(turn), np.sin(turn)
    above = 0.8 * points @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T
    above += [0.1, 0.05, 1.0 + gap]
    return np.concatenate([points, above]), np.concatenate([tets, tets + np.int32(len(points))])


def fork() -> tuple[Floats, Ints]:
    """Return a fork of two prongs along x, one above the other."""
    points, tets = kuhn_box((10, 1, 5), (1.0, 0.1, 0.25))
    x, _, z = points[tets].mean(axis=1).T
    tets = tets[~((x > 0.1) & (z > 0.1) & (z < 0.15))]
    used, number = np.unique(tets, return_inverse=True)
    return points[used], number.reshape(-1, 4).astype(np.int32)


def thrown(dt: float) -> tuple[int, float]:
    """Return the crossings of all steps and the smallest gap [m] of a block thrown onto another."""
    points, tets = two_blocks(0.02, 0.5)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5, poissons_ratio=0.3))
    contact = SelfContact(model, d_hat=4e-3, pressure=1.0e4)
    ground = GroundContact(model, d_hat=4e-3, pressure=1.0e4, offset=-5e-3)
    euler = ImplicitEuler(
        model, [Elastic(model), Gravity(model), ground, contact], dt, NewtonConfig(tolerance=1e-5)
    )
    velocities = np.zeros_like(points)
    velocities[len(points) // 2 :] = [0.5, 0.0, -3.0]
    state, crossings, gap = State(points, velocities), 0, np.inf
    for number in range(STEPS):
        state, _ = euler.step(state, number=number)
        crossings += count_crossings(state.positions, model.surface)
        gap = min(gap, contact.gap(state.positions))
    return crossings, gap


def rows() -> list[Row]:
    """Throw, cut a step, press."""
    found = []
    for dt in (1e-3, 1e-2, 5e-2):
        crossings, gap = thrown(dt)
        found.append(within(f"blocks, dt {dt:g} s: crossings in {STEPS} steps", crossings, 0, 0))
        found.append(at_least(f"blocks, dt {dt:g} s: smallest gap [m]", gap, 1e-12))
    points, tets = two_blocks(0.02, 0.0)
    model = SoftBodyModel.from_arrays(points, tets)
    contact = SelfContact(model, d_hat=4e-3, pressure=1.0e4)
    down = np.zeros_like(points)
    down[len(points) // 2 :, 2] = -0.06
    bound = contact.step_bound(model.to_device(points), model.to_device(down))
    found.append(at_most("cut of a step of three gaps, over the step", bound, 1.0 / 3.0))
    found.append(at_least("the same, not far before", bound, 0.2))
    model = SoftBodyModel.from_arrays(*fork(), Material(youngs_modulus=1.0e5, poissons_ratio=0.3))
    X = model.rest_positions
    contact = SelfContact(model, d_hat=2e-3, pressure=1.0e4)
    end = X[:, 0] > 1.0 - 1e-9
    loads = np.zeros_like(X)
    upper, lower = end & (X[:, 2] > 0.125), end & (X[:, 2] < 0.125)
    loads[upper, 2], loads[lower, 2] = -20.0 / upper.sum(), 20.0 / lower.sum()
    energies: list[Energy] = [Elastic(model), DeadLoad(model, loads), contact]
    x = solve(model, energies, hold(X[:, 0] < 1e-9), config=NewtonConfig(tolerance=1e-8))
    out = model.to_device(np.zeros_like(X))
    contact.gradient(model.to_device(x), out)
    force = out.numpy()
    pressed = float(np.abs(force[:, 2]).sum()) / 2.0
    found.append(within("fork: crossings", count_crossings(x, model.surface), 0, 0))
    found.append(at_least("fork: force between the prongs [N], above zero", pressed, 1.0))
    found.append(
        at_most("fork: sum of contact forces / force", np.abs(force.sum(axis=0)).max() / pressed, 1e-10)
    )
    turn = np.abs(np.cross(x, force).sum(axis=0)).max() / pressed
    found.append(at_most("fork: sum of their moments / force [m]", turn, 1e-10))
    return found


STUDY = Study(25, "Self-contact", rows, is_long=True)
