"""Check USD files that hold tetrahedral assets, inside the TetMesh prims, where no stock validator looks.

    stage      default prim, units, up axis, one root, sample times
    prims      types of attributes, extents, nesting, normals, material bindings, subsets
    tet mesh   indices, orientation, volumes, duplicates, surface faces, points        (usd_check_tets)
    physics    schemas, material and its ranges, rest shape, collider                  (usd_check_physics)
    core       the validators of OpenUSD itself, where this version ships them

The file is opened in a guarded process: a damaged one is one finding.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.io.artifacts import to_json
from pipeline.io.atomic import atomic_write_text
from pipeline.io.guard import read_guarded
from pipeline.io.usd_left_out import incomplete, other_units

SEVERITIES = ("error", "warning", "info")
LISTED = 10
"""Rows that a finding lists."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing."""

    severity: str
    """error, warning or info."""
    code: str
    """Short name, stable between versions; those of OpenUSD's validators begin with "core:"."""
    message: str
    prim: str = ""
    rows: tuple[int, ...] = ()
    """The first offending tets, points or faces, as the message says."""


@dataclass(frozen=True)
class UsdReport:
    """What the check of one file found."""

    path: Path
    findings: tuple[Finding, ...]
    tet_meshes: tuple[dict[str, Any], ...] = field(default=())
    """Per TetMesh: prim, points, tets, surface_faces, pieces, volume, smallest volume ratio."""

    def passed(self, strict: bool = False) -> bool:
        """No errors; with `strict`, no warnings either."""
        bad = SEVERITIES[: 2 if strict else 1]
        return not any(finding.severity in bad for finding in self.findings)

    def codes(self, *severities: str) -> list[str]:
        """Sorted codes of the findings of these severities, of all where none is given."""
        return sorted({f.code for f in self.findings if not severities or f.severity in severities})


class Findings(list[Finding]):
    """Collects findings; what the parts of the check write into."""

    def add(
        self, severity: str, code: str, message: str, prim: Any = None, rows: Sequence[int] | Any = ()
    ) -> None:
        """Add one finding; `prim` is a prim, its path, or None, and only the first rows are kept."""
        path = "" if prim is None else str(prim.GetPath()) if hasattr(prim, "GetPath") else str(prim)
        self.append(Finding(severity, code, message, path, tuple(int(r) for r in rows[:LISTED])))

    def error(self, code: str, message: str, prim: Any = None, rows: Sequence[int] | Any = ()) -> None:
        self.add("error", code, message, prim, rows)

    def warning(self, code: str, message: str, prim: Any = None, rows: Sequence[int] | Any = ()) -> None:
        self.add("warning", code, message, prim, rows)


def check_usd(
    path: str | Path,
    *,
    profiles: Sequence[str] = ("newton",),
    require_tets: bool = False,
    require_physics: bool = False,
    core: bool = True,
) -> UsdReport:
    """Check a USD file; what is wrong with its content is a finding, not an exception.

    Args:
        path: .usd, .usda, .usdc or .usdz.
        profiles: Names of the physics to expect: "newton", "omni" (the keys of `usd_physics.PHYSICS`).
        require_tets: A stage without TetMesh is an error, not a warning.
        require_physics: A TetMesh without soft-body physics and material is an error.
        core: Run the validators of OpenUSD too, where this version ships them.

    Raises:
        InputError: The file is missing, unreadable or no USD by its extension, or a profile is unknown.
    """
    from pipeline.io.formats import USD_EXTENSIONS
    from pipeline.io.usd_physics import PHYSICS
    from pipeline.io.usd_stage import check_package

    path = Path(path)
    unknown = [profile for profile in profiles if profile not in PHYSICS]
    if unknown:
        raise InputError(f"profiles: unknown {', '.join(unknown)}; known are {', '.join(PHYSICS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix.lower() not in USD_EXTENSIONS:
        raise InputError(f"{path}: no USD file by its extension; known are {', '.join(USD_EXTENSIONS)}")
    arguments = {
        "path": str(path.absolute()),
        "profiles": list(profiles),
        "require_tets": require_tets,
        "require_physics": require_physics,
        "core": core,
    }
    try:
        check_package(path)
        found = read_guarded("pipeline.io.usd_check:inspect_stage", arguments, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (InputError, ValueError) as error:
        return UsdReport(path, (Finding("error", "cannot-open", str(error)),))
    findings = tuple(Finding(**{**item, "rows": tuple(item["rows"])}) for item in found["findings"])
    return UsdReport(path, findings, tuple(found["tet_meshes"]))


def report_json(report: UsdReport, strict: bool = False) -> str:
    """Write the verdict, the findings and the tet meshes as JSON."""
    data = {
        "file": str(report.path),
        "passed": report.passed(strict),
        "strict": strict,
        "findings": [asdict(finding) for finding in report.findings],
        "tet_meshes": list(report.tet_meshes),
    }
    return json.dumps(to_json(data), indent=1, allow_nan=False)


def write_report(path: str | Path, report: UsdReport, strict: bool = False) -> Path:
    """Write `report_json` into a file; raises `OutputError`."""
    return atomic_write_text(path, report_json(report, strict) + "\n")


def report_table(report: UsdReport, strict: bool = False) -> str:
    """Lay a report out as text: a line per finding, errors first, and the verdict."""
    lines = []
    for finding in sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity)):
        rows = f" (first: {', '.join(map(str, finding.rows))})" if finding.rows else ""
        lines.append(f"{finding.severity:8}{finding.code:24}{finding.prim}  {finding.message}{rows}")
    for mesh in report.tet_meshes:
        lines.append(
            f"{mesh['prim']}: {mesh['points']:,} points, {mesh['tets']:,} tets, {mesh['pieces']} pieces, "
            f"volume {mesh['volume']:.6g}"
        )
    counts = [sum(f.severity == s for f in report.findings) for s in SEVERITIES]
    words = ", ".join(f"{n} {s}{'s' * (n != 1)}" for n, s in zip(counts, SEVERITIES[:2]))
    return "\n".join([*lines, f"{'ok' if report.passed(strict) else 'NOT ok'}: {report.path.name}: {words}"])


