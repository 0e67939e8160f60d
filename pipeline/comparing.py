"""Gather what `simmesh compare` puts side by side: runs, meshes of any origin, a mesh by another program."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import RunContext, log
from pipeline.errors import InputError, InvalidMeshError
from pipeline.io.formats import states_unit
from pipeline.io.report_contents import Contents, collect
from pipeline.io.tet_repair import MESSAGES, repair_tets
from pipeline.metrics.baseline import measure
from pipeline.metrics.side_by_side import Subject
from pipeline.source import InputConfig, kind_of, locate, read_geometry
from pipeline.stages.validate import MaterialConfig, ValidateConfig, validate
from pipeline.topology import boundary_faces, compact, simplex_edges
from pipeline.types import SimReport, SurfaceMesh, TetMesh

_COUNT_TRIES, _COUNT_NEAR = 3, 0.25
"""How often another program is asked again for a size nearer to ours, and how near is near enough."""


def gather(
    paths: Sequence[str],
    config: ValidateConfig,
    given: InputConfig,
    *,
    peer: str | None = None,
    context: RunContext | None = None,
) -> list[Subject]:
    """Read and measure every mesh.

    Args:
        paths: Run folders, or files with tets.
        config: Material and scenarios for the meshes that were not validated by a run.
        given: Unit and axis of files that keep none; prim and repair.
        peer: Name of a program in `PEERS` that makes one more mesh, of the surface of the first path.
        context: Receives progress.

    Raises:
        InputError: A path holds no tets, there is nothing to compare, or the peer is not installed.
    """
    if len(paths) + (peer is not None) < 2:
        raise InputError("compare takes at least two meshes or run folders (or one, with --peer)")
    context = context or RunContext()
    if peer is not None:
        _check_peer(peer)
    places = [Path(p).expanduser() if Path(p).expanduser().is_dir() else locate(p) for p in paths]
    runs = {path: collect(path) for path in places if path.is_dir()}
    config = _as_validated(config, [c.report for c in runs.values() if c.report is not None])
    subjects = []
    for name, path in zip(_names(places), places):
        log.info("%s", name)
        if path in runs:
            subjects.append(_of_run(name, runs[path], config, context))
        else:
            subjects.append(_of_file(name, path, config, given, context))
    if peer is not None:
        log.info("%s", peer)
        surface = _surface(runs.get(places[0]), subjects[0])
        subjects.append(_by_peer(peer, surface, subjects[0].mesh, config, context))
    return subjects


def _as_validated(config: ValidateConfig, reports: Sequence[SimReport]) -> ValidateConfig:
    """Let meshes without a report be of the material of the runs beside them, unless one was asked for."""
    if not reports or config.material != MaterialConfig():
        return config
    known = {f.name for f in fields(MaterialConfig)}
    found = {key: value for key, value in reports[0].material.items() if key in known}
    if any(report.material != reports[0].material for report in reports):
        log.warning("the runs were validated with different materials: readiness and tests are not alike")
    return replace(config, material=MaterialConfig(**found))


def _of_file(
    name: str, path: Path, config: ValidateConfig, given: InputConfig, context: RunContext
) -> Subject:
    reader = RunContext()
    asked = given if not states_unit(path) else replace(given, unit=None, up=None)
    notes = []
    try:
        data = read_geometry(path, asked, reader)
    except InvalidMeshError as error:
        notes.append(f"as it is, no valid mesh ({error}); repaired")
        data = read_geometry(path, replace(asked, repair=True), reader)
    if not isinstance(data, TetMesh):
        raise InputError(f"{path} is a {kind_of(data)}; compare takes tetrahedral meshes and run folders")
    notes += [f"{count:,} {what.replace('_', ' ')}" for what, count in reader.counts.items()]
    return _validated(name, data, config, context, notes=tuple(notes))


def _of_run(name: str, contents: Contents, config: ValidateConfig, context: RunContext) -> Subject:
    folder = contents.folder
    if not contents.manifest:
        raise InputError(f"{folder} is no run folder: it has no readable manifest.json; give a mesh or a run")
    kind = "sim_mesh" if contents.geometry("sim_mesh") is not None else "tet_mesh"
    mesh = contents.geometry(kind)
    if not isinstance(mesh, TetMesh):
        why = "; ".join(contents.problems)
        raise InputError(f"{folder}: the run has no tets yet{f' ({why})' if why else ''}; let it end first")
    seconds = _seconds(contents)
    if contents.report is None:
        return _validated(name, mesh, config, context, seconds=seconds)
    mesh = mesh.in_metres()
    return Subject(name, mesh, contents.report, measure(mesh, contents.report), seconds)


def _seconds(contents: Contents) -> dict[str, float]:
    found = {stage: entry.get("seconds") for stage, entry in contents.stages.items()}
    return {stage: float(value) for stage, value in found.items() if isinstance(value, int | float)}


def _validated(
    name: str,
    mesh: TetMesh,
    config: ValidateConfig,
    context: RunContext,
    seconds: dict[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Subject:
    report = validate(mesh, config, context=context)
    mesh = mesh.in_metres()
    return Subject(name, mesh, report, measure(mesh, report), seconds or {}, notes)


# --- other programs


def _pytetwild(surface: SurfaceMesh, edge: float) -> tuple[Any, Any]:
    import pytetwild

    return pytetwild.tetrahedralize(
        surface.points, surface.faces.astype(np.int32), edge_length_abs=edge, quiet=True
    )


PEERS: dict[str, Callable[[SurfaceMesh, float], tuple[Any, Any]]] = {"pytetwild": _pytetwild}
"""Other programs by name: surface in metres, length of edges [m] -> points (n, 3), tets (t, 4)."""


def _check_peer(peer: str) -> None:
    import importlib.util

    if peer not in PEERS:
        raise InputError(f"--peer {peer}: unknown; known are {', '.join(PEERS)}")
    if importlib.util.find_spec(peer) is None:
        raise InputError(f'--peer {peer}: it is not installed; pip install "simmesh[baselines]"')


def _by_peer(
    peer: str, surface: SurfaceMesh, ours: TetMesh, config: ValidateConfig, context: RunContext
) -> Subject:
    """Let another program mesh the surface with about as many tets: the length of edges is searched."""
    edges = simplex_edges(ours.tets)[0]
    edge = float(np.linalg.norm(ours.points[edges[:, 0]] - ours.points[edges[:, 1]], axis=1).mean())
    best, notes, best_seconds, off = None, {}, 0.0, np.inf
    for _ in range(_COUNT_TRIES):
        start = time.monotonic()
        points, tets = PEERS[peer](surface, edge)
        seconds = time.monotonic() - start
        mesh, counts = repair_tets(points, tets)
        ratio = len(mesh.tets) / len(ours.tets)
        if abs(np.log(ratio)) < off:
            best, notes, best_seconds, off = mesh, counts, seconds, abs(np.log(ratio))
        if abs(ratio - 1.0) <= _COUNT_NEAR:
            break
        edge *= ratio ** (1.0 / 3.0)
    assert best is not None
    words = [f"{count:,} {MESSAGES[name]}" for name, count in notes.items()]
    told = (f"made by {peer} of the same surface", *words)
    return _validated(peer, best, config, context, {"tetrahedralize": best_seconds}, told)


def _surface(run: Contents | None, subject: Subject) -> SurfaceMesh:
    """The surface that the tets of a run were made of; of a file, the boundary of its tets. In metres."""
    found = None if run is None else run.geometry("surface_mesh")
    if isinstance(found, SurfaceMesh):
        return SurfaceMesh(found.frame.to_metres(found.points), found.faces)
    points, faces, _ = compact(subject.mesh.points, boundary_faces(subject.mesh.tets)[0])
    return SurfaceMesh(points, faces)


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names: the last part of each path, and as much before it as tells them apart."""
    parts = [path.absolute() for path in paths]
    short = [p.name if p.is_dir() else p.stem for p in parts]
    if len(set(short)) < len(short):
        short = [f"{p.parent.name}/{p.name}" for p in parts]
    return short if len(set(short)) == len(short) else [f"{k + 1}: {name}" for k, name in enumerate(short)]
