"""Names of the physics of a deformable body in OpenUSD, by simulator, and the material that a stage names.

Newton reads the names of the AOUSD proposal, Omni PhysX the same design under its own prefix. Values of a
stage are in its units of length and mass; with s metres and m kilograms per unit

    density [kg/m^3] = d m / s^3        Young's modulus [Pa] = E m / s

Source: AOUSD deformable physics proposal (OpenUSD-proposals 111); OmniPhysics deformable schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PhysicsNames:
    """What one family of simulators calls the parts of a deformable body."""

    body: str
    body_enabled: str
    mass: str
    simulation: str
    rest_points: str
    rest_tets: str
    pose: str
    pose_prefix: str
    material: tuple[str, ...]
    values: dict[str, str]
    """Attribute of the material -> field of `AssetMaterial`."""


PHYSICS = {
    "newton": PhysicsNames(
        body="PhysicsDeformableBodyAPI",
        body_enabled="physics:bodyEnabled",
        mass="physics:mass",
        simulation="PhysicsVolumeDeformableSimAPI",
        rest_points="physics:restShapePoints",
        rest_tets="physics:restTetVertexIndices",
        pose="PhysicsDeformablePoseAPI:default",
        pose_prefix="physics:deformablePose:default",
        material=("PhysicsMaterialAPI", "PhysicsVolumeDeformableMaterialAPI"),
        values={
            "physics:youngsModulus": "youngs_modulus",
            "physics:poissonsRatio": "poissons_ratio",
            "physics:density": "density",
            "physics:staticFriction": "static_friction",
            "physics:dynamicFriction": "dynamic_friction",
        },
    ),
    "omni": PhysicsNames(
        body="OmniPhysicsDeformableBodyAPI",
        body_enabled="omniphysics:deformableBodyEnabled",
        mass="omniphysics:mass",
        simulation="OmniPhysicsVolumeDeformableSimAPI",
        rest_points="omniphysics:restShapePoints",
        rest_tets="omniphysics:restTetVtxIndices",
        pose="OmniPhysicsDeformablePoseAPI:default",
        pose_prefix="deformablePose:default:omniphysics",
        material=("OmniPhysicsBaseMaterialAPI", "OmniPhysicsDeformableMaterialAPI"),
        values={
            "omniphysics:youngsModulus": "youngs_modulus",
            "omniphysics:poissonsRatio": "poissons_ratio",
            "omniphysics:density": "density",
            "omniphysics:dynamicFriction": "dynamic_friction",
        },
    ),
}


def named_material(stage: Any, prim: Any) -> str | None:
    """Say which soft material is bound to a prim, in SI units; None where there is none.

    Args:
        stage: Gives the units.
        prim: With the material, bound for physics or for all purposes.
    """
    from pxr import UsdGeom

    if not _binds(prim):  # the modules for materials take as long to load as a million tets
        return None
    from pxr import UsdShade

    bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")[0]
    if not bound:
        return None
    length = float(UsdGeom.GetStageMetersPerUnit(stage))
    mass = float(stage.GetMetadata("kilogramsPerUnit") or 1.0)
    factors = {"density": mass / length**3, "youngs_modulus": mass / length, "poissons_ratio": 1.0}
    units = {"density": " kg/m^3", "youngs_modulus": " Pa", "poissons_ratio": ""}
    for names in PHYSICS.values():
        found = []
        for attribute, field in names.values.items():
            value = bound.GetPrim().GetAttribute(attribute).Get() if field in factors else None
            if isinstance(value, int | float):
                found.append(f"{field} {value * factors[field]:g}{units[field]}")
        if found:
            return f"{bound.GetPath()}: {', '.join(found)}"
    return None


def _binds(prim: Any) -> bool:
    """Whether a material is bound to a prim, to one above it, or by a collection there."""
    while prim:
        if any(name.startswith("material:binding") for name in prim.GetAuthoredPropertyNames()):
            return True
        prim = prim.GetParent()
    return False
