"""Speed of the simulator beside scikit-fem, scipy's factorisation and Newton's SolverVBD; CPU seconds, warm.

    python benchmarks/bench_sim.py [--static] [--step] [--growth] [--linear] [--precision] [--vbd] [--cap 600]
                                   [--gradient]

Without a flag static, step and growth. The body is a beam of 10,368 tets, 1 by 0.125 by 0.125 m, E = 10 MPa,
nu = 0.3, clamped at one end, under a tenth of its own weight.

    static     linear tets from arrays to displacements, beside assembly and solve of scikit-fem
    step       one converged step of implicit Euler beside `scipy.sparse.linalg.splu` of its own matrix
    growth     the mean of ten steps, factorisations included, of beams of 10,000 to 100,000 tets, and the
               exponent of its growth
    linear     conjugate gradients to 1e-8 under the own weight with each preconditioner, on beams, a cube
               and the bear of the Warp wheel (read by usd-core), at two Poisson ratios
    precision  conjugate gradients in float64 and in float32: time of five steps under the whole weight,
               iterations to the equilibrium under a tenth of it, and how far the two equilibria are apart
    vbd        time until the tip is within 1 % of the static one: ours, and SolverVBD in six settings of
               iterations and dt (float32, damped near the critical value), each stopped at the cap
    gradient   200 steps of a body of 5,000 tets and their gradient: time over the forward time, memory

scikit-fem and newton are used where they are installed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import warp as wp
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from sim.block_matrix import BlockMatrix
from sim.conjugate_gradient import ConjugateGradient
from sim.energy import Elastic, Gravity
from sim.integrator import ImplicitEuler
from sim.linear_solver import make_linear_solver
from sim.material import Material
from sim.model import SoftBodyModel, State
from sim.motion import Motion
from sim.precision import PRECISIONS
from sim.preconditioners import PRECONDITIONERS
from sim.solver import Newton, NewtonConfig
from sim.verification.beam import DENSITY, GRAVITY, LENGTH, MODULUS, SIDE, beam_model, sagged, tip
from sim.verification.bodies import hold, kuhn_box
from sim.verification.cantilever import peer_displacements

CELLS = (48, 6, 6)
SETTINGS = [(iterations, rate) for rate in (120, 600) for iterations in (10, 50, 200)]
"""Iterations and steps per second of SolverVBD."""


def cpu_time(run: Callable[[], object], repeats: int = 3) -> float:
    """Return the smallest CPU time of `run()` [s]."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def solve_static() -> float:
    """Return the tip of the beam, from arrays by one linear solve [m]."""
    model = beam_model(CELLS, 0.3)
    free = hold(model.rest_positions[:, 0] < 1e-9)
    elastic = Elastic(model)
    matrix = BlockMatrix(model.vertex_count, *elastic.pattern(), free, model.device)
    elastic.hessian(model.to_device(model.rest_positions), matrix.blocks)
    matrix.assemble()
    load = free * model.masses[:, None] * np.array([0.0, 0.0, -GRAVITY])
    u = model.to_device(np.zeros_like(load))
    make_linear_solver("auto", matrix).solve(model.to_device(load), u, 1e-8)
    return tip(model, u.numpy())


def static() -> None:
    """Print the static solve beside scikit-fem's."""
    print(f"static: ours {cpu_time(solve_static):.3g} s, tip {solve_static():.7g} m", end="", flush=True)
    try:
        model = beam_model(CELLS, 0.3)
        print(f"; scikit-fem {cpu_time(lambda: peer_displacements(model)):.3g} s,", end=" ")
        print(f"tip {tip(model, peer_displacements(model)):.7g} m")
    except ImportError:
        print("; scikit-fem is not installed")


def falling_step(cells: tuple[int, int, int], solver: str = "auto") -> tuple[ImplicitEuler, State]:
    """Return an integrator and the state of a bending beam before a step."""
    material = Material("stable_neo_hookean", MODULUS, 0.3, DENSITY)
    model = SoftBodyModel.from_arrays(*kuhn_box(cells, (LENGTH, SIDE, SIDE)), material)
    free = hold(model.rest_positions[:, 0] < 1e-9)
    energies = [Elastic(model), Gravity(model)]
    euler = ImplicitEuler(model, energies, 1.0 / 120.0, NewtonConfig(linear_solver=solver), free=free)
    state = State.at_rest(model)
    for _ in range(3):
        state, _ = euler.step(state)
    return euler, state


def step() -> None:
    """Print a step beside factorisations of its matrix."""
    euler, state = falling_step(CELLS)
    seconds = cpu_time(lambda: euler.step(state))
    iterations = euler.step(state)[1].iterations
    euler.newton.assemble(euler.model.to_device(state.positions))
    matrix = csc_matrix(euler.newton.matrix.to_scipy())
    factor = cpu_time(lambda: splu(matrix), 1)
    print(
        f"step: {seconds:.3g} s, {iterations} Newton iterations; splu {factor:.3g} s; "
        f"step over splu {seconds / factor:.2f}",
        flush=True,
    )


