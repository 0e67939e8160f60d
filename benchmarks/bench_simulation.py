"""Time of one implicit step and its parts, beside scipy on the same matrix; CPU seconds, warm.

    python benchmarks/bench_simulation.py [--cells 10 15] [--gradient] [--peer]

One row per box of Kuhn tets that has just landed. "splu" is `scipy.sparse.linalg.splu` with its own ordering
on the matrix of a Newton step: the reference for "direct", which orders blocks and only once. `--peer` adds a
step of Newton's SolverVBD where the package `newton` is installed (float32, ten iterations, not converged).
"""

from __future__ import annotations

import argparse
import time
from itertools import permutations

import numpy as np
import warp as wp
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from sim.energy import Elastic, Gravity, GroundContact
from sim.integrator import ImplicitEuler
from sim.linear_solver import ConjugateGradient, DirectSolver
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.quadratic import discretization_error
from sim.readiness import measure_readiness
from sim.solver import NewtonConfig
from sim.trajectory import Motion


def kuhn_box(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit cube in n^3 cells of six tets."""
    grid = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corner = grid[(grid < n).all(axis=1)]
    tets = []
    for order in permutations(range(3)):
        path = [corner]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        tet = np.stack([p @ [(n + 1) ** 2, n + 1, 1] for p in path], axis=1)
        tets.append(tet[:, [0, 2, 1, 3]] if np.linalg.det(np.eye(3)[list(order)]) < 0 else tet)
    return grid / n, np.concatenate(tets).astype(np.int32)


def cpu_time(run, repeats: int = 3) -> float:
    """Return the smallest CPU time of `run()` [s]."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def measure(cells: int) -> dict[str, float]:
    """Return one row of the table."""
    points, tets = kuhn_box(cells)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6))
    energies = [
        Elastic(model),
        Gravity(model),
        GroundContact(model, d_hat=2e-3, pressure=1.0e5, offset=-1e-3),
    ]
    euler = ImplicitEuler(model, energies, 0.01, NewtonConfig(linear_solver="direct"))
    state = State(points.copy(), np.tile([0.0, 0.0, -1.0], (len(points), 1)))
    state, _ = euler.step(state)
    start = time.process_time()
    _, result = euler.step(state)
    step = time.process_time() - start
    newton = euler.newton
    x = model.to_device(state.positions)
    g = model.to_device(np.zeros_like(points))
    newton.assemble(x)
    newton.gradient(x, g)
    out = wp.zeros_like(g)
    direct, cg = DirectSolver(newton.matrix), ConjugateGradient(newton.matrix)
    matrix = csc_matrix(newton.matrix.to_scipy())
    options = {"SymmetricMode": True}
    return {
        "tets": len(tets),
        "vertices": len(points),
        "step": step,
        "iterations": result.iterations,
        "assemble": cpu_time(lambda: newton.assemble(x)),
        "gradient": cpu_time(lambda: newton.gradient(x, g)),
        "direct": cpu_time(lambda: direct.solve(g, out), 2),
        "cg 1e-8": cpu_time(lambda: cg.solve(g, out, 1e-8), 2),
        "splu mmd": cpu_time(
            lambda: splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options), 1
        ),
        "splu colamd": cpu_time(lambda: splu(matrix), 1),
        "readiness": cpu_time(lambda: measure_readiness(model), 1),
    }


def measure_gradient(cells: int, steps: int = 10) -> dict[str, float]:
    """Return the times of a roll-out with impact, of its gradient, and of a quadratic static solve."""
    points, tets = kuhn_box(cells)
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e6))
    velocities = np.tile([0.0, 0.0, -1.0], (len(points), 1))
    motion = Motion(dt=0.01, steps=steps, ground=-0.01, velocities=velocities)
    start = time.process_time()
    trajectory = motion.run(model)
    forward = time.process_time() - start
    upstream = np.zeros((steps + 1, *points.shape))
    upstream[-1] = 1.0
    backward = cpu_time(lambda: trajectory.backward(upstream), 1)
    return {
        "roll-out": forward,
        "iterations": trajectory.newton_iterations,
        "backward": backward,
        "linear and quadratic sag": cpu_time(lambda: discretization_error(model), 1),
    }


def peer(cells: int) -> float:
    """Return the CPU time of one SolverVBD step of 10 iterations [s], warm."""
    import newton

    points, tets = kuhn_box(cells)
    builder = newton.ModelBuilder(up_axis=newton.Axis.Z)
    material = Material(youngs_modulus=1.0e6)
    builder.add_soft_mesh(
        pos=wp.vec3(0.0, 0.0, 1.0),
        rot=wp.quat_identity(),
        scale=1.0,
        vel=wp.vec3(0.0, 0.0, 0.0),
        vertices=[wp.vec3(*p) for p in points],
        indices=tets.ravel().tolist(),
        density=1000.0,
        k_mu=material.mu,
        k_lambda=material.lam,
        k_damp=0.0,
    )
    builder.color()
    model = builder.finalize(device="cpu")
    solver = newton.solvers.SolverVBD(model, iterations=10, particle_enable_tile_solve=False)
    states, control = [model.state(), model.state()], model.control()
    pipeline = newton.CollisionPipeline(model)
    contacts = pipeline.contacts()

    def step() -> None:
        states[0].clear_forces()
        pipeline.collide(states[0], contacts)
        solver.step(states[0], states[1], control, contacts, 0.01)
        states.reverse()

    step()
    return cpu_time(step, 3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[6, 10, 15])
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--gradient", action="store_true", help="roll-out, its gradient, quadratic tets")
    arguments = parser.parse_args()
    wp.config.quiet = True
    run = measure_gradient if arguments.gradient else measure
    run(2)  # compiles
    for cells in arguments.cells:
        row: dict[str, float] = run(cells)
        if arguments.peer:
            row["newton vbd 10"] = peer(cells)
        print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
