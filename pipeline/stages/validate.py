"""validate: readiness numbers and simulated tests of a tetrahedral mesh, each held against its limit.

The mesh is taken to metres and Z up. `sim.readiness` says what it will cost and where it is fragile, the
scenarios say what happens to it, `pipeline/report_checks.py` says which numbers have a limit. A
scenario that cannot be solved does not stop the stage: its error stands in the report, its last good state
beside it, and its checks fail.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.errors import InvalidMeshError
from pipeline.metrics.tet import quality_summary
from pipeline.report_checks import CHECKS, checks_of
from pipeline.stages.stage import Stage
from pipeline.topology import compact
from pipeline.types import Motion, Obstacle, SimReport, TetMesh
from sim.element_error import ElementError, discretization_error
from sim.errors import SimulationDiverged
from sim.material import Material
from sim.model import SoftBodyModel
from sim.nodal_volume import AVERAGED_MATERIALS
from sim.quadratic import ELEMENTS, QuadraticModel, with_element
from sim.readiness import measure_readiness, structure
from sim.scenarios import ScenarioResult, default_settings, make_scenario, settings_of
from sim.scenarios.error_estimate import ESTIMATES, estimate_errors, estimate_small
from sim.solver import NewtonConfig

log = logging.getLogger("simmesh")

GRAVITY = 9.81
DEFAULT_MODULUS = 1.0e6
DEFAULT_SAG = 0.02


@dataclass
class MaterialConfig:
    """What the body is made of."""

    name: str = "stable_neo_hookean"
    """Energy density: stable_neo_hookean, st_venant_kirchhoff, fixed_corotated or linear."""
    youngs_modulus: float | None = None
    """Stiffness [Pa]. Default: 1e6, or as much more as keeps density * g * height at 2 % of it, so that a
    large body carries itself; the report says which."""
    poissons_ratio: float = 0.4
    """Lateral contraction over axial extension, from 0 to below 0.5."""
    density: float = 1000.0
    """[kg/m^3]."""
    static_friction: float = 0.5
    """Coefficient that is written to the asset; `incline.friction` is that of the simulated ground."""
    dynamic_friction: float = 0.5
    """Coefficient that is written to the asset; `incline.friction` is that of the simulated ground."""

    def __post_init__(self) -> None:
        self.to_material(height=1.0)
        if not 0.0 <= self.dynamic_friction <= self.static_friction < float("inf"):
            raise ValueError(
                "friction: expected 0 <= dynamic_friction <= static_friction, "
                f"got {self.dynamic_friction} and {self.static_friction}"
            )

    def to_material(self, height: float) -> Material:
        """Return the material of a body of that height [m]."""
        modulus = self.youngs_modulus
        if modulus is None:
            modulus = max(DEFAULT_MODULUS, _round_up(self.density * GRAVITY * height / DEFAULT_SAG))
        return Material(self.name, modulus, self.poissons_ratio, self.density)


@dataclass
class ValidateConfig:
    """Material, scenarios and limits of a validation."""

    material: MaterialConfig = field(default_factory=MaterialConfig)
    """What the body is made of."""
    scenarios: dict[str, Any] = field(default_factory=default_settings)
    """Settings of each scenario that runs, by name: drop, stretch, compress, cantilever, twist, press,
    incline, ring, modal; null or a missing name leaves it out."""
    run: list[str] | None = None
    """Names of the scenarios to run, such as [drop,twist]; null runs those that have settings."""
    limits: dict[str, float | None] = field(
        default_factory=lambda: {rule.name: rule.limit for rule in CHECKS}
    )
    """Limit of each check by name; null leaves the check out."""
    solver: NewtonConfig = field(default_factory=NewtonConfig)
    """Newton's tolerance, iterations and linear solver."""
    element: str = "linear"
    """What the tets of the scenarios are: linear; averaged, which do not lock where Poisson's ratio is near
    1/2; or quadratic, at five to thirty times the cost. The readiness numbers are those of linear tets."""
    scenario_errors: str = "none"
    """Run each scenario again to say how wrong its value may be: none, element (with quadratic tets), steps
    (half as many) or both; costs five to thirty times the scenario for element, two thirds for steps."""
    error_estimate: bool = True
    """Say by how much the tets are too stiff: the sag under the own weight, and the values of stretch,
    compress, cantilever, twist and modal, against quadratic tets for small displacements."""

    def __post_init__(self) -> None:
        if self.run is not None:
            self.scenarios, self.run = {name: self.scenarios.get(name) or {} for name in self.run}, None
        if self.element not in ELEMENTS:
            raise ValueError(f"element: expected one of {', '.join(ELEMENTS)}, got {self.element!r}")
        if self.element == "averaged" and self.material.name not in AVERAGED_MATERIALS:
            known = ", ".join(AVERAGED_MATERIALS)
            raise ValueError(f"element: averaged needs a material of {known}, got {self.material.name}")
        if self.scenario_errors not in ESTIMATES:
            known = ", ".join(ESTIMATES)
            raise ValueError(f"scenario_errors: expected one of {known}, got {self.scenario_errors!r}")
        scenarios = {}
        for name, settings in self.scenarios.items():
            if settings is None:
                continue
            given = settings_of(settings) if is_dataclass(settings) else dict(settings)
            scenarios[name] = settings_of(make_scenario(name, given))
        self.scenarios = scenarios
        names = [rule.name for rule in CHECKS]
        for name in self.limits:
            if name not in names:
                raise ValueError(f"limits: unknown check {name!r}; known: {', '.join(names)}")
        self.limits = {rule.name: self.limits.get(rule.name, rule.limit) for rule in CHECKS}