def growth() -> None:
    """Print the step of larger and larger beams."""
    rows = []
    for cells in ((48, 6, 6), (72, 9, 9), (104, 13, 13)):
        euler, state = falling_step(cells)

        def swing(euler: ImplicitEuler = euler, state: State = state) -> None:
            for _ in range(10):
                state, _ = euler.step(state)

        tets, seconds = euler.model.tet_count, cpu_time(swing, 1) / 10.0
        rows.append((tets, seconds))
        print(f"growth: {tets} tets, {seconds:.3g} s", flush=True)
    (first, a), (last, b) = rows[0], rows[-1]
    print(f"growth: exponent {np.log(b / a) / np.log(last / first):.2f} from {first} to {last} tets")


def bear() -> tuple[np.ndarray, np.ndarray]:
    """Return points and tets of the bear that comes with Warp."""
    from pxr import Usd, UsdGeom

    path = Path(wp.__file__).parent / "examples" / "assets" / "bear.usd"
    stage = Usd.Stage.Open(str(path))
    for prim in stage.Traverse():
        for attribute in prim.GetAttributes():
            if attribute.GetBaseName() == "tetraIndices":
                tets = np.array(attribute.Get(), dtype=np.int32).reshape(-1, 4)
                return np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get(), dtype=np.float64), tets
    raise ValueError(f"{path}: no tetraIndices")


def standing_system(
    points: np.ndarray, tets: np.ndarray, axis: int, ratio: float
) -> tuple[BlockMatrix, wp.array]:
    """Return stiffness at rest and weight of a body that is held at its low end of an axis."""
    model = SoftBodyModel.from_arrays(points, tets, Material("stable_neo_hookean", MODULUS, ratio, DENSITY))
    height = points[:, axis] - points[:, axis].min()
    free = hold(height <= 0.02 * height.max())
    elastic = Elastic(model)
    matrix = BlockMatrix(model.vertex_count, *elastic.pattern(), free, model.device)
    elastic.hessian(model.to_device(points), matrix.blocks)
    matrix.assemble()
    return matrix, model.to_device(free * model.masses[:, None] * np.array([0.0, 0.0, -GRAVITY]))


def linear() -> None:
    """Print the preconditioners side by side."""
    bodies: dict[str, tuple[Callable, int]] = {
        "beam": (lambda: kuhn_box(CELLS, (LENGTH, SIDE, SIDE)), 0),
        "large beam": (lambda: kuhn_box((96, 12, 12), (LENGTH, SIDE, SIDE)), 0),
        "cube": (lambda: kuhn_box((20, 20, 20), (1.0, 1.0, 1.0)), 2),
        "bear": (bear, 2),
    }
    for name, (body, axis) in bodies.items():
        try:
            points, tets = body()
        except ImportError:
            print(f"linear: {name}: usd-core is not installed")
            continue
        for ratio in (0.3, 0.49):
            matrix, weight = standing_system(points, tets, axis, ratio)
            out = wp.zeros_like(weight)
            for kind in PRECONDITIONERS:
                solver = ConjugateGradient(matrix, kind)
                steps = solver.solve(weight, out, 1e-8)
                seconds = cpu_time(lambda s=solver, b=weight, x=out: s.solve(b, x, 1e-8), 2)
                words = f"{len(tets)} tets, nu {ratio}, {kind}: {steps} iterations, {seconds:.3g} s"
                print(f"linear: {name}, {words}", flush=True)


def precisions() -> None:
    """Print conjugate gradients in float64 and in float32 inside Newton's method."""
    bodies: list[tuple[str, Callable, int]] = [
        ("beam", lambda: kuhn_box(CELLS, (LENGTH, SIDE, SIDE)), 0), ("bear", bear, 2)
    ]  # fmt: skip
    for name, body, axis in bodies:
        points, tets = body()
        height = points[:, axis] - points[:, axis].min()
        free = hold(height <= 0.02 * height.max())
        for ratio in (0.3, 0.49):
            material = Material("stable_neo_hookean", MODULUS, ratio, DENSITY)
            model = SoftBodyModel.from_arrays(points, tets, material)
            tenth = Gravity(model, (0.0, 0.0, -GRAVITY))
            found = []
            for precision in PRECISIONS:
                config = NewtonConfig(1e-9, linear_solver="cg", precision=precision)
                x, result = Newton(model, [Elastic(model), tenth], config, free=free).solve(points)
                found.append(x)
                config = NewtonConfig(linear_solver="cg", precision=precision)
                energies = [Elastic(model), Gravity(model)]
                euler = ImplicitEuler(model, energies, 1.0 / 120.0, config, free=free)
                state, _ = euler.step(State.at_rest(model))
                start = time.process_time()
                for _ in range(5):
                    state, _ = euler.step(state)
                seconds = time.process_time() - start
                print(
                    f"precision: {name}, nu {ratio}, {precision}: five steps {seconds:.3g} s; equilibrium "
                    f"{result.iterations} Newton, {result.linear_iterations} linear iterations",
                    flush=True,
                )
            difference = np.abs(found[1] - found[0]).max() / np.abs(found[0] - points).max()
            print(f"precision: {name}, nu {ratio}: difference over the largest displacement {difference:.1g}")


