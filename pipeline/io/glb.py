"""glTF 2.0 in one binary file (.glb): surfaces for viewers, metres and Y up as the format defines.

Written: one mesh, positions and normals in single precision. Read: triangles of all nodes with their
transforms, from the file alone; vertices that were split at seams for viewers are welded again.
Everything in the file is checked against its size before memory is taken.

Source: Khronos glTF 2.0 specification, sections 3.6 (buffers, accessors) and 4.4 (GLB).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry, vertex_colors
from pipeline.io.stl import weld
from pipeline.types import Frame, SurfaceMesh

FRAME = Frame(1.0, "y")
_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES = 4
_MAX_DEPTH = 100


def write_glb(path: Path, mesh: SurfaceMesh, normals: NDArray[np.float64] | None = None) -> None:
    """Write a surface whose frame is `FRAME`, with normals (n, 3) where given."""
    position = mesh.points.astype("<f4")
    index = mesh.faces.astype("<u4").ravel()
    blocks: list[tuple[NDArray[Any], dict[str, Any], int]] = [
        (
            position,
            {
                "componentType": 5126,
                "count": len(position),
                "type": "VEC3",
                "min": position.min(axis=0).tolist(),
                "max": position.max(axis=0).tolist(),
            },
            34962,
        )
    ]
    attributes = {"POSITION": 0}
    if normals is not None:
        attributes["NORMAL"] = 1
        vectors = normals.astype("<f4")
        blocks.append((vectors, {"componentType": 5126, "count": len(vectors), "type": "VEC3"}, 34962))
    colors = vertex_colors(mesh)
    if colors is not None:
        attributes["COLOR_0"] = len(blocks)
        values = np.clip(colors, 0.0, 1.0).astype("<f4")
        blocks.append((values, {"componentType": 5126, "count": len(values), "type": "VEC3"}, 34962))
    blocks.append((index, {"componentType": 5125, "count": len(index), "type": "SCALAR"}, 34963))
    views, accessors, start = [], [], 0
    for k, (array, accessor, target) in enumerate(blocks):
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": k, **accessor})
        start += array.nbytes
    primitive = {"attributes": attributes, "indices": len(blocks) - 1, "mode": _TRIANGLES, "material": 0}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "simmesh"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "surface"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [
            {"pbrMetallicRoughness": {"baseColorFactor": [0.46, 0.73, 0.86, 1.0], "metallicFactor": 0.0}}
        ],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": start}],
    }
    if colors is not None:  # they are multiplied with the colour of the material
        document["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0}}]
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    with open(path, "wb") as file:
        file.write(struct.pack("<III", _MAGIC, 2, 12 + 8 + len(text) + 8 + start))
        file.write(struct.pack("<II", len(text), _JSON) + text)
        file.write(struct.pack("<II", start, _BINARY))
        for array, _, _ in blocks:
            file.write(array.tobytes())


def read_glb(path: Path) -> Geometry:
    """Read the triangles of the default scene, in metres and Y up.

    Raises:
        InputError: Not GLB, compressed, external buffers, or parts outside the file.
    """
    document, binary = _chunks(path.read_bytes())
    required = document.get("extensionsRequired", [])
    if required:
        raise InputError(
            f"needs the glTF extensions {', '.join(map(str, required))}, which are not read; "
            "write it without compression"
        )
    points, faces, skipped, offset = [], [], 0, 0
    colors: list[Any] = []
    places: list[Any] = []
    textures: list[str | None] = []
    for mesh, matrix in _placed_meshes(document):
        for primitive in mesh.get("primitives", []):
            if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
                skipped += 1
                continue
            position = _accessor(document, binary, primitive["attributes"]["POSITION"], 3)
            corner = (
                _accessor(document, binary, primitive["indices"], 1).ravel().astype(np.int64)
                if "indices" in primitive
                else np.arange(len(position))
            )
            if len(corner) % 3:
                raise InputError(f"{len(corner):,} indices do not make triangles")
            if len(corner) and corner.max() >= len(position):
                raise InputError(f"faces: an index is outside 0..{len(position) - 1}; the file is damaged")
            world = position.astype(np.float64)
            if not np.array_equal(matrix, np.eye(4)):
                world = world @ matrix[:3, :3].T + matrix[:3, 3]
            triangles = corner.reshape(-1, 3)
            if np.linalg.det(matrix[:3, :3]) < 0:
                triangles = triangles[:, ::-1]
            points.append(world)
            faces.append(triangles + offset)
            colors.append(_vertex_values(document, binary, primitive, "COLOR_0", len(position)))
            place = _vertex_values(document, binary, primitive, "TEXCOORD_0", len(position))
            # glTF counts from the upper left of a picture.
            places.append(None if place is None else (place * [1, -1] + [0, 1])[triangles.ravel()])
            textures.append(_texture(document, primitive, path))
            offset += len(world)
    if not points or not sum(map(len, faces)):
        raise InputError("no usable geometry: no triangles")
    have_colors = all(part is not None for part in colors)
    raw = _welded(
        np.concatenate(points), np.concatenate(faces), np.concatenate(colors) if have_colors else None
    )
    raw.frame = FRAME
    if all(part is not None for part in places):
        raw.texture_coordinates, raw.texture = np.concatenate(places), textures[0]
        more = len({name for name in textures if name}) - 1
        raw.notes.append(("textures_ignored", max(more, 0), "textures besides the first one, not read"))
    raw.notes.append(("primitives_ignored", skipped, "lines, points or strips, not read"))
    raw.notes += _left_out(document)
    return raw


def _left_out(document: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Notes on what a viewer shows and is not read, or not as it is shown."""
    nodes, meshes = document.get("nodes", []), document.get("meshes", [])
    scenes = len(document.get("scenes", []))
    instanced = sum("EXT_mesh_gpu_instancing" in node.get("extensions", {}) for node in nodes)
    morphed = sum(any("targets" in part for part in mesh.get("primitives", [])) for mesh in meshes)
    return [
        ("scenes_ignored", max(scenes - 1, 0), "scenes besides the default one, not read"),
        ("instances_ignored", instanced, "nodes with instances of an extension: each read once"),
        (
            "skins_ignored",
            sum("skin" in node for node in nodes),
            "nodes with a skeleton: read in their bind pose",
        ),
        ("morphs_ignored", morphed, "meshes with morph targets: read as they are before them"),
        ("animations_ignored", len(document.get("animations", [])), "animations: nodes are read at rest"),
    ]


