"""optimize: better tets on the same shape, by smoothing and changes of connectivity that descend one energy.

Three phases of rounds. "quality" heals the mesh while its surface vertices slide on the surface, with an
energy that sharpens from round to round; "fit" lets surface vertices leave the surface so that the faces,
not only the vertices, come close to it; "polish" repeats both with the sharpest energy. No tet ever turns
over, no move or change makes the worst tet around it worse, and the best state is returned.
docs/algorithms/tet_quality.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.errors import InputError, InvalidMeshError
from pipeline.metrics.tet import dihedral_angles, signed_volumes
from pipeline.quality.creases import free_creases
from pipeline.quality.energies import CONTINUATION, ENERGIES, EnergyParameters, matched
from pipeline.quality.fidelity import Deviation, Fidelity, Fit, keep_offsets
from pipeline.quality.insertion import insert_vertices, split_far_faces
from pipeline.quality.interior import fill_hollow
from pipeline.quality.mesh_state import MeshState, make_state
from pipeline.quality.operations import NAMES, Limits, improve_connectivity
from pipeline.quality.reach import Reach
from pipeline.quality.smoothing import smooth
from pipeline.stages.stage import Stage
from pipeline.topology import compact
from pipeline.types import SurfaceMesh, TetMesh
from sim.material import Material
from sim.model import SoftBodyModel
from sim.modes import rest_stiffness
from sim.readiness import conditioning, element_numbers, time_step_numbers

OPERATIONS = (*NAMES, "insertions", "refinements", "interior_splits")

_MEANING = {
    "discarded_rounds": "of connectivity changes: every attempt would have altered the boundary in kind",
    "freed_crease_vertices": "held tets under crease_min_dihedral, and follow the surface alone",
}
"""What is said about counts that are not simply applied changes."""

_TETS_PER_SPLIT = 5
"""Tets that splitting an edge of the boundary adds, about."""

_REACH = 0.1
"""Distance from the surface, over the length of an edge, that a face may get while its vertices slide, unless
some face began farther: chords of a bend have as much."""


@dataclass
class OptimizeConfig:
    """Lengths are relative to the diagonal of the bounding box."""

    rounds: int = 4
    """Rounds of healing: smoothing, then connectivity; the later half also inserts vertices."""
    fit_rounds: int = 6
    """Rounds that fit the boundary to the surface."""
    polish_rounds: int = 3
    """Last rounds with the sharpest energy; the best of them is returned."""
    sweeps: int = 3
    """Smoothing sweeps per round."""
    target_min_dihedral: float = 35.0
    """Smallest dihedral angle [deg] at which a phase may stop early."""
    stall: float = 0.02
    """A phase of healing ends when a round lowers the total energy by less than this share."""
    tolerance: float = 8e-4
    """Distance from the surface that a new boundary face may have, unless the old ones were as far."""
    fit_scale: float = 5e-4
    """Distance from the surface that the fit counts as one unit of energy per face."""
    fit_weight: float = 0.2
    """Weight of fidelity against quality; 0 leaves the boundary vertices on the surface."""
    refine_tolerance: float = 1e-3
    """Distance from the surface above which the fit splits a boundary face."""
    growth: float = 0.1
    """Share of the tets of the input by which the mesh may grow through those splits."""
    star_energy: float = 12.0
    """Energy of the tets around a vertex up to which the fit may raise it."""
    crease_angle: float = 40.0
    """Turn of the surface [deg] from which an edge is a crease, where the mesh names no creases itself."""
    crease_min_dihedral: float = 25.0
    """Smallest dihedral angle [deg] that creases may force on a tet: below it their vertices leave them."""
    energy: str = "dihedral"
    """Quality energy: dihedral, amips or mean_ratio."""
    operations: list[str] = field(default_factory=lambda: list(OPERATIONS))
    """Changes of connectivity that are used; without any, vertices are only moved."""

    def __post_init__(self) -> None:
        for name in ("rounds", "fit_rounds", "polish_rounds", "sweeps"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected an integer >= 0, got {getattr(self, name)!r}")
        for name in ("tolerance", "fit_scale", "star_energy", "refine_tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("fit_weight", "growth", "crease_min_dihedral"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected a number >= 0, got {getattr(self, name)}")
        if not 0 <= self.stall < 1:
            raise ValueError(f"stall: expected a share in [0, 1), got {self.stall}")
        if not 0 < self.target_min_dihedral <= 70.6:
            raise ValueError(
                f"target_min_dihedral: expected 0 to 70.5 [deg] (regular), got {self.target_min_dihedral}"
            )
        if not 0 < self.crease_angle < 180:
            raise ValueError(f"crease_angle: expected 0 to 180 degrees, got {self.crease_angle}")
        if self.energy not in ENERGIES:
            raise ValueError(f"energy: expected one of {', '.join(ENERGIES)}, got {self.energy!r}")
        unknown = sorted(set(self.operations) - set(OPERATIONS))
        if unknown:
            raise ValueError(
                f"operations: expected some of {', '.join(OPERATIONS)}, got {', '.join(unknown)}"
            )


def optimize(
    mesh: TetMesh,
    config: OptimizeConfig | None = None,
    *,
    surface: SurfaceMesh | None = None,
    context: RunContext | None = None,
) -> TetMesh:
    """Improve the tets of a mesh.

    Args:
        mesh: Any tetrahedral mesh; its crease edges stay on their curves, tets keep their region.
        surface: Triangles that the boundary follows; None is the boundary of the mesh.

    Returns:
        A mesh whose smallest dihedral angle is not smaller than before, in the same frame; the tets and also
        the number of vertices may differ.

    Raises:
        InvalidMeshError: The mesh has no tets.
        InputError: `surface` is not made of triangles, or is in another frame.
    """
    config, context = config or OptimizeConfig(), context or RunContext()
    if not len(mesh.tets):
        raise InvalidMeshError("tets: expected at least one, got none")
    if surface is not None and surface.dimension != 3:
        raise InputError(f"surface: expected triangles in 3D, got dimension {surface.dimension}")
    if surface is not None and surface.frame != mesh.frame:
        raise InputError(f"surface: its frame is {surface.frame}, that of the mesh is {mesh.frame}")
    run = _Optimization(mesh, surface, config, context)
    run.run()
    result = run.result()
    context.note(
        "readiness",
        lambda: {
            "before": _readiness(mesh, context.device),
            "after": _readiness(result, context.device),
        },
    )
    return result


def _readiness(mesh: TetMesh, device: str) -> dict[str, Any]:
    """Return what a simulator makes of a mesh; the material (E 1 MPa) is the same for every mesh.

    Exact stable step of symplectic Euler [s], CG iterations under the body's own weight, and inversion margin
    [m]: how far a vertex moves to invert the flattest tet.
    """
    mesh = mesh.in_metres()
    points, tets, _ = compact(mesh.points, mesh.tets)
    model = SoftBodyModel.from_arrays(points, tets, Material(), device=device)
    found = element_numbers(model) | conditioning(model, held=0.05)
    found |= time_step_numbers(model, rest_stiffness(model))
    return {name: found[name] for name in ("explicit_time_step", "cg_iterations", "inversion_margin")}


class _Optimization:
    """One call: the mesh in unit coordinates, the plan of rounds, and the best state so far."""

    def __init__(
        self, mesh: TetMesh, surface: SurfaceMesh | None, config: OptimizeConfig, context: RunContext
    ) -> None:
        self.mesh, self.config, self.context = mesh, config, context
        used = mesh.points[np.unique(mesh.tets)]
        low, high = used.min(axis=0), used.max(axis=0)
        self.center = 0.5 * (low + high)
        self.diagonal = float(np.linalg.norm(high - low))
        target = None
        if surface is not None and len(surface.faces):
            target = self._to_unit(surface.points), surface.faces
        self.state = make_state(
            self._to_unit(mesh.points),
            mesh.tets,
            mesh.labels,
            mesh.crease_edges,
            target,
            config.crease_angle,
            context.device,
        )
        self.fidelity = Fidelity(
            self.state.reference, len(self.state.connectivity.faces), np.random.default_rng(context.seed)
        )
        self.deviation: Deviation | None = None
        start = Reach(self.state, 0.0)
        self.reach = max(config.refine_tolerance, _REACH * start.edge, float(start.gaps.max()))
        self.start_angle = self._smallest_angle()
        self.best = self.state.snapshot()
        self.best_score = -np.inf
        self.step = 0

    def run(self) -> None:
        """Do the rounds that are left."""
        plan = self._plan()
        total = len(plan)
        saved = self.context.restore()
        if saved is not None:
            self._load(*saved)
        elif "interior_splits" in self.config.operations and total:
            fill_hollow(self.state, self._limits())
        while self.step < total:
            phase, parameters, insert = plan[self.step]
            self.state.set_parameters(parameters)
            before = float(self.state.value.sum())
            if phase != "quality":
                free_creases(self.state, self.config.crease_min_dihedral)
            if phase == "quality":
                self._heal(insert)
            else:
                self._fit(insert, refine=phase == "fit" and not insert)
            self.state.compact()
            angle = self._smallest_angle()
            self.step += 1
            self._keep_best(phase, angle)
            values = {"min_dihedral": angle, "energy": float(self.state.value.sum())}
            values |= {"worst": float(self.state.value.max()), "tets": float(len(self.state.tets))}
            if self.deviation is not None:
                values["deviation"] = self.deviation.mean
            self.context.record(self.step, total=total, phase=phase, **values)
            if self._is_over(phase, before, angle, plan):
                while self.step < total and plan[self.step][0] == phase:
                    self.step += 1
            self._save()
        for name, number in self.state.counts.items():
            self.context.count(name, number, f"{name.replace('_', ' ')} {_MEANING.get(name, 'applied')}")

    def _plan(self) -> list[tuple[str, EnergyParameters, bool]]:
        """Return phase, energy and whether vertices are inserted, per round."""
        c = self.config
        wide, sharp, last = (matched(p, c.energy, c.target_min_dihedral) for p in CONTINUATION)
        plan = [
            ("quality", wide if i < c.rounds // 2 else sharp, i >= c.rounds // 2) for i in range(c.rounds)
        ]
        if c.fit_weight > 0:
            plan += [("fit", sharp, i >= c.fit_rounds - 2) for i in range(c.fit_rounds)]
        plan += [("polish", last, i < c.polish_rounds - 1) for i in range(c.polish_rounds)]
        return plan

    def _heal(self, insert: bool) -> None:
        reach = Reach(self.state, self.reach)
        for sweep in range(self.config.sweeps):
            smooth(self.state, threshold=0.0 if sweep == 0 else 0.4, reach=reach)
        self._change(insert)

    def _fit(self, insert: bool, refine: bool) -> None:
        fit: Fit | None = None
        if self.config.fit_weight > 0:
            fit = self.fidelity.fit(self.state, self.config.fit_scale, self.config.fit_weight)
            self.deviation = fit.deviation
        for _ in range(self.config.sweeps):
            pull = None if fit is None else fit.pull(self.state.points)
            smooth(self.state, 0.4, pull, self.config.star_energy)
        keep_offsets(self.state)
        if fit is not None and refine and "refinements" in self.config.operations:
            # The connectivity has not changed since the fit, so its gaps still belong to the faces.
            gaps = np.maximum(fit.gaps, Reach(self.state, 0.0).gaps)
            room = int((1.0 + self.config.growth) * len(self.mesh.tets)) - len(self.state.tets)
            split_far_faces(
                self.state,
                gaps,
                self.config.refine_tolerance,
                room // _TETS_PER_SPLIT,
                self.config.star_energy,
            )
        self._change(insert)

    def _change(self, insert: bool) -> None:
        names = self.config.operations
        if names:
            improve_connectivity(self.state, self._limits())
        if insert and "insertions" in names and insert_vertices(self.state, threshold=2.0):
            improve_connectivity(self.state, self._limits())

    def _limits(self) -> Limits:
        return Limits(self.config.tolerance, operations=tuple(self.config.operations))

    def _is_over(self, phase: str, before: float, angle: float, plan: list) -> bool:
        """Whether the rest of the phase would gain nothing; phases that fit run to their end."""
        if phase != "quality":
            return False
        following = plan[self.step][1] if self.step < len(plan) else None
        if following is not None and following != self.state.parameters:
            return False
        gain = before - float(self.state.value.sum())
        return angle >= self.config.target_min_dihedral or gain < self.config.stall * abs(before)

    def _smallest_angle(self) -> float:
        return float(dihedral_angles(self.state.points, self.state.tets).min())

    def _keep_best(self, phase: str, angle: float) -> None:
        """Keep the state when it is the best of its phase; a later phase always replaces an earlier one."""
        rank = {"quality": 0.0, "fit": 1000.0, "polish": 2000.0}[phase]
        score = rank + min(angle, self.config.target_min_dihedral)
        if angle >= self.start_angle and score >= self.best_score and self._survives_rounding(self.state):
            self.best, self.best_score = self.state.snapshot(), score

    def _survives_rounding(self, state: MeshState) -> bool:
        """Whether every tet has positive volume when the points are rounded to single precision."""
        rounded = self._to_world(state.points).astype(np.float32).astype(np.float64)
        return bool((signed_volumes(rounded, state.tets) > 0).all())

    def _save(self) -> None:
        arrays = {f"state_{k}": v for k, v in self.state.snapshot().items()}
        arrays |= {f"best_{k}": v for k, v in self.best.items()}
        names = sorted(self.state.counts)
        arrays["counts"] = np.array([self.state.counts[n] for n in names], dtype=np.int64)
        arrays["count_names"] = np.array(names, dtype=np.str_)
        arrays["best_score"] = np.array(self.best_score)
        self.context.checkpoint(self.step, **arrays)

    def _load(self, step: int, arrays: dict[str, NDArray]) -> None:
        # Of the round that was saved, so that what its trials taught is kept.
        self.state.parameters = self._plan()[step - 1][1]
        self.state.restore({k[6:]: v for k, v in arrays.items() if k.startswith("state_")})
        self.best = {k[5:]: v for k, v in arrays.items() if k.startswith("best_") and k != "best_score"}
        self.best_score = float(arrays["best_score"])
        names = [str(n) for n in arrays["count_names"]]
        self.state.counts = dict(zip(names, map(int, arrays["counts"]), strict=True))
        self.step = step

    def result(self) -> TetMesh:
        """Return the best state in the frame of the input."""
        self.state.restore(self.best)
        self.state.compact()
        state = self.state
        if not self._survives_rounding(state):
            self.context.count(
                "flat_in_single_precision",
                1,
                "tets lose their volume in single precision: move the mesh to the origin",
            )
        return TetMesh(
            points=self._to_world(state.points),
            tets=state.tets,
            labels=None if self.mesh.labels is None else state.labels,
            crease_edges=state.creases if self.mesh.crease_edges is not None else None,
            frame=self.mesh.frame,
        )

    def _to_unit(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points - self.center) / self.diagonal

    def _to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points * self.diagonal + self.center


STAGE = Stage(
    name="optimize",
    function=optimize,
    config=OptimizeConfig,
    inputs=("tet_mesh",),
    output="sim_mesh",
    version=7,
    optional=("surface_mesh",),
)
