"""Author how the render mesh of an asset looks: colours, texture coordinates, texture, and its thumbnail.

    primvars:displayColor   linear RGB: one for all, or one per vertex
    primvars:st             texture coordinates per corner of a face, equal ones stored once
    /Asset/Materials/Look   UsdPreviewSurface with the texture; only where there is one
    assetInfo:previews      the thumbnail, by USD's AssetPreviewsAPI

Source: UsdPreviewSurface specification; UsdMedia.AssetPreviewsAPI.
"""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.io.render_mesh import RenderMesh
from pipeline.rendering.colormap import to_srgb
from pipeline.rendering.picture import CLAY, draw_surface
from pipeline.rendering.png import encode_png
from pipeline.rendering.scene import Style

LOOK = "/Asset/Materials/Look"
PLAIN = (0.46, 0.73, 0.86)
"""Linear RGB where the input has no colours."""
THUMBNAIL_SIZE = (512, 512)
PICTURES = (".png", ".jpg", ".jpeg", ".exr", ".avif", ".hdr", ".tga", ".bmp", ".webp", ".tif", ".tiff")
MAX_PICTURE = 1 << 28
"""Largest texture that is copied [byte]."""


@dataclass(frozen=True)
class Picture:
    """A texture, as it is stored."""

    suffix: str
    """Extension with its dot."""
    data: bytes


def author_appearance(render: Any, shown: RenderMesh, texture: str | None) -> None:
    """Author colours and texture coordinates of a UsdGeom.Mesh, and its material where there is a texture.

    Args:
        render: The mesh, with the vertices and faces of `shown`.
        shown: Gives the appearance.
        texture: File of the picture, relative to the stage; None for none.
    """
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    look = shown.appearance
    colors = None if look is None else look.colors
    attribute = render.CreateDisplayColorAttr()
    if colors is None or not len(colors):
        attribute.Set([PLAIN])
    elif (colors == colors[0]).all():
        attribute.Set([tuple(float(c) for c in colors[0])])
    else:
        attribute.Set(Vt.Vec3fArray.FromNumpy(colors.astype(np.float32)))
        UsdGeom.Primvar(attribute).SetInterpolation(UsdGeom.Tokens.vertex)
    if look is None or look.texture_coordinates is None:
        return
    corners = look.texture_coordinates.reshape(-1, 2).astype(np.float32)
    values, index = np.unique(corners, axis=0, return_inverse=True)
    st = UsdGeom.PrimvarsAPI(render).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(values)))
    st.SetIndices(Vt.IntArray.FromNumpy(index.reshape(-1).astype(np.int32)))
    if texture is not None:
        material = _textured_material(render.GetPrim().GetStage(), texture)
        UsdShade.MaterialBindingAPI.Apply(render.GetPrim()).Bind(material)


def author_thumbnail(root: Any, file: str) -> None:
    """Name the thumbnail of the asset in its assetInfo."""
    from pxr import Sdf, UsdMedia

    previews = UsdMedia.AssetPreviewsAPI.Apply(root)
    previews.SetDefaultThumbnails(UsdMedia.AssetPreviewsAPI.Thumbnails(defaultImage=Sdf.AssetPath(file)))


def thumbnail(shown: RenderMesh) -> bytes:
    """Draw the surface as PNG, on a transparent ground."""
    look = shown.appearance
    colors: Any = CLAY
    if look is not None and look.colors is not None:
        colors = to_srgb(look.colors)[shown.faces].mean(axis=1)
    edges = 0.4 * min(1.0, float(np.sqrt(6000 / max(len(shown.faces), 1))))
    style = Style(edges=edges, smooth=True)
    pixels = draw_surface(shown.points, shown.faces, colors=colors, size=THUMBNAIL_SIZE, style=style)
    return encode_png(pixels)


def read_picture(texture: str) -> Picture:
    """Read the texture that an appearance names, from a file or out of a package (package[file]).

    Raises:
        InputError: It is missing, too large, or of a kind that USD viewers do not show.
    """
    inside = re.fullmatch(r"(.*\.(?:usdz|glb))\[([^\[\]]+)\]", texture, flags=re.IGNORECASE)
    try:
        if inside is None:
            path = Path(texture)
            if path.stat().st_size > MAX_PICTURE:
                raise InputError(f"texture {path.name}: larger than {MAX_PICTURE >> 20} MiB")
            data, suffix = path.read_bytes(), path.suffix.lower()
        elif inside[1].lower().endswith(".usdz"):
            with zipfile.ZipFile(inside[1], metadata_encoding="utf-8") as package:  # USD does not mark it
                if package.getinfo(inside[2]).file_size > MAX_PICTURE:
                    raise InputError(f"texture {inside[2]}: larger than {MAX_PICTURE >> 20} MiB")
                data, suffix = package.read(inside[2]), Path(inside[2]).suffix.lower()
        else:
            from pipeline.io.glb import image_of

            data, suffix = image_of(Path(inside[1]), int(inside[2]))
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise InputError(f"texture {Path(texture).name}: cannot be read: {error}") from error
    if suffix not in PICTURES:
        raise InputError(f"texture {Path(texture).name}: {suffix or 'no extension'} is not a picture for USD")
    return Picture(suffix, data)


def _textured_material(stage: Any, texture: str) -> Any:
    """A material that shows a picture by the texture coordinates "st"."""
    from pxr import Sdf, UsdShade

    kinds = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, LOOK)
    surface = UsdShade.Shader.Define(stage, f"{LOOK}/Surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", kinds.Float).Set(0.6)
    reader = UsdShade.Shader.Define(stage, f"{LOOK}/Coordinates")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set("st")
    picture = UsdShade.Shader.Define(stage, f"{LOOK}/Texture")
    picture.CreateIdAttr("UsdUVTexture")
    picture.CreateInput("file", kinds.Asset).Set(Sdf.AssetPath(texture))
    picture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB")
    for wrap in ("wrapS", "wrapT"):
        picture.CreateInput(wrap, kinds.Token).Set("repeat")
    coordinates = reader.CreateOutput("result", kinds.Float2)
    picture.CreateInput("st", kinds.Float2).ConnectToSource(coordinates)
    color = picture.CreateOutput("rgb", kinds.Float3)
    surface.CreateInput("diffuseColor", kinds.Color3f).ConnectToSource(color)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", kinds.Token))
    return material