def image_of(path: Path, index: int) -> tuple[bytes, str]:
    """Return an image that is stored in the file, and its extension.

    Raises:
        InputError: Not GLB, or the image lies in another file.
        ValueError: No such image.
    """
    document, binary = _chunks(path.read_bytes())
    images = document.get("images", [])
    if not 0 <= index < len(images) or "bufferView" not in images[index]:
        raise ValueError(f"the file holds no image {index}")
    view = document["bufferViews"][images[index]["bufferView"]]
    start, size = int(view.get("byteOffset", 0)), int(view["byteLength"])
    if start < 0 or size < 0 or start + size > len(binary):
        raise ValueError(f"image {index} is longer than the file")
    suffix = {"image/png": ".png", "image/jpeg": ".jpg"}.get(images[index].get("mimeType", ""), "")
    return binary[start : start + size], suffix


def _vertex_values(
    document: dict[str, Any], binary: bytes, primitive: dict[str, Any], name: str, count: int
) -> NDArray[np.float64] | None:
    """Colours (count, 3), linear, or texture coordinates (count, 2); None where the primitive has none."""
    index = primitive["attributes"].get(name)
    if index is None:
        return None
    width = _WIDTHS[document["accessors"][index]["type"]]
    values = np.asarray(_accessor(document, binary, index, width), dtype=np.float64)
    wanted = 3 if name.startswith("COLOR") else 2
    return values[:, :wanted] if values.shape[0] == count and width >= wanted else None


