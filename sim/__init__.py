"""Soft bodies by finite elements: materials, energies, solvers, integrators, scenarios. Arrays only.

from sim import Drop, Material, simulate
result = simulate(points, tets, Drop(height=0.2), Material(youngs_modulus=5e5))
"""

from sim.errors import SimulationDiverged
from sim.friction import Friction
from sim.material import MATERIAL_NAMES, Material, lame_parameters
from sim.model import SoftBodyModel, State
from sim.modes import Modes, lowest_modes, stable_time_step
from sim.nodal_volume import average_volumes
from sim.obstacles import SphereContact
from sim.quadratic import discretization_error, elastic_of, refine_degree
from sim.readiness import measure_readiness
from sim.recovery import Recovery, recover
from sim.scenarios import (
    SCENARIOS,
    Cantilever,
    Compress,
    Drop,
    Incline,
    Modal,
    Press,
    Ring,
    ScenarioResult,
    Stretch,
    Twist,
    make_scenario,
)
from sim.self_contact import MeshContact, SelfContact
from sim.sensitivity import ParameterGradient, equilibrium_gradient
from sim.simulate import simulate
from sim.solver import NewtonConfig
from sim.surface_friction import SurfaceFriction
from sim.trajectory import Motion, Trajectory, roll_out

__all__ = [
    "MATERIAL_NAMES",
    "SCENARIOS",
    "Cantilever",
    "Compress",
    "Drop",
    "Friction",
    "Incline",
    "Material",
    "MeshContact",
    "Modal",
    "Modes",
    "Motion",
    "NewtonConfig",
    "ParameterGradient",
    "Press",
    "Recovery",
    "Ring",
    "ScenarioResult",
    "SelfContact",
    "SimulationDiverged",
    "SoftBodyModel",
    "SphereContact",
    "State",
    "Stretch",
    "SurfaceFriction",
    "Trajectory",
    "Twist",
    "average_volumes",
    "discretization_error",
    "elastic_of",
    "equilibrium_gradient",
    "lame_parameters",
    "lowest_modes",
    "make_scenario",
    "measure_readiness",
    "recover",
    "refine_degree",
    "roll_out",
    "simulate",
    "stable_time_step",
]
