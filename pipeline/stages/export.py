"""Export a tetrahedral mesh as an asset that simulators load without losing an element.

The asset is in metres, kilograms and Z up, whatever the input was. What is shipped is what was validated:
the material comes from the report. An asset whose report did not pass is written all the same, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import RunContext
from pipeline.errors import InputError
from pipeline.io import mjcf_asset, npz_asset, usd, usd_asset
from pipeline.io.appearance import transferred, transferred_colors
from pipeline.io.assets import Asset, AssetMaterial, material_of
from pipeline.io.formats import USD_EXTENSIONS, write_surface, write_tets
from pipeline.io.render_mesh import RenderMesh, boundary_render_mesh, embedded_render_mesh
from pipeline.io.usd_animation import write_animation
from pipeline.io.usd_appearance import read_picture
from pipeline.io.usd_physics import PHYSICS
from pipeline.metrics.tet import tet_quality
from pipeline.stages.stage import Stage
from pipeline.topology import boundary_faces, compact
from pipeline.types import METRES, Appearance, PointCloud, SimReport, SurfaceMesh, TetMesh

log = logging.getLogger("simmesh")

__all__ = ["EXPORTERS", "STAGE", "Asset", "ExportConfig", "export"]


@dataclass
class ExportConfig:
    """What to write, under which name, and the material where no report gives one."""

    formats: list[str] = field(default_factory=lambda: ["usd", "msh", "vtu", "npz"])
    """Which files: usd (Newton, Omni PhysX), msh (Gmsh), vtu (ParaView), npz (Newton, NumPy), mujoco (a scene
    and its msh), ply, obj and glb (the boundary with normals); or by target: newton, gmsh, surface."""
    name: str = "asset"
    """Name of the files and of the asset."""
    version: str = "1"
    """Version written into the asset."""
    physics: list[str] = field(default_factory=lambda: ["newton", "omni"])
    """Names for the physics in USD: newton (the AOUSD proposal), omni (Omni PhysX, Isaac Sim)."""
    usd_extension: str = ".usdc"
    """.usdc (binary), .usda (text) or .usdz (package)."""
    render_mesh: bool = True
    """Add the surface as a Mesh for viewers that know no TetMesh."""
    embed_surface: bool = False
    """Let that Mesh be the finer surface that the tets were made of, with the weights that move it."""
    animation: bool = True
    """Beside the USD file, write the validated scenarios as time samples into NAME_animation.usdc."""
    thumbnail: bool = True
    """Draw the USD file's surface into NAME_preview.png and name it as its thumbnail; .usdz holds it."""
    youngs_modulus: float = AssetMaterial.youngs_modulus
    """Stiffness [Pa]; used without a report."""
    poissons_ratio: float = AssetMaterial.poissons_ratio
    """In (-1, 0.5); used without a report."""
    density: float = AssetMaterial.density
    """[kg/m^3]; used without a report."""
    static_friction: float = AssetMaterial.static_friction
    """Used without a report."""
    dynamic_friction: float = AssetMaterial.dynamic_friction
    """At most the static one; used without a report."""

    def __post_init__(self) -> None:
        _known("formats", self.formats, dict.fromkeys([*EXPORTERS, *TARGETS]))
        _known("physics", self.physics, PHYSICS)
        _known("usd_extension", [self.usd_extension], USD_EXTENSIONS)
        if not self.formats:
            raise InputError(f"formats: name at least one of {', '.join(EXPORTERS)}")
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise InputError(f"name: expected a plain file name, got {self.name!r}")
        material_of(None, self)


def export(
    mesh: TetMesh,
    report: SimReport | None = None,
    config: ExportConfig | None = None,
    *,
    surface: SurfaceMesh | None = None,
    point_cloud: PointCloud | None = None,
    folder: str | Path,
    context: RunContext | None = None,
) -> Asset:
    """Write `mesh` into `folder` in every format of the config.

    Args:
        mesh: In any unit and up axis; points that no tet uses are left out and counted.
        report: Of `validate`; gives the material, the motions and whether the asset is ready.
        config: Defaults where None.
        surface: What the mesh was made of, in any unit and up axis; gives colours and texture, and the
            surface to embed.
        point_cloud: What the surface was made of, in any unit and up axis; gives colours where the surface
            has none.
        folder: Made if missing.
        context: Receives counts.

    Raises:
        InputError: The mesh has no tets, or a surface to embed is missing or lies elsewhere.
        OutputError: Tets that invert in single precision, or a file that cannot be written.
    """
    config = config or ExportConfig()
    context = context or RunContext()
    if not len(mesh.tets):
        raise InputError("the mesh has no tets: nothing to export")
    if config.embed_surface and surface is None:
        raise InputError("embed_surface: there is no surface; start from a surface or points, or turn it off")
    mesh = _without_unused_points(mesh.in_metres(), context)
    shown = _render_mesh(mesh, surface, point_cloud, config)
    material = material_of(report, config)
    ready = None if report is None else report.passed
    if ready is False:
        failed = ", ".join(check.name for check in report.checks if not check.passed) if report else ""
        log.warning(
            "the mesh is exported although it is not ready; checks that failed: %s", failed or "none ran"
        )
    paths: dict[str, Path] = {}
    formats = list(dict.fromkeys(key for name in config.formats for key in TARGETS.get(name, (name,))))
    for k, key in enumerate(formats):
        suffix, write = EXPORTERS[key]
        path = Path(folder) / f"{config.name}{config.usd_extension if key == 'usd' else suffix}"
        context.record(k, total=len(formats), phase=f"write {path.name}")
        written = write(path, mesh, report, config, shown, context)
        paths |= written if isinstance(written, dict) else {key: written}
    volume = float(mesh.volumes.sum())
    counts = {
        "points": len(mesh.points),
        "tets": len(mesh.tets),
        "surface_faces": len(boundary_faces(mesh.tets)[0]),
        "labels": 0 if mesh.labels is None else len(np.unique(mesh.labels)),
    }
    return Asset(paths, volume * material.density, volume, counts, asdict(material), ready)


