"""Check the soft-body physics of a TetMesh: schemas, body, material and its ranges, rest shape, collider."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.io.usd_physics import PHYSICS, PhysicsNames

if TYPE_CHECKING:
    from pipeline.io.usd_check import Findings

RANGES = {
    "youngs_modulus": (0.0, math.inf),
    "poissons_ratio": (-1.0, 0.5),
    "density": (0.0, math.inf),
    "static_friction": (-1e-30, math.inf),
    "dynamic_friction": (-1e-30, math.inf),
}
"""Open intervals of the values of a material."""
_UNSET = {"youngs_modulus": -math.inf, "density": 0.0}
"""Values that leave the choice to the simulator."""


def check_physics(prim: Any, findings: Findings, profiles: Sequence[str], required: bool) -> None:
    """Check a TetMesh under each profile; without any physics it is geometry, an error only if `required`."""
    from pxr import UsdPhysics

    applied = _applied(prim)
    present = [key for key, names in PHYSICS.items() if names.simulation in applied]
    if not present and not required:
        findings.add("info", "no-physics", "a TetMesh without soft-body physics: geometry alone", prim)
        return
    severity = "error" if required else "info"
    for key in profiles:
        if key in present:
            _check_profile(prim, PHYSICS[key], severity, findings)
        else:
            findings.add(severity, "profile-missing", f"{PHYSICS[key].simulation} is not applied", prim)
    if present and not prim.HasAPI(UsdPhysics.CollisionAPI):
        findings.warning("no-collider", "PhysicsCollisionAPI is not applied, which PhysX needs", prim)


def check_bindings(prim: Any, findings: Findings) -> None:
    """Material bindings: the schema that goes with them, and targets that exist."""
    from pxr import UsdShade

    for relationship in prim.GetRelationships():
        if not relationship.GetName().startswith("material:binding") or not relationship.HasAuthoredTargets():
            continue
        if not prim.HasAPI(UsdShade.MaterialBindingAPI):
            findings.error("binding-schema", "a material is bound without MaterialBindingAPI", prim)
        for target in relationship.GetTargets():
            if not prim.GetStage().GetPrimAtPath(target):
                findings.error("dangling-binding", f"bound to {target}, which does not exist", prim)


def _check_profile(prim: Any, names: PhysicsNames, severity: str, findings: Findings) -> None:
    from pxr import UsdPhysics, UsdShade

    ancestors = [prim]
    while ancestors[-1].GetParent() and not ancestors[-1].GetParent().IsPseudoRoot():
        ancestors.append(ancestors[-1].GetParent())
    body = next((p for p in ancestors if names.body in _applied(p)), None)
    if body is None:
        findings.error("no-body", f"no {names.body} on the mesh or above it", prim)
    elif body.HasAPI(UsdPhysics.RigidBodyAPI):
        findings.error("rigid-and-soft", "the body is rigid and deformable at once", body)
    material = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")[0]
    if not material:
        findings.add(severity, "no-material", "no material is bound for physics", prim)
    else:
        _check_material(material.GetPrim(), names, findings)
    masses = [p.GetAttribute(names.mass).Get() for p in ancestors if p.GetAttribute(names.mass)]
    for mass in masses:
        if mass is not None and not 0 <= mass < math.inf:
            findings.error("value-range", f"{names.mass} is {mass:g}", body or prim)
    _check_rest_shape(prim, names, findings)
    for attribute in names.values:
        if prim.GetAttribute(attribute) and prim.GetAttribute(attribute).HasAuthoredValue():
            findings.warning("misplaced-value", f"{attribute} stands on the mesh, not on its material", prim)


def _check_material(material: Any, names: PhysicsNames, findings: Findings) -> None:
    missing = [schema for schema in names.material if schema not in _applied(material)]
    if missing:
        findings.error("no-material-schema", f"{', '.join(missing)} not applied", material)
    values: dict[str, float] = {}
    for attribute, field in names.values.items():
        value = material.GetAttribute(attribute).Get() if material.GetAttribute(attribute) else None
        if value is None or value == _UNSET.get(field):
            if field in ("youngs_modulus", "poissons_ratio"):
                findings.warning("no-value", f"{attribute} is not authored: simulators differ", material)
            continue
        low, high = RANGES[field]
        if not isinstance(value, int | float) or not low < value < high:
            findings.error("value-range", f"{attribute} is {value}, expected {low:g} to {high:g}", material)
            continue
        values[field] = float(value)
    if values.get("dynamic_friction", 0.0) > values.get("static_friction", math.inf):
        findings.warning("friction", "dynamic friction exceeds static friction", material)


def _check_rest_shape(prim: Any, names: PhysicsNames, findings: Findings) -> None:
    """The rest shape has the points and tets of the mesh, and positive volumes."""
    from pxr import UsdGeom

    tet_mesh = UsdGeom.TetMesh(prim)
    rest_points = _array(prim, names.rest_points, np.float64, 3)
    rest_tets = _array(prim, names.rest_tets, np.int64, 4)
    points = np.asarray(tet_mesh.GetPointsAttr().Get() or [], dtype=np.float64).reshape(-1, 3)
    tets = np.asarray(tet_mesh.GetTetVertexIndicesAttr().Get() or [], dtype=np.int64).reshape(-1, 4)
    if rest_tets is not None and not np.array_equal(rest_tets, tets):
        findings.error("rest-tets", f"{names.rest_tets} differs from tetVertexIndices", prim)
    if rest_points is None:
        return
    if not np.isfinite(rest_points).all():
        findings.error("rest-not-finite", f"{names.rest_points} holds NaN or infinity", prim)
    elif len(rest_points) != len(points):
        findings.error(
            "rest-count",
            f"{names.rest_points} holds {len(rest_points):,} points, the mesh {len(points):,}",
            prim,
        )
    elif len(tets) and tets.min() >= 0 and tets.max() < len(rest_points):
        a, b, c, d = (rest_points[tets[:, k]] for k in range(4))
        volume = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)
        left = tet_mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded
        bad = np.flatnonzero((-volume if left else volume) <= 0)
        if len(bad):
            findings.error("rest-inverted", f"{len(bad):,} tets are inverted in the rest shape", prim, bad)


def _array(prim: Any, name: str, dtype: Any, width: int) -> Any:
    value = prim.GetAttribute(name).Get() if prim.GetAttribute(name) else None
    return None if value is None else np.asarray(value, dtype=dtype).reshape(-1, width)


def _applied(prim: Any) -> list[str]:
    """Names of applied schemas, also of those that no plugin registers."""
    return [str(name) for name in prim.GetPrimTypeInfo().GetAppliedAPISchemas()]