def vbd_time(iterations: int, rate: int, target: float, cap: float) -> tuple[float, float]:
    """Return the CPU time until the tip stays within 1 % of `target` [s], else inf, and the tip [m]."""
    import newton

    points, tets = kuhn_box(CELLS, (LENGTH, SIDE, SIDE))
    material = Material("stable_neo_hookean", MODULUS, 0.3, DENSITY)
    builder = newton.ModelBuilder(up_axis=newton.Axis.Z, gravity=(0.0, 0.0, -GRAVITY))
    # Damping of the first mode, 2.5 Hz here, near its critical value: E t with t = 2 / w.
    builder.add_soft_mesh(
        pos=wp.vec3(0.0, 0.0, 0.0), rot=wp.quat_identity(), scale=1.0, vel=wp.vec3(0.0, 0.0, 0.0),
        vertices=[wp.vec3(*p) for p in points], indices=tets.ravel().tolist(), density=DENSITY,
        k_mu=material.mu, k_lambda=material.lam, k_damp=0.02,
    )  # fmt: skip
    for vertex in np.flatnonzero(points[:, 0] < 1e-9):
        builder.particle_mass[int(vertex)] = 0.0
    builder.color()
    model = builder.finalize(device="cpu")
    solver = newton.solvers.SolverVBD(model, iterations=iterations, particle_enable_tile_solve=False)
    states, control = [model.state(), model.state()], model.control()
    end = int(np.linalg.norm(points - [LENGTH, SIDE / 2.0, SIDE / 2.0], axis=1).argmin())
    used, good, sunk = 0.0, np.inf, 0.0
    held_since = 0
    for number in range(10**9):
        start = time.process_time()
        states[0].clear_forces()
        solver.step(states[0], states[1], control, None, 1.0 / rate)
        states.reverse()
        used += time.process_time() - start if number > 0 else 0.0  # the first step compiles
        sunk = float(points[end, 2] - states[0].particle_q.numpy()[end, 2])
        is_good = abs(sunk / target - 1.0) <= 0.01
        if is_good and not np.isfinite(good):
            good, held_since = used, number
        if not is_good:
            good = np.inf
        # It stays for a quarter of a second: a quarter of a swing passes through faster.
        if np.isfinite(good) and number - held_since >= rate / 4:
            return good, sunk
        if used > cap or not np.isfinite(sunk):
            return np.inf, sunk
    raise AssertionError


def vbd(cap: float) -> None:
    """Print the time to the static tip, ours and SolverVBD's."""
    model = beam_model(CELLS, 0.3)
    target = tip(model, sagged(model))
    ours = cpu_time(lambda: sagged(model, 1e-4))
    error = abs(tip(model, sagged(model, 1e-4)) / target - 1.0)
    print(f"tip: ours {ours:.3g} s, {100 * error:.3g} % off", flush=True)
    best = np.inf
    for iterations, rate in SETTINGS:
        seconds, sunk = vbd_time(iterations, rate, target, cap)
        best = min(best, seconds)
        words = (
            f"{seconds:.3g} s" if np.isfinite(seconds) else f"not within {cap:g} s, tip {sunk / target:.3g}"
        )
        print(f"tip: SolverVBD {iterations} iterations, dt 1/{rate} s: {words} of the static one", flush=True)
    least = best if np.isfinite(best) else cap
    sign = "" if np.isfinite(best) else "more than "
    print(f"tip: SolverVBD over ours: {sign}{least / ours:.0f}", flush=True)


def gradient() -> None:
    """Print the cost of the gradient of a long roll-out with impact."""
    points, tets = kuhn_box((10, 10, 8), (0.5, 0.5, 0.4))
    model = SoftBodyModel.from_arrays(points, tets, Material(youngs_modulus=1.0e5))
    velocities = np.tile([0.0, 0.0, -1.0], (len(points), 1))
    motion = Motion(dt=0.005, steps=200, ground=-0.01, velocities=velocities)
    Motion(dt=0.005, steps=1, ground=-0.01, velocities=velocities).run(model)
    start = time.process_time()
    trajectory = motion.run(model)
    forward = time.process_time() - start
    upstream = np.zeros((motion.steps + 1, *points.shape))
    upstream[-1] = 1.0
    start = time.process_time()
    trajectory.backward(upstream)
    backward = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0**2
    print(
        f"gradient: {len(tets)} tets, 200 steps, {trajectory.newton_iterations} Newton iterations: forward "
        f"{forward:.3g} s, gradient {backward:.3g} s, {backward / forward:.2f} of it, peak {peak:.2f} GB",
        flush=True,
    )


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("static", "step", "growth", "linear", "precision", "vbd", "gradient")
    for name in names:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--cap", type=float, default=600.0, help="CPU seconds of each setting of SolverVBD")
    arguments = parser.parse_args()
    chosen = [name for name in names if getattr(arguments, name)] or ["static", "step", "growth"]
    wp.config.quiet = True
    runs = dict(zip(names, (static, step, growth, linear, precisions, lambda: vbd(arguments.cap), gradient)))
    for name in chosen:
        runs[name]()


if __name__ == "__main__":
    main()