def _texture(document: dict[str, Any], primitive: dict[str, Any], path: Path) -> str | None:
    """Picture of the base colour: a file beside, or an image inside as path[index]."""
    try:
        material = document["materials"][primitive["material"]]
        texture = document["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
        image = document["images"][texture["source"]]
    except (KeyError, IndexError, TypeError):
        return None
    if "bufferView" in image:
        return f"{path}[{texture['source']}]"
    uri = str(image.get("uri", ""))
    return None if not uri or uri.startswith("data:") else str(path.parent / unquote(uri))


def _welded(
    points: NDArray[np.float64], faces: NDArray[np.int64], colors: NDArray[np.float64] | None
) -> Geometry:
    """Merge vertices at equal places: viewers need one per normal, a surface does not."""
    kept, row = weld(points)
    if len(kept) == len(points):
        return Geometry.of_triangles(points, faces, colors=colors)
    raw = Geometry.of_triangles(kept, row[faces])
    if colors is not None:
        raw.colors = np.empty((len(kept), 3))
        raw.colors[row[::-1]] = colors[::-1]  # the first of each place
    raw.notes.append(
        ("points_welded", len(points) - len(kept), "vertices at equal places, split at seams, welded")
    )
    return raw


def _chunks(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON document and the binary chunk."""
    if len(content) < 20 or struct.unpack_from("<I", content)[0] != _MAGIC:
        raise InputError("not a binary glTF file (.glb)")
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2 or length > len(content):
        raise InputError(
            f"version {version}, {length:,} bytes promised and {len(content):,} there: "
            "truncated, or not glTF 2"
        )
    position = 12
    parts: dict[int, bytes] = {}
    while position + 8 <= length:
        size, kind = struct.unpack_from("<II", content, position)
        if position + 8 + size > length:
            raise InputError("a chunk is longer than the file: truncated")
        parts.setdefault(kind, content[position + 8 : position + 8 + size])
        position += 8 + size
    document = json.loads(parts.get(_JSON, b"null"))
    if not isinstance(document, dict):
        raise InputError("holds no glTF document")
    return document, parts.get(_BINARY, b"")


def _placed_meshes(document: dict[str, Any]) -> list[tuple[dict[str, Any], NDArray[np.float64]]]:
    """Meshes of the default scene with their matrix to the world, shape (4, 4)."""
    nodes = document.get("nodes", [])
    scenes = document.get("scenes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    without_parent = [index for index in range(len(nodes)) if index not in children]
    roots = scenes[document.get("scene", 0)].get("nodes", []) if scenes else without_parent
    result = []
    pending = [(node, np.eye(4), 0) for node in roots]
    visited = 0
    while pending:
        index, parent, depth = pending.pop()
        visited += 1
        if depth > _MAX_DEPTH or visited > len(nodes) or not 0 <= index < len(nodes):
            raise InputError("its nodes do not form a tree; the file is damaged: write it again")
        matrix = parent @ _local_matrix(nodes[index])
        if "mesh" in nodes[index]:
            result.append((document["meshes"][nodes[index]["mesh"]], matrix))
        pending += [(child, matrix, depth + 1) for child in nodes[index].get("children", [])]
    return result


def _local_matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    """Transform of a node: its matrix (by columns), else translation, rotation (x, y, z, w) and scale."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = (float(v) for v in node.get("rotation", (0, 0, 0, 1)))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _accessor(document: dict[str, Any], binary: bytes, index: int, width: int) -> NDArray[Any]:
    """Values of an accessor, shape (count, width)."""
    accessor = document["accessors"][index]
    if _WIDTHS.get(accessor["type"]) != width or "sparse" in accessor or "bufferView" not in accessor:
        kind = "sparse" if "sparse" in accessor else accessor["type"]
        raise InputError(f"accessor {index} is of a kind that is not read ({kind}); write plain arrays")
    view = document["bufferViews"][accessor["bufferView"]]
    if view.get("buffer", 0) != 0 or "uri" in document["buffers"][0]:
        raise InputError("its data lies in another file; write one .glb file")
    dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
    count, row = int(accessor["count"]), width * dtype.itemsize
    stride = int(view.get("byteStride", row))
    start = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    if count < 0 or start < 0 or stride < row or start + max(count - 1, 0) * stride + row > len(binary):
        raise InputError(f"accessor {index} asks for {count:,} entries that the file does not hold")
    values = np.ndarray((count, width), dtype, binary, start, (stride, dtype.itemsize))
    if accessor.get("normalized") and dtype.kind != "f":
        return np.maximum(values / float(np.iinfo(dtype).max), -1.0)
    return values
