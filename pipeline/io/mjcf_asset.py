"""Write a MuJoCo scene (MJCF) that drops the asset on a plane.

The scene names the Gmsh file beside it, with the asset's own mass, elasticity and friction:

    asset.xml   plane, light, and one flex of dimension 3 that starts half its height above the plane
    asset.msh   Gmsh 4.1, nodes in one block (written by `pipeline.io.msh`)

Source: MuJoCo XML reference, `flexcomp`; the integrator "discrete" (MuJoCo 4) is its implicit one for flexes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pipeline.errors import OutputError
from pipeline.io.assets import material_of
from pipeline.io.atomic import atomic_path
from pipeline.types import SimReport, TetMesh

TIME_STEP = 0.001
"""[s]"""
CONTACT = f"{4 * TIME_STEP:g} 1"
"""Time constant of contacts [s], damping ratio: small bodies sink in with MuJoCo's own 0.02 s."""
DAMPING = 0.01
"""MuJoCo's own unit of elastic damping [s]; neither the report nor USD has one."""


def write_asset(path: str | Path, mesh: TetMesh, report: SimReport | None, config: Any) -> Path:
    """Write the scene; the mesh (metres, Z up) is in the Gmsh file of the same stem. Raises `OutputError`."""
    path = Path(path)
    material = material_of(report, config)
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    size, height = float((high - low).max()), float(high[2] - low[2])
    radius = 0.01 * height
    mass = float(mesh.volumes.sum()) * material.density
    friction = f"{_number(material.dynamic_friction)} 0.005 0.0001"

    scene = ElementTree.Element("mujoco", model=config.name)
    ElementTree.SubElement(
        scene, "option", timestep=_number(TIME_STEP), integrator="discrete", gravity="0 0 -9.81"
    )
    view = ElementTree.SubElement(scene, "visual")
    ElementTree.SubElement(view, "map", znear="0.01", zfar="50")
    ElementTree.SubElement(
        scene, "statistic", extent=_number(size), center=_numbers([*(0.5 * (low + high))[:2], 0.5 * height])
    )
    world = ElementTree.SubElement(scene, "worldbody")
    ElementTree.SubElement(
        world, "light", pos=_numbers([0, 0, 4 * size + height]), dir="0 0 -1", directional="true"
    )
    ElementTree.SubElement(
        world,
        "geom",
        name="ground",
        type="plane",
        size=_numbers([10 * size, 10 * size, size]),
        friction=friction,
        solref=CONTACT,
    )
    # The point of lowest height starts at half the height of the body, plus the radius of its vertices.
    flex = ElementTree.SubElement(
        world,
        "flexcomp",
        name=config.name,
        dim="3",
        type="gmsh",
        file=path.with_suffix(".msh").name,
        pos=_numbers([0, 0, 0.5 * height + radius - float(low[2])]),
        mass=_number(mass),
        radius=_number(radius),
        dof="full",
    )
    ElementTree.SubElement(
        flex,
        "elasticity",
        young=_number(material.youngs_modulus),
        poisson=_number(material.poissons_ratio),
        damping=_number(DAMPING),
    )
    ElementTree.SubElement(flex, "contact", selfcollide="none", friction=friction, solref=CONTACT)
    ElementTree.indent(scene)
    with atomic_path(path) as part:
        ElementTree.ElementTree(scene).write(part, encoding="utf-8", xml_declaration=True)
        back = ElementTree.parse(part).getroot().find("worldbody/flexcomp")
        if back is None or back.attrib != flex.attrib:
            raise OutputError(f"cannot write {path}: what was written differs from the scene")
    return path


def _number(value: float) -> str:
    return f"{float(value):.17g}"


def _numbers(values: Any) -> str:
    return " ".join(_number(value) for value in np.asarray(values, dtype=np.float64))