def inspect_stage(
    path: str, profiles: list[str], require_tets: bool, require_physics: bool, core: bool
) -> dict[str, Any]:
    """Do the work of `check_usd` in this process and return its findings as JSON values.

    Raises:
        InputError: USD cannot open the file.
    """
    from pxr import Tf, Usd, UsdGeom

    from pipeline.io.usd_check_physics import check_bindings, check_physics
    from pipeline.io.usd_check_tets import check_subsets, check_tet_mesh
    from pipeline.io.usd_stage import tf_message

    try:
        stage = Usd.Stage.Open(path)
    except Tf.ErrorException as error:
        raise InputError(f"damaged, or not a USD file: {tf_message(error)}") from error
    findings, meshes = Findings(), []
    _check_stage(stage, findings)
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        _check_types(prim, findings)
        check_bindings(prim, findings)
        if prim.IsA(UsdGeom.Gprim):
            _check_gprim(prim, findings)
        if prim.IsA(UsdGeom.TetMesh):
            summary = check_tet_mesh(prim, findings)
            if summary is not None:
                meshes.append(summary)
            check_physics(prim, findings, profiles, require_physics)
        if prim.IsA(UsdGeom.TetMesh) or prim.IsA(UsdGeom.Mesh):
            check_subsets(prim, findings)
    if not any(prim.IsA(UsdGeom.TetMesh) for prim in stage.Traverse(Usd.TraverseInstanceProxies())):
        findings.add("error" if require_tets else "warning", "no-tet-mesh", "the stage has no TetMesh")
    if core:
        _check_core(stage, findings)
    return {"findings": [asdict(finding) for finding in findings], "tet_meshes": meshes}


def _check_stage(stage: Any, findings: Findings) -> None:
    from pxr import UsdGeom

    root = stage.GetRootLayer().pseudoRoot
    if not stage.GetDefaultPrim():
        findings.error("no-default-prim", "no default prim: the file cannot be referenced")
    if not root.HasInfo("upAxis"):
        findings.error("no-up-axis", "upAxis is not authored; it is read as Y")
    elif str(UsdGeom.GetStageUpAxis(stage)) != "Z":
        findings.add("info", "up-axis", f"upAxis is {UsdGeom.GetStageUpAxis(stage)}; simulators use Z")
    unit = float(UsdGeom.GetStageMetersPerUnit(stage))
    if not root.HasInfo("metersPerUnit"):
        findings.error("no-unit", "metersPerUnit is not authored; it is read as 0.01")
    elif not 0 < unit < np.inf:
        findings.error("bad-unit", f"metersPerUnit is {unit:g}")
    elif abs(unit - 1.0) > 1e-9:
        findings.warning("unit", f"metersPerUnit is {unit:g}; Newton reads the numbers as metres")
    roots = [p for p in stage.GetPseudoRoot().GetChildren() if p.IsDefined() and not p.IsAbstract()]
    if len(roots) > 1:
        findings.warning(
            "several-roots", f"{len(roots)} root prims: a reference brings the default one alone"
        )
    for text in incomplete(stage):
        findings.error("incomplete", text)
    for text in other_units(stage):
        findings.warning("other-unit", text)
    for layer in stage.GetUsedLayers():
        for name in layer.GetCompositionAssetDependencies():
            if Path(name).is_absolute() or name[1:2] == ":":
                findings.warning("absolute-path", f"{name} will not be found on another machine")


