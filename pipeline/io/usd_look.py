"""Colours and texture of a UsdGeom.Mesh: displayColor, st, and the picture of its material."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.io.geometry import Geometry

_DEPTH = 8
"""Shaders between a surface and its texture that are looked through."""


def read_look(prim: Any, raw: Geometry) -> None:
    """Add the look of a mesh to its geometry; corners are in the order of the prim.

    Values whose number does not fit the mesh are left out and counted.
    """
    from pxr import UsdGeom

    sizes, index = np.asarray(raw.face_sizes), np.asarray(raw.face_vertices)
    primvars = UsdGeom.PrimvarsAPI(prim)
    color = _corner_values(primvars.FindPrimvarWithInheritance("displayColor"), raw, sizes, index, 3)
    if color is not None and len(index) and index.min() >= 0 and index.max() < len(raw.points):
        count = np.maximum(np.bincount(index, minlength=len(raw.points)), 1)
        sums = [np.bincount(index, color[:, k], minlength=len(raw.points)) for k in range(3)]
        # Values per corner meet in a vertex: their mean. Rounding must not spread one colour into many.
        raw.colors = np.stack(sums, axis=1) / count[:, None]
        if (color == color[0]).all():
            raw.colors[:] = color[0]
    places = next((p for p in map(primvars.GetPrimvar, _texture_names(prim)) if p and p.HasValue()), None)
    if places is not None:
        raw.texture_coordinates = _corner_values(places, raw, sizes, index, 2)
        raw.texture = _texture(prim) if raw.texture_coordinates is not None else None


def _corner_values(
    primvar: Any, raw: Geometry, sizes: NDArray[Any], index: NDArray[Any], width: int
) -> NDArray[np.float64] | None:
    """Values of a primvar per corner of the faces, shape (c, width); None where it has none that fit."""
    from pxr import Usd, UsdGeom

    if not primvar or not primvar.HasValue():
        return None
    flat = primvar.ComputeFlattened()
    if flat is None:
        flat = primvar.ComputeFlattened(Usd.TimeCode.EarliestTime())
    values = np.asarray([] if flat is None else flat, dtype=np.float64)
    kind, tokens = primvar.GetInterpolation(), UsdGeom.Tokens
    rows = {
        tokens.constant: (1, np.zeros(len(index), dtype=np.int64)),
        tokens.uniform: (len(sizes), np.repeat(np.arange(len(sizes)), sizes)),
        tokens.vertex: (len(raw.points), index),
        tokens.varying: (len(raw.points), index),
        tokens.faceVarying: (len(index), np.arange(len(index))),
    }
    count, row = rows.get(kind, (-1, index))
    fits = values.shape == (count, width) and sizes.sum() == len(index) and np.isfinite(values).all()
    if not fits or (len(row) and not 0 <= row.min() <= row.max() < count):
        raw.notes.append(("looks_ignored", 1, f"{primvar.GetPrimvarName()} does not fit its mesh, left out"))
        return None
    return values[row]


def _surface_shader(prim: Any) -> Any:
    from pxr import UsdShade

    material = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
    if not material:
        return None
    shader = material.ComputeSurfaceSource()[0]
    return shader or None


def _picture_shader(prim: Any) -> Any:
    """The UsdUVTexture behind the diffuse colour of the prim's material, None where there is none."""
    from pxr import UsdShade

    shader = _surface_shader(prim)
    names = ("diffuseColor", "base_color", "diffuse_texture")
    for _ in range(_DEPTH):
        if shader is None or not shader:
            return None
        if shader.GetIdAttr().Get() == "UsdUVTexture":
            return shader
        inputs = [shader.GetInput(name) for name in (*names, "in", "st") if shader.GetInput(name)]
        sources = [i.GetConnectedSources()[0] for i in inputs if i.HasConnectedSource()]
        shader = UsdShade.Shader(sources[0][0].source.GetPrim()) if sources and sources[0] else None
    return None


def _texture(prim: Any) -> str | None:
    """File of the texture: as USD resolves it, or as it is written."""
    shader = _picture_shader(prim)
    file = shader.GetInput("file") if shader is not None else None
    value = file.Get() if file else None
    return (value.resolvedPath or value.path or None) if value is not None else None


def _texture_names(prim: Any) -> list[str]:
    """Primvars that may hold the texture coordinates: the one that the texture names, then the usual ones."""
    from pxr import UsdShade

    names = []
    shader = _picture_shader(prim)
    st = shader.GetInput("st") if shader is not None else None
    if st and st.HasConnectedSource():
        reader = UsdShade.Shader(st.GetConnectedSources()[0][0].source.GetPrim())
        name = reader.GetInput("varname")
        if name and name.Get():
            names.append(str(name.Get()))
    return list(dict.fromkeys([*names, "st", "st0", "UVMap", "uv", "map1"]))
