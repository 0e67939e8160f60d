"""Soft bodies by finite elements: materials, energies, solvers, integrators, scenarios. Arrays only.

from sim import Drop, Material, simulate
result = simulate(points, tets, Drop(height=0.2), Material(youngs_modulus=5e5))
"""

from sim.element_error import ElementError, SmallLoad, discretization_error
from sim.errors import SimulationDiverged
from sim.friction import Friction
from sim.material import MATERIAL_NAMES, Material, lame_parameters
from sim.model import SoftBodyModel, State
from sim.modes import Modes, lowest_modes, stable_time_step
from sim.motion import MeshObstacle, Motion, SphereObstacle, join_bodies
from sim.nodal_volume import average_volumes
from sim.obstacles import SphereContact
from sim.quadratic import ELEMENTS, elastic_of, refine_degree, with_element
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
from sim.trajectory import Trajectory, roll_out

__all__ = [
    "ELEMENTS",
    "MATERIAL_NAMES",
    "SCENARIOS",
    "Cantilever",
    "Compress",
    "Drop",
    "ElementError",
    "Friction",
    "Incline",
    "Material",
    "MeshContact",
    "MeshObstacle",
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
    "SmallLoad",
    "SoftBodyModel",
    "SphereContact",
    "SphereObstacle",
    "State",
    "Stretch",
    "SurfaceFriction",
    "Trajectory",
    "Twist",
    "average_volumes",
    "discretization_error",
    "elastic_of",
    "equilibrium_gradient",
    "join_bodies",
    "lame_parameters",
    "lowest_modes",
    "make_scenario",
    "measure_readiness",
    "recover",
    "refine_degree",
    "roll_out",
    "simulate",
    "stable_time_step",
    "with_element",
]
