"""Soft bodies by finite elements: materials, energies, solvers, integrators, scenarios. Arrays only.

from sim import Drop, Material, simulate
result = simulate(points, tets, Drop(height=0.2), Material(youngs_modulus=5e5))
"""

from sim.errors import SimulationDiverged
from sim.material import MATERIAL_NAMES, Material, lame_parameters
from sim.model import SoftBodyModel, State
from sim.readiness import measure_readiness
from sim.scenario import SCENARIOS, Drop, ScenarioResult, Stretch, make_scenario
from sim.simulate import simulate
from sim.solver import NewtonConfig

__all__ = [
    "MATERIAL_NAMES",
    "SCENARIOS",
    "Drop",
    "Material",
    "NewtonConfig",
    "ScenarioResult",
    "SimulationDiverged",
    "SoftBodyModel",
    "State",
    "Stretch",
    "lame_parameters",
    "make_scenario",
    "measure_readiness",
    "simulate",
]