def validate(
    mesh: TetMesh, config: ValidateConfig | None = None, *, context: RunContext | None = None
) -> SimReport:
    """Measure and simulate a mesh.

    Args:
        mesh: In any frame; taken to metres and Z up.

    Raises:
        InvalidMeshError: The mesh has no tets.
        ValueError: A value of the config is out of range.
    """
    config, context = config or ValidateConfig(), context or RunContext()
    if not len(mesh.tets):
        raise InvalidMeshError("tets: the mesh has none; nothing to validate")
    mesh = mesh.in_metres()
    points, tets, _ = compact(mesh.points, mesh.tets)
    loose = len(mesh.points) - len(points)
    context.count("unreferenced_vertices", loose, "vertices that no tet uses, left out of the simulation")
    material = config.material.to_material(float(np.ptp(points[:, 2])))
    model = SoftBodyModel.from_arrays(points, tets, material, device=context.device)
    log.info(
        "material %s: E %.4g Pa%s, nu %g, density %g kg/m^3",
        material.name,
        material.youngs_modulus,
        " (chosen for the size)" if config.material.youngs_modulus is None else "",
        material.poissons_ratio,
        material.density,
    )

    context.record(0, total=1, phase="readiness")
    metrics = _metrics(model, mesh, loose, config)
    model = with_element(model, config.element)
    errors = None
    if config.error_estimate and not isinstance(model, QuadraticModel):
        errors = ElementError(model)
        metrics |= _sag(errors)
    scenarios, motions, states = _scenarios(model, config, errors, context)
    values = {"metrics": metrics, "scenarios": scenarios}
    return SimReport(
        checks=tuple(checks_of(values, config.limits)),
        metrics=metrics,
        scenarios=scenarios,
        material={
            "name": material.name,
            "youngs_modulus": float(material.youngs_modulus),
            "poissons_ratio": float(material.poissons_ratio),
            "density": float(material.density),
            "static_friction": float(config.material.static_friction),
            "dynamic_friction": float(config.material.dynamic_friction),
        },
        motions=motions,
        last_states=states,
    )


def _metrics(model: SoftBodyModel, mesh: TetMesh, loose: int, config: ValidateConfig) -> dict[str, Any]:
    defects = structure(mesh.points, mesh.tets)
    metrics: dict[str, Any] = {
        "mass": model.mass,
        "volume": float(model.volumes.sum()),
        "size": np.ptp(model.rest_positions, axis=0).tolist(),
        "sag_ratio": model.material.density * GRAVITY * float(np.ptp(model.rest_positions[:, 2]))
        / model.material.youngs_modulus,
        "youngs_modulus_chosen_for_size": config.material.youngs_modulus is None,
    }  # fmt: skip
    metrics.update(measure_readiness(model))
    metrics.update(defects)
    metrics["structure_defects"] = sum(defects.values()) - defects["components"]
    modes = metrics["zero_modes"]
    # Parts joined by a vertex or an edge are one body that ought to have six.
    bodies = defects["components"] - defects["hinges"]
    metrics["extra_zero_modes"] = None if modes is None else modes - 6 * bodies
    metrics["quality"] = quality_summary(mesh)
    metrics["element"] = config.element
    return metrics