def _render_mesh(
    mesh: TetMesh, surface: SurfaceMesh | None, cloud: PointCloud | None, config: ExportConfig
) -> RenderMesh:
    """The surface to show, in metres and Z up, with the look of the input."""
    if surface is not None and surface.dimension == 3:
        surface = replace(surface, points=surface.frame.to_metres(surface.points), frame=METRES)
        if config.embed_surface:
            return embedded_render_mesh(mesh, surface)
    shown = boundary_render_mesh(mesh)
    look = None if surface is None else transferred(surface, shown.points, shown.faces)
    if look is None and cloud is not None and cloud.colors is not None and cloud.dimension == 3:
        in_metres = replace(cloud, points=cloud.frame.to_metres(cloud.points), normals=None, frame=METRES)
        look = transferred_colors(in_metres, shown.points)
    return replace(shown, appearance=look)


def _write_usd(
    path: Path,
    mesh: TetMesh,
    report: SimReport | None,
    config: ExportConfig,
    shown: RenderMesh,
    context: RunContext,
) -> dict[str, Path]:
    """The asset, what stands beside it, and the animation of the scenarios."""
    render = shown if config.render_mesh else None
    picture = None
    if render is not None and shown.appearance is not None and shown.appearance.texture is not None:
        try:
            picture = read_picture(shown.appearance.texture)
        except InputError as error:
            context.count("textures_left_out", 1, f"textures left out of the asset: {error}")
    paths = usd_asset.write_asset(path, mesh, report, config, render, picture)
    motions = report.motions if report is not None and config.animation else {}
    target = path.with_name(f"{path.stem}_animation.usdc")
    if not motions and target.exists():
        log.warning("%s is of an earlier export and may not fit this asset; remove it", target.name)
    if motions:
        paths["animation"] = write_animation(target, path, mesh, motions, render)
    return paths


def _write_msh(path: Path, mesh: TetMesh, *_: Any) -> Path:
    return write_tets(path, mesh)


def _write_vtu(path: Path, mesh: TetMesh, report: SimReport | None, config: ExportConfig, *_: Any) -> Path:
    """With the quality of each tet, and the material under the names that Newton reads."""
    material = material_of(report, config)
    values = {"k_mu": material.mu, "k_lambda": material.lam, "density": material.density}
    constant = {name: np.full(len(mesh.tets), value) for name, value in values.items()}
    return write_tets(path, mesh, tet_quality(mesh.points, mesh.tets) | constant)


def _write_npz(path: Path, mesh: TetMesh, report: SimReport | None, config: ExportConfig, *_: Any) -> Path:
    return npz_asset.write_asset(path, mesh, report, config)


def _write_mujoco(path: Path, mesh: TetMesh, report: SimReport | None, config: ExportConfig, *_: Any) -> Path:
    return mjcf_asset.write_asset(path, mesh, report, config)


def _write_boundary(
    path: Path, mesh: TetMesh, report: SimReport | None, config: ExportConfig, shown: RenderMesh, *_: Any
) -> Path:
    """With normals, and with the colours of the boundary where it is what is shown."""
    points, faces = usd.boundary_surface(mesh)
    is_shown = shown.vertex is not None and shown.appearance is not None
    look = Appearance(shown.appearance.colors) if is_shown and shown.appearance else None
    return write_surface(path, SurfaceMesh(points, faces, appearance=look), usd.vertex_normals(points, faces))


Exporter = Callable[..., Path | dict[str, Path]]
"""Takes path, mesh, report, config, surface to show and context; several files are told by their keys."""

EXPORTERS: dict[str, tuple[str, Exporter]] = {
    "usd": (".usdc", _write_usd),
    "msh": (".msh", _write_msh),
    "vtu": (".vtu", _write_vtu),
    "npz": (".npz", _write_npz),
    "mujoco": (".xml", _write_mujoco),
    "ply": (".ply", _write_boundary),
    "obj": (".obj", _write_boundary),
    "glb": (".glb", _write_boundary),
}
"""Extension and writer by format; a new format is a line here and a writer that reads back what it wrote."""

TARGETS: dict[str, tuple[str, ...]] = {
    "mujoco": ("mujoco", "msh"),
    "newton": ("npz",),
    "gmsh": ("msh",),
    "surface": ("ply", "obj", "glb"),
}
"""Formats by what they are for, where that is another name or more than one file."""


def _without_unused_points(mesh: TetMesh, context: RunContext) -> TetMesh:
    """Drop points of no tet: a simulator would load them as particles without mass."""
    points, tets, kept = compact(mesh.points, mesh.tets)
    unused = len(mesh.points) - len(kept)
    if not unused:
        return mesh
    context.count("unused_points", unused, "points that no tet uses, left out of the asset")
    creases = mesh.crease_edges
    if creases is not None:
        row = np.full(len(mesh.points), -1, dtype=np.int32)
        row[kept] = np.arange(len(kept), dtype=np.int32)
        creases = row[creases][(row[creases] >= 0).all(axis=1)]
    return replace(mesh, points=points, tets=tets, crease_edges=creases)


def _known(name: str, values: Any, known: Any) -> None:
    unknown = [value for value in values if value not in known]
    if unknown:
        raise InputError(f"{name}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(known)}")


STAGE = Stage(
    name="export",
    function=export,
    config=ExportConfig,
    inputs=("sim_mesh", "sim_report"),
    output="asset",
    version=4,
    optional=("surface_mesh", "point_cloud"),
)