def _check_types(prim: Any, findings: Findings) -> None:
    """Attributes of the schema of the prim, authored with another type."""
    definition = prim.GetPrimDefinition()
    for attribute in prim.GetAuthoredAttributes():
        expected = definition.GetSchemaAttributeSpec(attribute.GetName())
        authored = [spec.typeName for spec in attribute.GetPropertyStack() if hasattr(spec, "typeName")]
        if expected and any(kind != expected.typeName for kind in authored):
            findings.error(
                "attribute-type",
                f"{attribute.GetName()} is {authored[0]}, the schema says {expected.typeName}",
                prim,
            )


def _check_gprim(prim: Any, findings: Findings) -> None:
    """Nesting, extent at every sample, normals of meshes that are not subdivided."""
    from pxr import Usd, UsdGeom

    parent = prim.GetParent()
    while parent and not parent.IsPseudoRoot():
        if parent.IsA(UsdGeom.Gprim):
            findings.error("nested-gprim", f"lies below {parent.GetPath()}; make it a sibling", prim)
            break
        parent = parent.GetParent()
    if prim.IsA(UsdGeom.PointBased):
        points = UsdGeom.PointBased(prim).GetPointsAttr()
        samples = points.GetTimeSamples()
        times = [Usd.TimeCode(t) for t in samples]
        if points.Get() is not None:
            times.insert(0, Usd.TimeCode.Default())
        elif samples:
            findings.warning(
                "no-default-points", "points have samples and no default value, which importers read", prim
            )
        for time in times:
            if not _check_extent(prim, time, findings):
                break
        stage = prim.GetStage()
        if samples and not stage.HasAuthoredTimeCodeRange():
            findings.warning("no-time-range", "points move, but the stage has no start and end time", prim)
        if len(samples) > 2 and stage.GetRootLayer().GetFileFormat().formatId == "usda":
            findings.warning("samples-in-text", "many samples in a text file: slow; write .usdc", prim)
    if prim.IsA(UsdGeom.Mesh):
        mesh = UsdGeom.Mesh(prim)
        has_normals = mesh.GetNormalsAttr().HasAuthoredValue() or prim.HasAttribute("primvars:normals")
        if mesh.GetSubdivisionSchemeAttr().Get() == UsdGeom.Tokens.none and not has_normals:
            findings.error("no-normals", "a Mesh without subdivision needs normals", prim)


def _check_extent(prim: Any, time: Any, findings: Findings) -> bool:
    """Compare the extent at a time with the points; returns whether it is right."""
    from pxr import UsdGeom

    points = np.asarray(UsdGeom.PointBased(prim).GetPointsAttr().Get(time) or [], dtype=float).reshape(-1, 3)
    if not len(points) or not np.isfinite(points).all():
        return True
    extent = np.asarray(UsdGeom.Boundable(prim).GetExtentAttr().Get(time) or [], dtype=float)
    when = "" if time.IsDefault() else f" at time {time.GetValue():g}"
    if extent.shape != (2, 3):
        findings.error("no-extent", f"extent is missing{when}", prim)
        return False
    low, high = points.min(axis=0), points.max(axis=0)
    tolerance = 1e-5 * max(float((high - low).max()), 1e-12)
    if (extent[0] > low + tolerance).any() or (extent[1] < high - tolerance).any():
        findings.error("extent-too-small", f"extent does not contain the points{when}", prim)
        return False
    return True


def _check_core(stage: Any, findings: Findings) -> None:
    """The validators of OpenUSD; some versions list validators that they do not ship."""
    from pxr import Tf

    try:
        from pxr import UsdValidation

        validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
        problems = UsdValidation.ValidationContext(validators).Validate(stage)
    except (ImportError, AttributeError, Tf.ErrorException):
        return
    for problem in problems:
        if problem.HasNoError():
            continue
        prims = [site.GetPrim() for site in problem.GetSites() if site.IsPrim()]
        kind = str(problem.GetType()).rsplit(".", 1)[-1]
        severity = {"Error": "error", "Warn": "warning"}.get(kind, "info")
        text = " ".join(problem.GetMessage().split())
        findings.add(severity, f"core:{problem.GetName()}", text, prims[0] if prims else None)