def _sag(errors: ElementError) -> dict[str, float | None]:
    try:
        return {**discretization_error(errors.model, gravity=GRAVITY, errors=errors)}
    except ArithmeticError as error:
        log.warning("the error of the sag was not found: %s", error)
        return {"sag_error": None}


def _scenarios(
    model: SoftBodyModel, config: ValidateConfig, errors: ElementError | None, context: RunContext
) -> tuple[dict[str, Any], dict[str, Motion], dict[str, dict[str, NDArray[np.float64]]]]:
    """Run every scenario, or take it from the checkpoint of an interrupted run."""
    saved = context.restore()
    # Entries under the name of their scenario, arrays under "scenario.name".
    kept = {} if saved is None else dict(saved[1])
    for number, (name, settings) in enumerate(config.scenarios.items(), start=1):
        if name in kept:
            continue
        entry, arrays = _run(model, name, settings, config, errors, context)
        kept[name] = np.frombuffer(json.dumps(entry).encode(), np.uint8)
        kept |= {f"{name}.{key}": array for key, array in arrays.items()}
        context.checkpoint(number, **kept)
    done, motions, states = {}, {}, {}
    for name in config.scenarios:
        done[name] = json.loads(kept[name].tobytes())
        if f"{name}.times" in kept:
            own = {key.removeprefix(f"{name}."): kept[key] for key in kept if key.startswith(f"{name}.")}
            motions[name] = Motion.from_arrays(own)
        if f"{name}.positions" in kept:
            keys = [key for key in ("positions", "velocities") if f"{name}.{key}" in kept]
            states[name] = {key: kept[f"{name}.{key}"] for key in keys}
    return done, motions, states


def _run(
    model: SoftBodyModel,
    name: str,
    settings: dict[str, Any],
    config: ValidateConfig,
    errors: ElementError | None,
    context: RunContext,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the entry of the report and the arrays to keep: the motion, or the last good state."""

    def record(step: int, total: int | None = None, **values: float) -> None:
        context.record(step, total=total, phase=name, **values)

    entry: dict[str, Any] = {"settings": settings, "status": "done", "results": {}, "series": {}}
    try:
        scenario = make_scenario(name, settings)
        found = scenario.run(model, config.solver, record)
    except SimulationDiverged as error:
        log.warning("scenario %s was not solved: %s; its last good state is kept", name, error)
        inner = {key: float(value) for key, value in error.details.items()}
        return entry | {
            "status": "failed",
            "error": str(error),
            "step": error.step,
            "term": error.term,
            **inner,
        }, {key: array[: model.mesh_vertex_count] for key, array in error.last_state().items()}
    entry |= {"results": found.results, "series": found.series, "worst": found.worst}
    entry |= {"value_name": scenario.value_name, "unit": scenario.unit}
    estimate = {} if errors is None else estimate_small(errors, scenario)
    if config.scenario_errors != "none":
        context.record(0, total=1, phase=f"error of {name}")
        kind = config.scenario_errors
        estimate |= estimate_errors(model, name, settings, found, kind, config.solver)
    if estimate:
        entry["error_estimate"] = estimate
    return entry, _motion(found, model.mesh_vertex_count)


def _motion(found: ScenarioResult, vertex_count: int) -> dict[str, NDArray[Any]]:
    """The kept positions with their times; steps of equilibrium, which have no time, run from 0 to 1."""
    count = len(found.frames)
    if count < 2:
        return {}
    steps = np.asarray(found.series.get("time", [0.0, 1.0]))
    rows = np.linspace(0.0, len(steps) - 1.0, count)
    if "time" in found.series:
        rows = np.round(rows)  # frames are kept evenly spaced in steps
    times = np.interp(rows, np.arange(len(steps)), steps)
    if (np.diff(times) <= 0.0).any():  # more frames than steps: only their order is known
        times = np.linspace(0.0, 1.0, count)
    frames = np.asarray(found.frames, dtype=np.float32)[:, :vertex_count]
    obstacles = {o.name: Obstacle(o.points, o.faces, o.offsets) for o in found.obstacles}
    return Motion(times, frames, obstacles).arrays()


def _round_up(value: float) -> float:
    """Round up to two digits."""
    digit = 10.0 ** (np.floor(np.log10(value)) - 1.0)
    return float(np.ceil(value / digit) * digit)


STAGE = Stage("validate", validate, ValidateConfig, ("sim_mesh",), "sim_report", version=7)
